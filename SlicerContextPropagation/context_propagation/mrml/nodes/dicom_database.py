"""Files that nodes were loaded from, by Slicer's DICOM database; it is in the application alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

INSTANCES = "DICOM.instanceUIDs"
"""The attribute in which Slicer's DICOM module keeps a volume's slices."""


def dicom_database() -> Any | None:
    """The application's `ctkDICOMDatabase`; None without an application."""
    return getattr(slicer, "dicomDatabase", None)


def files_of_volume(volume_node: slicer.vtkMRMLScalarVolumeNode) -> list[Path]:
    """The files of all slices of a volume; none where it was not loaded from DICOM, or one is not known any more."""
    database = dicom_database()
    instances = (volume_node.GetAttribute(INSTANCES) or "").split()
    files = [database.fileForInstance(uid) for uid in instances] if database is not None else []
    return [Path(file) for file in dict.fromkeys(files)] if all(files) else []  # frames may share a file


def structure_set_of(segmentation_node: slicer.vtkMRMLSegmentationNode) -> Path | None:
    """The RT Structure Set that SlicerRT made a segmentation from; None where it came from elsewhere."""
    database, scene = dicom_database(), segmentation_node.GetScene()
    if database is None or scene is None:
        return None
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(segmentation_node)
    series = hierarchy.GetItemUID(item, slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMUIDName()) if item else ""
    files = list(database.filesForSeries(series)) if series else []
    return Path(files[0]) if len(files) == 1 and database.fileValue(files[0], "0008,0060") == "RTSTRUCT" else None
