"""Promises of what is shipped."""
