"""LLM applications: one package for each thing that is monitored."""
