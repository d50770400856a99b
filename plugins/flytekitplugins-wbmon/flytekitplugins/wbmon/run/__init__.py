"""The W&B run of a task: settings, life cycle and delivery modes."""
