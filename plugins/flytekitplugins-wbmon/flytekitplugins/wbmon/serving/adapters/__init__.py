"""Web frameworks whose requests become rows of the prediction log."""
