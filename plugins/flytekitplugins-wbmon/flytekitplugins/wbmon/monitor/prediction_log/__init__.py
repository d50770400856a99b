"""The prediction log: its schema, and how segments become days."""
