"""The entries of a JSON object that somebody else may have written: each checked by name and type."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import is_orientation


def read_json(file: Path, remedy: str) -> Any:
    """The content of a JSON file without NaN or infinities.

    Raises:
        UserInputError: It is missing or no such file; the message ends with the remedy.
    """
    if not file.is_file():
        raise UserInputError(f"'{file}' is missing; {remedy}")
    try:
        return json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserInputError(f"'{file}' is not valid JSON ({reason:.200}); {remedy}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed in JSON")


def has_format(file: Path, name: str) -> bool:
    """Whether a file says this format, of any version, however damaged it is otherwise."""
    try:
        content = read_json(file, "")
    except UserInputError:
        return False
    return isinstance(content, dict) and str(content.get("format")).startswith(name.rstrip("0123456789"))


class Entries:
    """The entries of one JSON object, asked for by name and type; each getter raises `UserInputError`.

    Attributes:
        file: The file that they were read from.
        remedy: What the user should do where an entry is wrong; each message ends with it.
        path: The names that lead to the object, each followed by a point; empty at the top.
    """

    def __init__(self, file: Path, content: Any, remedy: str, path: str = "") -> None:
        self.file = file
        self.remedy = remedy
        self.path = path
        if not isinstance(content, dict):
            raise UserInputError(
                f"'{file}' holds {content!r:.100} at '{path.rstrip('.') or 'the top'}', not an object; {remedy}"
            )
        self._content: dict[str, Any] = content
        self._asked: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._content

    def refuse(self, name: str, value: object, expected: str) -> NoReturn:
        raise UserInputError(f"'{self.file}': '{self.path}{name}' is {value!r:.100}, not {expected}; {self.remedy}")

    def refuse_the_rest(self) -> None:
        for name in sorted(self._content.keys() - self._asked):
            raise UserInputError(f"'{self.file}' has the unknown entry {self.path + name!r:.100}; {self.remedy}")

    def rest(self) -> dict[str, Any]:
        return self._content

    def any(self, name: str) -> Any:
        self._asked.add(name)
        if name not in self._content:
            raise UserInputError(f"'{self.file}' lacks the entry '{self.path}{name}'; {self.remedy}")
        return self._content[name]

    def text(self, name: str) -> str:
        value = self.any(name)
        if not isinstance(value, str) or not value:
            self.refuse(name, value, "text")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str:
        value = self.text(name)
        if value not in choices:
            self.refuse(name, value, f"one of {', '.join(choices)}")
        return value

    def truth(self, name: str) -> bool:
        value = self.any(name)
        if not isinstance(value, bool):
            self.refuse(name, value, "true or false")
        return value

    def sha256(self, name: str) -> str:
        value = self.text(name)
        if not re.fullmatch(r"[0-9a-f]{64}", value):
            self.refuse(name, value, "a SHA-256 of 64 hexadecimal digits")
        return value

    def name_inside(self, name: str) -> str:
        """A plain name: neither an absolute path nor one that leaves the bundle."""
        value = self.text(name)
        if not re.fullmatch(r"\w[\w.-]*", value, re.ASCII):
            self.refuse(name, value, "a plain name inside the bundle")
        return value

    def whole_number(self, name: str, least: int, most: int) -> int:
        value = self.any(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.refuse(name, value, f"a whole number from {least} to {most}")
        return value

    def number(self, name: str, most: float, above_0: bool = False) -> float:
        value = self.any(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most:
            self.refuse(name, value, f"a number from 0 to {most:g}")
        if above_0 and value == 0:
            self.refuse(name, value, "a number above 0")
        return float(value)

    def orientation(self, name: str) -> str | None:
        value = self.any(name)
        if value is not None and not (isinstance(value, str) and is_orientation(value)):
            self.refuse(name, value, "three letters such as LPS, or null")
        return value

    def list(self, name: str) -> Sequence[Any]:
        values = self.any(name)
        if not isinstance(values, list):
            self.refuse(name, values, "a list")
        return values

    def object(self, name: str) -> Entries:
        return Entries(self.file, self.any(name), self.remedy, f"{self.path}{name}.")

    def objects(self, name: str) -> Sequence[Entries]:
        return [
            Entries(self.file, value, self.remedy, f"{self.path}{name}[{number}].")
            for number, value in enumerate(self.list(name))
        ]
