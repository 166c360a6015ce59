"""Labelmaps and segments on another grid than the image: what is drawn on it stays, and nothing else is lost."""

import numpy as np
import pytest
import SimpleITK as sitk

from ball_images import ORIGIN, SHAPE_KJI, SPACING
from grid_oracle import nearest_image_voxels

pytestmark = pytest.mark.usefixtures("models_loaded_once")

ORGAN = 2
IMAGE_TO_WORLD = np.diag([*SPACING, 1.0])
IMAGE_TO_WORLD[:3, 3] = ORIGIN


class Labels:
    """A target and an organ on a grid of their own, and one slice of the target redrawn.

    Args:
        ratio: Voxel size by that of the image, along k, j, i.
        offset: Of the grid's middle, in image voxels, k, j, i.
        degrees: By how much it is turned about k.
    """

    def __init__(self, ratio=(1, 1, 1), offset=(0, 0, 0), degrees=0.0):
        self.shape = tuple(int(n / r) + 2 for n, r in zip(SHAPE_KJI, ratio, strict=True))
        angle = np.radians(degrees)
        self.turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        self.spacing = np.array(SPACING) * ratio[::-1]
        middle = ((np.array(SHAPE_KJI) - 1) / 2 + offset)[::-1]
        self.to_world = np.eye(4)
        self.to_world[:3, :3] = self.turn * self.spacing
        centre = IMAGE_TO_WORLD[:3, :3] @ middle + IMAGE_TO_WORLD[:3, 3]
        self.to_world[:3, 3] = centre - self.to_world[:3, :3] @ ((np.array(self.shape) - 1) / 2)[::-1]
        k, j, i = np.indices(self.shape).reshape(3, -1)
        world = self.to_world @ np.vstack([i, j, k, np.ones(k.size)])
        self.kji = (np.linalg.inv(IMAGE_TO_WORLD) @ world)[2::-1]
        self.nearest = nearest_image_voxels(self.to_world, self.shape, IMAGE_TO_WORLD, SHAPE_KJI)
        self.index = int(np.argmin(np.abs(np.arange(self.shape[0]) - self.shape[0] / 2)))
        self.initial = self.ball((9.5, 11.5, 13.5), (5, 6, 7)).astype(np.uint8)
        self.initial[self.ball((9.5, 11.5, 24), (7, 6, 3)) & (self.initial == 0)] = ORGAN
        self.edited = self.initial.copy()
        drawn, slice_ = self.ball((9.5, 13.5, 11.5), (9, 6, 5))[self.index], self.edited[self.index]
        slice_[(slice_ != ORGAN)] = drawn[slice_ != ORGAN]

    def ball(self, centre, radii):
        distance = [((p - c) / r) ** 2 for p, c, r in zip(self.kji, centre, radii, strict=True)]
        return (sum(distance) <= 1).reshape(self.shape)

    def save(self, path, labels):
        image = sitk.GetImageFromArray(labels)
        image.SetSpacing(self.spacing.tolist())
        image.SetOrigin(self.to_world[:3, 3].tolist())
        image.SetDirection(self.turn.ravel().tolist())
        sitk.WriteImage(image, str(path))
        return path

    def read(self, path):
        """A file's voxels over this grid; it must lie on the same lattice, and may be larger or smaller."""
        image = sitk.ReadImage(str(path))
        assert np.allclose(image.GetSpacing(), self.spacing)
        assert np.allclose(np.reshape(image.GetDirection(), (3, 3)), self.turn, atol=1e-6)
        start = np.array(image.TransformPhysicalPointToContinuousIndex(self.to_world[:3, 3].tolist()))[::-1]
        assert np.allclose(start, np.round(start), atol=1e-3)
        voxels, found = sitk.GetArrayFromImage(image), np.zeros(self.shape, int)
        own, theirs = [], []
        for first, size, there in zip(np.round(start).astype(int), self.shape, voxels.shape, strict=True):
            own.append(slice(max(0, -first), min(size, there - first)))
            theirs.append(slice(max(0, first), min(there, first + size)))
        found[tuple(own)] = voxels[tuple(theirs)]
        return found


GRIDS = {
    "half a voxel off": {"offset": (0.5, 0.5, 0.5)},
    "twice finer": {"ratio": (0.5, 0.5, 0.5)},
    "three times finer in the plane": {"ratio": (1, 1 / 3, 1 / 3), "offset": (0.5, 0, 0)},
    "finer along k, coarser in the plane": {"ratio": (1 / 3, 2, 2)},
    "turned about k": {"degrees": 30.0, "offset": (0.25, 0, 0)},
}


@pytest.mark.quick(name=("three times finer in the plane", "turned about k"))
@pytest.mark.parametrize("name", GRIDS)
def test_a_labelmap_is_written_on_its_own_grid_and_what_was_drawn_stays(name, run, propagate_arguments, tmp_path):
    labels = Labels(**GRIDS[name])
    output = tmp_path / "out.nrrd"
    where = {"initial": labels.save(tmp_path / "a.nrrd", labels.initial), "output": output}
    where["edited"] = labels.save(tmp_path / "b.nrrd", labels.edited)

    outcome = run(*propagate_arguments(**where))

    assert outcome.code == 0, outcome.err
    after = labels.read(output)
    assert np.array_equal(after[labels.index], labels.edited[labels.index])
    assert np.array_equal(after == ORGAN, labels.edited == ORGAN)
    flipped = after != labels.edited
    assert flipped.any()
    check_each_changed_voxel_is_as_its_image_voxel(labels, after, flipped)


