"""The commands, and what they share with the command line. To serve one client, only ``terminal`` is necessary."""
