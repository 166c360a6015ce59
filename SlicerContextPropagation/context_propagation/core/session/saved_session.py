"""What was done to one image, as plain data: in a file or in a scene, from where it is replayed. Needs no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.boxes import around
from context_propagation.core.image.own_grid import NO_SLICES, OwnGrid, OwnSlices
from context_propagation.core.image.slices import WHOLE_VOLUME_GENERAL, SliceEdit

FORMAT = "context-propagation session 6"
MAX_TEXT_BYTES = 500_000_000
SMALLEST_VOXEL = 1e-3
"""Of a segment's own grid, as a share of an image voxel: smaller ones are taken for damage."""


WITHOUT_FAR = (
    "choose the model's own folder, and switch the general far network off (--no-general-far; general_far=False in the "
    "console; in Slicer untick Far slices under the model)"
)


WITH_GENERAL = (
    "leave the general far network on (without --no-general-far; general_far=True in the console; in Slicer tick Far "
    "slices under the model)"
)


OLDER_GENERAL = (
    "use the version of this extension that they were made with, and the model's own folder if a bundle is loaded; or "
    "begin anew"
)


BUNDLE = "load the bundle that they were made with"


@dataclass(frozen=True)
class SavedPropagation:
    """One propagation, or slices that were confirmed.

    Attributes:
        edits: The drawn slices; none where slices were only confirmed.
        drawn: The segment as it was drawn, before it was propagated; None where nothing was, or nobody kept it.
        made_at: UTC, ISO 8601; or empty.
        scope: How far it reached; or empty.
        changed_per_slice: Voxels that it changed, by slice along the edited axis.
        refused: Voxels that masking refused.
        own_slices: The slices of the segment's own grid that were drawn on.
        confirmed: Slices that the user said are right as they are.
        rejected: On the image's grid, voxels that it would have changed, had the user not wanted them as they were.
    """

    edits: tuple[SliceEdit, ...]
    drawn: BoxedMask | None = None
    made_at: str = ""
    scope: str = ""
    changed_per_slice: dict[int, int] = field(default_factory=dict)
    refused: int = 0
    own_slices: OwnSlices = NO_SLICES
    confirmed: tuple[SliceEdit, ...] = ()
    rejected: BoxedMask | None = None

    @property
    def slices(self) -> tuple[SliceEdit, ...]:
        """All that propagation leaves alone from now on: drawn and confirmed ones."""
        return (*self.edits, *self.confirmed)

    @cached_property
    def plain(self) -> dict[str, Any]:
        """As plain JSON, made once: the record is written again after each further propagation."""
        return {
            "edits": plain_edits(self.edits),
            "drawn": None if self.drawn is None else self.drawn.plain(),
            "made_at": self.made_at,
            "scope": self.scope,
            "changed_per_slice": {str(index): count for index, count in self.changed_per_slice.items()},
            "refused": self.refused,
            "own_slices": sorted(self.own_slices.places),
            "confirmed": plain_edits(self.confirmed),
            "rejected": None if self.rejected is None else self.rejected.plain(),
        }


