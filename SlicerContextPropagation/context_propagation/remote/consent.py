"""Nobody's image is sent unasked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.image_hash import image_sha256
from context_propagation.core.image.source_volume import SourceVolume


@dataclass(frozen=True)
class Upload:
    """An image that is to leave this computer.

    Attributes:
        url: Where it would go.
        channels: How many.
        shape_kji: Voxels of each.
        size_bytes: Of all, before they are compressed.
    """

    url: str
    channels: int
    shape_kji: tuple[int, int, int]
    size_bytes: int

    @property
    def question(self) -> str:
        """What to ask whoever decides."""
        k, j, i = self.shape_kji
        return (
            f"Send the image ({self.channels} x {i} x {j} x {k} voxels, {self.size_bytes / 1e6:.0f} MB before "
            f"compression) to {self.url}? It is kept there in memory, and gone with the session. Names and other "
            "headers are not sent; a face in the image is"
        )


Consent = Callable[[Upload], bool]
"""Asked once for each image, before it is sent; on the thread that computes."""


class Consents:
    """What was agreed to.

    Args:
        url: Of the server that images would go to.
        ask: Asked once for each image.
    """

    def __init__(self, url: str, ask: Consent) -> None:
        self._url, self._ask = url, ask
        self._agreed: set[tuple[str, ...]] = set()

    def question(self, volume: SourceVolume, image: tuple[str, ...]) -> str:
        """What to ask before an image is sent, by its `image_sha256`; empty where that was agreed to."""
        return "" if image in self._agreed else self._upload(volume).question

    def answer(self, image: tuple[str, ...], yes: bool) -> None:
        """Keep what was said of an image.

        Raises:
            UserInputError: It was no.
        """
        if not yes:
            raise UserInputError(f"The image was not sent to {self._url}; agree to it, or compute on this computer")
        self._agreed.add(image)

    def require(self, volume: SourceVolume) -> None:
        """Ask, where nobody was asked before.

        Raises:
            UserInputError: Whoever decides does not want this image to be sent.
        """
        image = image_sha256(volume)
        if image not in self._agreed:
            self.answer(image, self._ask(self._upload(volume)))

    def _upload(self, volume: SourceVolume) -> Upload:
        return Upload(self._url, len(volume.channels), volume.shape_kji, volume.channels.nbytes)
