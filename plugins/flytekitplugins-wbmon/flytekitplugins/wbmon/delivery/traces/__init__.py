"""Traces on their way to Weave: the spool that a task writes, its sending and its keeping."""
