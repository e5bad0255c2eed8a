"""The data of a run: requirements, verdicts, results, profiles and baselines."""
