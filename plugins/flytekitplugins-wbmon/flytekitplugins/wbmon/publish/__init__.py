"""Where reports go: the W&B run and the Flyte Deck."""
