"""The W&B run of a task."""
