"""Delivery of traces to Weave: the spool that a task writes, how it is sent, how it is stored."""
