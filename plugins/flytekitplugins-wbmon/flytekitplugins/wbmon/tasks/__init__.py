"""Flyte nodes, one module for each; importing a module here registers nothing."""
