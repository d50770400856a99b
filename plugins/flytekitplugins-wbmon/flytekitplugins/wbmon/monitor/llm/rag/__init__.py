"""Retrieval, and the answers made from it."""
