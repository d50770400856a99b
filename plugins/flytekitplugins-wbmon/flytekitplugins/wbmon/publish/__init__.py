"""Publishes reports: to the W&B run and its artifacts, to the Deck, to dashboards and as alerts."""
