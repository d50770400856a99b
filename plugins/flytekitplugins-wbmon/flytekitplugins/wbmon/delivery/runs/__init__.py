"""Delivery of W&B runs: the log that a task writes, how it is sent, and how it is stored."""
