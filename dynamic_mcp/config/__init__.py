"""The configuration file: its model, how it is read, and ``${VAR}`` expansion."""
