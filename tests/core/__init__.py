"""Promises of `ratelimit.core`, without I/O."""
