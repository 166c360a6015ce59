"""What `propagate` is asked for: checked before anything is read, and against the model once it is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from context_propagation.cli.edit_choice import AUTO
from context_propagation.cli.replaced_files import check_not_an_image, check_profile_ending, check_session_ending
from context_propagation.cli.report import check_report_ending
from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.errors import UserInputError
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.files.figure import check_figure_ending
from context_propagation.files.self_contained_page import check_page_ending
from context_propagation.segmentations.segmentation_files import check_segmentation_ending


@dataclass(frozen=True)
class PropagateRequest:
    """What to propagate.

    Attributes:
        model: nnU-Net's trained-model folder, or a bundle.
        image: One file or DICOM folder per channel.
        initial: The segmentation before the edit.
        edited: The segmentation with the redrawn slices.
        output: Where the refined segmentation goes.
        label: Name or value of the label; None for the bundle's, or the only one.
        plane: "auto", "axial", "sagittal" or "coronal".
        slices: Indices of the edited slices, from 0; None finds them.
        segment: Name of the segment or ROI in the segmentations; None for the label's name.
        level: Decoder level; None for the bundle's, or 2.
        optimizer: "lbfgs" or "adam"; None for lbfgs.
        session: A saved session to go on from; level and optimizer are then its own.
        save_session: Where the session goes.
        report: Where the JSON report goes.
        summary: Where the case summary goes, a page.
        figure: Where the figure goes.
        device: "auto", "cpu", "cuda" or "mps".
        trust_bundle: Whether a MONAI bundle's own expressions may run.
        orientation: Letters that images are reoriented to, where the model does not say them; see `NnunetModel.load`.
        checkpoint: File name of the checkpoint in each fold of an nnU-Net model; None for the final one.
        suv: Whether a DICOM PET among the channels becomes SUV.
        allow_loss: Whether the output may lose what its kind of file cannot hold.
        general_far: Whether the general far network serves a model without fusion networks.
        profile: Where it is remembered by how much contours had to move, for `predict` of the next case; where the
            initial segmentation began there, the model's own contours come back if they fit the drawing better.
        server: Address of a server that computes; None for this computer. `model` is then a name in its list.
        server_token: A file with the token for it.
        server_certificate: PEM, of whoever signed its certificate.
    """

    model: Path
    image: Sequence[Path]
    initial: Path
    edited: Path
    output: Path
    label: str | None = None
    plane: str = AUTO
    slices: Sequence[int] | None = None
    segment: str | None = None
    level: int | None = None
    optimizer: Literal["lbfgs", "adam"] | None = None
    session: Path | None = None
    save_session: Path | None = None
    report: Path | None = None
    summary: Path | None = None
    figure: Path | None = None
    device: str = "auto"
    trust_bundle: bool = False
    orientation: str | None = None
    checkpoint: str | None = None
    suv: bool = False
    allow_loss: bool = False
    general_far: bool = True
    profile: Path | None = None
    server: str | None = None
    server_token: Path | None = None
    server_certificate: Path | None = None


def check_outputs(request: PropagateRequest) -> None:
    """Refuse before anything is read what could not be written at the end.

    Raises:
        UserInputError: An output has an ending that cannot be written or would replace an image, or a profile is
            asked for with a server.
    """
    check_segmentation_ending(request.output, request.image)
    if request.figure is not None:
        check_figure_ending(request.figure)
    check_report_ending(request.report)
    if request.summary is not None:
        check_page_ending(request.summary)
    check_session_ending(request.save_session)
    check_profile_ending(request.profile)
    if request.server is not None and request.profile is not None:
        raise UserInputError("--profile needs the model on this computer; leave it out with --server")
    check_not_an_image(request.output)


def session_settings(request: PropagateRequest, loaded: LoadedModel) -> SessionSettings:
    """The settings of a new session.

    Raises:
        UserInputError: A level or an optimizer is given beside a saved session, which has its own; or the level is not
            that of the bundle's fusion network.
    """
    if request.session is not None and (request.level, request.optimizer) != (None, None):
        raise UserInputError(f"'{request.session}' has its own level and optimizer; leave --level and --optimizer out")
    settings = SessionSettings(update=UpdateSettings(optimizer=request.optimizer or "lbfgs"))
    if request.level is not None:
        settings = replace(settings, level=request.level)
    if loaded.fusion is not None and request.level not in (None, loaded.fusion.level):
        raise UserInputError(
            f"--level {request.level} is not the level of bundle '{request.model}', whose fusion network is for level "
            f"{loaded.fusion.level}; leave --level out"
        )
    return settings
