"""Copies with even slices of what Slicer puts under an acquisition transform, in a real scene."""

import numpy as np
import pytest
import slicer
import vtk

from acquired_volumes import AXIAL, DIRECTIONS, THREE_AND_FIVE, add_acquired, put_under_grid, slice_positions
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.even_slices import acquired_volume
from context_propagation.mrml.nodes.scenes import new_scene
from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation, segment_mask
from context_propagation.mrml.nodes.volume_nodes import add_volume, deferred_source_volume, volume_array
from context_propagation.mrml.nodes.world_matrices import RAS_TO_LPS, to_vtk, volume_ijk_to_world
from context_propagation.mrml.pet_alignment import align_operation

ROWS, COLUMNS = 7, 6
SHAPE = (len(THREE_AND_FIVE) + 1, ROWS, COLUMNS)
ORIGIN = np.array([20.0, 30.0, -70.0])
SLOPE = np.array([0.5, -2.0, 3.0])
"""Of an image that is linear in the world: its value at a point (RAS) is the product."""


def only_mask(node, volume):
    """The only segment on a volume's grid."""
    return segment_mask(node, node.GetSegmentation().GetNthSegmentID(0), volume)


def places(ijk_to_world, shape):
    """World coordinates `[K, J, I, 3]` of voxels."""
    k, j, i = np.indices(shape)
    return np.stack([i, j, k, np.ones_like(i)], axis=-1) @ ijk_to_world[:3].T


def true_places(directions=AXIAL, distances=THREE_AND_FIVE, spacing_ij=(1.5, 2.0)):
    """Where the scanner put the voxels, by hand."""
    k, j, i = np.indices((len(distances) + 1, ROWS, COLUMNS))
    steps = np.stack([i * spacing_ij[0], j * spacing_ij[1], slice_positions(distances)[k]], axis=-1)
    return ORIGIN + steps @ directions.T


@pytest.fixture
def logic():
    logic = ContextPropagationLogic(new_scene())
    yield logic
    logic.close()


def linear_ct(scene, directions=AXIAL, distances=THREE_AND_FIVE, **more):
    return add_acquired(scene, true_places(directions, distances) @ SLOPE, distances, directions, **more)


@pytest.mark.parametrize("directions", DIRECTIONS.values(), ids=DIRECTIONS)
def test_each_voxel_of_the_copy_has_the_value_of_its_place(logic, directions):
    ct = linear_ct(logic.scene, directions)

    copy = logic.even_slices_operation(ct).run().volume_node

    assert copy.GetParentTransformNode() is None
    assert volume_array(copy).shape == (11, ROWS, COLUMNS)  # 30 mm in steps of 3
    matrix = volume_ijk_to_world(copy)
    assert matrix[:3, :3] == pytest.approx(directions * (1.5, 2.0, 3.0), abs=1e-6)
    assert volume_array(copy) == pytest.approx(places(matrix, (11, ROWS, COLUMNS)) @ SLOPE, abs=1e-3)


@pytest.mark.parametrize("directions", DIRECTIONS.values(), ids=DIRECTIONS)
def test_acquired_slices_on_the_copy_keep_their_voxels_and_their_place(logic, directions):
    voxels = np.random.default_rng(2).integers(-1000, 3000, SHAPE)
    ct = add_acquired(logic.scene, voxels, directions=directions)

    copy = logic.even_slices_operation(ct).run().volume_node

    # acquired at 0, 3, 6, 9, 12, 15, 20, 25, 30; even at 0, 3, ..., 30
    of_copy, of_ct = [0, 1, 2, 3, 4, 5, 10], [0, 1, 2, 3, 4, 5, 8]
    assert (volume_array(copy)[of_copy] == voxels[of_ct]).all()
    assert places(volume_ijk_to_world(copy), (11, ROWS, COLUMNS))[of_copy] == pytest.approx(
        true_places(directions)[of_ct], abs=1e-6
    )


