"""Speed and memory beside other programs, as ratios: both sides in one run on the same weights.

Nothing here is a test; ``make bench`` runs it.
"""
