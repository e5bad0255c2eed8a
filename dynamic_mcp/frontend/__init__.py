"""The part of the proxy that serves the client: the lifecycle in both eras, and the two tools."""
