"""Alerts: rules over reports, their decision and its memory."""
