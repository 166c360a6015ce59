"""Slices and regions that the user confirms are left out of a preview and stay as they are."""

import numpy as np
import vtk

from as_a_user import click, settle
from effect_bench import DRAWN, EFFECT, IJK_TO_LPS, SLICE, ball, on_slices


def look_at(bench, index):
    """Move the views to an axial slice."""
    from context_propagation.gui.slice_views import jump_to_slice

    jump_to_slice(bench.ct, 0, index)
    settle()


def click_at(bench, voxel_kji):
    """Press the left button in the axial view where a voxel is."""
    import slicer

    look_at(bench, voxel_kji[0])
    view = slicer.app.layoutManager().sliceWidget("Red")
    world = np.array([-1, -1, 1, 1]) * (IJK_TO_LPS @ [*voxel_kji[::-1], 1])
    xy = np.linalg.inv(slicer.util.arrayFromVTKMatrix(view.mrmlSliceNode().GetXYToRAS())) @ world
    interactor = view.interactorStyle().GetInteractor()
    interactor.SetEventPosition(round(xy[0]), round(xy[1]))
    effect = bench.editor.effects[EFFECT]
    effect._call("processInteractionEvents", interactor, vtk.vtkCommand.LeftButtonPressEvent, view)  # as Slicer does
    settle()


def test_a_slice_that_is_confirmed_in_the_preview_stays_as_it_is_and_the_totals_follow(previewed):
    result, drawn = previewed.logic.propagation.pending.result, previewed.voxels()
    counts = dict(result.changed_per_slice)
    index = max(counts, key=counts.get)
    before = previewed.status

    look_at(previewed, index)
    click(previewed.widgets.confirm)

    assert f"As they are: slices {index}; regions: 0." in previewed.status
    assert f"({len(counts) - 1})" in previewed.status
    click(previewed.widgets.confirm)
    assert previewed.status == before
    click(previewed.widgets.confirm)
    click(previewed.widgets.apply)

    after = previewed.voxels()
    assert np.array_equal(after[index], drawn[index])
    assert np.array_equal(after ^ drawn, result.changed & (np.arange(len(after)) != index)[:, None, None])
    assert [[edit.index for edit in done.confirmed] for done in previewed.logic.history] == [[index]]


def test_a_region_that_is_clicked_is_left_out_and_protected(previewed):
    from context_propagation.core.session.changed_region import changed_region

    result, drawn = previewed.logic.propagation.pending.result, previewed.voxels()
    voxel = tuple(int(n) for n in np.argwhere(result.changed)[0])
    region = changed_region(result, voxel)
    (node,) = previewed.previews()

    click_at(previewed, voxel)

    assert "As they are: slices none; regions: 1." in previewed.status
    assert previewed.previews() != [node]
    click_at(previewed, voxel)
    assert "As they are" not in previewed.status
    click_at(previewed, voxel)
    click(previewed.widgets.apply)

    assert np.array_equal(previewed.voxels() ^ drawn, result.changed & ~region)
    assert previewed.logic.session.protected[region].all()


def test_a_click_beside_the_changed_regions_does_nothing(previewed):
    before = previewed.status

    click_at(previewed, (0, 0, 0))

    assert previewed.status == before


def test_a_drawn_slice_cannot_be_left_out_of_its_own_preview(previewed):
    look_at(previewed, SLICE)
    click(previewed.widgets.confirm)

    assert f"Slices to confirm: {SLICE}" in previewed.application.texts("error")[-1]
    assert "As they are" not in previewed.status


def test_a_slice_without_voxels_of_a_thicker_segment_cannot_be_left_out_of_a_preview(bench):
    thick = IJK_TO_LPS @ np.diag([1, 1, 4, 1])
    thick[2, 3] = 2.5
    planes = [1, 5, 9, 13]  # the middles of the segment's own slices
    bench.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(
        bench.add_volume("thick", ijk_to_lps=thick, shape=(4, 16, 16))
    )
    bench.open_segment(ball()[planes])
    bench.start()
    bench.paint(on_slices(ball((8, 8, 10), (4, 6, 5))[planes], (2,)))
    bench.propagate()
    before = bench.status

    look_at(bench, 11)
    click(bench.widgets.confirm)

    assert "none belongs to slice 11; confirm the one before or after it" in bench.application.texts("error")[-1]
    assert bench.status == before
    look_at(bench, 5)
    click(bench.widgets.confirm)
    assert "As they are: slices 5; regions: 0." in bench.status
    click(bench.widgets.apply)
    assert [[edit.index for edit in done.confirmed] for done in bench.logic.history] == [[5]]


def test_the_slice_in_view_is_confirmed_without_a_preview_too(started):
    look_at(started, 10)

    click(started.widgets.confirm)

    assert "Confirmed: axial slice 10; it stays as it is." in started.status
    before = started.voxels()
    started.paint(DRAWN)
    started.propagate()
    click(started.widgets.apply)
    assert np.array_equal(started.voxels()[10], before[10])
