"""Child processes: each in a process group of its own, and no group outlives its owner."""
