"""Models whose networks are loaded once, for sessions that take few steps."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, fields, replace
from pathlib import Path

from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session_settings import SessionSettings

FEW = UpdateSettings(iterations=3)


@dataclass(frozen=True)
class QuickModel(LoadedModel):
    """Its sessions stop early: for tests that look at what becomes of a result, not at how good it is."""

    def settings(self, settings: SessionSettings | None = None) -> SessionSettings:
        return super().settings(settings or replace(SessionSettings(), update=FEW))


def quick_model(
    folder: Path,
    label: str | int | None = None,
    device: str = "cpu",
    trust: bool = False,
    orientation: str | None = None,
) -> QuickModel:
    """As `load_model`; another one with the same frozen networks where the folder was loaded before."""
    newest = max(file.stat().st_mtime_ns for file in folder.rglob("*"))
    loaded = _loaded(folder, label, device, trust, orientation, newest)
    return replace(loaded, model=copy.copy(loaded.model))


@functools.lru_cache(maxsize=8)
def _loaded(
    folder: Path, label: str | int | None, device: str, trust: bool, orientation: str | None, newest: int
) -> QuickModel:
    loaded = load_model(folder, label, device, trust, orientation)
    return QuickModel(**{field.name: getattr(loaded, field.name) for field in fields(LoadedModel)})
