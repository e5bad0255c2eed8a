"""The messages of MCP, without input or output: lines, envelopes, eras, and which answer belongs to which request."""
