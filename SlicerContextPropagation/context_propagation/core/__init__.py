"""The engine: torch, NumPy and SimpleITK; no Slicer, VTK or Qt.

Here: errors, callbacks, optional packages, the device, provenance.
"""
