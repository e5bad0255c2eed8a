"""The commands for a user at a terminal. Serving needs none of them."""
