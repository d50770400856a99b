"""W&B runs on their way: the log that a task writes, its sending, its keeping."""
