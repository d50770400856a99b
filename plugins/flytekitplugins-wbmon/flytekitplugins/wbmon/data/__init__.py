"""Tables: how they are opened, read in batches, written and joined."""
