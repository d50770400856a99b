"""The service: latency, errors, objectives and experiments, from the prediction log."""
