"""What a run is about and what comes of it: requirements, verdicts, results, profiles, baselines."""