@dataclass(frozen=True)
class SavedSession:
    """What was done to one segment; masks are on the image's grid, but for those of the segment as somebody drew it.

    Attributes:
        model_path: Where the model was; it may have moved. Empty where nobody knows.
        model_sha256: Its content hash.
        fusion_sha256: The fusion networks', or None.
        label: The label that it refines.
        orientation: The letters that the model turned images to, or None.
        device: Where it computed.
        versions: Of the programs.
        image_sha256: Of each channel of the image; see `image_sha256`.
        settings: Of the session, as plain JSON; see `read_settings`.
        initial: The segmentation before the first edit.
        known: The segmentation after the last propagation, with what was changed by hand since; on `own_grid`, as is
            `SavedPropagation.drawn`.
        protected: Voxels that were changed by hand, or that somebody said are: propagation never writes them. Those
            that were rejected stand with their propagation.
        kept: Slices drawn before the session began, which propagation leaves alone.
        propagations: In their order, those that were undone left out.
        segment_id: In a scene, the segment in the referenced segmentation; or empty.
        place: In a scene, float64 `[4, 4]`, from the segmentation's own RAS to the first volume's indices (i, j, k).
        grid: The grid that the segment is stored on; None where that is the image's.
    """

    model_path: str
    model_sha256: str
    fusion_sha256: str | None
    label: str
    orientation: str | None
    device: str
    versions: dict[str, str]
    image_sha256: tuple[str, ...]
    settings: dict[str, Any]
    initial: BoxedMask
    known: BoxedMask
    protected: BoxedMask
    kept: tuple[SliceEdit, ...] = ()
    propagations: tuple[SavedPropagation, ...] = ()
    segment_id: str = ""
    place: np.ndarray = field(default_factory=lambda: np.eye(4))
    grid: OwnGrid | None = None

    @property
    def own_grid(self) -> OwnGrid:
        """The grid that the segment is stored on."""
        return self.grid or OwnGrid.of_image(self.initial.shape)

    @property
    def own_slices(self) -> OwnSlices:
        """All slices of the segment's own grid that were drawn on."""
        return OwnSlices(frozenset().union(*(done.own_slices.places for done in self.propagations)))

    @property
    def edited(self) -> tuple[SavedPropagation, ...]:
        """The propagations of drawn slices: without those in which slices were only confirmed."""
        return tuple(done for done in self.propagations if done.edits)

    @property
    def drawings(self) -> list[SliceEdit]:
        """All slices that were drawn or confirmed, in their order."""
        return [*self.kept, *(edit for done in self.propagations for edit in done.slices)]

    def known_in(self, segment: BoxedMask) -> BoxedMask:
        """What a segment is compared with to find what was drawn since.

        That is `known`, unless the last propagation was undone meanwhile: where all voxels that it wrote are as drawn.
        """
        drawn = self.edited[-1].drawn if self.edited else None
        if drawn is None:
            return self.known
        box = around(self.known.box, drawn.box)
        as_drawn = drawn.over(box)
        written = self.known.over(box) ^ as_drawn
        undone = written.any() and np.array_equal(segment.over(box)[written], as_drawn[written])
        return drawn if undone else self.known

    def require_made_with(
        self, model_sha256: str, fusion_sha256: str | None, label: str, orientation: str | None
    ) -> None:
        """Raises:
        UserInputError: It was made with another model, fusion network, label or orientation.
        """
        if self.model_sha256 != model_sha256:
            raise UserInputError(
                f"These edits were made with the model '{self.model_path or 'unknown'}' (SHA-256 "
                f"{self.model_sha256[:12]}), and this one is {model_sha256[:12]}; load that model to go on with them"
            )
        if self.label != label:
            raise UserInputError(
                f"These edits refine the label '{self.label:.100}', and the model is loaded for '{label}'; load it for "
                "that label"
            )
        if self.orientation != orientation:
            made = f"{self.orientation or 'no orientation':.20}"
            raise UserInputError(
                f"These edits were made with images turned to {made}, and the model is loaded for "
                f"{orientation or 'none'}; load it with the orientation that they were made with"
            )
        if self.fusion_sha256 != fusion_sha256:
            raise UserInputError(self._other_far_network(fusion_sha256))

    def _other_far_network(self, fusion_sha256: str | None) -> str:
        """That far slices are decided by something else than when the edits were made, and what to do."""
        given = "nothing decides them now" if fusion_sha256 is None else f"{fusion_sha256[:12]} decides them now"
        if self.fusion_sha256 is None:
            return f"These edits were made without a network for far slices, and {given}; {WITHOUT_FAR}"
        general = any(done.scope == WHOLE_VOLUME_GENERAL for done in self.propagations)
        remedy = BUNDLE if not general else WITH_GENERAL if fusion_sha256 is None else OLDER_GENERAL
        kind = "the general far network" if general else "the fusion networks"
        return f"These edits were made with {kind} {self.fusion_sha256[:12]} for far slices, and {given}; {remedy}"

    def require_image(self, image_sha256: tuple[str, ...]) -> None:
        """Raises:
        UserInputError: They were made on another image.
        """
        if self.image_sha256 != image_sha256:
            raise UserInputError(
                "These edits were made on another image, spacing or orientation; choose the one that they were made on"
            )


def text_of(session: SavedSession) -> str:
    """A session as JSON."""
    return json.dumps(
        {
            "format": FORMAT,
            "model": {
                "path": session.model_path,
                "sha256": session.model_sha256,
                "fusion_sha256": session.fusion_sha256,
                "label": session.label,
                "orientation": session.orientation,
            },
            "device": session.device,
            "versions": session.versions,
            "image_sha256": session.image_sha256,
            "settings": session.settings,
            "segment_id": session.segment_id,
            "initial": session.initial.plain(),
            "known": session.known.plain(),
            "protected": session.protected.plain(),
            "place": session.place.tolist(),
            "grid": _plain_grid(session.own_grid),
            "kept": plain_edits(session.kept),
            "propagations": [done.plain for done in session.propagations],
        }
    )


def session_of(text: str, name: str, shape_kji: tuple[int, int, int]) -> SavedSession:
    """Read a session that somebody else may have written.

    Args:
        text: The JSON.
        name: Where it is from, for messages.
        shape_kji: Shape of the image: no more memory than that is used for a mask.

    Raises:
        UserInputError: It is of another format, damaged, or was made with an image of another size.
    """
    try:
        if len(text) > MAX_TEXT_BYTES:
            raise UserInputError(f"'{name}' is too large for a session")
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise UserInputError(f"'{name}' has format {content['format']!r:.60}, not {FORMAT!r}; update this program")
        return _session(content, shape_kji)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, UserInputError):
            raise
        raise UserInputError(f"'{name}' holds no session that can be restored ({error!r:.100})") from error


