"""The call policy: limits for the calls of one server, and a check of their arguments."""
