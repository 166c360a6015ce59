"""A model that a server has loaded, as `LoadedModel` tells of one that is loaded here."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.intensity_check import ChannelExpectation
from context_propagation.core.model.model_listing import ModelDescription
from context_propagation.core.model.target import Target
from context_propagation.core.session.forecast import MemoryForecast
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.remote.place import Place
from context_propagation.remote.remote_model import RemoteDevice, RemoteFar, RemoteModel
from context_propagation.remote.remote_session import RemoteSession


@dataclass(frozen=True)
class RemoteReady:
    """An image that a session on a server can be given, in place of a `ReadyImage`."""

    volume: SourceVolume


@dataclass(frozen=True)
class RemoteLoadedModel(LoadedModel):
    """A model on a server; its sessions are computed there.

    Attributes:
        place: Where it is.
        most_level: The decoder's last level.
    """

    place: Place = field(kw_only=True)
    most_level: int = field(kw_only=True)

    def with_label(self, label: str | int) -> None:
        """Another label is loaded anew; the server has it at once where it can."""

    def with_general_far(self) -> RemoteLoadedModel:
        """As it was loaded: the server has or has not the general far network for it."""
        return self

    @property
    def server(self) -> str:
        """Its address."""
        return self.place.connection.url

    def ready(self, volume: SourceVolume) -> RemoteReady:  # type: ignore[override]
        """The image as it is: the server prepares it once it is sent."""
        return RemoteReady(volume)

    def forecast(
        self, image: object, initial: np.ndarray | None, freed_bytes: int, held: Container[Box]
    ) -> MemoryForecast:
        """Of this computer nothing; the server says by itself where its memory does not do."""
        return MemoryForecast(0, 0, 0, target_known=True, server=self.server)

    def upload_question(self, volume: SourceVolume, image: tuple[str, ...]) -> str:
        """What to ask; empty where it was agreed to."""
        return self.place.consents.question(volume, image)

    def answer_upload(self, image: tuple[str, ...], yes: bool) -> None:
        """Keep the answer; no is an error."""
        self.place.consents.answer(image, yes)

    def forget_image(self) -> None:
        """Nothing is kept of it here; the server forgets it with the session."""

    def session(self, settings: SessionSettings | None = None) -> RemoteSession:  # type: ignore[override]
        """A session without an image, computed on the server; see `LoadedModel.session`."""
        settings = self.settings(settings)
        if settings.level > self.most_level:
            raise UserInputError(
                f"Decoder level {settings.level} is beyond this network's decoder, which has {self.most_level} stages; "
                "choose a smaller level"
            )
        return RemoteSession(self.place, cast(RemoteModel, self.model), settings, cast("RemoteFar | None", self.far))


def description_of(plain: Mapping[str, Any]) -> ModelDescription:
    """What a server's list says of one model."""
    return ModelDescription(
        path=Path(str(plain["name"])),
        kind=str(plain["kind"]),
        architecture=str(plain["architecture"]),
        channels=tuple(map(str, plain["channels"])),
        labels=tuple(map(str, plain["labels"])),
        label=str(plain["label"]),
        size_bytes=int(plain["size_bytes"]),
        reach=str(plain["reach"]),
        validation=str(plain["validation"]),
    )


def loaded_of(plain: Mapping[str, Any], description: ModelDescription, place: Place) -> RemoteLoadedModel:
    """What a server says of a model that it has loaded."""
    target, far, fusion = plain["target"], plain["far"], plain["fusion"]
    model = RemoteModel(
        content_hash=str(plain["content_hash"]),
        target=Target(
            str(target["name"]),
            int(target["channel"]),
            *(tuple(map(int, target[word])) for word in ("label", "trained", "outer")),
        ),
        orientation=plain["orientation"],
        channel_names=tuple(map(str, plain["channel_names"])),
        channel_expectations=tuple(ChannelExpectation(**one) for one in plain["expectations"]),
        device=RemoteDevice(str(plain["device"]).partition(":")[0], place.connection.url),
    )
    of_far = None if far is None else RemoteFar(str(far["content_hash"]), str(far["reach"]))
    if of_far is not None and fusion is not None:
        of_far = RemoteFar(of_far.content_hash, of_far.reach, int(fusion["level"]), int(fusion["neighbours"]))
    return RemoteLoadedModel(
        model=model,  # type: ignore[arg-type]
        fusion=of_far if fusion is not None else None,  # type: ignore[arg-type]
        general=of_far if fusion is None else None,  # type: ignore[arg-type]
        description=description,
        versions={str(name): str(version) for name, version in plain["versions"].items()},
        place=place,
        most_level=int(plain["most_level"]),
    )
