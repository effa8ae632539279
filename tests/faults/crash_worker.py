"""A worker that opens reservations for as long as it lives: `python -m tests.faults.crash_worker URL SEED`."""

from __future__ import annotations

import random
import sys

from ratelimit import Limit, Limiter, Plan, RateLimited, Reservation, Retention

__all__ = ("FLEETING", "SHORT", "SUBJECTS")

#: A full bucket drains within two seconds.
FLEETING = Plan("Fleeting", limits=[Limit("requests", rate="200/second"), Limit("tokens", 500, 1, burst=1_000)])

#: Pages of the operation log go after two seconds.
SHORT = Retention(retry_window=1)

SUBJECTS = 8


def main(url: str, seed: int) -> None:
    """Say so after each step, so that the killer can tell that there is somebody to kill."""
    rng = random.Random(seed)
    open_ones: list[Reservation] = []
    limiter = Limiter.from_url(url, retention=SHORT)
    while True:
        try:
            subject = f"subject-{rng.randrange(SUBJECTS)}"
            open_ones.append(limiter.acquire(subject, plan=FLEETING, tokens=rng.randint(1, 100)))
        except RateLimited:
            pass
        if len(open_ones) > 20:
            done = open_ones.pop(rng.randrange(20))
            done.settle(tokens=rng.randint(0, done.estimate["tokens"]))
        print(len(open_ones), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
