"""Report formats. Each module writes one format from the same `RunReport`; none of them judges anything."""
