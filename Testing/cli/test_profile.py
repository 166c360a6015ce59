"""`propagate --profile` remembers how a case was drawn, and `predict --profile` begins the next one there."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from ball_images import sitk_image
from context_propagation.core.image.contour_offset import contour_depth_mm, moved_outwards

pytestmark = pytest.mark.usefixtures("models_loaded_once")

SPACING_KJI = (1.5, 1.25, 1.0)
SLICE = 10


def voxels(path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(bool)


def moved(mask, offset_mm):
    return moved_outwards(contour_depth_mm(mask, 0, SPACING_KJI), offset_mm)


def predicted(run, files, output, *more):
    outcome = run("predict", "--model", files.model, "--image", files.image, "--output", output, *more)
    assert outcome.code == 0, outcome.err
    return voxels(output), outcome


@pytest.fixture
def drawn_wide(run, files, propagate_arguments, tmp_path):
    """A profile after one case, in which a slice was drawn 1.25 mm wider than the model's contour."""
    own, _ = predicted(run, files, tmp_path / "own.nii.gz")
    edited = own.copy()
    edited[SLICE] = moved(own, 1.25)[SLICE]
    sitk.WriteImage(sitk_image(edited.astype(np.uint8)), str(tmp_path / "edited.nii.gz"))
    given = {"initial": tmp_path / "own.nii.gz", "edited": tmp_path / "edited.nii.gz"}
    outcome = run(*propagate_arguments(**given, profile=tmp_path / "me.profile.json"))
    assert outcome.code == 0, outcome.err
    return own, tmp_path / "me.profile.json"


def test_the_next_case_begins_where_the_last_one_was_drawn(run, files, drawn_wide, tmp_path):
    own, profile = drawn_wide
    ((offset_mm,),) = [cases.values() for cases in json.loads(profile.read_text())["models"].values()]
    assert offset_mm > 0
    mask, outcome = predicted(run, files, tmp_path / "next.nii.gz", "--profile", profile)
    assert np.array_equal(mask, moved(own, offset_mm))
    assert f"contours moved outwards by +{offset_mm:.2f} mm, as earlier cases were drawn" in outcome.out


def test_a_drawing_that_fits_the_model_s_own_contours_brings_them_back(
    run, files, drawn_wide, propagate_arguments, tmp_path
):
    own, profile = drawn_wide
    first, _ = predicted(run, files, tmp_path / "next.nii.gz", "--profile", profile)
    edited = first.copy()
    edited[SLICE] = own[SLICE]
    sitk.WriteImage(sitk_image(edited.astype(np.uint8)), str(tmp_path / "drawn.nii.gz"))
    given = {"initial": tmp_path / "next.nii.gz", "edited": tmp_path / "drawn.nii.gz"}
    assert run(*propagate_arguments(**given, profile=profile)).code == 0
    refined = voxels(tmp_path / "out.nii.gz")
    far = [k for k in range(len(own)) if abs(k - SLICE) > 2]
    moved_voxels, left = (int((mask[far] != own[far]).sum()) for mask in (first, refined))
    assert left < 0.3 * moved_voxels  # crumbs and one-voxel holes are as always left alone


def test_without_earlier_cases_contours_are_the_model_s_own(run, files, tmp_path):
    own, _ = predicted(run, files, tmp_path / "own.nii.gz")
    mask, outcome = predicted(run, files, tmp_path / "next.nii.gz", "--profile", tmp_path / "none.profile.json")
    assert np.array_equal(mask, own)
    assert "moved" not in outcome.out


def test_a_profile_has_a_name_of_its_own_and_replaces_no_other_file(refused, files, propagate_arguments, tmp_path):
    assert "does not end in .profile.json" in refused(*propagate_arguments(profile=tmp_path / "me.json"))
    (tmp_path / "me.profile.json").write_text('{"mine": 1}')
    assert "no drawing profile" in refused(*propagate_arguments(profile=tmp_path / "me.profile.json"))
