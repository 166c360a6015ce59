"""One page's session: a session of the server, and what a browser did with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.session.preview import Preview
from context_propagation.core.session.session import Session
from context_propagation.files.dicom_series import DicomSeries
from context_propagation.server.held_session import Announced, HeldSession


@dataclass(frozen=True)
class PageImage:
    """An image that a page works on.

    Attributes:
        volume: Its voxels, and where they lie.
        series: The DICOM series that it came from.
        no_structure_set: Why no RT Structure Set can be written on it; empty where one can.
    """

    volume: SourceVolume
    series: DicomSeries | None = None
    no_structure_set: str = ""

    @property
    def announced(self) -> Announced:
        """As the server counts it."""
        kinds = ("float32",) * self.volume.channels.shape[0]
        return Announced(self.volume.shape_kji, kinds, self.volume.ijk_to_lps)


@dataclass
class PageSession(HeldSession):
    """As `HeldSession`, with a history of its own: that of its engine.

    Attributes:
        image: What the page works on.
        previewed: What was computed last, and may be applied.
    """

    image: PageImage | None = None
    previewed: Preview | None = field(default=None, repr=False)

    def hold(self, image: PageImage) -> None:
        """Take an image that is there already."""
        self.image, self._volume = image, image.volume

    def hold_engine(self, engine: Session) -> None:
        """See `HeldSession.hold_engine`: a preview of the earlier engine cannot be applied to this one."""
        super().hold_engine(engine)
        self.previewed = None

    def free(self) -> None:
        """See `HeldSession.free`."""
        super().free()
        self.image = self.previewed = None
