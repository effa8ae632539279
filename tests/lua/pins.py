"""`python -m tests.lua.pins` writes digests.json anew, after a script has changed on purpose."""

from __future__ import annotations

import json
from pathlib import Path

from ratelimit.backends.scripts import SCRIPT_NAMES, load_script

__all__ = ("PINS", "digests")

PINS = Path(__file__).with_name("digests.json")


def digests() -> dict[str, str]:
    """SHA-1 of every script as the servers see it, with the server's clock and with a virtual one."""
    made = {}
    for name in SCRIPT_NAMES:
        made[name] = load_script(name).sha
        made[f"{name} (virtual clock)"] = load_script(name, virtual_clock=True).sha
    return made


if __name__ == "__main__":
    PINS.write_text(json.dumps(digests(), indent=2) + "\n")
