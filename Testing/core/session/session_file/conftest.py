"""Sessions that were worked on, with and without a fusion network, and the file of one."""

from dataclasses import replace

import pytest

from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_file import save_session
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder
from saved_sessions import SETTINGS, a_box, an_image, copied, square_drawn, worked_session


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return NnunetModel.load(
        write_nnunet_folder(tmp_path_factory.mktemp("m"), folds=(0, 1), convolutions=2), device="cpu"
    )


@pytest.fixture(scope="module")
def made(model):
    return worked_session(model)


@pytest.fixture
def worked(made, model):
    return copied(made, model)


@pytest.fixture(scope="module")
def text(made, tmp_path_factory):
    """What is saved of a worked session."""
    path = tmp_path_factory.mktemp("saved") / "case.session.json"
    save_session(made, path)
    return path.read_text("utf-8")


@pytest.fixture
def file(text, tmp_path):
    path = tmp_path / "case.session.json"
    path.write_text(text, "utf-8")
    return path


@pytest.fixture(scope="module", params=["joint", "one at a time"])
def made_fused(request, model):
    """Edits of two axes, one undone; the cache was extended between them."""
    fusion = random_fusion(model, level=1)
    session = Session(model, replace(SETTINGS, several_edits=request.param), fusion)
    session.set_image(an_image(), a_box((6, 12), (5, 12), (3, 10)))
    session.propagate([square_drawn(8, (4, 13), (3, 12))])
    session.propagate([SliceEdit(2, 32, a_box((4, 12), (6, 16), (32, 33))[:, :, 32])])
    session.propagate([square_drawn(6, (5, 11), (4, 11))])
    session.undo()
    return session, fusion


@pytest.fixture
def fused(made_fused, model):
    session, fusion = made_fused
    return copied(session, model, fusion), fusion
