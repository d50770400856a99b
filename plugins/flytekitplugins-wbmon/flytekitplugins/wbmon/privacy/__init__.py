"""What must not be written down: personal data, card numbers, secrets."""
