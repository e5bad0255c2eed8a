"""A black-box conformance runner for MCP proxies that put many servers behind two tools.

The implementation under test is a command line and nothing else: this package starts it, speaks MCP to it,
stands behind it as its upstream servers, and says requirement by requirement what holds. It imports no
implementation.
"""
