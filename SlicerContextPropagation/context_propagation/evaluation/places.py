"""Where the cases of a training are, and where its bundle goes: as named, else found from the model's folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from context_propagation.core.bundle.bundle_saving import check_bundle_destination
from context_propagation.core.bundle.trained_bundle import place_of_bundle
from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.model.nnunet_data import find_cases_of, find_folds_file, has_folds
from context_propagation.training.labelled_cases import LabelledCase

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """What a training reads and writes, beside the model.

    Attributes:
        images: Folder of images.
        labels: Folder of labelmaps.
        folds: Says which cases each fold of the model never saw; None where no fold saw any of them.
        output: The bundle.
    """

    images: Path
    labels: Path
    folds: Path | None
    output: Path


def places_of(
    model: Path, label: str | None, images: Path | None, labels: Path | None, folds: Path | None, output: Path | None
) -> Places:
    """What is named, and for the rest what is found or usual.

    Args:
        model: The base model's folder.
        label: The label, where one of several is named.
        images: None for those of the model's own data set, see `find_cases_of`.
        labels: Given where the images are.
        folds: None for that of the model's own data set.
        output: None for `place_of_bundle`.

    Raises:
        UserInputError: Something is not found, one of images and labels is missing, or no bundle may be written there.
    """
    if output is None:
        output = place_of_bundle(model, label)
        if output.exists():
            raise UserInputError(f"'{output}' is there already; give --output, the same to replace it or another name")
    check_bundle_destination(output.resolve())
    if (images is None) != (labels is None):
        missing = "--images" if images is None else "--labels"
        raise UserInputError(f"Images and labels belong together; give {missing} too, or neither")
    if images is None or labels is None:
        images, labels = find_cases_of(model)
    if folds is None and has_folds(model):
        folds = find_folds_file(model)
    return Places(images, labels, folds, output)


def say_what_is_used(
    places: Places, cases: int, folds: Sequence[str], unseen: Sequence[Sequence[LabelledCase]]
) -> None:
    """So that nobody trains on other cases than was meant.

    Args:
        places: Where they are.
        cases: How many there are.
        folds: The model's.
        unseen: The cases that each of them never saw.
    """
    of_folds = ", ".join(f"fold {name} never saw {len(found)}" for name, found in zip(folds, unseen, strict=True))
    by = "taken as never seen by the model" if places.folds is None else f"by '{places.folds}' {of_folds}"
    logger.info("%s in '%s' and '%s': %s", counted(cases, "case"), places.images, places.labels, by)
