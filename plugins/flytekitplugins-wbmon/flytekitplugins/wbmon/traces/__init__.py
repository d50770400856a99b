"""Tracing of LLM calls to Weave: the decorator, the session of a task, prompts and evaluations."""