def test_the_volume_stays_as_it_is_and_the_copy_looks_alike(logic):
    ct = linear_ct(logic.scene)
    ct.GetDisplayNode().SetAutoWindowLevel(False)
    ct.GetDisplayNode().SetWindowLevel(350, 40)
    before = volume_array(ct).copy(), ct.GetParentTransformNode(), ct.GetImageData().GetMTime()

    copy = logic.even_slices_operation(ct).run().volume_node

    assert (volume_array(ct) == before[0]).all()
    assert (ct.GetParentTransformNode(), ct.GetImageData().GetMTime()) == before[1:]
    assert copy.GetName() == "CT, even slices"
    assert (copy.GetDisplayNode().GetWindow(), copy.GetDisplayNode().GetLevel()) == (350, 40)


def test_what_changes_is_said_before_and_after(logic):
    ct = linear_ct(logic.scene)
    change = "11 slices 3 mm apart in place of 9: 7 as they were acquired, 4 computed from the two beside them"

    assert logic.even_slices_change(ct) == (
        "'CT' has slices 3 mm apart (slices 0 to 5) and 5 mm apart (slices 5 to 8). "
        f"A copy is made with {change}. 'CT' stays as it is."
    )
    assert logic.even_slices_operation(ct).run().message == f"'CT, even slices' was made with {change}."


def test_a_linear_transform_around_it_goes_on_moving_the_copy(logic):
    ct = linear_ct(logic.scene)
    matrix = to_vtk(np.array([[0, -1, 0, 4.0], [1, 0, 0, 5], [0, 0, 1, 6], [0, 0, 0, 1]]))
    outer = logic.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    outer.SetMatrixTransformToParent(matrix)
    ct.GetParentTransformNode().SetAndObserveTransformNodeID(outer.GetID())

    copy = logic.even_slices_operation(ct).run().volume_node

    assert copy.GetParentTransformNode() is outer
    i, j, k = 2, 3, 4
    x, y, z = true_places()[k, j, i]
    assert places(volume_ijk_to_world(copy), (11, ROWS, COLUMNS))[k, j, i] == pytest.approx((4 - y, 5 + x, 6 + z))


def test_a_series_that_was_saved_and_loaded_again_gives_the_same_copy(logic, tmp_path):
    ct = linear_ct(logic.scene, DIRECTIONS["oblique"])
    first = volume_array(logic.even_slices_operation(ct).run().volume_node).copy()
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(str(tmp_path / "acquisition.h5"))
    assert storage.WriteData(ct.GetParentTransformNode())
    loaded = logic.scene.AddNewNodeByClass("vtkMRMLTransformNode")
    assert storage.ReadData(loaded)

    ct.SetAndObserveTransformNodeID(loaded.GetID())

    assert volume_array(logic.even_slices_operation(ct).run().volume_node) == pytest.approx(first, abs=1e-4)


def test_distances_that_differ_by_rounding_alone_keep_every_voxel(logic):
    distances = np.diff(np.round(np.arange(9) * 1.25, 1))
    voxels = np.random.default_rng(5).integers(-1000, 3000, SHAPE)
    ct = add_acquired(logic.scene, voxels, distances)

    made = logic.even_slices_operation(ct).run()

    assert (volume_array(made.volume_node) == voxels).all()
    assert made.message == "'CT, even slices' was made with 9 slices 1.25 mm apart, all as they were acquired."


# -- segmentations


def drawn_masks():
    """GTV on slices in both parts and CTV around it, no two slices alike."""
    gtv = np.zeros(SHAPE, bool)
    for k in range(3, 8):
        gtv[k, 1 : k - 1, 2:4] = True
    ctv = np.roll(gtv, 1, axis=2) | gtv
    return {"GTV": gtv, "CTV": ctv}


def drawn_on(ct):
    """A segmentation under the acquisition transform, with both."""
    node = add_segmentation(ct.GetScene(), ct, "Contours")
    for number, (name, mask) in enumerate(drawn_masks().items()):
        segment = add_segment_from_mask(node, mask, ct, name, (0.2, 0.4, number * 0.5))
        node.GetSegmentation().GetSegment(segment).SetTag("DicomRtImport.RoiNumber", str(number))
    return node