def check_each_changed_voxel_is_as_its_image_voxel(labels, after, flipped):
    """All voxels nearest to one image voxel are alike where that one changed, drawn voxels and other organs apart."""
    free = labels.nearest.on_image & ~labels.nearest.tied.any(axis=0) & (labels.edited != ORGAN)
    free[labels.index] = False
    home = np.ravel_multi_index([np.where(free, n, 0) for n in labels.nearest.kji], SHAPE_KJI)
    value = {int(v): bool(a) for v, a in zip(home[free & flipped], after[free & flipped], strict=True)}
    same_home = free & np.isin(home, list(value))
    assert all(bool(a) == value[int(v)] for v, a in zip(home[same_home], after[same_home], strict=True))


def test_corrections_on_slices_that_are_not_named_stay_voxel_by_voxel(run, propagate_arguments, tmp_path):
    labels = Labels(ratio=(1 / 3, 1 / 3, 1 / 3))
    rng = np.random.default_rng(0)
    by_hand = np.zeros(labels.shape, bool)
    by_hand[labels.index + 4] = (rng.random(labels.shape[1:]) < 0.05) & (labels.initial[labels.index + 4] == 1)
    labels.edited[by_hand] = 0
    named = int(labels.nearest.kji[0][labels.index, 0, 0])
    where = {"initial": labels.save(tmp_path / "a.nrrd", labels.initial), "output": tmp_path / "out.nrrd"}
    where["edited"] = labels.save(tmp_path / "b.nrrd", labels.edited)

    outcome = run(*propagate_arguments(**where, slices=str(named), plane="axial"))

    assert outcome.code == 0, outcome.err
    assert "are kept and not propagated" in outcome.err
    after = labels.read(tmp_path / "out.nrrd")
    assert by_hand.sum() > 50
    assert not after[by_hand].any()
    assert np.array_equal(after[labels.index], labels.edited[labels.index])


def test_each_of_two_thin_slices_of_one_image_slice_may_be_redrawn(run, propagate_arguments, tmp_path):
    labels = Labels(ratio=(0.5, 0.5, 0.5))
    before = labels.save(tmp_path / "a.nrrd", labels.initial)
    redrawn = labels.edited[labels.index]
    for index in (labels.index, labels.index + 1):
        edited = labels.initial.copy()
        edited[index] = np.where(edited[index] == ORGAN, ORGAN, redrawn == 1)
        where = {"initial": before, "edited": labels.save(tmp_path / "b.nrrd", edited), "output": tmp_path / "out.nrrd"}

        assert run(*propagate_arguments(**where)).code == 0

        assert np.array_equal(labels.read(where["output"])[index], edited[index])


def test_a_labelmap_that_is_smaller_than_the_image_grows_where_propagation_adds(run, propagate_arguments, tmp_path):
    labels = Labels()
    grid = np.argwhere(labels.edited == 1)
    (k0, j0, i0), (k1, j1, i1) = grid.min(axis=0), grid.max(axis=0) + 1
    paths = []
    for name, voxels in (("a", labels.initial), ("b", labels.edited)):
        image = sitk.ReadImage(str(labels.save(tmp_path / f"{name}.nrrd", voxels)))
        cropped = image[int(i0) : int(i1), int(j0) : int(j1), int(k0) : int(k1)]
        sitk.WriteImage(cropped, str(tmp_path / f"{name}.nrrd"))
        paths.append(tmp_path / f"{name}.nrrd")
    output = tmp_path / "out.nrrd"

    assert run(*propagate_arguments(initial=paths[0], edited=paths[1], output=output)).code == 0

    cropped, written = sitk.ReadImage(str(paths[1])), sitk.ReadImage(str(output))
    assert all(a >= b for a, b in zip(written.GetSize(), cropped.GetSize(), strict=True))
    start = written.TransformPhysicalPointToIndex(cropped.GetOrigin())
    box = [slice(s, s + n) for s, n in zip(start, cropped.GetSize(), strict=True)]
    same = sitk.GetArrayFromImage(written)[tuple(box[::-1])]
    drawn = labels.index - int(k0)
    assert np.array_equal(same[drawn], sitk.GetArrayFromImage(cropped)[drawn])


def test_a_segment_on_a_finer_grid_keeps_it_in_both_kinds_of_file(run, propagate_arguments, tmp_path):
    storage = pytest.importorskip("context_propagation.mrml.nodes.segmentation_storage")
    from context_propagation.core.image.source_volume import SourceVolume

    labels = Labels(ratio=(0.5, 0.5, 0.5))
    to_lps = SourceVolume(np.zeros((1, *labels.shape), np.float32), labels.to_world)
    where = {}
    for name, voxels in (("initial", labels.initial), ("edited", labels.edited)):
        where[name] = tmp_path / f"{name}.seg.nrrd"
        storage.write_seg_nrrd(where[name], [storage.NamedMask(voxels == 1, "GTV")], to_lps)

    for output in (tmp_path / "out.nrrd", tmp_path / "out.seg.nrrd"):
        assert run(*propagate_arguments(**where, output=output)).code == 0

    as_labelmap = labels.read(tmp_path / "out.nrrd")
    assert np.array_equal(as_labelmap[labels.index], labels.edited[labels.index] == 1)
    voxels = sitk.ReadImage(str(tmp_path / "out.seg.nrrd"))
    assert np.allclose(voxels.GetSpacing(), labels.spacing)
    assert sitk.GetArrayFromImage(voxels).sum() == as_labelmap.sum()
