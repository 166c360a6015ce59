"""Images, structure sets and pictures on disk, without Slicer."""
