"""`phantom`: the three layouts, the same cases in each, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.cli.main import main
from context_propagation.core.phantom.phantom import PhantomSettings, make_phantom
from context_propagation.files.image_files import read_source_volume
from context_propagation.files.rtstruct_reading import read_roi

SPACING = (9.0, 9.0, 10.0)


def command(output: Path, *more: str, kind: str = "oesophagus") -> int:
    words = ["phantom", "--kind", kind, "--count", "2", "--output", str(output), "--jobs", "1"]
    return main([*words, "--spacing", *map(str, SPACING), *more])


def expected(number: int):
    return make_phantom(PhantomSettings("oesophagus", number=number, spacing_ijk_mm=SPACING))


def read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.mark.parametrize(
    ("layout", "images", "labels"),
    [("nifti", "images", "labels"), ("nnunet", "Dataset001_Oesophagus/imagesTr", "Dataset001_Oesophagus/labelsTr")],
)
def test_files_are_named_as_nnunet_names_them(tmp_path, layout, images, labels, capsys):
    assert command(tmp_path, "--layout", layout, "--first", "3") == 0
    assert "2 phantoms of oesophagus, CT and PET" in capsys.readouterr().out
    for number in (3, 4):
        phantom = expected(number)
        assert np.array_equal(read(tmp_path / images / f"oesophagus_{number:03d}_0000.nii.gz"), phantom.ct)
        assert np.array_equal(read(tmp_path / images / f"oesophagus_{number:03d}_0001.nii.gz"), phantom.pet)
        assert np.array_equal(read(tmp_path / labels / f"oesophagus_{number:03d}.nii.gz"), phantom.gtv)


def test_the_raw_data_set_describes_itself(tmp_path):
    assert command(tmp_path, "--layout", "nnunet") == 0
    content = json.loads((tmp_path / "Dataset001_Oesophagus" / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "CT", "1": "PET"}
    assert content["labels"] == {"background": 0, "GTV": 1}
    assert content["numTraining"] == 2


def test_dicom_reads_back_as_the_same_voxels_contour_and_place(tmp_path):
    assert command(tmp_path, "--layout", "dicom", "--count", "1") == 0
    case, phantom = tmp_path / "oesophagus_000", expected(0)
    volume = read_source_volume([case / "CT", case / "PET"])
    assert np.array_equal(volume.channels[0], phantom.ct)
    assert np.allclose(volume.channels[1], phantom.pet, atol=6e-4)
    assert np.allclose(volume.spacing_kji_mm, SPACING[::-1])
    assert np.allclose(volume.ijk_to_lps[:3, 3], phantom.image(phantom.ct).GetOrigin())
    roi = read_roi(case / "RTSTRUCT.dcm", "GTV", volume, [case / "CT", case / "PET"])
    assert np.array_equal(roi.mask, phantom.gtv)


def test_dicom_identifiers_follow_from_the_case(tmp_path):
    import pydicom

    for folder, count in (("one", "2"), ("again", "1")):
        assert command(tmp_path / folder, "--layout", "dicom", "--count", count) == 0

    def uids(folder: str, case: str) -> set[str]:
        files = (tmp_path / folder / case / "CT").iterdir()
        return {str(pydicom.dcmread(file).SOPInstanceUID) for file in files}

    assert uids("one", "oesophagus_000") == uids("again", "oesophagus_000")
    assert not uids("one", "oesophagus_000") & uids("one", "oesophagus_001")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--count", "0"], "--count 0; give at least 1"),
        (["--seed", "-1"], "--seed -1"),
        (["--spacing", "90", "1", "1"], "give 0.3 to 10 mm"),
        (["--jobs", "0"], "--jobs 0"),
    ],
)
def test_bad_values_are_refused_before_anything_is_written(tmp_path, more, said, capsys):
    assert command(tmp_path / "new", *more) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_folder_with_files_in_it_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("kept")
    assert command(tmp_path) == 2
    assert "is not an empty folder; give a new one" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_organ_is_no_ct_and_is_not_written_as_one(tmp_path, capsys):
    assert command(tmp_path / "out", "--layout", "dicom", kind="organ") == 2
    assert "choose nifti or nnunet" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
