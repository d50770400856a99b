"""Batch scoring: predictions for a data set, in batches that can be resumed."""
