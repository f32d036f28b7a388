"""The text decoder: interleaved local and global attention, shared KV, per-layer embeddings."""
