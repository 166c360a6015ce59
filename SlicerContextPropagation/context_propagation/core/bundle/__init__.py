"""A base model and its fusion networks in one folder: read, written, and the one that ships."""
