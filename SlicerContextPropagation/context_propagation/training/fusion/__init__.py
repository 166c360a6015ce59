"""From simulated edits to examples to fusion networks, with their controls."""
