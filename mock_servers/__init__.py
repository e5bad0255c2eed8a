"""Fake MCP servers: well-behaved by default, misbehaving on demand, with a journal of everything that they see.

`python -m mock_servers stdio` is a process that speaks MCP on its stdin and stdout. A `mock_servers.script.Script`
describes its behaviour, and `mock_servers.journal.read_journal` reads what it recorded. This module imports nothing,
because a mock must start in a few hundredths of a second.
"""
