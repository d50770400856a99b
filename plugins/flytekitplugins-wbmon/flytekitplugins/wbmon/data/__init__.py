"""Tables of any form: opening them, reading them in batches, writing and joining them."""
