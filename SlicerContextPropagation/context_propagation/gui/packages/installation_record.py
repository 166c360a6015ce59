"""What the module has installed so far, kept in a file so that it can be undone and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from context_propagation.core.errors import UserInputError
from context_propagation.core.storage.whole_file import whole_file

FILE_NAME = "installed-packages.json"


@dataclass(frozen=True)
class InstallationRecord:
    """Distributions by canonical name.

    Attributes:
        added: Those that were not there before, with the version that was installed.
        changed: Those that were there before in another version, with the version before. They are not undone.
    """

    added: dict[str, str] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def between(cls, before: Mapping[str, str], after: Mapping[str, str]) -> InstallationRecord:
        """What an installation did.

        Args:
            before: Versions by name before it.
            after: The same after it.
        """
        added = {name: version for name, version in after.items() if name not in before}
        changed = {name: version for name, version in before.items() if after.get(name, version) != version}
        return cls(added, changed)

    def then(self, later: InstallationRecord, versions: Mapping[str, str]) -> InstallationRecord:
        """This and a later installation together.

        Args:
            later: What the later one did.
            versions: Versions by name after it.
        """
        ours = {name: version for name, version in self.added.items() if name in versions} | later.added
        renewed = {name: versions[name] for name in later.changed if name in ours}
        others = {name: version for name, version in later.changed.items() if name not in ours}
        return InstallationRecord(ours | renewed, others | self.changed)


def read_record(folder: Path) -> InstallationRecord:
    """The record in a folder; an empty one where nothing was installed.

    Raises:
        UserInputError: The file cannot be read.
    """
    file = folder / FILE_NAME
    try:
        content = json.loads(file.read_text("utf-8"))
        return InstallationRecord(dict(content["added"]), dict(content["changed"]))
    except FileNotFoundError:
        return InstallationRecord()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserInputError(
            f"The list of installed packages '{file}' cannot be read ({error}); delete it, and remove packages by hand"
        ) from error


def write_record(folder: Path, record: InstallationRecord) -> None:
    """Replace the record in a folder, which is made if need be.

    Raises:
        UserInputError: It cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / FILE_NAME) as partial:
            partial.write_text(json.dumps(asdict(record), indent=2, sort_keys=True) + "\n", "utf-8")
    except OSError as error:
        raise UserInputError(
            f"The list of installed packages cannot be written into '{folder}' ({error}); make this folder writable"
        ) from error
