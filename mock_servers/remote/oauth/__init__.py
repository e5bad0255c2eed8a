"""An authorization server and the bearer check of an MCP URL, in the process of the mock that serves the URL.

Journal events, in addition to those of `mock_servers.remote`: `authorize`, `token` and `register`. Each has `n` (the HTTP
request), `params` (decoded pairs, or the JSON of a registration), `problem` (the reason for a refusal, null for a granted
request) and `issued` (what the server handed out).
"""
