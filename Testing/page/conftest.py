"""A server with its page: the small network of the tests, and the bundle that ships."""

from __future__ import annotations

import shutil
from functools import partial

import pytest

from context_propagation.core.bundle.shipped_bundle import shipped_bundle
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session_settings import SessionSettings
from nnunet_folders import write_nnunet_folder
from served import served

FEW = SessionSettings(update=UpdateSettings(iterations=2))


@pytest.fixture(scope="session")
def offered(tmp_path_factory):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    folder = tmp_path_factory.mktemp("offered_to_pages")
    write_nnunet_folder(folder / "network", patch_size=(32, 32, 32))
    shutil.copytree(shipped_bundle(), folder / "phantom")
    return folder


@pytest.fixture(scope="module")
def server(offered):
    from context_propagation.page.api import add_page  # not above: it needs FastAPI

    with served(offered, partial(add_page, settings=FEW)) as found:
        yield found
