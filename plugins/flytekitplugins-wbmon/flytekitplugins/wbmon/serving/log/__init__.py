"""The writing side of the prediction log, in the process that serves."""
