"""One case through many world-side geometries: the same anatomical voxels are refined in all of them."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import vtk

from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.mrml.session.propagation_logic import PropagationLogic

SHAPE = (16, 16, 16)
SPACING_IJK = (0.8, 1.1, 2.5)
EYE = np.eye(4)


def turned(degrees, axis, shift=(0, 0, 0)):
    transform = vtk.vtkTransform()
    transform.Translate(*shift)
    transform.RotateWXYZ(degrees, *axis)
    return np.array([[transform.GetMatrix().GetElement(r, c) for c in range(4)] for r in range(4)])


def axes(order, signs=(1, 1, 1)):
    """Direction cosines: i, j, k run along these patient axes."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for column, (row, sign) in enumerate(zip(order, signs, strict=True)):
        matrix[row, column] = sign
    return matrix


def reversed_and_permuted_grid():
    """Grid (i, j, k) is volume (k, 15 - i, j)."""
    return np.array([[0, 0, 1, 0], [-1, 0, 0, 15], [0, 1, 0, 0], [0, 0, 0, 1]]) @ EYE


def oblique_fine_grid():
    """0.4 mm and turned: half its voxel's diagonal is below half the volume's smallest spacing, so nothing is lost."""
    millimetres = turned(28, (1, 2, -1), shift=(-6, -8, -10)) @ np.diag([0.4, 0.4, 0.4, 1])
    return np.diag([*(1 / np.array(SPACING_IJK)), 1]) @ millimetres


def finer_grid(factor):
    matrix = np.diag([1 / factor] * 3 + [1.0])
    matrix[:3, 3] = (1 - factor) / (2 * factor)
    return matrix


@dataclass(frozen=True)
class Geometry:
    """Where volume and segmentation lie; the arrays are always the same."""

    directions: np.ndarray = field(default_factory=lambda: EYE)
    origin: tuple = (0, 0, 0)
    volume_transforms: tuple = ()
    segmentation_transforms: tuple = ()
    volume_from_grid: np.ndarray = field(default_factory=lambda: EYE)
    grid_shape: tuple = SHAPE
    grid_start: tuple = (0, 0, 0)


MIRROR = np.diag([-1.0, 1, 1, 1])
GEOMETRIES = {
    "plain": Geometry(),
    "far origin": Geometry(origin=(-1834.5, 912.25, 4021.125)),
    "RAS directions": Geometry(directions=axes((0, 1, 2), (-1, -1, 1))),
    "feet first": Geometry(directions=axes((0, 1, 2), (1, 1, -1))),
    "sagittal slices": Geometry(directions=axes((1, 2, 0), (1, -1, 1))),
    "coronal slices": Geometry(directions=axes((0, 2, 1), (1, -1, 1)), origin=(5, 6, 7)),
    "slightly oblique": Geometry(directions=turned(7, (1, 0, 0)), origin=(-90, 12, 40)),
    "strongly oblique": Geometry(directions=turned(44, (1, 2, 3)), origin=(10, 20, 30)),
    "both under one rotation": Geometry(
        volume_transforms=(turned(35, (0, 1, 1)),), segmentation_transforms=(turned(35, (0, 1, 1)),)
    ),
    "only the volume under a transform": Geometry(volume_transforms=(turned(-60, (1, 0, 1), (3, 4, 5)),)),
    "only the segmentation under a transform": Geometry(segmentation_transforms=(turned(80, (1, 1, 0), (9, 0, 1)),)),
    "different nested transforms": Geometry(
        directions=turned(20, (0, 1, 0)),
        volume_transforms=(turned(15, (1, 0, 0), (40, 0, 0)), turned(-25, (0, 0, 1), (0, 7, 0))),
        segmentation_transforms=(turned(50, (0, 1, 0)), turned(10, (1, 1, 1), (0, 0, -30))),
    ),
    "mirroring transform": Geometry(volume_transforms=(MIRROR,), segmentation_transforms=(MIRROR,)),
    "segmentation grid reversed and permuted": Geometry(volume_from_grid=reversed_and_permuted_grid()),
    "segmentation grid cropped": Geometry(grid_shape=(9, 11, 12), grid_start=(4, 3, 3)),
    "segmentation grid three times finer": Geometry(volume_from_grid=finer_grid(3), grid_shape=(48, 48, 48)),
    "segmentation grid oblique and finer": Geometry(
        volume_from_grid=oblique_fine_grid(), grid_shape=(116, 68, 80), grid_start=(9, 23, -48)
    ),
    "everything at once": Geometry(
        directions=axes((2, 0, 1), (-1, 1, 1)) @ turned(12, (1, 1, 0)),
        origin=(-300, 40, 8),
        volume_transforms=(turned(33, (1, 0, 2), (1, 2, 3)),),
        segmentation_transforms=(turned(-71, (0, 2, 1), (4, 0, 9)), MIRROR),
        volume_from_grid=reversed_and_permuted_grid() @ finer_grid(3),
        grid_shape=(48, 48, 48),
    ),
}


def place_under(case, node, matrices):
    parent = None
    for matrix in matrices:
        transform = case.transform(matrix)
        if parent is not None:
            transform.SetAndObserveTransformNodeID(parent.GetID())
        parent = transform
    node.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)


@pytest.fixture(scope="module")
def target():
    grid = np.indices(SHAPE)
    return sum(((g - 8) / r) ** 2 for g, r in zip(grid, (4, 5, 5), strict=True)) <= 1


@pytest.fixture(scope="module")
def drawn(target):
    result = target.copy()
    j, i = np.indices(SHAPE[1:])
    result[7] = ((j - 9) / 4) ** 2 + ((i - 6) / 3) ** 2 <= 1
    return result


@pytest.fixture(scope="module")
def expected(make_case, make_session, target, drawn):
    """The engine on arrays alone."""
    session = make_session()
    session.set_image(SourceVolume(make_case(shape=SHAPE).source.channels, np.diag([*SPACING_IJK, 1.0])), target)
    result = session.propagate([SliceEdit(0, 7, drawn[7])])
    assert result.changed.any()
    return result.segmentation


@pytest.mark.quick(name=("different nested transforms", "segmentation grid oblique and finer", "everything at once"))
@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_same_anatomical_voxels_are_refined(name, make_case, make_session, target, drawn, expected):
    geometry = GEOMETRIES[name]
    ijk_to_lps = geometry.directions @ np.diag([*SPACING_IJK, 1.0])
    ijk_to_lps[:3, 3] = geometry.origin
    case = make_case(shape=SHAPE, ijk_to_lps=ijk_to_lps)
    place_under(case, case.volume, geometry.volume_transforms)
    place_under(case, case.segmentation, geometry.segmentation_transforms)
    segment_id = case.add_on_grid(
        geometry.volume_from_grid, geometry.grid_shape, case.nearest(target), start=geometry.grid_start
    )
    assert np.array_equal(case.read(segment_id), target)
    logic = PropagationLogic(case.scene, make_session(), [case.volume], case.segmentation, segment_id)
    logic.image_operation().run()
    case.paint(segment_id, drawn)

    logic.apply(logic.propagation_operation().run())

    assert np.array_equal(case.read(segment_id), expected)
