"""The `context-propagation` command."""
