"""Conversations in files: kept, saved, read back with every field checked, exported."""