@pytest.mark.parametrize("directions", DIRECTIONS.values(), ids=DIRECTIONS)
def test_drawn_slices_that_lie_on_even_ones_are_exact_in_the_copy(logic, directions):
    ct = linear_ct(logic.scene, directions)
    node = drawn_on(ct)

    made = logic.even_slices_operation(ct, node).run()

    copy = made.segmentation_node
    assert copy.GetParentTransformNode() is None
    assert copy.GetName() == "Contours, even slices"
    for segment_id, drawn in zip(copy.GetSegmentation().GetSegmentIDs(), drawn_masks().values(), strict=True):
        on_copy = segment_mask(copy, segment_id, made.volume_node)
        assert (on_copy[[0, 1, 2, 3, 4, 5, 10]] == drawn[[0, 1, 2, 3, 4, 5, 8]]).all()
        assert (on_copy[[6, 7, 8, 9]] == drawn[[6, 6, 7, 7]]).all()  # 18, 21, 24, 27 mm; acquired at 20 and 25
    assert made.message.endswith(
        "'Contours, even slices' was made of 'Contours': each slice takes the contours of the nearest acquired slice."
    )


def test_names_colours_and_tags_of_segments_are_kept_and_the_segmentation_stays(logic):
    ct = linear_ct(logic.scene)
    node = drawn_on(ct)
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    before = [segment_mask(node, segment_id, ct) for segment_id in node.GetSegmentation().GetSegmentIDs()]

    copy = logic.even_slices_operation(ct, node).run().segmentation_node.GetSegmentation()

    segments = [copy.GetNthSegment(n) for n in range(2)]
    assert [one.GetName() for one in segments] == ["GTV", "CTV"]
    assert segments[1].GetColor() == pytest.approx((0.2, 0.4, 0.5))
    assert segments[1].GetTag("DicomRtImport.RoiNumber", vtk.reference("")) is True
    after = [segment_mask(node, segment_id, ct) for segment_id in node.GetSegmentation().GetSegmentIDs()]
    assert all((a == b).all() for a, b in zip(after, before, strict=True))
    assert [m.sum() for m in after] == [m.sum() for m in drawn_masks().values()]


def test_a_segmentation_under_no_transform_is_in_place_and_handed_back(logic):
    ct = linear_ct(logic.scene)
    transform_id = ct.GetTransformNodeID()
    ct.SetAndObserveTransformNodeID(None)
    node = add_segmentation(logic.scene, ct, "Drawn in Slicer")  # as the Segment Editor makes it on such a volume
    add_segment_from_mask(node, drawn_masks()["GTV"], ct, "GTV")
    ct.SetAndObserveTransformNodeID(transform_id)

    assert "'Drawn in Slicer' is in place already and is not copied." in logic.even_slices_change(ct, node)
    made = logic.even_slices_operation(ct, node).run()

    assert made.segmentation_node is node
    assert made.message.endswith("'Drawn in Slicer' is in place already and was not copied.")


def test_contours_come_back_on_the_acquired_slices_as_they_were_drawn(logic):
    ct = linear_ct(logic.scene, DIRECTIONS["oblique"])
    made = logic.even_slices_operation(ct, drawn_on(ct)).run()

    back = logic.acquired_slices_operation(made.segmentation_node, made.volume_node).run()

    assert back.GetName() == "Contours, acquired slices"
    assert back.GetParentTransformNode() is ct.GetParentTransformNode()
    for segment_id, drawn in zip(back.GetSegmentation().GetSegmentIDs(), drawn_masks().values(), strict=True):
        assert (segment_mask(back, segment_id, ct) == drawn).all()


