"""Propagate one redrawn slice to the whole volume through the features of a frozen 3D segmentation network."""

__version__ = "0.1.0"
