"""Versions of what is promoted by an alias and rolled back, with the decisions on record."""
