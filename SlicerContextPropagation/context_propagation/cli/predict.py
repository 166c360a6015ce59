"""`context-propagation predict`: the model's own segmentation of an image."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from context_propagation.cli.arguments import add_model_and_image
from context_propagation.cli.model_and_image import load_requested, read_image_for
from context_propagation.cli.output_files import OutputFiles
from context_propagation.cli.progress import Bars, progress_bars
from context_propagation.cli.replaced_files import check_not_an_image
from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.callbacks import Progress
from context_propagation.core.image.contour_offset import moved_contours
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.session.drawing_profile import model_key, read_profile
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.segmentations.segmentation_files import check_segmentation_ending, write_predicted


@dataclass(frozen=True)
class PredictRequest:
    """What to predict.

    Attributes:
        model: nnU-Net's trained-model folder, or a bundle.
        image: One file or DICOM folder per channel.
        output: Where the segmentation goes.
        label: Name or value of the label; None for the bundle's, or the only one.
        device: "auto", "cpu", "cuda" or "mps".
        trust_bundle: Whether a MONAI bundle's own expressions may run.
        orientation: Letters that images are reoriented to, where the model does not say them; see `NnunetModel.load`.
        checkpoint: File name of the checkpoint in each fold of an nnU-Net model; None for the final one.
        suv: Whether a DICOM PET among the channels becomes SUV.
        profile: What `propagate` remembered of earlier cases: the contours begin where those were drawn.
        server: Address of a server that computes; None for this computer. `model` is then a name in its list.
        server_token: A file with the token for it.
        server_certificate: PEM, of whoever signed its certificate.
    """

    model: Path
    image: Sequence[Path]
    output: Path
    label: str | None = None
    device: str = "auto"
    trust_bundle: bool = False
    orientation: str | None = None
    checkpoint: str | None = None
    suv: bool = False
    profile: Path | None = None
    server: str | None = None
    server_token: Path | None = None
    server_certificate: Path | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add_model_and_image(parser)
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="IN.profile.json",
        help="begin where earlier cases were drawn, as propagate --profile said",
    )


def predict(
    request: PredictRequest, bars: Bars = progress_bars, load: Callable[[PredictRequest], LoadedModel] = load_requested
) -> str:
    """Predict and write.

    Args:
        request: What to predict.
        bars: Shows progress.
        load: Loads the model.

    Returns:
        One line about what was written.

    Raises:
        UserInputError: Something in the request cannot be used; no file was written.
    """
    check_segmentation_ending(request.output, request.image)
    check_not_an_image(request.output)
    with OutputFiles([request.output], request.image, request.model) as outputs, bars() as progress:
        loaded = load(request)
        model = loaded.model
        offset_mm = 0.0 if request.profile is None else read_profile(request.profile).offset_mm(model_key(model))
        volume = read_image_for(model, request.image, request.suv)
        if request.server is not None:
            mask = _predicted_there(loaded, volume, offset_mm, progress)
        else:
            mask = moved_contours(model.predict(model.prepare(volume), progress), volume, offset_mm)
        write_predicted(outputs.staged(request.output), mask, model.target.name, volume, request.image)
        outputs.publish()
    moved = f", contours moved outwards by {offset_mm:+.2f} mm, as earlier cases were drawn" if offset_mm else ""
    return f"{request.output}: {int(mask.sum())} voxels of {model.target.name}{moved}"


def _predicted_there(loaded: LoadedModel, volume: SourceVolume, offset_mm: float, progress: Progress) -> np.ndarray:
    """What a session on a server begins with."""
    session = loaded.session(SessionSettings(start_offset_mm=offset_mm))
    try:
        session.set_image(volume, None, progress)
        return session.initial
    finally:
        session.close()


def run(**fields: Any) -> str:
    """Run with the parsed arguments; returns what to print."""
    return str(predict(PredictRequest(**fields)))
