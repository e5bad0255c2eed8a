"""A dynamic MCP proxy: many MCP servers behind two tools, with schemas loaded on demand."""

__version__ = "0.1.0"
