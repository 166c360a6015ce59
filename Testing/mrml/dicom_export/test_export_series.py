"""The DICOM series that a volume is of is found, and a series that it is not of is refused."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import slicer
import vtk

from context_propagation.core.errors import UserInputError
from context_propagation.mrml.nodes.volume_nodes import add_volume, volume_array

pydicom = pytest.importorskip("pydicom")
from dicom_exports import ENDINGS, SHAPE, Exporting, ball, came_in  # noqa: E402
from dicom_files import write_ct_series  # noqa: E402


@pytest.fixture
def database(exporting, monkeypatch):
    """Slicer's DICOM database, which knows the series; and a structure set."""
    files = {pydicom.dcmread(file).SOPInstanceUID: str(file) for file in exporting.series.folder.iterdir()}
    given = str(came_in(exporting, "GTV", "Cord"))
    series = {pydicom.dcmread(given).SeriesInstanceUID: [given]}
    database = SimpleNamespace(
        fileForInstance=lambda uid: files.get(uid, ""),
        filesForSeries=lambda uid: series.get(uid, []),
        fileValue=lambda file, tag: "RTSTRUCT" if file == given and tag == "0008,0060" else "CT",
    )
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    return SimpleNamespace(instances=list(files), structure_set=Path(given), series=next(iter(series)))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_volume_from_the_dicom_database_needs_no_folder(exporting, database, ending):
    exporting.add(ball())
    exporting.volume.SetAttribute("DICOM.instanceUIDs", " ".join(database.instances))

    exporting.export("out" + ending, folder=False)

    assert np.array_equal(exporting.read("out" + ending), ball())


def test_the_structure_set_that_a_segmentation_came_from_is_found(exporting, database):
    from context_propagation.mrml.nodes.dicom_database import structure_set_of

    assert structure_set_of(exporting.segmentation) is None
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(exporting.case.scene)
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), exporting.segmentation)

    hierarchy.SetItemUID(item, "DICOM", database.series)

    assert structure_set_of(exporting.segmentation) == database.structure_set


def test_a_volume_whose_files_the_database_lost_needs_a_folder(exporting, database):
    exporting.add(ball())
    exporting.volume.SetAttribute("DICOM.instanceUIDs", " ".join([*database.instances, "1.2.3"]))

    with pytest.raises(UserInputError, match="'CT' are not known to Slicer's DICOM database; choose the folder"):
        exporting.export("out.dcm", folder=False)


def test_a_series_of_the_same_grid_that_shows_something_else_is_refused(exporting):
    exporting.add(ball())
    other = np.random.default_rng(5).integers(-900, 900, SHAPE).astype(np.int16)
    exporting.series = write_ct_series(exporting.folder / "other", other)

    with pytest.raises(UserInputError, match=r"'CT' shows something else than the DICOM series .*\(correlation"):
        exporting.export("out.dcm")

    assert not (exporting.folder / "out.dcm").exists()


def test_a_volume_in_other_units_is_still_that_of_its_series(exporting):
    exporting.add(ball())
    volume_array(exporting.volume)[...] = volume_array(exporting.volume) * 0.5 + 3

    exporting.export("out.dcm")

    assert np.array_equal(exporting.read("out.dcm"), ball())


def test_a_part_of_the_series_is_enough(exporting):
    exporting.add(ball())
    matrix = vtk.vtkMatrix4x4()
    exporting.volume.GetIJKToRASMatrix(matrix)
    corner = [matrix.MultiplyPoint((4, 2, 1, 1))[axis] for axis in range(3)]
    part = SimpleNamespace(channels=volume_array(exporting.volume)[1:6, 2:15, 4:20][None].copy(), ijk_to_lps=np.eye(4))
    cropped = add_volume(exporting.case.scene, part, "cropped")
    cropped.CopyOrientation(exporting.volume)
    cropped.SetOrigin(corner)
    exporting.volume = cropped

    exporting.export("out.dcm")

    assert np.array_equal(exporting.read("out.dcm"), ball())


@pytest.mark.parametrize("by_mm", [0.4, 300.0])
def test_a_volume_that_was_moved_for_good_is_refused(exporting, by_mm):
    exporting.add(ball())
    move = vtk.vtkTransform()
    move.Translate(by_mm, 0, 0)
    exporting.volume.ApplyTransform(move)

    with pytest.raises(UserInputError, match="do not lie on those of the DICOM series"):
        exporting.export("out.dcm")


def test_a_series_without_frame_of_reference_is_refused(make_case, tmp_path):
    exporting = Exporting(make_case, tmp_path, FrameOfReferenceUID=None)
    exporting.add(ball())

    with pytest.raises(UserInputError, match="has no frame of reference"):
        exporting.export("out.dcm")
