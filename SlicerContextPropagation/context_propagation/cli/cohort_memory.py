"""How much memory a case of a cohort needs: said to a cluster before the cases are sent."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from context_propagation.cli.cohort_case import CohortJob, loaded_for
from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.storage.counted_files import counted_files
from context_propagation.files.image_files import read_source_volume
from context_propagation.files.segmentation import Wanted
from context_propagation.segmentations.segmentation_files import read_together
from context_propagation.training.job_memory import PROCESS_BYTES, memory_of_an_edit, voxels_in
from context_propagation.training.places import are_there


def memory_of_cases(jobs: Sequence[CohortJob]) -> int:
    """Bytes of main memory that a case needs at its peak, an estimate: of the largest image of each model.

    A case that cannot be read decides nothing: it will fail by itself.
    """
    of_models: dict[tuple[Path, str | None], list[CohortJob]] = {}
    for job in jobs:
        if not are_there(job.leaves):
            of_models.setdefault((job.case.model, job.case.label), []).append(job)
    return max((_of_one_model(of_model) for of_model in of_models.values()), default=PROCESS_BYTES)


def _of_one_model(jobs: Sequence[CohortJob]) -> int:
    for job in sorted(jobs, key=_size, reverse=True):
        try:
            return _of_case(job)
        except (UserInputError, OSError, RuntimeError):
            continue
    return PROCESS_BYTES


def _size(job: CohortJob) -> int:
    """Voxels of the first channel; a folder's slices are taken to be alike."""
    path = job.case.image[0]
    files = counted_files(path) if path.is_dir() else [path]
    for file in files:
        with suppress(RuntimeError):  # no image: other files lie beside slices
            return len(files) * voxels_in(str(file))
    return 0


def _of_case(job: CohortJob) -> int:
    loaded = loaded_for(job, "cpu")
    volume = read_source_volume(job.case.image, job.suv)
    if len(volume.channels) != loaded.model.channels:
        raise UserInputError("another number of channels than the model's")
    targets = [None] if job.case.initial is None else []
    drawn = _drawn(job, loaded, volume)
    if drawn is not None:
        targets.append(drawn)
    settings, device = loaded.settings(), job.device
    return max(memory_of_an_edit(loaded.model, volume, target, settings, device) for target in targets)


def _drawn(job: CohortJob, loaded: LoadedModel, volume: SourceVolume) -> np.ndarray | None:
    """What is edited, bool `[K, J, I]`: all of the segmentations before and after; None where there is none of them."""
    case, target = job.case, loaded.model.target
    files = [file for file in (case.initial, case.edited) if file is not None]
    if not files:
        return None
    wanted = Wanted(case.segment or target.name, target.label, target.outer, target.only_trained)
    masks = [segmentation.mask for segmentation in read_together(files, wanted, volume, case.image)]
    return np.logical_or.reduce(masks)
