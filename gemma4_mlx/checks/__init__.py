"""Whether a checkpoint is whole and right: ``gemma4 verify``."""
