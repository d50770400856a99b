"""JSON lines in segments: one writer, one reader and one upload for every log."""
