"""The call log: one row for each call of a model."""
