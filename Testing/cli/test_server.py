"""`propagate` and `predict` on a server write just what they write when they compute here."""

import shutil

import pytest
import SimpleITK as sitk

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from served import served


@pytest.fixture(scope="module")
def server(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("offered")
    shutil.copytree(files.model, folder / "model")
    with served(folder) as found:
        yield found


def voxels(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).tobytes()


def test_propagate_writes_the_same_and_says_where_the_image_went(
    run, propagate_arguments, server, tmp_path, models_loaded_once
):
    here, there = tmp_path / "here.nii.gz", tmp_path / "there.nii.gz"
    outputs = {"report": tmp_path / "r.json", "summary": tmp_path / "s.html"}
    assert run(*propagate_arguments(output=here)).code == 0

    outcome = run(*propagate_arguments(model="model", output=there, server=server.url, **outputs))

    assert outcome.code == 0, outcome.err
    assert f"note: The image is sent to {server.url}, as --server says" in outcome.err
    assert voxels(there) == voxels(here)
    assert len(server.store) == 0, "the session was left open"


def test_predict_writes_the_same(run, predict_arguments, server, tmp_path, models_loaded_once):
    here, there = tmp_path / "here.nii.gz", tmp_path / "there.nii.gz"
    assert run(*predict_arguments(output=here)).code == 0
    assert run(*predict_arguments(model="model", output=there, server=server.url)).code == 0
    assert voxels(there) == voxels(here)


def test_a_saved_session_goes_on_on_the_server(run, propagate_arguments, server, tmp_path, models_loaded_once):
    saved, first = tmp_path / "case.session.json", tmp_path / "first.nii.gz"
    assert run(*propagate_arguments(output=first), "--save-session", saved).code == 0
    image = sitk.ReadImage(str(first))
    drawn = sitk.GetArrayFromImage(image)
    drawn[8] = 0
    drawn[8, 8:16, 8:20] = 1
    redrawn = sitk.GetImageFromArray(drawn)
    redrawn.CopyInformation(image)
    sitk.WriteImage(redrawn, str(tmp_path / "redrawn.nii.gz"))
    usual = {"initial": first, "edited": tmp_path / "redrawn.nii.gz", "session": saved}
    here, there = tmp_path / "here.nii.gz", tmp_path / "there.nii.gz"

    assert run(*propagate_arguments(output=here, **usual)).code == 0
    outcome = run(*propagate_arguments(model="model", output=there, server=server.url, **usual))

    assert outcome.code == 0, outcome.err
    assert voxels(there) == voxels(here)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--device", "cpu"], "--device is the server's own affair"),
        (["--orientation", "LPS"], "--orientation is the server's own affair"),
        (["--trust-bundle"], "--trust-bundle is the server's own affair"),
        (["--profile", "x.profile.json"], "--profile needs the model on this computer"),
        (["--server-token", "/nowhere/token"], "The token file '/nowhere/token' cannot be read"),
        (["--segment", "x", "--model", "elsewhere"], "The server has no model 'elsewhere'"),
        (["--label", "liver"], "has no label 'liver'"),
    ],
)
def test_what_a_server_does_not_do_is_said(refused, propagate_arguments, server, options, said):
    assert said in refused(*propagate_arguments(model="model", server=server.url), *options)


def test_options_of_a_server_without_one_are_refused(refused, propagate_arguments):
    assert "are for --server" in refused(*propagate_arguments(), "--server-token", "x")


def test_a_server_that_is_not_there_is_said(refused, propagate_arguments, monkeypatch):
    monkeypatch.setattr("context_propagation.remote.remote_server.FIRST_PATIENCE_S", 0.1)
    said = refused(*propagate_arguments(model="model", server="http://127.0.0.1:9"))
    assert "The server does not answer" in said


def test_serve_refuses_a_folder_without_models_and_an_open_door(refused, tmp_path, files):
    assert "holds no bundle and no model" in refused("serve", "--bundles", tmp_path)
    assert "give --token-file" in refused("serve", "--bundles", files.folder, "--host", "0.0.0.0")
    assert "give 1 or more" in refused("serve", "--bundles", files.folder, "--sessions", "0")
