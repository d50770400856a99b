"""Alerts to people: the alert memory in a store, the channels, and the decision of each window."""
