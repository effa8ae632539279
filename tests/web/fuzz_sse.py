"""A fuzzer for the meters of bodies and streams: `python -m tests.web.fuzz_sse SECONDS [libFuzzer arguments]`.

A folder among the arguments is the corpus to start from and to add to.
"""

from __future__ import annotations

import sys
from importlib import import_module


def main() -> None:
    """Fuzz for so many seconds, 60 by default; a failure ends it with a traceback and writes the input to a file."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["ratelimit.web"]):
        check = import_module("tests.web.meter_checks").check
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=4096", *sys.argv[2:]], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
