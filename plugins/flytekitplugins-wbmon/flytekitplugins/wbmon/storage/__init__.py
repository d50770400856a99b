"""Files in any store that fsspec knows."""
