"""Connections to upstream MCP servers, one module for each transport."""
