"""What a server and its clients say to each other: addresses, limits, and masks, edits, results as JSON. No torch."""
