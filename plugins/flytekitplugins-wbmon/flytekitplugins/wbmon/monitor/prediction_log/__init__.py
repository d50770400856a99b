"""Prediction log."""
