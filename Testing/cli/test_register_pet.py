"""The register-pet command on files."""

import argparse
import json

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.cli.register_pet import RegisterPetRequest, add_arguments, register_pet_files
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import same_grid


def ball(size, spacing, centre_mm, radius_mm, low, high) -> sitk.Image:
    """A ball with an offset smaller one in it, which no turn maps onto itself."""
    k, j, i = np.indices(size[::-1])
    points = np.stack([i, j, k], axis=-1) * np.array(spacing)
    outer = 1 / (1 + np.exp((np.linalg.norm(points - np.array(centre_mm), axis=-1) - radius_mm) / 1.5))
    inner = 1 / (1 + np.exp((np.linalg.norm(points - np.array(centre_mm) - (8, 5, 6), axis=-1) - 9) / 1.5))
    image = sitk.GetImageFromArray((low + (high - low) * (outer + inner)).astype(np.float32))
    image.SetSpacing(spacing)
    return image


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    sitk.WriteImage(ball((40, 20, 16), (2.0, 4.0, 5.0), (40, 40, 40), 25, -1000, 0), str(folder / "ct.nii.gz"))
    sitk.WriteImage(ball((22, 22, 22), (4.0, 4.0, 4.0), (46, 40, 40), 25, 0, 4), str(folder / "pet.mha"))
    return folder / "ct.nii.gz", folder / "pet.mha"


@pytest.fixture
def request_for(images, tmp_path):
    def _request(**changes) -> RegisterPetRequest:
        return RegisterPetRequest(**{"ct": images[0], "pet": images[1], "output": tmp_path / "out.nii.gz", **changes})

    return _request


def refused(request, tmp_path) -> str:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserInputError) as error:
        register_pet_files(request)
    assert sorted(tmp_path.rglob("*")) == before
    return str(error.value)


def test_pet_transform_and_report_are_written_and_agree(request_for, images, tmp_path):
    request = request_for(transform=tmp_path / "t.h5", report=tmp_path / "r.json", rigid_only=True)

    line = register_pet_files(request)

    ct, pet = (sitk.ReadImage(str(path), sitk.sitkFloat32) for path in images)
    written = sitk.ReadImage(str(tmp_path / "out.nii.gz"))
    transform = sitk.ReadTransform(str(tmp_path / "t.h5"))
    again = sitk.Resample(pet, ct, transform, sitk.sitkLinear, 0.0)
    report = json.loads((tmp_path / "r.json").read_text())
    assert same_grid(written, ct)
    assert written.GetPixelID() == sitk.sitkFloat32
    assert sitk.GetArrayFromImage(written) == pytest.approx(sitk.GetArrayFromImage(again), abs=1e-4)
    assert transform.TransformPoint((40, 40, 40)) == pytest.approx((46, 40, 40), abs=1)
    assert [stage["name"] for stage in report["stages"]] == ["rigid"]
    assert report["stages"][0]["metric_after"] < report["stages"][0]["metric_before"]
    assert report["check"]["negative_jacobians"] == 0
    assert report["check"]["voxels"] == 40 * 20 * 16
    assert "no folding" in line
    assert "rigid registration" in line


def test_spacing_resamples_both_images_to_one_grid(request_for, images, tmp_path):
    request = request_for(spacing=(1.0, 2.0, 2.5), ct_output=tmp_path / "ct.nrrd", rigid_only=True)

    register_pet_files(request)

    ct, pet = (sitk.ReadImage(str(tmp_path / name)) for name in ("ct.nrrd", "out.nii.gz"))
    assert ct.GetSize() == pet.GetSize() == (80, 40, 32)
    assert ct.GetSpacing() == (1.0, 2.0, 2.5)
    assert same_grid(ct, pet)
    in_ball = ct.TransformPhysicalPointToIndex((30.0, 30.0, 32.0))
    assert ct[in_ball] == pytest.approx(0, abs=60)
    assert pet[in_ball] == pytest.approx(4, abs=0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spacing": (1.0, 2.0, 2.5)}, "give --ct-output"),
        ({"output": "out.png"}, "no known ending"),
        ({"transform": "t.txt"}, "no known ending"),
        ({"control_point_spacing": 2.0}, "not from 10 to 500 mm"),
        ({"pet": "missing.nii.gz"}, "does not exist"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_written(request_for, tmp_path, changes, message):
    placed = {name: tmp_path / value if isinstance(value, str) else value for name, value in changes.items()}

    assert message in refused(request_for(**placed), tmp_path)


def test_images_of_different_places_are_refused(request_for, images, tmp_path):
    pet = sitk.ReadImage(str(images[1]))
    pet.SetOrigin((900.0, 0.0, 0.0))
    sitk.WriteImage(pet, str(images[1]))

    assert "covers 0%" in refused(request_for(report=tmp_path / "r.json"), tmp_path)


@pytest.mark.parametrize("dimensions", ["nan", "one slice", "4D"])
def test_a_pet_file_that_is_none_is_refused(request_for, images, tmp_path, dimensions):
    pet = sitk.ReadImage(str(images[1]))
    if dimensions == "nan":
        pet[0, 0, 0] = float("nan")
    sitk.WriteImage(
        {"nan": pet, "one slice": pet[:, :, :1], "4D": sitk.JoinSeries([pet, pet])}[dimensions], str(images[1])
    )

    assert str(images[1]) in refused(request_for(), tmp_path)


def test_an_output_over_an_input_is_refused(request_for, images, tmp_path):
    assert "another file of this run" in refused(request_for(output=images[1]), tmp_path)


def test_arguments_make_the_request():
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    files = ["--ct", "a.nii", "--pet", "b.nii", "--output", "c.nii", "--ct-output", "d.nii"]
    made = RegisterPetRequest(**vars(parser.parse_args([*files, "--spacing", "1", "2", "2.5"])))

    assert made.spacing == [1.0, 2.0, 2.5]
    assert (made.control_point_spacing, made.rigid_only, made.report) == (50.0, False, None)
