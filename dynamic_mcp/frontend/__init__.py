"""The part of the proxy that serves the client: the lifecycle in both eras, the two tools, resources and prompts."""
