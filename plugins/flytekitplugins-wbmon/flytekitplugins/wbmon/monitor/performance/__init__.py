"""Performance: metrics against labels, or estimated without them."""
