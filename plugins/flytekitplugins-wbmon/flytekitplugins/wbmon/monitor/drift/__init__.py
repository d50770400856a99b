"""Drift: how the profile of a window differs from the reference."""
