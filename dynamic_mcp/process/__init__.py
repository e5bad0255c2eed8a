"""Child processes, each in its own process group, which ends with its owner (``child`` has the exceptions)."""
