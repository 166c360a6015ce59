"""Images, structure sets, pictures and case summaries on disk, without Slicer."""
