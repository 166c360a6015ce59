"""The engine: torch, numpy and SimpleITK; no Slicer, VTK or Qt."""