def _session(content: dict[str, Any], shape_kji: tuple[int, int, int]) -> SavedSession:
    model, fusion = content["model"], content["model"]["fusion_sha256"]
    orientation = model["orientation"]
    grid = _grid(content["grid"], shape_kji)
    return SavedSession(
        model_path=str(model["path"]),
        model_sha256=str(model["sha256"]),
        fusion_sha256=None if fusion is None else str(fusion),
        label=str(model["label"]),
        orientation=None if orientation is None else str(orientation),
        device=str(content["device"]),
        versions={str(name): str(version) for name, version in content["versions"].items()},
        image_sha256=_hashes(content["image_sha256"]),
        settings=dict(content["settings"]),
        initial=BoxedMask.from_plain(content["initial"], shape_kji),
        known=BoxedMask.from_plain(content["known"], grid.shape),
        protected=BoxedMask.from_plain(content["protected"], shape_kji),
        kept=read_edits(content["kept"], shape_kji),
        propagations=tuple(_propagation(done, grid) for done in content["propagations"]),
        segment_id=str(content["segment_id"]),
        place=np.array(content["place"], np.float64).reshape(4, 4),
        grid=grid,
    )


def _plain_grid(grid: OwnGrid) -> dict[str, Any] | None:
    if grid.is_image_s:
        return None
    return {"shape": list(grid.shape), "image_from_own_ijk": grid.image_from_own_ijk.tolist()}


def _grid(content: dict[str, Any] | None, image_shape: tuple[int, int, int]) -> OwnGrid:
    if content is None:
        return OwnGrid.of_image(image_shape)
    k, j, i = (int(n) for n in content["shape"])
    matrix = np.array(content["image_from_own_ijk"], np.float64).reshape(4, 4)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < SMALLEST_VOXEL or min(k, j, i) < 0:
        raise UserInputError("A saved session does not say on which voxel grid it was made; it cannot be restored")
    if k * j * i > 2 * math.prod(image_shape) / SMALLEST_VOXEL:
        raise UserInputError(f"A saved mask has {k} x {j} x {i} voxels, far more than its image; it is damaged")
    return OwnGrid((k, j, i), image_shape, matrix)


def _hashes(content: list[Any]) -> tuple[str, ...]:
    if not isinstance(content, list) or not content:
        raise UserInputError("A saved session does not say on which image it was made; it cannot be restored")
    return tuple(str(one) for one in content)


def _propagation(content: dict[str, Any], grid: OwnGrid) -> SavedPropagation:
    edits, confirmed = (read_edits(content[word], grid.image_shape) for word in ("edits", "confirmed"))
    if not edits and not confirmed:
        raise UserInputError("A saved propagation has no drawn slice; the session cannot be restored")
    per_slice = {int(index): int(count) for index, count in content["changed_per_slice"].items()}
    drawn, rejected = (
        None if content[word] is None else BoxedMask.from_plain(content[word], shape)
        for word, shape in (("drawn", grid.shape), ("rejected", grid.image_shape))
    )
    own_slices = OwnSlices(frozenset((int(axis), int(index)) for axis, index in content["own_slices"]))
    if any(axis not in (0, 1, 2) for axis, _ in own_slices.places):
        raise UserInputError("A saved drawing lies on slices of no plane; the session cannot be restored")
    made_at, scope, refused = str(content["made_at"]), str(content["scope"]), int(content["refused"])
    return SavedPropagation(edits, drawn, made_at, scope, per_slice, refused, own_slices, confirmed, rejected)


def plain_edits(edits: Sequence[SliceEdit]) -> list[dict[str, Any]]:
    """Slices as plain JSON; see `read_edits`."""
    return [{"axis": e.axis, "index": e.index, "mask": BoxedMask.of(e.mask[None]).plain()} for e in edits]


def read_edits(content: list[dict[str, Any]], shape_kji: tuple[int, int, int]) -> tuple[SliceEdit, ...]:
    """Slices that somebody else may have written.

    Raises:
        UserInputError: One lies outside the image, or its mask is damaged.
        KeyError, TypeError, ValueError: It is of another form.
    """
    edits = []
    for edit in content:
        axis, index = int(edit["axis"]), int(edit["index"])
        if axis not in (0, 1, 2) or not 0 <= index < shape_kji[axis]:
            raise UserInputError(f"A saved edit is on slice {index} of axis {axis}, outside the volume")
        height, width = (n for a, n in enumerate(shape_kji) if a != axis)
        edits.append(SliceEdit(axis, index, BoxedMask.from_plain(edit["mask"], (1, height, width)).mask[0]))
    return tuple(edits)
