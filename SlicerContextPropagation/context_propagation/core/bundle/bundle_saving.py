"""Writes a bundle: a base model and its fusion networks in one folder, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from context_propagation.core.bundle.bundle import (
    BASE_FOLDER,
    TRAINING_FOLDER,
    _is_of_a_bundle,
    _names_in,
    fusion_of,
    load_bundle,
    tuned_general_of,
)
from context_propagation.core.bundle.bundle_file import (
    BundleDescription,
    BundledModel,
    FusionFile,
    GeneralFile,
    is_bundle,
    write_description,
    write_network,
)
from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.model.model_kinds import copy_base_model, load_base_model
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.propagation.general_far import TrainedFar
from context_propagation.core.propagation.trained_fusion import Fusion
from context_propagation.core.storage.whole_file import whole_folder


def save_bundle(
    path: str | Path,
    base: str | Path,
    fusion: TrainedFar,
    provenance: Mapping[str, Any],
    *,
    label: str,
    folds: Sequence[str | int] | None = None,
    orientation: str | None = None,
    copy_base: bool = True,
    training: Path | None = None,
    trust: bool = False,
) -> None:
    """Write a bundle and load it once; it appears at `path` only when that has worked.

    Args:
        path: The bundle's folder. A bundle that is there is replaced.
        base: The base model's folder that the fusion networks were made for: see `load_base_model`.
        fusion: One network per fold: see `fusion_of`; or one for all, see `tuned_general_of`.
        provenance: Where the weights come from, as JSON can hold it: data counts, folds, seeds, versions, figures.
        label: Name of the target label in the base model.
        folds: Folds of the base model in the order of the networks; all by default.
        orientation: As given to `load_base_model`.
        copy_base: Copy what prediction needs of the base model into the bundle; else refer to it by its path.
        training: A folder with logs and pictures of the training, copied into the bundle.
        trust: Let a MONAI bundle's own expressions run.

    Raises:
        UserInputError: `path` is something other than a bundle, a file cannot be written, or what was given does not
            fit together. Nothing is left behind.
    """
    path, base = Path(path).resolve(), Path(base).resolve()
    check_bundle_destination(path)
    if not copy_base:
        _refuse_to_replace(path, base)
    trained_for = fusion.level, fusion.neighbours, fusion.far_thresholds
    if isinstance(fusion, Fusion):
        fusion = fusion_of(fusion.networks, *trained_for)
    else:
        fusion = tuned_general_of(fusion.network, *trained_for)
    loaded = load_base_model(base, label, "cpu", folds, orientation, trust)
    if isinstance(fusion, Fusion):
        _refuse_unusable(fusion, loaded)
    sha256 = loaded.content_hash
    base_model = BundledModel(sha256, folder=BASE_FOLDER) if copy_base else BundledModel(sha256, reference=str(base))
    description = _description_of(fusion, loaded, base_model, label, orientation, provenance)
    with _moved_into_place(path) as partial:
        if copy_base:
            copy_base_model(base, partial / BASE_FOLDER, loaded.folds)
        for item, network in zip(description.files, fusion.networks, strict=True):
            write_network(partial / item, network)
        if training is not None:
            shutil.copytree(training, partial / TRAINING_FOLDER)
        write_description(partial, description)
        load_bundle(partial, device="cpu", trust=trust)


def _description_of(
    fusion: TrainedFar,
    loaded: SegmentationModel,
    base_model: BundledModel,
    label: str,
    orientation: str | None,
    provenance: Mapping[str, Any],
) -> BundleDescription:
    """What a bundle of these networks says about itself; the file of each is named after its fold."""
    by_fold = zip(loaded.folds, fusion.networks, strict=True) if isinstance(fusion, Fusion) else ()
    return BundleDescription(
        base=base_model,
        label=label,
        orientation=orientation,
        folds=loaded.folds,
        level=fusion.level,
        neighbours=fusion.neighbours,
        far_thresholds=fusion.far_thresholds,
        fusion=tuple(FusionFile(f"fusion_{fold}.safetensors", network.settings) for fold, network in by_fold),
        fusion_sha256=fusion.content_hash,
        provenance=provenance,
        general=None if isinstance(fusion, Fusion) else GeneralFile("fusion_general.safetensors", fusion.network.width),
    )


def check_bundle_destination(path: str | Path) -> None:
    """Ask before long work whether a bundle may be saved here.

    Raises:
        UserInputError: Something other than a bundle is there, or the folder that it would lie in is missing.
    """
    path = Path(path).resolve()
    if path.exists() and not is_bundle(path):
        raise UserInputError(f"'{path}' exists and is not a bundle; choose another name")
    for name in _names_in(path):
        if not _is_of_a_bundle(name):
            raise UserInputError(f"'{path}' holds {name!r}, which is not of the bundle; move it away first")
    if not path.parent.is_dir():
        raise UserInputError(f"Folder '{path.parent}' does not exist; create it, or choose another place")


def _refuse_to_replace(path: Path, base: Path) -> None:
    """A base model that is only referred to must outlive the bundle that is replaced."""
    if base.is_relative_to(path):
        raise UserInputError(
            f"The base model '{base}' lies inside '{path}', which is replaced; copy it into the bundle"
        )


def _refuse_unusable(fusion: Fusion, base: SegmentationModel) -> None:
    if len(fusion.networks) != len(base.folds):
        raise UserInputError(
            f"{counted(len(fusion.networks), 'fusion network')} for {counted(len(base.folds), 'fold')} of the base "
            f"model ({', '.join(base.folds)}); give one for each fold"
        )
    for network in fusion.networks:
        if network.settings.hidden_truth:
            raise UserInputError(
                f"A fusion network needs {counted(network.settings.hidden_truth, 'number')} of the ground truth, which "
                "only an evaluation has; give one that needs none"
            )


@contextmanager
def _moved_into_place(path: Path) -> Iterator[Path]:
    """A folder beside `path` that takes its place when the block ends well, and vanishes when it does not."""
    try:
        with whole_folder(path) as partial:
            yield partial
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise UserInputError(f"Cannot write bundle '{path}': {reason}; choose another place") from error
