"""How somebody draws against a model: of each earlier case, by how many mm its contours had to move. No image, no name.

Who draws tight today draws tight tomorrow: the mean of earlier cases sets where the next case's first contours lie
(`SessionSettings.start_offset_mm`). What it is worth: docs/evaluation.md, "From case to case".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.contour_offset import OFFSETS_MM
from context_propagation.core.storage.checked_entries import Entries, read_json
from context_propagation.core.storage.whole_file import whole_file

if TYPE_CHECKING:
    from context_propagation.core.model.segmentation_model import SegmentationModel
    from context_propagation.core.session.session import Session

FORMAT = "context-propagation drawing profile 1"


MOST_CASES = 10
"""Of a model that are remembered: the last ones."""


REMEDY = "delete it to begin anew"


@dataclass(frozen=True)
class DrawingProfile:
    """What is remembered of earlier cases.

    Attributes:
        offsets_mm: For each model, see `model_key`, by how much the contours of the last cases had to move outwards to
            fit what was drawn, oldest first. A case is known by the first letters of its image's SHA-256.
    """

    offsets_mm: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def cases(self, model: str) -> int:
        """How many cases of a model are remembered."""
        return len(self.offsets_mm.get(model, {}))

    def offset_mm(self, model: str) -> float:
        """Where the next case's contours begin: the mean of a model's cases; 0 without any."""
        earlier = self.offsets_mm.get(model, {})
        return mean(earlier.values()) if earlier else 0.0

    def with_case(self, model: str, case: str, offset_mm: float | None) -> DrawingProfile:
        """The same with what a case says now; without that case where nothing is drawn in it (None)."""
        kept = {name: offset for name, offset in self.offsets_mm.get(model, {}).items() if name != case}
        if offset_mm is not None:
            kept[case] = offset_mm
        last = dict(list(kept.items())[-MOST_CASES:])
        return replace(self, offsets_mm={**self.offsets_mm, model: last})

    def of_session(self, session: Session, image_sha256: str) -> DrawingProfile:
        """The same with what was drawn in a session; see `with_case`."""
        return self.with_case(model_key(session.model), image_sha256[:8], session.drawn_offset_mm())


def model_key(model: SegmentationModel) -> str:
    """A model and the label that it refines."""
    return f"{model.content_hash[:12]} {model.target_name}"


def read_profile(file: Path) -> DrawingProfile:
    """An empty one where there is no file.

    Raises:
        UserInputError: It is damaged, or no profile.
    """
    if not file.exists():
        return DrawingProfile()
    entries = Entries(file, read_json(file, REMEDY), REMEDY)
    found: Any = entries.any("format")
    if found != FORMAT:
        raise UserInputError(f"'{file}' has format {found!r:.100}, not {FORMAT!r}; {REMEDY}")
    models: Any = entries.any("models")
    entries.refuse_the_rest()
    if not isinstance(models, dict) or not all(_are_offsets(cases) for cases in models.values()):
        raise UserInputError(f"'{file}': 'models' does not hold offsets of cases in mm; {REMEDY}")
    return DrawingProfile(models)


def _are_offsets(cases: object) -> bool:
    most = float(OFFSETS_MM[-1])
    return isinstance(cases, dict) and all(
        isinstance(offset, int | float) and not isinstance(offset, bool) and -most <= offset <= most
        for offset in cases.values()
    )


def write_profile(profile: DrawingProfile, file: Path) -> None:
    """Whole or not at all.

    Raises:
        UserInputError: It cannot be written.
    """
    models = {model: dict(cases) for model, cases in profile.offsets_mm.items()}
    try:
        with whole_file(file) as partial:
            partial.write_text(json.dumps({"format": FORMAT, "models": models}, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserInputError(f"Cannot write '{file}': {error.strerror or error}; choose another place") from error
