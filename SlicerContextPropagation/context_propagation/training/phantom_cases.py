"""Phantoms as files: images and labels as nnU-Net names them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from context_propagation.core.phantom.phantom import GENERATOR, Kind, Phantom, PhantomSettings, make_phantom
from context_propagation.core.storage.whole_file import whole_file
from context_propagation.training.labelled_cases import LabelledCase, NnunetTask
from context_propagation.training.places import are_there

CHANNELS: dict[Kind, tuple[str, ...]] = {"nasopharynx": ("CT",), "oesophagus": ("CT", "PET"), "organ": ("MR",)}


PLANNED_MEMORY_GB = 0.1
"""With 8 channels in the first stage: patches of about 100,000 voxels, so that two CPU cores train in minutes."""


def nnunet_task(kind: Kind) -> NnunetTask:
    """What nnU-Net is told of a kind of phantom."""
    return NnunetTask(kind.capitalize(), CHANNELS[kind], "GTV", PLANNED_MEMORY_GB)


def phantom_case(settings: PhantomSettings, images: Path, labels: Path) -> LabelledCase:
    """Generate a case once: `images/<case>_0000.nii.gz` (CT), `_0001` (PET), `labels/<case>.nii.gz`.

    `labels/<case>.json` says by which settings and generator, and the observer's style; another case of that name, or
    an incomplete one, is replaced.
    """
    name = settings.name
    *files, label, record = phantom_files(settings, images, labels)
    made_by = json.loads(json.dumps({"generator": GENERATOR, **asdict(settings), "spacing_ijk_mm": settings.spacing}))
    kept = _kept(record)
    if kept.get("made by") != made_by or "hidden_truth" not in kept or not are_there((*files, label)):
        phantom = make_phantom(settings)
        write_phantom(phantom, tuple(files), label)
        kept = {"made by": made_by, "hidden_truth": list(phantom.hidden_truth)}
        with whole_file(record) as partial:
            partial.write_text(json.dumps(kept), encoding="utf-8")
    return LabelledCase(name, tuple(files), label, tuple(kept["hidden_truth"]))


def phantom_files(settings: PhantomSettings, images: Path, labels: Path) -> tuple[Path, ...]:
    """What `phantom_case` leaves: a file per channel, the label, the record."""
    name = settings.name
    channels = (images / f"{name}_{channel:04d}.nii.gz" for channel in range(len(CHANNELS[settings.kind])))
    return *channels, labels / f"{name}.nii.gz", labels / f"{name}.json"


def _kept(record: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def write_phantom(phantom: Phantom, images: tuple[Path, ...], label: Path) -> None:
    """One file per channel, and the GTV as 1."""
    channels = [phantom.ct] if phantom.pet is None else [phantom.ct, phantom.pet]
    for array, path in zip((*channels, phantom.gtv), (*images, label), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            sitk.WriteImage(phantom.image(array), str(partial), useCompression=True)
