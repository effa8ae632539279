"""`python -m ratelimit`, and the console script."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say how to install what it needs."""
    try:
        from ratelimit.cli import run
    except ModuleNotFoundError as missing:
        if missing.name not in ("rich", "typer"):
            raise
        sys.exit(f"ratelimit: the command line needs {missing.name}: pip install 'llm-ratelimit[cli]'")
    run()


if __name__ == "__main__":
    main()