def test_what_is_redrawn_on_an_even_slice_comes_back_on_the_acquired_slice_next_to_it(logic):
    ct = linear_ct(logic.scene)
    copy = logic.even_slices_operation(ct).run().volume_node
    node = add_segmentation(logic.scene, copy, "New")
    mask = np.zeros((11, ROWS, COLUMNS), bool)
    for k in range(11):
        mask[k, : 1 + k % ROWS, k % COLUMNS] = True
    add_segment_from_mask(node, mask, copy, "GTV")

    back = logic.acquired_slices_operation(node, copy).run()

    # acquired at 0, 3, 6, 9, 12, 15, 20, 25, 30 mm: next to 20 lies 21, next to 25 lies 24
    assert (only_mask(back, ct) == mask[[0, 1, 2, 3, 4, 5, 7, 8, 10]]).all()


def test_a_saved_scene_knows_what_a_copy_was_made_of(logic, tmp_path):
    logic.even_slices_operation(linear_ct(logic.scene)).run()
    for scene in (logic.scene, loaded := new_scene()):
        scene.SetURL(str(tmp_path / "scene.mrml"))
    assert logic.scene.Commit()
    assert loaded.Import()

    copy = loaded.GetFirstNodeByName("CT, even slices")
    assert acquired_volume(copy).GetName() == "CT"
    assert acquired_volume(copy).GetScene() is loaded


def test_a_segment_without_voxels_is_copied_as_that(logic):
    ct = linear_ct(logic.scene)
    node = add_segmentation(logic.scene, ct, "Contours")
    add_segment_from_mask(node, np.zeros(SHAPE, bool), ct, "GTV")

    made = logic.even_slices_operation(ct, node).run()

    assert not only_mask(made.segmentation_node, made.volume_node).any()


def test_cancelling_leaves_the_scene_as_it_was(logic):
    ct = linear_ct(logic.scene)
    before = logic.scene.GetNumberOfNodes()

    with pytest.raises(Cancelled):
        logic.even_slices_operation(ct).run(cancelled=lambda: True)

    assert logic.scene.GetNumberOfNodes() == before


@pytest.mark.parametrize("back", [False, True])
def test_segments_are_read_and_written_one_at_a_time_and_what_was_begun_is_taken_back(logic, back):
    ct = linear_ct(logic.scene)
    node = drawn_on(ct)
    count = node.GetSegmentation().GetNumberOfSegments()
    if back:
        made = logic.even_slices_operation(ct, node).run()
        operation = logic.acquired_slices_operation(made.segmentation_node, made.volume_node)
    else:
        operation = logic.even_slices_operation(ct, node)
    before = logic.scene.GetNumberOfNodes()

    assert count > 1
    assert sum(1 for _ in operation.read()) == count
    writing = operation.write(operation.compute(lambda stage, fraction: None, lambda: False))
    next(writing)
    assert logic.scene.GetNumberOfNodes() > before
    assert sum(1 for _ in writing) == (count - 1 if back else count)  # there the first part was the volume
    operation.abandon()

    assert logic.scene.GetNumberOfNodes() == before
    operation.run()
    assert logic.scene.GetNumberOfNodes() > before


def test_what_is_deleted_meanwhile_is_told_and_nothing_is_made(logic):
    ct = linear_ct(logic.scene)
    node = drawn_on(ct)
    made = logic.even_slices_operation(ct, node).run()
    there = logic.even_slices_operation(ct, node)
    back = logic.acquired_slices_operation(made.segmentation_node, made.volume_node)
    for deleted in (node, made.segmentation_node):
        logic.scene.RemoveNode(deleted)
    before = logic.scene.GetNumberOfNodes()

    for operation, name in ((there, "Contours"), (back, "Contours, even slices")):
        with pytest.raises(UserInputError, match=f"'{name}' was deleted meanwhile"):
            operation.run()
    assert logic.scene.GetNumberOfNodes() == before


# -- a second channel


