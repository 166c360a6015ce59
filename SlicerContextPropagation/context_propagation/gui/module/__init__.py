"""The module's panel."""
