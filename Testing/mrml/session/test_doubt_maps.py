"""The model's probability and uncertainty in a real scene: where the voxels lie, in which views, and when they go."""

import numpy as np
import pytest
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from bundles import write_bundle
from context_propagation.core.errors import UserInputError
from context_propagation.core.session.target_probability import TargetProbability
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.map_volumes import is_map
from context_propagation.mrml.nodes.volume_nodes import add_volume, volume_array
from context_propagation.mrml.nodes.world_matrices import to_numpy, volume_ijk_to_world
from loaded_models import quick_model
from nnunet_folders import write_nnunet_folder

SHAPE = (16, 16, 16)
RAS_FLIPPED = np.array([[0, 0, -2.5, 30], [0, -1.1, 0, 5], [0.8, 0, 0, -9], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    pytest.importorskip("nnunetv2")
    folder = tmp_path_factory.mktemp("models")
    base = write_nnunet_folder(folder / "base", seed=1, spacing=(2.5, 1.1, 0.8), features=(4, 8, 8))
    return write_bundle(folder / "bundle", base, channels=8, neighbours=2)


@pytest.fixture(params=["oblique", "flipped", "transformed"])
def case(make_case, rotate, request):
    case = make_case(shape=SHAPE, ijk_to_lps=RAS_FLIPPED if request.param == "flipped" else None)
    if request.param == "transformed":
        node = case.transform(rotate(35, (1, 0.3, 0)))
        case.volume.SetAndObserveTransformNodeID(node.GetID())
        case.segmentation.SetAndObserveTransformNodeID(node.GetID())
    return case


@pytest.fixture
def one_case(make_case):
    return make_case(shape=SHAPE)


def started(case, bundle, draw_ellipsoid):
    logic = ContextPropagationLogic(case.scene)
    logic.loaded = quick_model(bundle)
    logic.select([case.volume], case.segmentation, case.add(draw_ellipsoid(SHAPE, (8, 8, 8), (4, 5, 5))))
    logic.predict()
    return logic


@pytest.fixture
def ready(one_case, bundle, draw_ellipsoid):
    logic = started(one_case, bundle, draw_ellipsoid)
    yield logic
    logic.close()


def redraw(logic, case, index=7):
    mask = np.roll(logic.segment_mask()[index], 3, 0)
    logic.edit_slice(index, mask, case.source.plane_of_axis[0])
    logic.propagate()


def nodes(scene, kind=None):
    found = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    return [node for node in found if kind is None or node.GetClassName() == kind]


def overlays(scene):
    return [node for node in nodes(scene, "vtkMRMLScalarVolumeNode") if is_map(node) and node.GetHideFromEditors()]


def on_image(node, case):
    """A map's voxels on the image's grid, each found by where it lies in the patient; 0 where the map has none."""
    result = np.zeros(SHAPE, np.float32)
    values = volume_array(node)
    ijk = np.indices(values.shape).reshape(3, -1)[::-1]
    world = volume_ijk_to_world(node) @ np.vstack([ijk, np.ones(ijk.shape[1])])
    kji = (np.linalg.inv(volume_ijk_to_world(case.volume)) @ world)[:3][::-1]
    index = np.round(kji).astype(int)
    assert np.abs(kji - index).max() < 1e-6
    result[tuple(index)] = values.ravel()
    return result


# ---- as volumes


def test_voxels_lie_where_those_of_the_image_lie(case, bundle, draw_ellipsoid):
    logic = started(case, bundle, draw_ellipsoid)

    volumes = logic.maps.add_volumes()

    expected = logic.session.target_probability()
    uncertainty = TargetProbability(expected.box, expected.uncertainty).on_image(SHAPE)
    assert np.array_equal(on_image(volumes.probability, case), expected.on_image(SHAPE))
    assert np.array_equal(on_image(volumes.uncertainty, case), uncertainty)
    assert uncertainty.max() > 0.1
    logic.close()


def test_volumes_are_named_after_the_segment_shown_from_0_to_1_and_stay_when_the_session_ends(ready, one_case):
    volumes = ready.maps.add_volumes()

    assert (volumes.probability.GetName(), volumes.uncertainty.GetName()) == (
        "Probability of GTV",
        "Uncertainty of GTV",
    )
    for node in (volumes.probability, volumes.uncertainty):
        display = node.GetDisplayNode()
        assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 1.0)
        assert node.GetSaveWithScene()
        assert not node.GetHideFromEditors()
    ready.close()
    assert volumes.probability.GetScene() is one_case.scene


def test_volumes_are_as_of_when_they_were_added(ready, one_case):
    before = ready.maps.add_volumes()
    was = on_image(before.probability, one_case)
    redraw(ready, one_case)
    after = ready.maps.add_volumes()

    assert np.array_equal(on_image(before.probability, one_case), was)
    assert (on_image(after.probability, one_case) != was).any()


def test_slices_that_were_drawn_before_the_session_are_as_drawn(ready, one_case):
    redraw(ready, one_case)
    drawn = ready.segment_mask()[7]
    ready.predict()
    assert [(kept.axis, kept.index) for kept in ready.kept] == [(0, 7)]

    probability = on_image(ready.maps.add_volumes().probability, one_case)

    assert np.array_equal(probability[7], drawn.astype(np.float32))


# ---- over the slice views


class View:
    """A real slice view without a window: what it would draw."""

    def __init__(self, scene, name, background, foreground=None):
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLScene(scene)
        self.logic.AddSliceNode(name)
        self.composite = self.logic.GetSliceCompositeNode()
        self.composite.SetBackgroundVolumeID(background.GetID())
        for volume in filter(None, (background, foreground)):
            show_in_grey(scene, volume)
        if foreground is not None:
            self.composite.SetForegroundVolumeID(foreground.GetID())
            self.composite.SetForegroundOpacity(0.3)
        self.logic.ResizeSliceNode(64, 64)

    def show(self, volume, axis, index):
        """Turn to a slice of a volume and fill the view with it."""
        to_world = volume_ijk_to_world(volume)
        columns = [to_world[:3, c] / np.linalg.norm(to_world[:3, c]) for c in (0, 1, 2)]
        centre = [(SHAPE[0] - 1) / 2] * 3
        centre[2 - axis] = index
        place = (to_world @ [*centre, 1.0])[:3]
        node = self.logic.GetSliceNode()
        node.SetSliceToRASByNTP(*columns[2 - axis], *columns[(3 - axis) % 3], *place, 0)
        self.logic.FitSliceToBackground(64, 64)
        node.JumpSliceByCentering(*place)

    def picture(self):
        """int `[y, x, 3]`."""
        self.logic.UpdatePipeline()
        connection = self.logic.GetImageDataConnection()
        connection.GetProducer().Update()
        image = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(64, 64, -1)[:, :, :3].astype(int)

    def voxels(self, volume):
        """Where each pixel lies on the volume's grid: (k, j, i), `[3, y, x]`."""
        y, x = np.indices((64, 64)).reshape(2, -1)
        xy_to_ras = to_numpy(self.logic.GetSliceNode().GetXYToRAS())
        world = xy_to_ras @ np.stack([x, y, 0 * x, 0 * x + 1.0])
        return (np.linalg.inv(volume_ijk_to_world(volume)) @ world)[:3][::-1].reshape(3, 64, 64)


def show_in_grey(scene, volume):
    """As the application does with each volume."""
    volume.CreateDefaultDisplayNodes()
    grey = slicer.vtkMRMLColorTableNode()
    grey.SetTypeToGrey()
    volume.GetDisplayNode().SetAndObserveColorNodeID(scene.AddNode(grey).GetID())
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevelMinMax(-3, 3)


def test_the_overlay_lies_over_the_view_and_the_users_own_foreground_stays(ready, one_case):
    pet = add_volume(one_case.scene, one_case.source, "PET")
    fused, plain = View(one_case.scene, "Red", one_case.volume, pet), View(one_case.scene, "Green", one_case.volume)
    for view in (fused, plain):
        view.show(one_case.volume, 0, 8)
    before = [view.picture() for view in (fused, plain)]
    assert len(np.unique(before[0])) > 20

    ready.maps.show("uncertainty")

    for view, was in zip((fused, plain), before, strict=True):
        assert (view.picture() != was).any()
    assert fused.composite.GetForegroundVolumeID() == pet.GetID()
    assert fused.composite.GetForegroundOpacity() == pytest.approx(0.3)
    assert plain.composite.GetForegroundVolumeID() is None

    ready.maps.hide()
    for view, was in zip((fused, plain), before, strict=True):
        assert np.array_equal(view.picture(), was)
    assert fused.composite.GetForegroundVolumeID() == pet.GetID()
    assert fused.composite.GetForegroundOpacity() == pytest.approx(0.3)


@pytest.mark.parametrize("axis", [0, 2])
def test_what_the_view_draws_in_colour_is_where_the_image_has_it_and_all_else_is_untouched(
    case, bundle, draw_ellipsoid, axis
):
    logic = started(case, bundle, draw_ellipsoid)
    view = View(case.scene, "Red", case.volume)
    view.show(case.volume, axis, 7)
    was = view.picture()
    drawn = np.zeros((16, 16), bool)
    drawn[2:6, 9:14] = drawn[9:12, 3:5] = True
    logic.edit_slice(7, drawn, case.source.plane_of_axis[axis])
    logic.propagate()

    logic.maps.show("probability")

    coloured = (view.picture() != was).any(2)
    kji = view.voxels(case.volume)
    assert np.abs(kji[axis] - 7).max() < 0.01
    rows, columns = (kji[a] for a in range(3) if a != axis)
    expected = drawn[np.clip(np.round(rows), 0, 15).astype(int), np.clip(np.round(columns), 0, 15).astype(int)]
    sure = (np.abs(rows % 1 - 0.5) > 0.02) & (np.abs(columns % 1 - 0.5) > 0.02)
    sure &= (rows > 0) & (rows < 15) & (columns > 0) & (columns < 15)  # inside the image
    inside, outside = expected & sure, ~_grown(drawn, rows, columns) & sure
    assert inside.sum() > 50
    assert outside.sum() > 500
    assert coloured[inside].all()
    assert not coloured[outside].any()
    logic.close()


def _grown(mask, rows, columns):
    """Where at least one of the four voxels around each place is in a mask: the views interpolate."""
    row, column = np.floor(rows).astype(int), np.floor(columns).astype(int)
    around = [(row + a, column + b) for a in (0, 1) for b in (0, 1)]
    return np.any([mask[np.clip(r, 0, 15), np.clip(c, 0, 15)] for r, c in around], axis=0)


def test_views_of_another_patient_are_left_alone(ready, one_case):
    other = View(one_case.scene, "Yellow", add_volume(one_case.scene, one_case.source, "another CT"))

    ready.maps.show("probability")

    assert other.composite.GetNumberOfAdditionalLayers() == 0


def test_a_view_that_comes_to_show_the_volume_later_gets_it_too_and_no_view_twice(ready, one_case):
    View(one_case.scene, "Red", one_case.volume)
    ready.maps.show("probability")
    later = View(one_case.scene, "Red+", one_case.volume)

    ready.maps.follow()
    ready.maps.follow()

    (overlay,) = overlays(one_case.scene)
    assert later.composite.GetNthLayerVolumeID(3) == overlay.GetID()
    assert later.composite.GetNumberOfAdditionalLayers() == 1


def test_another_extensions_layer_stays(ready, one_case):
    theirs = add_volume(one_case.scene, one_case.source, "dose")
    view = View(one_case.scene, "Red", one_case.volume)
    view.composite.SetNthLayerVolumeID(3, theirs.GetID())

    ready.maps.show("probability")
    assert view.composite.GetNumberOfAdditionalLayers() == 2
    ready.maps.hide()

    assert [view.composite.GetNthLayerVolumeID(3)] == [theirs.GetID()]
    assert view.composite.GetNumberOfAdditionalLayers() == 1


def test_the_overlay_is_filled_anew_in_place_after_a_propagation_and_an_undo(ready, one_case):
    View(one_case.scene, "Red", one_case.volume)
    ready.maps.show("probability")
    (node,) = overlays(one_case.scene)
    first = on_image(node, one_case)
    assert ready.maps.are_up_to_date

    redraw(ready, one_case)
    assert not ready.maps.are_up_to_date
    ready.maps.show("probability")
    assert overlays(one_case.scene) == [node]
    assert np.array_equal(on_image(node, one_case), ready.session.target_probability().on_image(SHAPE))
    assert (on_image(node, one_case) != first).any()

    ready.undo()
    assert not ready.maps.are_up_to_date
    ready.maps.show("probability")
    assert np.array_equal(on_image(node, one_case), first)


@pytest.mark.parametrize("end", ["close_session", "predict", "close"])
def test_it_goes_with_the_session_and_leaves_nothing(ready, one_case, end):
    view = View(one_case.scene, "Red", one_case.volume)
    ready.maps.show("uncertainty")
    ready.maps.hide()
    before = [node.GetID() for node in nodes(one_case.scene)]
    ready.maps.show("uncertainty")
    assert len(nodes(one_case.scene)) == len(before) + 2

    getattr(ready, end)()

    assert ready.maps.shown == ""
    assert {node.GetID() for node in nodes(one_case.scene) if is_overlay_part(node)} == set()
    assert view.composite.GetNumberOfAdditionalLayers() == 0


def is_overlay_part(node):
    return "Overlay" in (node.GetSingletonTag() or "")


def test_a_scene_saved_while_it_is_shown_keeps_the_foreground_and_holds_no_overlay(ready, one_case, tmp_path):
    pet = add_volume(one_case.scene, one_case.source, "PET")
    View(one_case.scene, "Red", one_case.volume, pet)
    ready.maps.show("probability")

    one_case.scene.Commit(str(tmp_path / "saved.mrml"))

    saved = (tmp_path / "saved.mrml").read_text()
    assert f"foregroundVolume:{pet.GetID()}" in saved
    assert saved.count("ContextPropagationOverlay") == 1  # the view's reference, to an ID that no other volume gets
    assert "additionalLayerVolume:vtkMRMLScalarVolumeNodeContextPropagationOverlay" in saved


@pytest.mark.parametrize("with_singletons", [0, 1])
def test_a_closed_scene_and_a_removed_overlay_do_no_harm(ready, one_case, with_singletons):
    View(one_case.scene, "Red", one_case.volume)
    ready.maps.show("probability")
    (node,) = overlays(one_case.scene)
    one_case.scene.RemoveNode(node)
    ready.maps.follow()
    assert not ready.maps.are_up_to_date
    ready.maps.show("probability")
    assert len(overlays(one_case.scene)) == 1

    one_case.scene.Clear(with_singletons)
    ready.maps.follow()
    ready.maps.hide()

    assert overlays(one_case.scene) == []


def test_what_cannot_be_shown_is_refused_in_one_sentence(ready, one_case):
    with pytest.raises(UserInputError, match="'entropy' cannot be shown; choose probability or uncertainty"):
        ready.maps.show("entropy")
    ready.close_session()
    with pytest.raises(UserInputError, match="No image is set"):
        ready.maps.show("probability")
    with pytest.raises(UserInputError, match="No image is set"):
        ready.maps.add_volumes()


def test_the_suggested_slices_begin_with_the_suggested_one(ready, one_case):
    found = ready.suggested_slices()

    assert found[0] == ready.suggested_slice()
    assert len(found) > 1
    assert min(abs(a - b) for n, a in enumerate(found) for b in found[:n]) > ready.session.settings.neighbours
    ready.close_session()
    assert ready.suggested_slices() == []


def test_after_undo_and_redo_the_doubt_of_each_slice_is_again_what_it_was(ready, one_case):
    def doubt():
        return ready.doubt.axis, ready.doubt.per_slice_mm2.tolist()

    states = [doubt()]
    for index in (7, 11):
        redraw(ready, one_case, index)
        states.append(doubt())
    assert states[0] != states[1] != states[2]
    for step, state in ((ready.undo, 1), (ready.undo, 0), (ready.redo, 1), (ready.redo, 2)):
        step()
        assert doubt() == states[state]


def test_a_propagation_that_was_not_applied_leaves_the_doubt_as_it_was(ready, one_case):
    was = ready.doubt
    ready.edit_slice(7, np.roll(ready.segment_mask()[7], 3, 0), one_case.source.plane_of_axis[0])
    pending = ready.propagate_operation().run()
    assert np.array_equal(ready.doubt.per_slice_mm2, was.per_slice_mm2)

    ready.discard(pending)
    assert np.array_equal(ready.doubt.per_slice_mm2, was.per_slice_mm2)
    ready.apply(ready.propagate_operation().run())
    assert ready.doubt.per_slice_mm2[7] == 0 < was.per_slice_mm2[7]


def test_nothing_is_shown_of_a_session_that_ended_while_it_was_computed(ready, one_case):
    View(one_case.scene, "Red", one_case.volume)
    operation = ready.maps.show_operation("probability")
    computed = operation.compute(lambda stage, fraction: None, lambda: False)
    ready.close_session()

    operation.finish(computed)

    assert ready.maps.shown == ""
    assert overlays(one_case.scene) == []
