"""Groups: each keeps one configured server connected, and the set of them follows the configuration."""
