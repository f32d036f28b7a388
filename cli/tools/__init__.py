"""The functions of a Python file, run for the model after the user's yes."""
