"""MRML nodes to arrays and back; the scene is passed in."""
