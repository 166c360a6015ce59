"""Files: whole or not there at all, and what others may have written: checked entries, weights, hashes."""
