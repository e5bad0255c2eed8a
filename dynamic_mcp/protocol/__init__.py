"""MCP on the wire, without input or output: framing, envelopes, eras, and the correlation of answers."""
