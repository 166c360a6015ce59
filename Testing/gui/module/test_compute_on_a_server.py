"""The panel computes on a real server on loopback: real Qt, real MRML, real HTTP."""

import socket
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import numpy as np
import pytest

from as_a_user import click, settle
from effect_bench import DRAWN
from panel_user import PanelUser

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

SHIPPED = Path(__file__).parents[3] / "SlicerContextPropagation"
NARROW = 360
"""Pixels: what a panel of 400 leaves beside a scroll bar."""


TOKEN = "a-token-of-more-than-twenty-letters"


@pytest.fixture
def server(application, effect_bundle, models_loaded_once):
    from served import served

    with served(effect_bundle.parent) as one:
        yield one


@pytest.fixture
def user(module, base):
    return PanelUser(module, [base])


def connect(user, url, token=""):
    user.ui.addServerButton.checked = True
    user.ui.serverAddress.text, user.ui.serverToken.text = url, token
    user.click("keepServerButton")
    user.wait()


def places(user):
    return [user.ui.deviceSelector.itemText(n) for n in range(user.ui.deviceSelector.count)]


def models(user):
    return [user.ui.modelSelector.itemText(n) for n in range(user.ui.modelSelector.count)]


def choose(user, name):
    user.ui.modelSelector.setCurrentIndex(models(user).index(name))


def uploads(server):
    return [line for line in server.lines if " PUT " in line or " POST /api/sessions " in line]


def test_a_server_is_added_lists_its_models_and_is_removed_with_its_token(user, server):
    import qt

    before = models(user)
    assert not user.ui.serverFields.visible
    assert not user.ui.removeServerButton.visible

    connect(user, f" {server.url}/ ")

    assert places(user) == ["auto", "cpu", "cuda", "mps", server.url]
    assert models(user) == ["base", "bundle"]
    assert "edits reach" in user.ui.modelDescription.text
    assert user.ui.serverAddress.text == user.ui.serverToken.text == ""
    assert not user.ui.addModelButton.enabled
    assert not user.ui.orientationSelector.enabled
    assert not user.ui.trainButton.enabled
    user.click("removeServerButton")
    assert places(user) == ["auto", "cpu", "cuda", "mps"]
    assert models(user) == before
    assert user.ui.addModelButton.enabled
    assert not qt.QSettings().value("ContextPropagation/Servers")


def test_an_image_is_drawn_and_propagated_on_the_server_once_the_user_agrees(user, server, ct):
    connect(user, server.url)
    choose(user, "bundle")
    user.application.answers.append(True)
    user.predict(ct)

    (question,) = user.application.texts("question")
    assert question.startswith("Send the image (1 x 16 x 16 x 16 voxels")
    assert f"to {server.url}?" in question
    assert user.application.texts("error") == []
    assert uploads(server)
    assert user.shared.logic.loaded.server == server.url
    assert user.mask().any()
    assert user.ui.memoryLabel.text.replace("\u200b", "") == f"computed on {server.url}"
    assert user.ui.deviceInUse.text == "in use: cpu"

    user.redraw(8, DRAWN[8])
    drawn = user.mask()
    user.click("propagateButton")
    user.wait()
    result = user.mask()
    assert np.array_equal(result[8], DRAWN[8])
    assert (result != drawn).any()
    user.click("undoButton")
    assert np.array_equal(user.mask(), drawn)
    user.click("redoButton")
    assert np.array_equal(user.mask(), result)
    assert user.application.texts("error") == []


def test_an_image_that_was_agreed_to_is_not_asked_about_again_and_another_one_is(user, server, ct, add_ct):
    from context_propagation.mrml.nodes.volume_nodes import volume_array

    connect(user, server.url)
    user.application.answers.append(True)
    user.predict(ct)
    user.predict(ct)
    assert len(user.application.texts("question")) == 1
    sent = len(uploads(server))
    assert sent

    other = add_ct("another CT")
    volume_array(other)[:] += 1
    user.ui.segmentSelector.setCurrentNode(None)
    user.application.answers.append(False)
    user.predict(other)
    assert len(user.application.texts("question")) == 2
    assert len(user.application.texts("error")) == 1
    assert len(uploads(server)) == sent


def test_nothing_is_sent_where_the_user_does_not_agree(user, server, ct):
    connect(user, server.url)
    user.application.answers.append(False)
    user.predict(ct)

    (error,) = user.application.texts("error")
    assert error == f"The image was not sent to {server.url}; agree to it, or compute on this computer"
    assert uploads(server) == []
    assert user.shared.logic.propagation is None
    assert user.ui.predictButton.enabled


