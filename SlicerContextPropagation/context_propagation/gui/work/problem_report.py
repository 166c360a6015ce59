"""What somebody who helps has to know, without names and paths: versions, computer, kind of model, last messages."""

from __future__ import annotations

import platform

import slicer

from context_propagation.core.device import available_bytes
from context_propagation.core.provenance import commit, installed_versions
from context_propagation.gui.work.last_messages import MESSAGES
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic


def problem_report(logic: ContextPropagationLogic) -> str:
    """A few lines of plain text, to be pasted into a message to whoever helps."""
    versions = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    lines = [
        f"Slicer {slicer.app.applicationVersion}, commit {commit()}",
        f"{platform.system()} {platform.release()}, {platform.machine()}",
        versions,
        f"memory: {_memory()}",
        f"model: {_model(logic)}",
        f"image: {_image(logic)}",
        f"edits: {sum(bool(done.edits) for done in logic.history)} propagated, {len(logic.kept)} slices kept",
        "last messages:",
        *(f"- {message}" for message in MESSAGES),
    ]
    return "\n".join(lines) + "\n"


def _memory() -> str:
    try:
        return f"{available_bytes() / 2**30:.1f} GiB can be used"
    except ImportError:
        return "unknown, as packages are missing"


def _model(logic: ContextPropagationLogic) -> str:
    loaded = logic.loaded
    if loaded is None:
        return "none is loaded"
    model, described = loaded.model, loaded.description
    reach = described.reach if loaded.general is None or loaded.fusion is not None else loaded.general.reach
    where = f"on {model.device.type} of a server" if loaded.server else f"folds: {len(model.splits)}, on {model.device}"
    return (
        f"{described.kind}, {described.architecture}; channels: {len(described.channels)}, "
        f"labels: {len(described.labels)}; {where}; {reach}; SHA-256 {model.content_hash[:12]}"
    )


def _image(logic: ContextPropagationLogic) -> str:
    session = logic.session
    if session is None:
        return "none is cached"
    shape, spacing = session.volume.shape_kji, session.volume.spacing_kji_mm
    size = " x ".join(str(n) for n in reversed(shape))
    return f"{size} voxels of {' x '.join(f'{mm:.3g}' for mm in reversed(spacing))} mm; level {session.settings.level}"
