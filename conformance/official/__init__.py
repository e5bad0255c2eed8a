"""The official MCP conformance suite (an npm package, its version pinned in `node`) as a judge of the proxy and of the mocks.

The suite speaks HTTP and knows no proxy that speaks stdio. `bridge` puts a URL in front of a proxy, so that it can be the server
under test; `adapter` puts a proxy behind a URL that the suite gives, so that it can be the client under test. What of the suite is not
run, and why, is in `skipped.toml`; everything else runs.
"""
