"""The `context-propagation` command: arguments, one module per command, and nothing else."""
