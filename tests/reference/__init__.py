"""Tiny Gemma 4 models and the transformers side of every comparison with ours."""
