"""Runs checks: the schedule, the attempts, and the output files."""
