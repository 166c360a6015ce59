"""Words that come from below the GUI, as literals that translators find."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from context_propagation.gui.work.worker import Job

if TYPE_CHECKING:
    from context_propagation.core.session.forecast import MemoryForecast


MIB = 2**20


_WORDS = {
    # titles of operations
    "Load model": _("Load model"),
    "Ask the server": _("Ask the server"),
    "Check volumes": _("Check volumes"),
    "Predict": _("Predict"),
    "Propagate": _("Propagate"),
    "Replay edits": _("Replay edits"),
    "Probability": _("Probability"),
    "Measure": _("Measure"),
    "Case summary": _("Case summary"),
    "Export": _("Export"),
    "Resample PET": _("Resample PET"),
    "Register PET": _("Register PET"),
    "Make SUV": _("Make SUV"),
    "Even slices": _("Even slices"),
    "Acquired slices": _("Acquired slices"),
    "Sample case": _("Sample case"),
    # stages
    "load model": _("load model"),
    "read": _("read"),
    "check": _("check"),
    "generate": _("generate"),
    "resample": _("resample"),
    "preprocess": _("preprocess"),
    "wait for the server": _("wait for the server"),
    "send the image": _("send the image"),
    "predict": _("predict"),
    "encode": _("encode"),
    "update": _("update"),
    "decode": _("decode"),
    "fuse": _("fuse"),
    "look for undecided slices": _("look for undecided slices"),
    "measure": _("measure"),
    "write": _("write"),
    "summarise": _("summarise"),
    # stages of a training
    "simulated edits": _("simulated edits"),
    "networks": _("networks"),
    "far thresholds, fusion": _("far thresholds"),
    "validation": _("validation"),
    # states of a lesion
    "ready": _("ready"),
    "redrawn": _("redrawn"),
    "preview": _("preview"),
    "running": _("running"),
    "moved or changed": _("moved or changed"),
    # measures
    "Volume": _("Volume"),
    "DSC": _("DSC"),
    "Hausdorff distance, 95 %": _("Hausdorff distance, 95 %"),
    "Surface DSC at 2 mm": _("Surface DSC at 2 mm"),
    "Added path length, axial": _("Added path length, axial"),
    # planes and reach
    "axial": _("axial"),
    "sagittal": _("sagittal"),
    "coronal": _("coronal"),
    "near slices only": _("near slices only"),
    "whole volume (trained for this model)": _("whole volume (trained for this model)"),
    "whole volume (general)": _("whole volume (general)"),
}


PLANES = ("", "axial", "sagittal", "coronal")
"""Of redrawn slices; the first lets them be found."""


def plane_choices() -> list[str]:
    """What `PLANES` is called in a list."""
    return [_("any plane"), *(translated(plane) for plane in PLANES[1:])]


def translated(words: str) -> str:
    """The user's language, where a translation is known."""
    return _WORDS.get(words, words)


def progress_words(job: Job) -> list[str]:
    """What runs, its stage, and whether it is being stopped."""
    stopping = [_("stopping")] if job.cancelled else [_("taking the best so far")] if job.settled else []
    stage = [translated(job.stage[0])] if job.stage[0] else []
    return [translated(job.operation.title), *stage, *stopping]


def memory_text(memory: MemoryForecast) -> str:
    """What caching needs, or where it is done."""
    if memory.server:
        return breakable(_("computed on {server}").format(server=memory.server))
    text = (
        _("needs {kept} MiB, at most {peak} MiB at once, of {usable} MiB")
        if memory.target_known
        else _("needs at least {kept} MiB, about {peak} MiB at once, of {usable} MiB; known after the prediction")
    )
    kept, peak, usable = (round(n / MIB) for n in (memory.kept_bytes, memory.peak_bytes, memory.usable_bytes))
    return text.format(kept=kept, peak=peak, usable=usable)


def breakable(text: str) -> str:
    """The same text, whose paths may be broken into lines: Qt breaks at spaces alone."""
    return re.sub(r"([/\\_])(?=\S)", "\\1\u200b", text)
