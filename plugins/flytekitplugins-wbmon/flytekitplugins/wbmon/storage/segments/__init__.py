"""Segments: files of JSON lines; their writer, reader and upload, shared by all logs."""
