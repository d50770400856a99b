"""Rows that people look at: a stratified sample of a table, redacted."""
