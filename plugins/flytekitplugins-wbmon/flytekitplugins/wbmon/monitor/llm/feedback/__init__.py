"""What users said of answers."""
