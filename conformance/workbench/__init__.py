"""What a check gets: a sandbox, the program under test, a raw client, scripted upstreams, a census of processes."""
