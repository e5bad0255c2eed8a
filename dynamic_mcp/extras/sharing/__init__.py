"""One set of servers for all sessions of a user (``dynamic-mcp CONFIG --share``).

``place`` names the socket of a configuration. ``attach`` is the process that a client starts: it passes messages between the client and the
serving process, which it starts if there is none. ``door`` lets the attached ends into the serving process. ``report`` describes that
process for ``dynamic-mcp status``.
"""
