"""Cases that the general far network and the models that it is tried with never saw, each with a session on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.phantom.phantom import make_phantom
from context_propagation.core.phantom.unseen_phantoms import FIRST_UNSEEN, UNSEEN
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.evaluation.variants import drawn_in_style, shifted_image, style_of

Case = tuple[str, str, Session, np.ndarray]
"""Data set, case, a session whose image is cached, and the truth, bool `[K, J, I]`."""


def hippocampi(model: NnunetModel, folder: Path, names: Sequence[str], level: int) -> Iterator[Case]:
    """Each as it is, in the style of an observer, and shifted: the protocols' variants."""
    for name in names:
        image = sitk.ReadImage(str(folder / "images" / f"{name}.nii.gz"))
        truth = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labels" / f"{name}.nii.gz"))) > 0
        shifted = sitk.GetImageFromArray(shifted_image(sitk.GetArrayFromImage(image), name))
        shifted.CopyInformation(image)
        session = _session(model, image, level)
        yield "hippocampus, clean", name, session, truth
        yield "hippocampus, observer style", name, session, drawn_in_style(truth, style_of(name))
        yield "hippocampus, shifted", name, _session(model, shifted, level), truth


def phantoms(model: NnunetModel, numbers: Sequence[int], level: int) -> Iterator[Case]:
    """Nasopharynx phantoms."""
    for number in numbers:
        phantom = make_phantom(replace(UNSEEN, number=FIRST_UNSEEN + number))
        yield "phantoms", str(number), _session(model, phantom.image(phantom.ct), level), phantom.gtv


def _session(model: NnunetModel, image: sitk.Image, level: int) -> Session:
    session = Session(model, SessionSettings(level=level))
    session.set_image(SourceVolume.from_sitk([image]))
    return session
