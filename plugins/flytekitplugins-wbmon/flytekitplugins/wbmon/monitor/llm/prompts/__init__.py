"""Versions of prompts, and which one is in use."""
