"""Profiles: mergeable summaries of the columns of a window."""
