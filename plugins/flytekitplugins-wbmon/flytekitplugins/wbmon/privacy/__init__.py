"""Redaction of what must not be stored: personal data, card numbers and secrets."""
