"""The models that the user can choose from: the shipped bundle, and folders that they added; kept in the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import qt

from context_propagation.core.errors import UserInputError
from context_propagation.core.model_listing import ModelDescription, describe_model

KEY = "ContextPropagation/ModelFolders"
SHIPPED = Path(__file__).resolve().parents[1] / "bundles" / "nasopharynx_phantom"


@dataclass(frozen=True)
class ListedModel:
    """A model folder.

    Attributes:
        path: The folder.
        name: For the list.
        description: What it says about itself; None where it cannot be read any more.
        trouble: Why not, or empty.
    """

    path: Path
    name: str
    description: ModelDescription | None
    trouble: str = ""


class ModelList:
    """Reads and writes the list."""

    def models(self) -> list[ListedModel]:
        """The shipped bundle first, then those added, in their order."""
        shipped = [_listed(SHIPPED, "Phantom demo (nasopharynx)")] if SHIPPED.is_dir() else []
        return [*shipped, *(_listed(folder, folder.name) for folder in self._added())]

    def add(self, folder: str | Path) -> ListedModel:
        """Add a folder; one that is there already stays where it is.

        Raises:
            UserInputError: It holds no model.
        """
        folder = Path(folder)
        describe_model(folder)
        added = self._added()
        if folder not in added:
            self._store([*added, folder])
        return _listed(folder, folder.name)

    def remove(self, folder: str | Path) -> None:
        """Take a folder out of the list; its files stay.

        Raises:
            UserInputError: It is the shipped bundle.
        """
        if Path(folder) == SHIPPED:
            raise UserInputError("The demo model is part of the extension and cannot be removed from the list")
        self._store([path for path in self._added() if path != Path(folder)])

    def _added(self) -> list[Path]:
        stored = qt.QSettings().value(KEY) or []
        return [Path(path) for path in ([stored] if isinstance(stored, str) else stored)]

    def _store(self, folders: list[Path]) -> None:
        qt.QSettings().setValue(KEY, [str(folder) for folder in folders])


def _listed(path: Path, name: str) -> ListedModel:
    try:
        return ListedModel(path, name, describe_model(path))
    except UserInputError as error:
        return ListedModel(path, name, None, str(error))
