"""A real MRML scene with an anisotropic, oblique volume, and ways to put segments on other grids into it."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import vtk

from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.mrml.nodes.labelmap_images import image_from_mask
from context_propagation.mrml.nodes.scenes import new_scene
from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation, segment_mask
from context_propagation.mrml.nodes.volume_nodes import add_volume
from context_propagation.mrml.nodes.world_matrices import node_to_world, to_vtk, volume_ijk_to_world
from context_propagation.mrml.writing.editor_logic_writer import EditorLogicWriter
from context_propagation.mrml.writing.segment_writer import write_changed_voxels


def rotation(degrees, axis):
    transform = vtk.vtkTransform()
    transform.RotateWXYZ(degrees, *axis)
    return np.array([[transform.GetMatrix().GetElement(r, c) for c in range(4)] for r in range(4)])


def grid_matrix(spacing_ijk=(0.8, 1.1, 2.5), origin=(-12.0, 7.0, 30.0), rotate=None):
    matrix = (np.eye(4) if rotate is None else rotate) @ np.diag([*spacing_ijk, 1.0])
    matrix[:3, 3] = origin
    return matrix


def ellipsoid(shape, center, radii):
    grid = np.indices(shape)
    distances = [((g - c) / r) ** 2 for g, c, r in zip(grid, center, radii, strict=True)]
    return sum(distances) <= 1


@dataclass
class Case:
    """A scene with a volume, a segmentation and a target; helpers for whatever a test adds."""

    shape: tuple = (10, 13, 16)
    scene: object = field(default_factory=new_scene)
    ijk_to_lps: object = None

    def __post_init__(self):
        rng = np.random.default_rng(3)
        channels = rng.normal(size=(1, *self.shape)).astype(np.float32)
        oblique = grid_matrix(rotate=rotation(20, (0.2, 1, 0.4)))
        self.source = SourceVolume(channels, oblique if self.ijk_to_lps is None else self.ijk_to_lps)
        self.volume = add_volume(self.scene, self.source, "CT")
        self.segmentation = add_segmentation(self.scene, self.volume, "Segmentation")
        self.target = ellipsoid(self.shape, (5, 6, 7), (3, 3, 4))

    def plane(self, axis=0):
        return self.source.plane_of_axis[axis]

    @property
    def node_names(self):
        return sorted(self.scene.GetNthNode(n).GetName() for n in range(self.scene.GetNumberOfNodes()))

    def add(self, mask, name="GTV", color=(0.1, 0.6, 0.9)):
        return add_segment_from_mask(self.segmentation, mask, self.volume, name, color)

    def read(self, segment_id):
        return segment_mask(self.segmentation, segment_id, self.volume)

    def paint(self, segment_id, wanted):
        """Change a segment as someone else would: through another writer."""
        writer = EditorLogicWriter(self.scene, self.segmentation, self.volume)
        changed = self.read(segment_id) ^ wanted
        write_changed_voxels(writer, self.segmentation, segment_id, self.volume, wanted, changed)

    def nearest(self, mask):
        """A function from volume indices (k, j, i) to the nearest voxel of a mask; False outside."""

        def value_at(kji):
            index = np.floor(np.round(kji, 6) + 0.5).astype(int)
            inside = np.all([(p >= 0) & (p < n) for p, n in zip(index, mask.shape, strict=True)], axis=0)
            return np.where(inside, mask[tuple(np.where(inside, index, 0))], False)

        return value_at

    def add_on_grid(self, volume_from_grid_ijk, shape, value_at, name="GTV", start=(0, 0, 0)):
        """Add a segment on a grid of its own: voxel values come from a function of volume indices (k, j, i)."""
        points = np.indices(shape).reshape(3, -1) + np.reshape(start, (3, 1))
        ijk = volume_from_grid_ijk[:3] @ np.vstack([points[::-1], np.ones(points.shape[1])])
        box = tuple((s, s + n) for s, n in zip(start, shape, strict=True))
        world = volume_ijk_to_world(self.volume) @ volume_from_grid_ijk
        ras = np.linalg.inv(node_to_world(self.segmentation)) @ world
        image = image_from_mask(value_at(ijk[::-1]).reshape(shape), box, ras)
        return self.segmentation.AddSegmentFromBinaryLabelmapRepresentation(image, name, [1, 0, 0], "")

    def transform(self, matrix):
        node = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        node.SetMatrixTransformToParent(to_vtk(matrix))
        return node


@pytest.fixture
def case():
    return Case()


@pytest.fixture(scope="session")
def make_case():
    return Case


@pytest.fixture
def rotate():
    return rotation


@pytest.fixture
def draw_ellipsoid():
    return ellipsoid


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A small nnU-Net with seeded random weights."""
    pytest.importorskip("nnunetv2")
    from context_propagation.core.model.nnunet_model import NnunetModel
    from nnunet_folders import write_nnunet_folder

    folder = tmp_path_factory.mktemp("model")
    write_nnunet_folder(folder, seed=1, spacing=(2.5, 1.1, 0.8), features=(4, 6, 6))
    return NnunetModel.load(folder, device="cpu")


@pytest.fixture(scope="session")
def make_session(model):
    from context_propagation.core.propagation.update_settings import UpdateSettings
    from context_propagation.core.session.session import Session
    from context_propagation.core.session.session_settings import SessionSettings

    settings = SessionSettings(window_border=4, update=UpdateSettings(iterations=4))
    return lambda fusion=None, tidy=True: Session(model, replace(settings, tidy=tidy), fusion)


@pytest.fixture(scope="module")
def tiny_bundle(tmp_path_factory):
    """A bundle that computes in milliseconds."""
    pytest.importorskip("nnunetv2")
    from bundles import write_bundle
    from nnunet_folders import write_nnunet_folder

    folder = tmp_path_factory.mktemp("tiny")
    base = write_nnunet_folder(folder / "base", seed=1, spacing=(2.5, 1.1, 0.8), features=(2, 4, 4))
    return write_bundle(folder / "bundle", base, channels=4, width=0.5, neighbours=1)