def test_no_server_is_asked_before_it_is_chosen_nor_after_a_restart(user, server, module):
    from context_propagation.gui.servers import KnownServer, add_server, chosen_server

    add_server(KnownServer(server.url))
    user.panel.inputs.compute._fill()
    user.panel.update()
    assert server.url in places(user)
    assert server.lines == []

    user.ui.deviceSelector.setCurrentIndex(4)
    user.wait()
    assert models(user) == ["base", "bundle"]
    user.panel.close()
    assert chosen_server() is None


def test_the_panel_fits_400_pixels_with_a_server(user, server, ct):
    import slicer

    connect(user, server.url)
    user.application.answers.append(True)
    user.predict(ct)
    user.ui.addServerButton.checked = True
    settle()
    real = slicer.modules.contextpropagation.widgetRepresentation()._qt
    real.layout().activate()

    assert real.minimumSizeHint().width() <= NARROW
    real.resize(NARROW, real.layout().totalHeightForWidth(NARROW))
    settle()
    for name in ("addServerButton", "removeServerButton", "keepServerButton"):
        button = getattr(user.ui, name)._qt
        assert button.isVisible()
        assert button.width() >= button.minimumSizeHint().width()


def test_back_on_this_computer_its_own_models_are_listed(user, server):
    before = models(user)
    connect(user, server.url)
    user.ui.deviceSelector.setCurrentIndex(0)
    user.wait()

    assert models(user) == before
    assert user.panel.inputs.device == "auto"


def test_a_wrong_token_is_said(user, application, effect_bundle, tmp_path):
    from served import served

    tokens = tmp_path / "tokens"
    tokens.write_text(f"ann {TOKEN}\n")
    tokens.chmod(0o600)
    with served(effect_bundle.parent, token_file=tokens) as server:
        connect(user, server.url, "wrong-" + TOKEN)
        (error,) = application.texts("error")
        assert "token" in error
        assert user.ui.modelDescription.text.replace("\u200b", "") == error
        assert models(user) == []
        assert not user.ui.predictButton.enabled

        connect(user, server.url, TOKEN)
        assert places(user).count(server.url) == 1
        assert models(user) == ["base", "bundle"]
        assert len(application.texts("error")) == 1


def test_a_server_that_is_not_there_and_an_address_that_is_none_are_said(user, monkeypatch):
    from served import free_port

    monkeypatch.setattr("context_propagation.remote.remote_server.FIRST_PATIENCE_S", 0.2)
    connect(user, f"http://127.0.0.1:{free_port()}")
    assert "The server does not answer" in user.application.texts("error")[0]
    assert "The server does not answer" in user.ui.modelDescription.text
    user.click("removeServerButton")
    assert len(places(user)) == 4

    connect(user, "http://gpu.example.org")
    assert "is not encrypted" in user.application.texts("error")[1]
    assert len(places(user)) == 4
    assert user.ui.serverAddress.text == "http://gpu.example.org"


