"""Access to files in any store that fsspec supports."""
