"""The engine: torch, NumPy and SimpleITK; no Slicer, VTK or Qt.

Here: errors, callbacks, optional packages, the device, provenance.
"""

import os

LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""torch reads it at its first tensor: on Linux large ones then take memory in pages of 2 MiB, not of 4 KiB. Each tensor
asks for all of its pages, as torch gives memory back: at 128 cubed 2.8 million times for an image and an edit."""

SET_HERE = {LARGE_PAGES} - os.environ.keys()
"""The environment's variables that are this package's own, and no choice of the user; a process that inherits them from
one that imported this package takes them for the user's."""

os.environ.setdefault(LARGE_PAGES, "1")
