"""How much memory a job needs that edits a case: said to a cluster before the job is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
import SimpleITK as sitk

from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.session.memory_forecast import memory_forecast
from context_propagation.core.session.ready_image import forget_image, ready_image
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.training.labelled_cases import LabelledCase, ModelSource

PROCESS_BYTES = 2**30
"""Of Python, torch and the network."""


COPIES = 16
"""Of an image as 32-bit numbers, while it is read, preprocessed, segmented and measured."""


UNLIMITED = 2**62


def memory_of_a_job(base: ModelSource, cases: Sequence[LabelledCase], settings: SessionSettings) -> int:
    """Bytes of main memory that editing the largest of some cases needs at its peak, an estimate.

    Args:
        base: The frozen model; loaded in this process.
        cases: Of which the largest is read, at least one.
        settings: Of the sessions.
    """
    largest = max(cases, key=lambda case: voxels_in(str(case.images[0])))
    model = base.here().load()
    return memory_of_an_edit(model, *largest.read(model), settings, base.device)


def memory_of_an_edit(
    model: SegmentationModel, volume: SourceVolume, target: np.ndarray | None, settings: SessionSettings, device: str
) -> int:
    """Bytes of main memory that editing a case needs at its peak, an estimate.

    Args:
        model: The frozen model, in this process.
        volume: The image.
        target: bool `[K, J, I]`, what is edited; None where it is predicted.
        settings: Of the session.
        device: What the job computes on; a GPU has memory of its own.
    """
    unlimited = replace(settings, memory_budget_bytes=UNLIMITED)
    forecast = memory_forecast(model, unlimited, ready_image(model, volume), target)
    forget_image(model)
    image = COPIES * 4 * prod(volume.shape_kji) * len(volume.channels)
    return PROCESS_BYTES + image + (forecast.peak_bytes if device in ("cpu", "auto") else 0)


def voxels_in(image: str) -> int:
    """Of a file; the header alone is read.

    Raises:
        RuntimeError: It cannot be read.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(image)
    reader.ReadImageInformation()
    return prod(reader.GetSize())
