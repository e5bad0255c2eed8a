"""Upstreams behind a URL: Streamable HTTP, and the legacy HTTP+SSE transport."""
