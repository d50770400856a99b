"""Prompts and models held against questions, and against each other."""
