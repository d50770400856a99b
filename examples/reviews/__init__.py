"""One small model behind two kinds of app, both with a prediction log."""
