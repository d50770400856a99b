"""References and baselines of models: which record is compared with, since when, and why."""
