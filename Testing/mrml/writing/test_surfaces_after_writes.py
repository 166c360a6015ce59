"""The surface that 3D views show is that of the labelmap, after each write, Undo and Redo."""

import numpy as np
import pytest
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from context_propagation.mrml.writing.editor_logic_writer import EditorLogicWriter
from context_propagation.mrml.writing.segment_writer import write_changed_voxels, write_flips
from segment_editors import SegmentEditor

SURFACE = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()


def of_our_own(case):
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume)
    where = writer, case.segmentation, case.gtv
    return writer, lambda flips: write_flips(*where, flips.backwards), lambda flips: write_flips(*where, flips)


def of_the_effect(case):
    editor = SegmentEditor(case.scene, case.segmentation, case.volume, case.gtv)
    editor.node.SetOverwriteMode(editor.node.OverwriteNone)
    return editor.writer(), lambda _: editor.logic.Undo(), lambda _: editor.logic.Redo()


@pytest.fixture(params=["layers of their own", "a shared layer"])
def shown(case, request, draw_ellipsoid):
    """Two segments that are shown in 3D."""
    case.gtv = case.add(case.target)
    case.organ = case.add(draw_ellipsoid(case.shape, (5, 11, 13), (3, 1, 1)), "organ")
    if request.param == "a shared layer":
        case.segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)
        assert case.segmentation.GetSegmentation().GetNumberOfLayers() == 1
    case.segmentation.CreateClosedSurfaceRepresentation()
    return case


@pytest.fixture(params=[of_our_own, of_the_effect])
def writing(shown, request):
    return request.param(shown)


def points(segmentation, segment_id):
    return vtk_to_numpy(segmentation.GetSegment(segment_id).GetRepresentation(SURFACE).GetPoints().GetData()).copy()


def made_anew(segmentation, segment_id):
    fresh = slicer.vtkSegmentation()
    fresh.DeepCopy(segmentation)
    fresh.RemoveRepresentation(SURFACE)
    assert fresh.CreateRepresentation(SURFACE)
    return points(fresh, segment_id)


def require_true_surfaces(case):
    segmentation = case.segmentation.GetSegmentation()
    for segment_id in (case.gtv, case.organ):
        assert np.array_equal(points(segmentation, segment_id), made_anew(segmentation, segment_id))
    assert case.segmentation.GetDisplayNode().GetDisplayRepresentationName3D() == SURFACE


@pytest.mark.quick(shown="a shared layer", overlaps=True)
@pytest.mark.parametrize("overlaps", [False, True])
def test_a_write_and_its_undo_and_redo_bring_the_surfaces_with_them(shown, writing, overlaps):
    writer, undo, redo = writing
    segmentation = shown.segmentation.GetSegmentation()
    before, organ = points(segmentation, shown.gtv), points(segmentation, shown.organ)
    wanted = np.roll(shown.target, 2, axis=2)
    wanted[5, 10:12, 12:14] = overlaps  # the organ

    changed = wanted ^ shown.target
    flips = write_changed_voxels(writer, shown.segmentation, shown.gtv, shown.volume, wanted, changed).flips
    require_true_surfaces(shown)
    after = points(segmentation, shown.gtv)
    assert not np.array_equal(after, before)
    undo(flips)
    require_true_surfaces(shown)
    assert np.array_equal(points(segmentation, shown.gtv), before)
    redo(flips)
    require_true_surfaces(shown)
    assert np.array_equal(points(segmentation, shown.gtv), after)
    assert np.array_equal(points(segmentation, shown.organ), organ)


def test_a_prediction_into_an_empty_segment_is_shown_in_3d_where_others_are(shown):
    empty = shown.add(np.zeros(shown.shape, bool), "new")
    writer = EditorLogicWriter(shown.scene, shown.segmentation, shown.volume)

    write_changed_voxels(writer, shown.segmentation, empty, shown.volume, shown.target, shown.target)

    segmentation = shown.segmentation.GetSegmentation()
    assert np.array_equal(points(segmentation, empty), made_anew(segmentation, empty))
    require_true_surfaces(shown)


def test_what_is_not_shown_in_3d_has_no_surface_after_a_write_either(case):
    segment_id = case.add(case.target)
    writer = EditorLogicWriter(case.scene, case.segmentation, case.volume)

    wanted = np.roll(case.target, 2, axis=2)
    write_changed_voxels(writer, case.segmentation, segment_id, case.volume, wanted, wanted ^ case.target)

    assert not case.segmentation.GetSegmentation().ContainsRepresentation(SURFACE)
