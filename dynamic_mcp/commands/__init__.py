"""The commands for a person at a terminal. Serving needs none of them."""
