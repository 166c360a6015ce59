"""The table of a cohort: one line a case, with its image and its recorded edits."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from context_propagation.core.errors import UserInputError
from context_propagation.core.storage.counted_files import counted_files

SEPARATOR = ";"
"""Between the channels of an image."""


@dataclass(frozen=True)
class CohortCase:
    """A line of the table; an empty entry stands for what the command says, or for nothing.

    Attributes:
        case: Its name: names the output.
        image: A file or DICOM folder per channel.
        edited: Segmentation with the redrawn slices.
        initial: Segmentation before the edit; where it is missing, the model's own.
        session: A saved session: its edits are made again, those of `edited` after them.
        model: Model folder or bundle.
        label: See `PropagateRequest`, as the following ones.
        segment: Name of the segment or ROI.
        plane: Of the edited slices.
        slices: Edited slices, such as 12,40.
    """

    case: str
    image: tuple[Path, ...]
    model: Path
    edited: Path | None = None
    initial: Path | None = None
    session: Path | None = None
    label: str | None = None
    segment: str | None = None
    plane: str = "auto"
    slices: str = "auto"

    def digest(self) -> str:
        """Another one where the line, or a file that it names, is another."""
        files = [*self.image, *(path for path in (self.edited, self.initial, self.session) if path is not None)]
        text = json.dumps([asdict(self), [_state(path) for path in (*files, self.model)]], default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _state(path: Path) -> list[tuple[str, int, int]]:
    """Size and time of a file, or of all files in a folder; nothing where it is missing."""
    found = counted_files(path) if path.is_dir() else [path]
    stats = [(file, file.stat()) for file in found if file.is_file()]
    return [(file.name, stat.st_size, stat.st_mtime_ns) for file, stat in stats]


COLUMNS = tuple(field.name for field in fields(CohortCase))
PATHS = ("model", "edited", "initial", "session")


def read_cohort(table: Path, model: Path | None) -> list[CohortCase]:
    """Read a CSV file; paths begin at its folder.

    Args:
        table: The file.
        model: Of the lines that name none.

    Raises:
        UserInputError: Naming the line that cannot be used. Whether files are there is another question: a case without
            them fails, and the others are done.
    """
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            lines = list(reader)
            names = list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserInputError(f"--cases '{table}' cannot be read ({error!r:.80}); give a CSV file in UTF-8") from error
    unknown = [name for name in names if name not in COLUMNS]
    missing = [name for name in ("case", "image") if name not in names]
    twice = next((name for name in names if names.count(name) > 1), None)
    if len(names) == 1 and SEPARATOR in names[0]:
        raise UserInputError(f"--cases '{table}' has '{SEPARATOR}' between its columns; save it with commas")
    if twice is not None:
        raise UserInputError(
            f"--cases '{table}' has two columns '{twice}'; channels of an image go into one, parted by ;"
        )
    if unknown or missing:
        wrong = f"has a column '{unknown[0]}'" if unknown else f"has no column '{missing[0]}'"
        raise UserInputError(f"--cases '{table}' {wrong}; the columns are {', '.join(COLUMNS)}")
    if not lines:
        raise UserInputError(f"--cases '{table}' names no case; give a line for each")
    cases = list(_cases(table, lines, model))
    seen: set[str] = set()
    for case in cases:
        if case.case.casefold() in seen:
            raise UserInputError(f"--cases '{table}' names case '{case.case}' twice; give each a name of its own")
        seen.add(case.case.casefold())
    return cases


def _cases(table: Path, lines: list[dict[str, str]], model: Path | None) -> Iterator[CohortCase]:
    folder = table.absolute().parent
    for number, line in enumerate(lines, 2):
        where = f"Line {number} of --cases '{table}'"
        if None in line or None in line.values():
            raise UserInputError(f"{where} has more or fewer entries than the first line; quote what holds a comma")
        said = {name: text.strip() for name, text in line.items() if text.strip()}
        if not re.fullmatch(r"\w[\w.-]*", said.get("case", "")):
            raise UserInputError(f"{where} names case '{said.get('case', '')}'; use letters, digits, _, - and . alone")
        if "image" not in said:
            raise UserInputError(f"{where} names no image; give one file or DICOM folder per channel")
        if "edited" not in said and "session" not in said:
            raise UserInputError(f"{where} has no recorded edit; give edited, or session")
        if "session" in said and ("edited" in said) != ("initial" in said):
            raise UserInputError(f"{where} goes on from a session; give both initial and edited, or neither")
        if "model" not in said and model is None:
            raise UserInputError(f"{where} names no model; give --model for all that name none")
        paths = {name: folder / said.pop(name) for name in PATHS if name in said}
        image = tuple(folder / part.strip() for part in said.pop("image").split(SEPARATOR))
        yield CohortCase(**{"model": model, **said, **paths, "image": image})
