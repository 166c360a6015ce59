"""A folder with a model and a bundle, a server that offers them, and the same models on this side."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from bundles import write_bundle
from context_propagation.core.bundle.bundle import load_model
from nnunet_folders import write_nnunet_folder
from served import served


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    folder = tmp_path_factory.mktemp("offered")
    write_nnunet_folder(folder / "network", patch_size=(32, 32, 32))
    write_bundle(folder / "bundle", folder / "network")
    (folder / "notes").mkdir()  # no model: left out
    return folder


@pytest.fixture(scope="session")
def here(bundles):
    """The same models, computed on this side; each call gives a copy that shares nothing but weights."""
    loaded = {name: load_model(bundles / name, device="cpu").with_general_far() for name in ("network", "bundle")}
    return lambda name: replace(loaded[name], model=copy.copy(loaded[name].model))


@pytest.fixture(scope="module")
def server(bundles):
    with served(bundles) as found:
        yield found
