"""Promises of `ratelimit.gateway`."""
