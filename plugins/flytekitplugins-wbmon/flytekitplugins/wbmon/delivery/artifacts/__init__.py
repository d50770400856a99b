"""Records that live as W&B artifacts: which one an alias means, and its content."""
