"""What the rest knows of flytekit: the identity of an execution, types, decks, private parts."""
