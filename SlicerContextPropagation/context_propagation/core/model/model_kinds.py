"""Which kind of model a folder holds, and how each kind is loaded and copied; telling the kind needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from context_propagation.core.errors import UserInputError
from context_propagation.core.model.auto3dseg_files import is_auto3dseg

if TYPE_CHECKING:
    from context_propagation.core.model.segmentation_model import SegmentationModel

PSNN_FILE = "psnn.json"


MONAI_CONFIGS = ("metadata.json", "inference.json", "inference.yaml")


Kind = Literal["psnn", "monai", "auto3dseg", "nnunet"]


def kind_of(folder: str | Path) -> Kind:
    """What a folder holds, by its files; what is no other kind counts as nnU-Net, whose loader says what it lacks."""
    folder = Path(folder)
    if (folder / PSNN_FILE).is_file():
        return "psnn"
    if any((folder / "configs" / name).is_file() for name in MONAI_CONFIGS):
        return "monai"
    return "auto3dseg" if is_auto3dseg(folder) else "nnunet"


def load_base_model(
    folder: str | Path,
    label: str | int | None = None,
    device: str = "auto",
    folds: Sequence[str | int] | None = None,
    orientation: str | None = None,
    trust: bool = False,
    checkpoint: str | None = None,
) -> SegmentationModel:
    """Load a trained model of any kind; no code in it is run unless it is trusted.

    Args:
        folder: A trained-model folder of nnU-Net v2, a PSNN (`psnn.json`), a MONAI bundle (`configs/`), or a model of
            MONAI Auto3DSeg (`model.pt` and `labels.csv`).
        label: Name or value of the label to refine; not needed where there is only one.
        device: "auto", "cpu", "cuda" or "mps".
        folds: Folds to average; all by default.
        orientation: See `NnunetModel.load`; where a PSNN or a MONAI bundle says its own, that counts.
        trust: Let a MONAI bundle's own expressions run.
        checkpoint: File name in each fold of an nnU-Net model; by default see `load_nnunet_folder`.

    Raises:
        UserInputError: The folder cannot be used, the label is unknown, or the device is missing.
        MissingDependencyError: What the kind needs is not installed.
    """
    from context_propagation.core.image.source_volume import is_orientation

    if orientation is not None and not is_orientation(orientation):
        raise UserInputError(f"The orientation {orientation!r:.50} is not three letters such as LPS or RAS; correct it")
    kind = kind_of(folder)
    if kind == "nnunet":
        from context_propagation.core.model.nnunet_checkpoint import FINAL
        from context_propagation.core.model.nnunet_model import NnunetModel

        return NnunetModel.load(folder, label, device, folds, orientation, FINAL if checkpoint is None else checkpoint)
    if checkpoint is not None:
        raise UserInputError(f"'{folder}' is no nnU-Net model; leave the checkpoint {checkpoint!r:.100} out")
    if kind == "psnn":
        from context_propagation.core.model.psnn_folder import load_psnn_folder

        return load_psnn_folder(folder, label, device, folds, orientation)
    if kind == "auto3dseg":
        from context_propagation.core.model.auto3dseg_folder import load_auto3dseg_folder

        return load_auto3dseg_folder(folder, label, device, folds, orientation)
    from context_propagation.core.model.monai_bundle import load_monai_bundle

    return load_monai_bundle(folder, label, device, folds, orientation, trust)


def copy_base_model(source: Path, destination: Path, folds: Sequence[str | int]) -> None:
    """Copy what inference needs of a base model; the copy has the same `content_hash`.

    Args:
        source: A folder that `load_base_model` loads.
        destination: Folder that is made.
        folds: Folds to copy.

    Raises:
        UserInputError: A fold has no checkpoint, or it cannot be used.
        OSError: A file cannot be read or written.
    """
    kind = kind_of(source)
    if kind == "nnunet":
        from context_propagation.core.model.nnunet_copy import copy_for_inference

        copy_for_inference(source, destination, folds)
    elif kind == "psnn":
        from context_propagation.core.model.psnn_folder import copy_psnn_folder

        copy_psnn_folder(source, destination, folds)
    elif kind == "auto3dseg":
        from context_propagation.core.model.auto3dseg_folder import copy_auto3dseg_folder

        copy_auto3dseg_folder(source, destination)
    else:
        from context_propagation.core.model.monai_bundle import copy_monai_bundle

        copy_monai_bundle(source, destination)
