"""Phantoms as files: images and labels as nnU-Net names them."""

from __future__ import annotations

import os
from pathlib import Path

import SimpleITK as sitk

from context_propagation.cli.fusion_jobs import LabelledCase
from context_propagation.cli.nnunet_training import NnunetTask
from context_propagation.core.phantom import Kind, Phantom, PhantomSettings, make_phantom

CHANNELS: dict[Kind, tuple[str, ...]] = {"nasopharynx": ("CT",), "oesophagus": ("CT", "PET")}
PLANNED_MEMORY_GB = 0.1
"""With 8 channels in the first stage: patches of about 100,000 voxels, so that two CPU cores train in minutes."""


def nnunet_task(kind: Kind) -> NnunetTask:
    """What nnU-Net is told of a kind of phantom."""
    return NnunetTask(kind.capitalize(), CHANNELS[kind], "GTV", PLANNED_MEMORY_GB)


def phantom_case(settings: PhantomSettings, images: Path, labels: Path) -> LabelledCase:
    """Generate a case once: `images/<case>_0000.nii.gz` (CT), `_0001` (PET), `labels/<case>.nii.gz`."""
    name = settings.name
    files = tuple(images / f"{name}_{channel:04d}.nii.gz" for channel in range(len(CHANNELS[settings.kind])))
    record = labels / f"{name}.told"
    if not record.is_file():
        phantom = make_phantom(settings)
        write_phantom(phantom, files, labels / f"{name}.nii.gz")
        record.write_text(" ".join(repr(float(number)) for number in phantom.told))
    told = tuple(float(number) for number in record.read_text().split())
    return LabelledCase(name, files, labels / f"{name}.nii.gz", told)


def write_phantom(phantom: Phantom, images: tuple[Path, ...], label: Path) -> None:
    """One file per channel, and the GTV as 1."""
    channels = [phantom.ct] if phantom.pet is None else [phantom.ct, phantom.pet]
    for array, path in zip((*channels, phantom.gtv), (*images, label), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"partial-{path.name}")
        sitk.WriteImage(phantom.image(array), str(partial), useCompression=True)
        os.replace(partial, path)
