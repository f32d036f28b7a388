"""Converts Gemma 4 checkpoints to MLX ones: names, layouts, bits per weight."""