def test_a_pet_beside_it_is_aligned_with_the_copy(logic):
    copy = logic.even_slices_operation(linear_ct(logic.scene)).run().volume_node
    matrix = np.eye(4)
    matrix[:3, :3] = AXIAL * (4.0, 4.0, 4.0)
    matrix[:3, 3] = ORIGIN + AXIAL @ (-10, -10, -10)
    values = places(matrix, (15, 12, 12)) @ SLOPE
    pet = add_volume(logic.scene, SourceVolume(values.astype(np.float32)[None], RAS_TO_LPS @ matrix), "PET")

    aligned, _ = align_operation(logic.scene, copy, pet, registers=False).run()

    assert volume_array(aligned) == pytest.approx(volume_array(copy), abs=1e-3)


def test_a_pet_under_the_same_transform_has_a_copy_on_the_same_grid(logic):
    ct = linear_ct(logic.scene)
    pet = add_acquired(logic.scene, np.arange(np.prod(SHAPE)).reshape(SHAPE), name="PET")
    pet.SetAndObserveTransformNodeID(ct.GetTransformNodeID())

    copies = [logic.even_slices_operation(node).run().volume_node for node in (ct, pet)]

    assert deferred_source_volume(copies)().channels.shape == (2, 11, ROWS, COLUMNS)


# -- refused


def test_a_volume_under_such_a_transform_is_refused_with_what_to_press(logic):
    with pytest.raises(
        UserInputError, match="'CT' is under .* lie unevenly in their places; press Make even slices in"
    ):
        deferred_source_volume([linear_ct(logic.scene)])


def test_a_tilted_gantry_is_refused_by_name(logic):
    ct = add_acquired(logic.scene, np.zeros(SHAPE), tilt=np.tan(np.radians(10)))

    # 30 mm along the normal at 10 degrees: 5.29 mm sideways
    with pytest.raises(UserInputError, match=r"shifted sideways, by up to 5.29 mm \(gantry tilt\?\).*; harden the"):
        logic.even_slices_operation(ct)


def test_slices_that_are_stretched_are_refused(logic):
    ct = add_acquired(logic.scene, np.zeros(SHAPE))
    moves = np.zeros((SHAPE[0], 2, 2, 3))
    moves[4, :, 1, 0] = 3.0  # at one voxel beyond the last one: 3 * 5 / 6 mm at the last one
    put_under_grid(logic.scene, ct, moves)

    with pytest.raises(UserInputError, match=r"turned or stretched, by up to 2.5 mm.*; harden the transform"):
        logic.even_slices_operation(ct)


def test_a_registration_result_is_no_acquisition_transform(logic):
    ct = linear_ct(logic.scene)
    grid = vtk.vtkImageData()
    grid.SetDimensions(5, 5, 5)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(grid)
    ct.GetParentTransformNode().SetAndObserveTransformToParent(transform)

    with pytest.raises(UserInputError, match="is under no acquisition transform"):
        logic.even_slices_operation(ct)
    with pytest.raises(UserInputError, match="which is not linear; harden it on the node"):
        deferred_source_volume([ct])


def test_a_segmentation_under_another_transform_is_refused(logic):
    ct, other = linear_ct(logic.scene), linear_ct(logic.scene, name="other CT")
    node = add_segmentation(logic.scene, other, "Elsewhere")

    for ask in (logic.even_slices_change, logic.even_slices_operation):
        with pytest.raises(UserInputError, match="'Elsewhere' is under the transform 'other CT acquisition transform'"):
            ask(ct, node)


def test_the_way_back_is_refused_where_the_transform_is_gone(logic):
    ct = linear_ct(logic.scene)
    made = logic.even_slices_operation(ct, drawn_on(ct)).run()
    ct.SetAndObserveTransformNodeID(None)

    with pytest.raises(UserInputError, match="'CT' is not under its acquisition transform any more"):
        logic.acquired_slices_operation(made.segmentation_node, made.volume_node)


def test_a_volume_that_is_no_copy_has_no_acquired_slices_to_go_back_to(logic):
    ct = linear_ct(logic.scene)
    node = add_segmentation(logic.scene, ct, "Contours")

    with pytest.raises(UserInputError, match="Volume 'CT' was not made by Make even slices"):
        logic.acquired_slices_operation(node, ct)
