"""The line that the user types: its editor, its keys, what it completes and remembers."""
