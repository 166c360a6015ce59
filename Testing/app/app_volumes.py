"""Volumes and segments of the suite, made and read with Slicer's own calls alone."""

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

SHAPE = (16, 16, 16)
SPACING_MM = (0.8, 1.1, 2.5)


def add_ct(name="CT", shape=SHAPE, spacing=SPACING_MM, seed=3, origin=(0.0, 0.0, 0.0)):
    """A volume of noise, axial; `spacing` is in i, j, k, and i and j run from right to left and front to back."""
    voxels = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    ijk_to_ras = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    ijk_to_ras[:3, 3] = origin
    return slicer.util.addVolumeFromArray(voxels, ijk_to_ras, name)


def move_slices(volume, positions_mm):
    """Put an axial volume's slices at these heights above the first, as Slicer's DICOM module does.

    That is `AcquisitionModeling` of its DICOMScalarVolumePlugin: a transform that moves the corners of each slice.
    """
    columns, rows, slices = volume.GetImageData().GetDimensions()
    x, y, z = volume.GetSpacing()
    grid = vtk.vtkImageData()
    grid.SetOrigin(*volume.GetOrigin())
    grid.SetDimensions(2, 2, slices)
    grid.SetSpacing(x * columns, y * rows, z)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    moves = vtk_to_numpy(grid.GetPointData().GetScalars()).reshape(slices, 4, 3)
    moves[:] = 0.0
    moves[:, :, 2] = (np.asarray(positions_mm) - z * np.arange(slices))[:, None]
    transform, directions = slicer.vtkOrientedGridTransform(), vtk.vtkMatrix4x4()
    volume.GetIJKToRASDirectionMatrix(directions)
    transform.SetGridDirectionMatrix(directions)
    transform.SetDisplacementGridData(grid)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", f"{volume.GetName()} acquisition transform")
    node.SetAndObserveTransformToParent(transform)
    volume.SetAndObserveTransformNodeID(node.GetID())


def show(volume):
    """Show a volume in the slice views."""
    slicer.util.setSliceViewerLayers(background=volume, fit=True)


def add_segmentation(volume, name="Segmentation", **masks):
    """A segmentation on a volume's grid, with a segment for each mask (k, j, i)."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for segment, mask in masks.items():
        node.GetSegmentation().AddEmptySegment(segment, segment)
        write_segment(node, segment, mask, volume)
    return node


def write_segment(node, segment_id, mask, volume):
    """Replace a segment's voxels by a mask on a volume's grid."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(mask.shape[::-1])
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    vtk_to_numpy(image.GetPointData().GetScalars())[:] = mask.ravel()
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    replace = slicer.vtkSlicerSegmentationsModuleLogic.MODE_REPLACE
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(image, node, segment_id, replace)


def voxels(node, segment_id, shape=SHAPE, margin=0):
    """A segment's voxels (k, j, i) on the grid that it is stored on; all outside its extent is empty.

    With a margin, the array is larger by so many voxels on each side.
    """
    shape = tuple(n + 2 * margin for n in shape)
    image, mask = slicer.vtkOrientedImageData(), np.zeros(shape, bool)
    node.GetBinaryLabelmapRepresentation(segment_id, image)
    if image.IsEmpty():
        return mask
    i0, i1, j0, j1, k0, k1 = (n + margin for n in image.GetExtent())
    if min(i0, j0, k0) < 0 or k1 >= shape[0] or j1 >= shape[1] or i1 >= shape[2]:
        raise AssertionError(f"segment {segment_id!r} has the extent {image.GetExtent()}, outside {shape} (k, j, i)")
    found = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    mask[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = found > 0
    return mask


def ball(centre=(8, 8, 8), radii=(4, 4, 4), shape=SHAPE):
    """An ellipsoid, in voxels (k, j, i)."""
    return sum(((g - c) / r) ** 2 for g, c, r in zip(np.indices(shape, sparse=True), centre, radii, strict=True)) <= 1


def nodes(class_name, starts_with=""):
    """All nodes of a class, by the start of their names."""
    found = slicer.util.getNodesByClass(class_name)
    return [node for node in found if node.GetName().startswith(starts_with)]
