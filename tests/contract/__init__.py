"""One behaviour suite, run on every backend."""
