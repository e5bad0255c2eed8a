"""What the client sees: the lifecycle in both eras, and the two tools."""
