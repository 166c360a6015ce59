"""What the module's panel and the effect both use; the only place with Qt."""
