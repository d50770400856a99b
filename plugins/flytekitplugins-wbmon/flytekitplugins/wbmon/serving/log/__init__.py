"""Writing the prediction log from inside the process that serves the model."""
