"""Runs checks: the scheduler, the attempts, and where reports go."""
