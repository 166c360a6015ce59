"""A PET on the grid of a CT."""
