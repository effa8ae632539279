"""Promises of `ratelimit.gateway.mock`."""
