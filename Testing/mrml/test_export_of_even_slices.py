"""Contours on a copy with even slices leave as a structure set on the slices that were acquired."""

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.files.dicom_images import read_made_even
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.even_slices import ACQUIRED_VOLUME
from context_propagation.mrml.nodes.scenes import new_scene
from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation
from context_propagation.mrml.nodes.volume_nodes import add_volume

pydicom = pytest.importorskip("pydicom")
from dicom_files import GEOMETRIES, save, write_ct_series  # noqa: E402

POSITIONS_MM = np.array([0, 3, 6, 9, 14, 19, 24])
"""Evenly, nine of 3 mm; of these 0, 1, 2, 3 and 8 are acquired ones, and 5 and 6 are nearest to those at 14 and 19."""
SHAPE = (7, 12, 12)


@pytest.fixture
def folder(tmp_path):
    geometry, folder = GEOMETRIES["axial"], tmp_path / "ct"
    voxels = np.random.default_rng(0).integers(-900, 900, SHAPE).astype(np.int16)
    normal = np.cross(geometry.rows, geometry.columns)
    for place, dataset in zip(POSITIONS_MM, write_ct_series(folder, voxels, geometry).slices, strict=True):
        dataset.ImagePositionPatient = (np.array(geometry.origin) + place * normal).round(9).tolist()
        save(folder / f"{dataset.InstanceNumber:03d}.dcm", dataset, pydicom.uid.ExplicitVRLittleEndian)
    return folder


@pytest.fixture
def logic(folder):
    scene = new_scene()
    image, _even = read_made_even(folder)
    volume = add_volume(scene, SourceVolume.from_sitk([image]), "CT, even slices")
    acquired = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    volume.SetNodeReferenceID(ACQUIRED_VOLUME, acquired.GetID())
    mask = np.zeros((9, 12, 12), bool)
    mask[2, 3:6, 4:9] = mask[4, 2:8, 2:8] = mask[8, 5:7, 5:7] = True  # slice 4 lies between acquired ones
    segmentation = add_segmentation(scene, volume, "Segmentation")
    add_segment_from_mask(segmentation, mask, volume, "GTV", (0.2, 0.4, 0.6))
    logic = ContextPropagationLogic(scene)
    logic.select([volume], segmentation, "GTV")
    return logic


def test_each_contour_lies_on_an_acquired_slice_at_its_true_place(logic, folder, tmp_path):
    logic.export(tmp_path / "out.dcm", folder)

    dataset = pydicom.dcmread(tmp_path / "out.dcm")
    (item,) = dataset.ROIContourSequence
    origin, normal = (
        np.array(GEOMETRIES["axial"].origin),
        np.cross(GEOMETRIES["axial"].rows, GEOMETRIES["axial"].columns),
    )
    corners = {pydicom.dcmread(file).SOPInstanceUID: file for file in folder.iterdir()}
    found = []
    for contour in item.ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        places = (points - origin) @ normal
        assert np.ptp(places) < 1e-4
        slice_ = pydicom.dcmread(corners[contour.ContourImageSequence[0].ReferencedSOPInstanceUID])
        assert (np.array(slice_.ImagePositionPatient) - origin) @ normal == pytest.approx(places[0], abs=1e-4)
        found.append(round(float(places[0]), 3))
    assert sorted(found) == [6, 24]


@pytest.mark.parametrize("name", ["out.seg.dcm", "out.dcm"])
def test_what_cannot_lie_on_uneven_slices_is_refused_in_a_sentence(logic, folder, tmp_path, name):
    given = None if name == "out.seg.dcm" else folder / "001.dcm"

    with pytest.raises(
        UserInputError, match="'CT, even slices' is a copy with even slices: only a new RT Structure Set"
    ):
        logic.export(tmp_path / name, folder, given)
    assert not (tmp_path / name).exists()
