"""How far an edit reaches, in the words that users read."""

NEAR_SLICES_ONLY = "near slices only"
"""Without a fusion network."""
WHOLE_VOLUME = "whole volume"
