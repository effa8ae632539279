"""Promises of the parts that the backends are made of."""
