"""The maths: arrays in, numbers out."""
