"""Promises of `ratelimit.web`."""
