"""Runnable stories: the handwritten digits, and a synthetic month of card payments."""
