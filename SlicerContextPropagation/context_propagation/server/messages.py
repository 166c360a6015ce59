"""What clients send, as far as its form can be checked before it is looked into."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from context_propagation.core.wire.addresses import MOST_RECORDS

MOST_SLICES = 5000
"""Of all records together: each is unpacked to a whole slice of the image."""


Name = Annotated[str, Field(min_length=1, max_length=200)]
Side = Annotated[int, Field(ge=0, le=2**15)]
Span = Annotated[list[Side], Field(min_length=2, max_length=2)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Row = Annotated[list[Finite], Field(min_length=4, max_length=4)]
Time = Annotated[int, Field(ge=0, le=2**31)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Mask(_Message):
    """Bits of the box around a mask's True voxels: packed in C order, zlib, base 64; see `BoxedMask.plain`."""

    shape: Annotated[list[Side], Field(min_length=3, max_length=3)]
    box: Annotated[list[Span], Field(min_length=3, max_length=3)]
    bits: str


class Edit(_Message):
    """One drawn slice; its mask has the shape [1, height, width]."""

    axis: Annotated[int, Field(ge=0, le=2)]
    index: Side
    mask: Mask


class Record(_Message):
    """An edit so far, by its name; or slices that were confirmed, in full."""

    key: Annotated[str, Field(max_length=60)] | None = None
    edits: Annotated[list[Edit], Field(max_length=MOST_RECORDS)] = []
    neighbours: Annotated[int, Field(ge=0, le=1000)] = 0
    drawn_at: Annotated[list[Time], Field(max_length=MOST_RECORDS)] = []


def _few_slices(records: list[Record]) -> list[Record]:
    slices = sum(len(record.edits) for record in records)
    if slices > MOST_SLICES:
        raise ValueError(f"{slices} confirmed slices, and {MOST_SLICES} are taken at most")
    return records


Records = Annotated[list[Record], Field(max_length=MOST_RECORDS), AfterValidator(_few_slices)]


class WantedModel(_Message):
    """Which model: a folder's name in the server's list, and the label that is refined."""

    bundle: Name
    label: Annotated[str, Field(max_length=200)] | None = None
    general_far: bool = True


class NewSession(_Message):
    """A session to begin: its model and settings, and the image that will come."""

    model: WantedModel
    settings: dict[str, Any]
    shape_kji: Annotated[list[Annotated[int, Field(ge=2, le=2**14)]], Field(min_length=3, max_length=3)]
    kinds: Annotated[list[Literal["int16", "float32"]], Field(min_length=1, max_length=16)]
    ijk_to_lps: Annotated[list[Row], Field(min_length=4, max_length=4)]


class Start(_Message):
    """The first segmentation; without it the model's own prediction."""

    initial: Mask | None = None


class Preview(_Message):
    """See `WantedPreview`."""

    name: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    edits: Annotated[list[Edit], Field(min_length=1, max_length=MOST_RECORDS)]
    records: Records
    segmentation: Mask
    protected: Mask
    spared: Mask | None = None
    own_contours: bool = False
    holds: Annotated[list[Annotated[str, Field(max_length=60)]], Field(max_length=10 * MOST_RECORDS)] = []


class Uncertainty(_Message):
    """After which edits, along which array axis."""

    records: Records
    axis: Annotated[int, Field(ge=0, le=2)]


class Probability(_Message):
    """After which edits; and slices drawn before the session began."""

    records: Records
    drawn: Annotated[list[Edit], Field(max_length=MOST_RECORDS)] = []


class Offset(_Message):
    """After which edits."""

    records: Records
