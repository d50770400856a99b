"""Delivery of runs and traces to W&B, in a process separate from the task's."""
