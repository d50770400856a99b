"""What brings a run or a trace to W&B, in a process apart from the task's."""
