"""An authorization server and the lock on an MCP URL, in the process of the mock that has the URL.

Journal events, beside those of `mock_servers.remote`: `authorize`, `token` and `register`, each with `n` (the
HTTP request), `params` (pairs as decoded, or the registration's JSON), `problem` (why it was refused; null =
it was not) and `issued` (what was handed out).
"""
