"""Python packages: which are missing, installing them, undoing it."""
