"""The configuration of a MONAI bundle as data: references are resolved, expressions are not run unless trusted.

In such a file "@id" stands for what another entry describes, "%id" for a copy of its text, and "$..." is Python. Names
of classes are only compared with allow-lists here; building what they name is left to the caller.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from context_propagation.core.errors import MissingDependencyError, UserInputError
from context_propagation.core.model.trusted_code import importable
from context_propagation.core.optional_dependency import require
from context_propagation.core.storage.own_files import refuse_foreign_file

CONFIG_NAMES = ("inference.json", "inference.yaml", "inference.yml")


TRUST = "trust the bundle if you know where it comes from (command line: --trust-bundle)"


USE_PYTHON = "load its network in Python with from_network: see docs/any-network.md"


MAX_REFERENCES = 32


NO_ARGUMENTS = ("_target_", "_desc_", "_disabled_")


@dataclass(frozen=True)
class Component:
    """What a configuration describes by a class and its arguments.

    Attributes:
        name: Last part of the class's name.
        package: What stands before it, or empty.
        place: Where it stands in the file.
        disabled: Whether the file says to leave it out.
        given: Names of its arguments.
        argument: One of them, resolved; asked for only where it is used, so that others may hold anything.
        text: One of them as it stands in the file.
    """

    name: str
    package: str
    place: str
    disabled: bool
    given: tuple[str, ...]
    argument: Callable[[str], Any]
    text: Callable[[str], str]

    def resolve(self) -> dict[str, Any]:
        """All arguments, resolved."""
        return {name: self.argument(name) for name in self.given}


class MonaiConfig:
    """A configuration file whose entries are asked for by name.

    Args:
        folder: The bundle's folder.
        trust: Let MONAI's own parser evaluate expressions.

    Raises:
        UserInputError: There is no such file, or it cannot be read.
    """

    def __init__(self, folder: Path, trust: bool = False) -> None:
        found = [folder / "configs" / name for name in CONFIG_NAMES if (folder / "configs" / name).is_file()]
        if not found:
            raise UserInputError(
                f"'{folder}' has no configs/inference.json; give a MONAI bundle with one, or use from_network"
            )
        self.file = found[0]
        self.content = read_mapping(self.file)
        self.trust = trust
        self._folder = folder
        self._parser: Any = None

    def __contains__(self, name: str) -> bool:
        return name in self.content

    def get(self, name: str) -> Any:
        """An entry, resolved: plain values, lists, dicts, and `Component` for what has a class.

        Raises:
            UserInputError: It is missing, refers to something missing, or is an expression that is not trusted.
        """
        if name not in self.content:
            raise UserInputError(f"'{self.file}' lacks the entry '{name}'; use from_network in Python instead")
        return self._resolved(self.content[name], name, 0)

    def _resolved(self, value: Any, place: str, depth: int) -> Any:
        if depth > MAX_REFERENCES:
            raise UserInputError(f"'{self.file}': '{place}' refers to itself; correct it")
        if isinstance(value, str):
            return self._resolved_text(value, place, depth)
        if isinstance(value, list):
            return [self._resolved(item, f"{place}::{number}", depth) for number, item in enumerate(value)]
        if isinstance(value, Mapping):
            return self._resolved_mapping(value, place, depth)
        if isinstance(value, float) and not math.isfinite(value):
            raise UserInputError(f"'{self.file}': '{place}' is {value}, not a finite number; correct it")
        return value

    def _resolved_text(self, value: str, place: str, depth: int) -> Any:
        if value.startswith("$"):
            if not self.trust:
                raise UserInputError(
                    f"'{self.file}': '{place}' is the expression {value!r:.100}, which would run as Python; nothing "
                    f"was run. Put its value in its place, or {TRUST}"
                )
            return self.trusted_instance(place)
        if value[:1] in ("@", "%") and len(value) > 1:
            path = value[1:].replace("#", "::")
            return self._resolved(self._at(path, place), path, depth + 1)
        return value

    def _resolved_mapping(self, value: Mapping[str, Any], place: str, depth: int) -> Any:
        if "_target_" not in value:
            return {name: self._resolved(item, f"{place}::{name}", depth) for name, item in value.items()}
        special = [name for name in value if str(name).startswith("_") and name not in NO_ARGUMENTS]
        target = value["_target_"]
        if special or not isinstance(target, str) or target.startswith("$"):
            if self.trust:
                return self.trusted_instance(place)
            raise UserInputError(
                f"'{self.file}': '{place}' has {special[0] if special else '_target_'!r}, which is not supported; "
                "use from_network in Python instead"
            )
        arguments = {name: item for name, item in value.items() if name not in NO_ARGUMENTS}
        package, _, name = target.rpartition(".")
        disabled = str(value.get("_disabled_", False)).lower() == "true"

        def argument(key: str) -> Any:
            return self._resolved(arguments[key], f"{place}::{key}", depth)

        def text(key: str) -> str:
            return str(arguments[key])

        return Component(name, package, place, disabled, tuple(arguments), argument, text)

    def _at(self, path: str, place: str) -> Any:
        value: Any = self.content
        for part in path.split("::"):
            if isinstance(value, Mapping) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            else:
                raise UserInputError(f"'{self.file}': '{place}' refers to '{path:.100}', which it lacks; correct it")
        return value

    def trusted_instance(self, place: str) -> Any:
        """What MONAI's parser builds of a component or an expression; only for bundles that the user trusts.

        Raises:
            UserInputError: The bundle is not trusted, or its code fails.
        """
        if not self.trust:
            raise UserInputError(f"'{self.file}': '{place}' would run code; {TRUST}")
        bundle = require("monai.bundle", extra="monai")
        try:
            with importable(self._folder):
                if self._parser is None:
                    self._parser = bundle.ConfigParser(json.loads(json.dumps(self.content)))
                    self._parser["bundle_root"] = str(self._folder)
                    if "imports" in self.content:
                        self._parser.get_parsed_content("imports")
                return self._parser.get_parsed_content(place)
        except Exception as error:  # the bundle's own code raises anything
            reason = " ".join(str(error).split())
            raise UserInputError(
                f"'{self.file}': '{place}' cannot be evaluated ({reason:.200}); correct it, or {USE_PYTHON}"
            ) from error


# ---- what was described, whether as data or built by a trusted expression


def name_of(item: Any) -> str:
    """The class's name."""
    return item.name if isinstance(item, Component) else type(item).__name__


