"""The W&B run of a Flyte task."""
