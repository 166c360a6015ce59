"""The propagate command goes on from a saved session, as one session would that was never saved."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from ball_images import EDITED_SLICE, ball_mask, edited_mask, sitk_image
from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.image.slices import find_edited_slices
from context_propagation.core.image.source_volume import SourceVolume
from nnunet_folders import write_nnunet_folder

pytestmark = pytest.mark.usefixtures("models_loaded_once")

SECOND = EDITED_SLICE + 2  # near to the first slice: one update of both differs from an update of each


def voxels(path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(bool)


def redrawn_again(mask: np.ndarray) -> np.ndarray:
    mask = mask.copy()
    mask[SECOND] = np.roll(ball_mask()[SECOND], -2, axis=0)
    return mask


def written(path, mask: np.ndarray):
    sitk.WriteImage(sitk_image(mask.astype(np.uint8)), str(path))
    return path


@pytest.fixture(scope="module")
def first(files, tmp_path_factory):
    """Files of a first run that saved its session, and what a second run is given."""
    from context_propagation.cli.main import main

    folder = tmp_path_factory.mktemp("first")
    output, session = folder / "first.nii.gz", folder / "case.session.json"
    words = ["propagate", "--model", files.model, "--image", files.image, "--initial", files.initial]
    words += ["--edited", files.edited, "--output", output, "--save-session", session]
    assert main([str(word) for word in words]) == 0
    edited = written(folder / "edited.nii.gz", redrawn_again(voxels(output)))
    return SimpleNamespace(output=output, session=session, options={"initial": output, "edited": edited})


def test_a_second_run_goes_on_as_one_session_would(run, files, first, propagate_arguments, tmp_path):
    saved = tmp_path / "second.session.json"
    outcome = run(*propagate_arguments(**first.options, session=first.session, **{"save-session": saved}))
    assert (outcome.code, outcome.err) == (0, "")

    session = load_model(files.model, device="cpu").session()
    session.set_image(SourceVolume.from_sitk([sitk.ReadImage(str(files.image), sitk.sitkFloat32)]), ball_mask())
    for before, after in ((ball_mask(), edited_mask()), (voxels(first.output), redrawn_again(voxels(first.output)))):
        session.accept_manual_changes(after)
        result = session.propagate(find_edited_slices(before, after))

    assert np.array_equal(voxels(tmp_path / "out.nii.gz"), result.segmentation)
    drawn = [[edit["index"] for edit in done["edits"]] for done in json.loads(saved.read_text())["propagations"]]
    assert drawn == [[EDITED_SLICE], [SECOND]]


def test_slices_drawn_in_the_first_run_stay_as_drawn_in_the_second(run, first, propagate_arguments, tmp_path):
    assert run(*propagate_arguments(**first.options, session=first.session)).code == 0
    continued = voxels(tmp_path / "out.nii.gz")
    assert run(*propagate_arguments(**first.options)).code == 0
    forgotten = voxels(tmp_path / "out.nii.gz")

    assert np.array_equal(continued[EDITED_SLICE], edited_mask()[EDITED_SLICE])
    assert not np.array_equal(forgotten[EDITED_SLICE], edited_mask()[EDITED_SLICE])


def test_what_was_changed_since_is_said_and_kept(run, first, propagate_arguments, tmp_path):
    changed = voxels(first.output)
    changed[SECOND + 1, 2:4, 2:4] ^= True
    initial = written(tmp_path / "changed.nii.gz", changed)
    edited = written(tmp_path / "edited.nii.gz", redrawn_again(changed))

    outcome = run(*propagate_arguments(initial=initial, edited=edited, session=first.session))

    assert outcome.code == 0
    assert f"4 voxels of '{initial}' are not as '{first.session}' left them" in outcome.err
    assert np.array_equal(voxels(tmp_path / "out.nii.gz")[SECOND + 1, 2:4, 2:4], changed[SECOND + 1, 2:4, 2:4])


def test_another_image_is_refused(refused, first, propagate_arguments, files, tmp_path):
    image = sitk.ReadImage(str(files.image))
    image[3, 4, 5] += 1.0
    sitk.WriteImage(image, str(tmp_path / "other.nii.gz"))
    said = refused(*propagate_arguments(**first.options, session=first.session, image=tmp_path / "other.nii.gz"))
    assert "These edits were made on another image" in said


def test_another_model_is_refused_by_name(refused, first, propagate_arguments, files, tmp_path):
    other = write_nnunet_folder(tmp_path / "other", patch_size=(32, 32, 32), seed=5)
    said = refused(*propagate_arguments(**first.options, session=first.session, model=other))
    assert f"These edits were made with the model '{files.model}' (SHA-256 " in said


@pytest.mark.parametrize("option", [{"level": 2}, {"optimizer": "lbfgs"}])
def test_the_settings_are_the_session_s_own(refused, first, propagate_arguments, option):
    said = refused(*propagate_arguments(**first.options, session=first.session, **option))
    assert "has its own level and optimizer; leave --level and --optimizer out" in said


def test_a_file_that_is_no_session_is_refused(refused, first, propagate_arguments, files):
    assert "holds no session" in refused(*propagate_arguments(**first.options, session=files.model / "dataset.json"))
    assert "is not a saved session" in refused(*propagate_arguments(**first.options, session=files.image))


def test_the_session_that_a_run_goes_on_from_is_not_replaced(refused, first, propagate_arguments, tmp_path):
    session = shutil.copy(first.session, tmp_path / "case.session.json")
    said = refused(*propagate_arguments(**first.options, session=session, **{"save-session": session}))
    assert "is also another file of this run; choose another name" in said


def test_a_session_is_replaced_by_a_session_and_by_nothing_else(run, refused, first, propagate_arguments, tmp_path):
    saved, report = tmp_path / "case.session.json", tmp_path / "report.json"
    saved.write_bytes(first.session.read_bytes())
    report.write_text('{"stages": 1, "versions": 1, "settings": 1}')
    options = propagate_arguments(**first.options, session=first.session, **{"save-session": saved})

    assert run(*options).code == 0
    assert saved.read_bytes() != first.session.read_bytes()

    saved.write_text(report.read_text())
    assert "is no saved session" in refused(*options)
    assert "does not end in .session.json" in refused(*propagate_arguments(**{"save-session": report}))
    report.write_bytes(first.session.read_bytes())
    assert "is no report of this command" in refused(*propagate_arguments(report=report))
    assert "as saved sessions do" in refused(*propagate_arguments(report=saved))
