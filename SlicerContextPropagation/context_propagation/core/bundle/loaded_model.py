"""A model that is ready for use, with all that its folder says of it; importing this needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from context_propagation.core.model.model_listing import ModelDescription
from context_propagation.core.provenance import installed_versions

if TYPE_CHECKING:
    from collections.abc import Container

    import numpy as np

    from context_propagation.core.image.boxes import Box
    from context_propagation.core.image.source_volume import SourceVolume
    from context_propagation.core.model.segmentation_model import SegmentationModel
    from context_propagation.core.propagation.general_far import FarNetworks, GeneralFar, TrainedFar
    from context_propagation.core.session.forecast import MemoryForecast
    from context_propagation.core.session.ready_image import ReadyImage
    from context_propagation.core.session.session import Session
    from context_propagation.core.session.session_settings import SessionSettings


@dataclass(frozen=True)
class LoadedModel:
    """A frozen model and its fusion networks; see `load_model`.

    Attributes:
        model: The frozen model.
        fusion: What was trained for it to decide far slices, or None.
        description: What its folder says.
        orientation: The letters that were named when it was loaded, or None; the model may have its own.
        versions: Of the programs that it was loaded with; to look for them takes time, so it is done with the loading.
        general: The general far network, where it is switched on; used where there are no fusion networks.
    """

    model: SegmentationModel
    fusion: TrainedFar | None
    description: ModelDescription
    orientation: str | None = None
    versions: dict[str, str] = field(default_factory=installed_versions)
    general: GeneralFar | None = None

    @property
    def far(self) -> FarNetworks | None:
        """What decides far slices; None: edits reach the near slices only."""
        return self.general if self.fusion is None else self.fusion

    def with_label(self, label: str | int) -> LoadedModel | None:
        """The same frozen networks for another of their labels, nothing loaded or copied; None where the folder must be
        loaded for it, as its fusion networks or its postprocessing are made for one label.

        Raises:
            UserInputError: The label is unknown.
        """
        model = None if self.fusion is not None else self.model.with_label(label)
        return None if model is None else replace(self, model=model)

    def with_general_far(self) -> LoadedModel:
        """The same with the general far network that ships; the model itself where it has fusion networks of its own.

        Raises:
            UserInputError: It is missing or damaged.
        """
        if self.fusion is not None:
            return self
        from context_propagation.core.bundle.general_file import load_general_far

        return replace(self, general=load_general_far())

    @property
    def server(self) -> str:
        """The address of the server that has it; empty for this computer."""
        return ""

    def ready(self, volume: SourceVolume) -> ReadyImage:
        """See `ready_image`."""
        from context_propagation.core.session.ready_image import ready_image

        return ready_image(self.model, volume)

    def forecast(
        self, image: ReadyImage, initial: np.ndarray | None, freed_bytes: int, held: Container[Box]
    ) -> MemoryForecast:
        """What a session with the model's own settings will need; see `memory_forecast`."""
        from context_propagation.core.session.memory_forecast import memory_forecast

        return memory_forecast(self.model, self.settings(), image, initial, freed_bytes, held)

    def upload_question(self, volume: SourceVolume, image: tuple[str, ...]) -> str:
        """What to ask before an image, with this `image_sha256`, is sent to a server; empty where it stays here."""
        return ""

    def answer_upload(self, image: tuple[str, ...], yes: bool) -> None:
        """Go on with what was answered to `upload_question`.

        Raises:
            UserInputError: It was no.
        """

    def forget_image(self) -> None:
        """Free what was made of the image that the model was given last."""
        from context_propagation.core.session.ready_image import forget_image

        forget_image(self.model)

    @property
    def fusion_sha256(self) -> str | None:
        """Of what decides far slices, if anything does."""
        return None if self.far is None else self.far.content_hash

    def settings(self, settings: SessionSettings | None = None) -> SessionSettings:
        """Settings with the decoder level and the neighbours that the fusion networks, if any, were trained for.

        Args:
            settings: All else; the defaults without.
        """
        from context_propagation.core.session.session_settings import SessionSettings

        settings = settings or SessionSettings()
        if self.fusion is None:
            return settings
        return replace(settings, level=self.fusion.level, neighbours=self.fusion.neighbours)

    def session(self, settings: SessionSettings | None = None) -> Session:
        """A session with this model; give it an image with `set_image`.

        Args:
            settings: See `settings`.

        Raises:
            UserInputError: The decoder level is beyond the model's decoder.
        """
        from context_propagation.core.session.session import Session

        return Session(self.model, self.settings(settings), self.far)
