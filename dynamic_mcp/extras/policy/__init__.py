"""What stands before the calls of one server, where the configuration wants something to: limits, and a check of the arguments."""
