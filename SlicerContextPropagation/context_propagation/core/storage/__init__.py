"""Reading what others may have written: checked entries, weights, hashes."""
