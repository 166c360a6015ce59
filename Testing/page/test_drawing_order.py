"""NiiVue draws on its own reordered grid: the way there and back is exact, on the real NiiVue under Node."""

import base64
import json
from itertools import permutations, product

import nibabel
import numpy as np
import pytest

from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.page.downloads import nifti
from node_page import run_node
from oblique_files import DIRECTIONS

SHAPE_KJI = 4, 6, 5


def directions():
    """All 48 ways to permute and to flip axes, and oblique ones, also turned by almost 45 degrees."""
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        yield np.eye(3)[:, order] * signs
    yield DIRECTIONS["oblique"]
    for degrees in (20, 44, 130):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        for turned in ([[c, -s, 0], [s, c, 0], [0, 0, 1]], [[c, 0, s], [0, 1, 0], [-s, 0, c]]):
            yield np.array(turned)[:, [2, 0, 1]] * [1, -1, -1]


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Of each direction: the image, and what the page makes of it."""
    folder, random = tmp_path_factory.mktemp("directions"), np.random.default_rng(18)
    volumes, paths = [], []
    for number, direction in enumerate(directions()):
        matrix = np.eye(4)
        matrix[:3, :3] = direction * (1.0, 1.25, 2.5)
        matrix[:3, 3] = 10, -20, 30
        volumes.append(SourceVolume(random.integers(0, 255, (1, *SHAPE_KJI)).astype(np.float32), matrix))
        paths.append(folder / f"{number}.nii.gz")
        paths[-1].write_bytes(nifti(volumes[-1].channels[0], volumes[-1]))
    lines = run_node("test/drawing_order.mjs", *map(str, paths)).splitlines()
    return list(zip(volumes, [json.loads(line) for line in lines], paths, strict=True))


def test_the_way_to_the_drawing_is_nibabels_and_niivues_and_the_way_back_is_exact(cases):
    assert len(cases) == 55
    for _, found, path in cases:
        assert found["back"]
        assert found["same_as_niivue"]
        expected = np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)  # x, y, z
        drawing = np.frombuffer(base64.b64decode(found["drawing"]), np.uint8).reshape(found["size"][::-1])
        assert np.array_equal(drawing.T, expected), path


def test_a_planes_slices_are_those_that_the_server_counts(cases):
    for volume, found, path in cases:
        canonical = np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)
        for plane, place in zip(("sagittal", "coronal", "axial"), found["planes"], strict=True):
            assert place["axis"] == volume.axis_of_plane(plane)
            shown = canonical.take({"sagittal": 1, "coronal": 2, "axial": 3}[plane], PLANE_AXIS[plane])
            server_s = volume.channels[0].take(place["slice"], place["axis"])
            assert sorted(shown.ravel()) == sorted(server_s.ravel())


PLANE_AXIS = {"sagittal": 0, "coronal": 1, "axial": 2}
