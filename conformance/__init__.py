"""A black-box conformance runner for MCP proxies that put many servers behind two tools.

The runner knows the implementation under test only by its command line. It starts the program, talks MCP to it as a client, serves it
as its upstream servers, and reports for each requirement whether it holds. This package imports no implementation, except for the mutants.
"""
