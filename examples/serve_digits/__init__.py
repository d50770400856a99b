"""The digit classifier behind FastAPI, with a prediction log; and the night after."""
