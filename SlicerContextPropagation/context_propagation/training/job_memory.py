"""How much memory a job needs that edits a case: said to a cluster before the job is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import SimpleITK as sitk

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
    largest = max(cases, key=_voxels)
    model = base.here().load()
    volume, truth = largest.read(model)
    forecast = memory_forecast(
        model, replace(settings, memory_budget_bytes=UNLIMITED), ready_image(model, volume), truth
    )
    forget_image(model)
    image = COPIES * 4 * prod(volume.shape_kji) * len(volume.channels)
    return PROCESS_BYTES + image + (forecast.peak_bytes if base.device in ("cpu", "auto") else 0)


def _voxels(case: LabelledCase) -> int:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(case.images[0]))
    reader.ReadImageInformation()
    return prod(reader.GetSize())
