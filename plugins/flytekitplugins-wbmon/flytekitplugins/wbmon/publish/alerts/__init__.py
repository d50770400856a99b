"""Alerts to people: their state in a store, channels, the history of nights."""
