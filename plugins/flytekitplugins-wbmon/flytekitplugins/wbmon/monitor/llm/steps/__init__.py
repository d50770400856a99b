"""The steps of agents, from their traces."""
