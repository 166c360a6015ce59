"""Segmentation files of every format; `.seg.nrrd` through Slicer's own storage."""