@pytest.fixture
def silent(monkeypatch):
    """The address of somebody who takes the call, and says nothing."""
    monkeypatch.setattr("context_propagation.remote.remote_server.FIRST_PATIENCE_S", 0.2)
    monkeypatch.setattr("context_propagation.remote.remote_server.FIRST_SILENCE_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_server_that_says_nothing_is_given_up(user, silent):
    connect(user, silent)

    (error,) = user.application.texts("error")
    assert "The server does not answer (timed out)" in error


def test_asking_a_server_can_be_cancelled_and_leaves_this_computer(user, silent):
    before = models(user)
    user.ui.addServerButton.checked = True
    user.ui.serverAddress.text = silent
    user.click("keepServerButton")
    user.click("cancelButton")
    user.wait()

    assert user.application.texts("error") == []
    assert models(user) == before
    assert user.panel.inputs.device == "auto"
    assert silent in places(user)


def test_a_server_that_went_away_is_said_and_the_drawing_stays(user, ct, effect_bundle, monkeypatch):
    from served import served

    monkeypatch.setattr("context_propagation.remote.answers.PATIENCE_S", 0.2)
    with served(effect_bundle.parent) as server:
        connect(user, server.url)
        choose(user, "bundle")
        user.application.answers.append(True)
        user.predict(ct)
        user.redraw(8, DRAWN[8])
    drawn = user.mask()
    user.click("propagateButton")
    user.wait()

    (error,) = user.application.texts("error")
    assert "The server does not answer" in error
    assert "what was drawn is kept here" in error
    assert np.array_equal(user.mask(), drawn)
    assert user.ui.propagateButton.enabled


def test_the_problem_report_names_no_server(user, server, ct):
    from context_propagation.gui.work.problem_report import problem_report

    connect(user, server.url)
    user.application.answers.append(True)
    user.predict(ct)
    report = problem_report(user.shared.logic)

    assert "on cpu of a server" in report
    assert server.url.removeprefix("http://") not in report


def test_missing_packages_do_not_matter_while_a_server_computes(user, server, ct, monkeypatch):
    from packaging.requirements import Requirement

    from context_propagation.gui.packages.installation_plan import MissingPackage

    user.panel.packages._missing = (MissingPackage(Requirement("torch>=2.4"), None),)
    user.ui.firstVolumeSelector.setCurrentNode(ct)
    user.panel.update()
    assert user.ui.packagesLabel.text.startswith("Needed and missing:")
    assert not user.ui.predictButton.enabled

    connect(user, server.url)
    assert user.ui.packagesLabel.text.startswith("Not needed while a server computes")
    assert user.ui.predictButton.enabled


def test_the_effect_uses_the_server_that_was_chosen_in_the_module(user, server, ct):
    connect(user, server.url)
    choose(user, "bundle")
    application = user.application
    segmentation = application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    segment = segmentation.GetSegmentation().AddEmptySegment("gtv", "GTV")
    editor = application.segment_editor()
    editor.setSegmentation(segmentation)
    editor.setVolume(ct)
    editor.selectSegment(segment)
    editor.setActiveEffect("Propagate Edit")
    panel = editor.effects["Propagate Edit"].self().panel
    names = [panel.widgets.model.itemText(n) for n in range(panel.widgets.model.count)]
    assert names == ["base", "bundle"]
    panel.widgets.model.setCurrentIndex(1)

    application.answers.append(True)
    click(panel.widgets.start)
    user.wait()
    assert application.texts("error") == []
    assert user.shared.logic.loaded.server == server.url
    drawn = user.mask()
    editor.paint(DRAWN & ~drawn)
    user.wait()
    click(panel.widgets.propagate)
    user.wait()
    click(panel.widgets.apply)
    user.wait()
    assert (user.mask()[8] >= DRAWN[8]).all()
    assert application.texts("error") == []


@pytest.fixture
def far_away(effect_bundle):
    """The address of a server in a process of its own."""
    from served import ServerProcess

    process = ServerProcess(effect_bundle.parent)
    process.wait()
    yield f"http://127.0.0.1:{process.port}"
    process.kill()


@pytest.fixture
def no_torch(far_away, modules_as_before, monkeypatch):
    """As in a Slicer without packages: torch and nnU-Net are not found."""
    find, missing = PathFinder.find_spec, ("torch", "nnunetv2")

    def find_others(name, *how):
        return None if name.split(".")[0] in missing else find(name, *how)

    for name in list(sys.modules):
        if name.split(".")[0] in (*missing, "context_propagation"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(PathFinder, "find_spec", find_others)


@pytest.mark.long  # imports the whole program again
def test_the_panel_needs_neither_torch_nor_nnunet_while_a_server_computes(far_away, no_torch, application):
    application.load_module(SHIPPED / "ContextPropagation.py")
    application.finish_startup()
    from context_propagation.core.image.source_volume import SourceVolume
    from context_propagation.gui.work.shared import release
    from context_propagation.mrml.nodes.volume_nodes import add_volume

    user = PanelUser(application, [])
    try:
        voxels = np.random.default_rng(3).normal(size=(1, 16, 16, 16)).astype(np.float32)
        ct = add_volume(application.scene, SourceVolume(voxels, np.diag([0.8, 1.1, 2.5, 1.0])), "CT")
        connect(user, far_away)
        choose(user, "bundle")
        application.answers.append(True)
        user.predict(ct)
        user.redraw(8, DRAWN[8])
        drawn = user.mask()
        user.click("propagateButton")
        user.wait()
        assert application.texts("error") == []
        assert np.array_equal(user.mask()[8], DRAWN[8])
        assert (user.mask() != drawn).any()
        user.click("undoButton")
        assert np.array_equal(user.mask(), drawn)
        assert not {"torch", "nnunetv2"} & set(sys.modules)
    finally:
        user.widget.cleanup()
        release()
