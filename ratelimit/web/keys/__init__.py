"""API keys in a file: who they belong to, and under which plan.

* `api_keys`: ApiKeys, the identify callable; reads the file again when it changes.
* `table`: from a presented key to its Identity. `digest`: what is kept in place of keys.
* `models`: what stands in the file. `reading`: from bytes to that, with errors that show no key.
* `store` and `writing`: for those who change the file (`ratelimit keys`). `mint`: new keys, ids and salts.
"""

from __future__ import annotations

from ratelimit.web.keys.api_keys import ApiKeys
from ratelimit.web.keys.mint import new_key

__all__ = ("ApiKeys", "new_key")
