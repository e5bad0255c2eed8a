"""Groups: one configured server each, how it is kept connected, and how the set of them follows the configuration."""
