"""A protocol, from data to tables; and the recipe that writes a bundle with its validation."""
