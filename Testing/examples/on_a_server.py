"""A pytest plugin (-p on_a_server): tests that load a model get it from a server on loopback, with its sessions."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import loaded_models
from context_propagation.core.bundle import bundle
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.remote.remote_loaded_model import RemoteLoadedModel
from context_propagation.remote.remote_server import RemoteServer
from context_propagation.server import model_folder  # noqa: F401  (loads models itself: before they are served)
from context_propagation.server.limits import Limits
from served import Served, served

MANY = Limits(sessions=64, requests_per_s=1000)
"""The tests ask faster than people, and not all close what they began."""


@dataclass(frozen=True)
class ServedModel(RemoteLoadedModel):
    """Its description names the folder that the test knows."""

    again: Any = None
    quick: bool = False

    @property
    def server(self) -> str:
        return ""

    def settings(self, settings: SessionSettings | None = None) -> SessionSettings:
        few = replace(SessionSettings(), update=loaded_models.FEW)
        return super().settings(settings or (few if self.quick else None))

    def with_general_far(self) -> ServedModel:
        return self.again(True)


class _Server:
    """One for all tests; each folder is copied to it under a name of its own."""

    def __init__(self) -> None:
        self.stack, self._numbers = ExitStack(), itertools.count()
        self._folder = Path(self.stack.enter_context(TemporaryDirectory()))
        self._served: Served | None = None
        self._names: dict[tuple[Path, int], str] = {}

    def load(self, folder: Path, label: Any, quick: bool, general_far: bool = False) -> ServedModel:
        name = self._name_of(Path(folder))
        if self._served is None:
            self._served = self.stack.enter_context(served(self._folder, limits=MANY))
        loaded = RemoteServer(self._served.url, lambda upload: True).load(name, label, general_far)
        known = {field.name: getattr(loaded, field.name) for field in fields(RemoteLoadedModel)}
        known["description"] = replace(loaded.description, path=Path(folder))
        return ServedModel(**known, again=lambda far: self.load(folder, label, quick, far), quick=quick)

    def _name_of(self, folder: Path) -> str:
        newest = max(file.stat().st_mtime_ns for file in folder.rglob("*"))
        if (folder, newest) not in self._names:
            name = f"{folder.name}-{next(self._numbers)}"
            shutil.copytree(folder, self._folder / name)
            self._names[folder, newest] = name
        return self._names[folder, newest]


@pytest.hookimpl(wrapper=True)
def pytest_sessionstart() -> Iterator[None]:
    server = _Server()

    def load_model(folder: Path, label: Any = None, device: str = "auto", *_: Any) -> ServedModel:
        return server.load(folder, label, quick=False)

    def quick_model(folder: Path, label: Any = None, *_: Any) -> ServedModel:
        return server.load(folder, label, quick=True)

    bundle.load_model, loaded_models.quick_model = load_model, quick_model
    pytest.server = server
    return (yield)


def pytest_sessionfinish() -> None:
    pytest.server.stack.close()
