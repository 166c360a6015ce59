"""One map between a volume's array and the network's axes; expectations worked by hand, or SimpleITK's."""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.axis_map import AxisMap, axes_towards, turned_volume
from context_propagation.core.image.boxes import bounding_box, slices_of
from context_propagation.core.image.source_volume import SourceVolume

ORIENTATIONS = ["".join(letters) for axes in permutations(("RL", "AP", "IS")) for letters in product(*axes)]

MAPS = st.builds(
    lambda order, flipped: AxisMap(tuple(order), flipped),
    st.permutations([0, 1, 2]),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)


def image(size=(4, 3, 2), spacing=(1.0, 1.0, 1.0), direction=None) -> sitk.Image:
    made = sitk.GetImageFromArray(np.arange(np.prod(size), dtype=np.float32).reshape(size[::-1]))
    made.SetSpacing(spacing)
    if direction is not None:
        made.SetDirection(np.ravel(direction).tolist())
    return made


def rotation_about_superior(degrees: float) -> np.ndarray:
    a = np.deg2rad(degrees)
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])


@given(turn=MAPS, shape=st.tuples(*[st.integers(1, 4)] * 4))
def test_undoing_a_map_gives_the_array_back(turn, shape):
    array = np.arange(np.prod(shape)).reshape(shape)

    assert np.array_equal(turn.undo(turn.apply(array)), array)
    assert np.array_equal(turn.undo(turn.apply(array[0])), array[0])


def test_a_map_by_hand():
    array = np.arange(6).reshape(1, 2, 3)
    turn = AxisMap(order=(2, 0, 1), flipped=(False, False, True))

    # new k is old i, new j is old k, new i is old j, backwards
    assert turn.apply(array).tolist() == [[[3, 0]], [[4, 1]], [[5, 2]]]


def test_shape_voxel_size_and_slices_go_with_their_axes_by_hand():
    turn = AxisMap(order=(2, 0, 1), flipped=(False, False, True))

    assert turn.per_axis((20, 30, 40)) == (40, 20, 30)  # k, j, i
    assert turn.per_axis((3.0, 0.75, 0.5)) == (0.5, 3.0, 0.75)
    assert turn.slices(0, [4, 7], 20) == (1, [4, 7])
    assert turn.slices(1, [4, 7], 30) == (2, [25, 22])  # old j is the new i, backwards
    assert turn.slices(2, [4], 40) == (0, [4])


@given(turn=MAPS, axis=st.integers(0, 2), data=st.data())
def test_a_slice_holds_the_same_voxels_on_both_sides(turn, axis, data):
    array = np.arange(2 * 3 * 5).reshape(2, 3, 5)
    index = data.draw(st.integers(0, array.shape[axis] - 1))

    new_axis, (new_index,) = turn.slices(axis, [index], array.shape[axis])

    assert set(turn.apply(array).take(new_index, new_axis).ravel()) == set(array.take(index, axis).ravel())


@given(first=MAPS, second=MAPS)
def test_two_maps_after_each_other_are_one(first, second):
    array = np.arange(2 * 3 * 5).reshape(2, 3, 5)

    both = first.then(second)

    assert np.array_equal(both.apply(array), second.apply(first.apply(array)))
    assert both.per_axis((2, 3, 5)) == both.apply(array).shape


def test_without_an_orientation_arrays_stay_as_they_are():
    volume = SourceVolume.from_sitk([image(direction=np.diag([-1.0, 1.0, -1.0]))])

    assert axes_towards(volume, None) == AxisMap()
    assert np.shares_memory(AxisMap().apply(volume.channels), volume.channels)


@settings(deadline=None)
@given(turn=MAPS)
def test_a_turned_volume_has_each_voxel_at_its_place_in_the_patient(turn):
    tilt = rotation_about_superior(25)
    volume = SourceVolume.from_sitk([image((5, 4, 3), (0.5, 0.75, 3.0), tilt)])

    turned = turned_volume(volume, turn)

    assert turned.spacing_kji_mm == pytest.approx(turn.per_axis(volume.spacing_kji_mm))
    for kji in np.ndindex(*volume.shape_kji):
        marked = np.zeros(volume.shape_kji, bool)
        marked[kji] = True
        (there,) = np.argwhere(turn.apply(marked))
        assert turned.channels[0][tuple(there)] == volume.channels[0][kji]
        places = [v.ijk_to_lps @ [*at[::-1], 1] for v, at in ((turned, there), (volume, kji))]
        assert places[0] == pytest.approx(places[1])


@pytest.mark.quick(wanted=("LPS", "PIR"))
@pytest.mark.parametrize("wanted", ["LPS", "RAS", "SAL", "PIR"])
@pytest.mark.parametrize("given_orientation", ORIENTATIONS)
def test_the_map_equals_that_of_sitk(given_orientation, wanted):
    source = sitk.DICOMOrient(image((5, 4, 3), (1.0, 2.0, 3.0)), given_orientation)

    turned = axes_towards(SourceVolume.from_sitk([source]), wanted).apply(sitk.GetArrayFromImage(source))

    assert np.array_equal(turned, sitk.GetArrayFromImage(sitk.DICOMOrient(source, wanted)))


def test_the_map_of_an_oblique_image_equals_that_of_sitk():
    tilt = rotation_about_superior(25) @ np.array([[0, 0, 1], [-1, 0, 0], [0, 1, 0]], float)
    source = image((5, 4, 3), direction=tilt)

    turned = axes_towards(SourceVolume.from_sitk([source]), "LPS").apply(sitk.GetArrayFromImage(source))

    assert np.array_equal(turned, sitk.GetArrayFromImage(sitk.DICOMOrient(source, "LPS")))


@pytest.mark.parametrize("orientation", ["LP", "LLS", "XYZ", "LRS", ""])
def test_an_unknown_orientation_is_named(orientation):
    with pytest.raises(UserInputError, match=f"'{orientation}'; give three letters"):
        axes_towards(SourceVolume.from_sitk([image()]), orientation)


@given(turn=MAPS, data=st.data())
def test_a_box_holds_the_same_voxels_on_both_sides(turn, data):
    shape = (4, 5, 6)
    spans = [
        data.draw(st.tuples(st.integers(0, n - 1), st.integers(1, n)).filter(lambda s: s[0] < s[1])) for n in shape
    ]
    mask = np.zeros(shape, bool)
    mask[slices_of(tuple(spans))] = True
    turned = turn.apply(mask)

    box = turn.apply_box(tuple(spans), shape)

    assert box == bounding_box(turned)
    assert turn.undo_box(box, turned.shape) == tuple(spans)


@given(turn=MAPS)
def test_what_is_written_into_the_undone_view_is_in_the_array(turn):
    array = np.zeros((4, 5, 6), int)
    undone = turn.undone(array)
    undone[...] = np.arange(array.size).reshape(undone.shape)

    assert np.array_equal(turn.undo(array), undone)
    assert len(np.unique(array)) == array.size
