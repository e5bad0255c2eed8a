"""Child processes, each in its own process group. No group outlives its owner."""
