"""Fake MCP servers that behave well by default, misbehave on demand, and write down everything they see.

`python -m mock_servers stdio` is a real process that speaks MCP on its stdin and stdout. What it does is
described by a `mock_servers.script.Script`; what it saw is read back with
`mock_servers.journal.read_journal`. Nothing is imported here: a mock has to start in a few hundredths of a
second.
"""
