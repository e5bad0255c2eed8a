"""The configuration file: its model, its loading, and ``${VAR}`` expansion."""
