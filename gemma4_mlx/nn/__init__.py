"""Building blocks that more than one tower uses."""