def argument(item: Any, name: str) -> Any:
    """An argument, resolved; None where it is not given."""
    if isinstance(item, Component):
        return item.argument(name) if name in item.given else None
    for holder in (item, getattr(item, "converter", None)):  # MONAI's dictionary transforms wrap others
        value = getattr(holder, name, None)
        if value is not None:
            return value[0] if isinstance(value, tuple) and name in ("argmax", "threshold", *ACTIVATIONS) else value
    return None


ACTIVATIONS = ("sigmoid", "softmax", "other")


def arguments_of(item: Any) -> tuple[str, ...]:
    """Names of what was given; of a built object nothing is known."""
    return item.given if isinstance(item, Component) else ()


def composed(config: MonaiConfig, entry: str) -> list[Any]:
    """The items of a Compose or a list in the file, in order, without those that are switched off.

    Raises:
        UserInputError: It is neither, or an item has no class.
    """
    found = config.get(entry)
    if name_of(found) == "Compose":
        for name in ("lazy", "overrides"):
            if argument(found, name):
                raise UserInputError(f"'{config.file}': '{name}' of '{entry}' is not known; remove it")
        found = argument(found, "transforms")
    if not isinstance(found, list | tuple):
        raise UserInputError(f"'{config.file}': '{entry}' is not a Compose of transforms; {USE_PYTHON}")
    plain = (str, int, float, list, dict, type(None))
    if any(isinstance(item, plain) for item in found):
        raise UserInputError(f"'{config.file}': '{entry}' holds something without a class; {USE_PYTHON}")
    return [item for item in found if not (isinstance(item, Component) and item.disabled)]


def read_mapping(file: Path) -> dict[str, Any]:
    """A JSON or YAML file that holds an object, read as plain data.

    Raises:
        UserInputError: It is missing or damaged.
    """
    refuse_foreign_file(file.parent.parent, file)
    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text) if file.suffix == ".json" else require("yaml", extra="monai").safe_load(text)
    except MissingDependencyError:
        raise
    except Exception as error:  # the YAML reader has errors of its own
        raise UserInputError(f"'{file}' cannot be read ({' '.join(str(error).split()):.150}); copy it again") from error
    if not isinstance(content, dict):
        raise UserInputError(f"'{file}' does not hold an object of entries; copy it again")
    return content
