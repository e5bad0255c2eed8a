"""The official MCP conformance suite judges the proxy and the mocks. It is an npm package; `node` pins its version.

The suite talks HTTP, and the proxy talks stdio. `bridge` serves a proxy at a URL, so that it can be the server under test. `adapter`
connects a proxy to a URL of the suite, so that it can be the client under test. `skipped.toml` lists the skipped scenarios with the
reasons; all others run.
"""
