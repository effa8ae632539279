"""Promises of the Lua scripts as source: headers, pins, inputs."""
