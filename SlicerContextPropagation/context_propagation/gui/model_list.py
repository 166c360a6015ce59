"""The models to choose from: the shipped bundle and folders that the user added, or those of the chosen server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import qt
from slicer.i18n import tr as _

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.bundle.shipped_bundle import FOLDER
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import NEAR_SLICES_ONLY, WHOLE_VOLUME_GENERAL
from context_propagation.core.image.source_volume import is_orientation
from context_propagation.core.model.model_listing import ModelDescription, describe_model
from context_propagation.gui.servers import ChosenServer, chosen_server
from context_propagation.gui.work.messages import trusted
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.session.operation import Operation

if TYPE_CHECKING:
    from context_propagation.remote.remote_server import RemoteServer

KEY = "ContextPropagation/ModelFolders"


ORIENTATIONS_KEY = "ContextPropagation/ModelOrientations"


NEAR_ONLY_KEY = "ContextPropagation/ModelsWithNearSlicesOnly"
"""Folders for which the user switched the general far network off."""


ORIENTATIONS = (None, "LPS", "RPS", "LAS", "RAS", "LPI", "RPI", "LAI", "RAI")
"""Which way i, j and k run in arrays of axial slices; None: as the images are stored."""


@dataclass(frozen=True)
class ListedModel:
    """A model folder, and one of the labels that it can refine.

    Attributes:
        path: The folder; its name, where a server has it.
        label: The label; empty where the folder has but one.
        name: For the list.
        description: What it says about itself; None where it cannot be read any more.
        trouble: Why not, or empty.
        orientation: Letters that the training's arrays ran towards, as the user said; None where nobody did.
        general_far: Whether the general far network changes its far slices, where it has no fusion network.
        server: Where it is computed; None for this computer.
    """

    path: Path
    label: str
    name: str
    description: ModelDescription | None
    trouble: str = ""
    orientation: str | None = None
    general_far: bool = True
    server: RemoteServer | None = None

    @property
    def url(self) -> str:
        """The server's address; empty for this computer."""
        return "" if self.server is None else self.server.connection.url

    @property
    def has_own_far_network(self) -> bool:
        """Whether far slices are changed by a fusion network that was trained for it."""
        return self.description is not None and self.description.reach != NEAR_SLICES_ONLY

    @property
    def reach(self) -> str:
        """How far its edits reach, as it is to be used; empty where it cannot be read."""
        if self.description is None:
            return ""
        general = self.general_far and not self.has_own_far_network
        return WHOLE_VOLUME_GENERAL if general else self.description.reach

    @property
    def summary(self) -> str:
        """What it says about itself, and how far its edits reach; empty where it cannot be read."""
        return "" if self.description is None else replace(self.description, reach=self.reach).summary

    @property
    def key(self) -> str:
        """What the scene remembers of the choice."""
        there = f"{self.url}#" if self.url else ""
        return f"{there}{self.path}#{self.label}"

    def is_loaded(self, loaded: LoadedModel | None, device: str = "auto") -> bool:
        """Whether the logic holds this model as it is to be used, for this label and on this device."""
        return (
            loaded is not None
            and loaded.server == self.url
            and loaded.description.path == self.path
            and self.label in ("", loaded.model.target_name)
            and self.orientation == loaded.orientation
            and (loaded.fusion is not None or self.general_far == (loaded.general is not None))
            and device in ("auto", loaded.model.device.type)
        )

    def load_operation(self, logic: ContextPropagationLogic, device: str = "auto") -> Operation[LoadedModel]:
        """Load it; a MONAI bundle's own expressions are run only if the user trusts it.

        Raises:
            UserInputError: The folder cannot be used, now or when it is loaded.
        """
        trust = self.ask_for_trust()
        how = device, trust, self.orientation, self.general_far, self.server
        return logic.load_operation(self.path, self.label or None, *how)

    def ask_for_trust(self) -> bool:
        """Whether the user says that code of the folder may run; asked of a MONAI bundle on this computer alone."""
        if self.server is not None:
            return False
        question = _(
            "Do you trust the source of this MONAI bundle? Yes: code in its configuration may run. No: none runs."
        )
        return self.description is not None and self.description.kind == "MONAI" and trusted(question)


class ModelList:
    """Reads and writes the list."""

    def models(self) -> list[ListedModel]:
        """Those of the chosen server; else the shipped bundle first, then those added, in their order."""
        near_only = _strings(NEAR_ONLY_KEY)
        found = self._here() if (chosen := chosen_server()) is None else _there(chosen)
        return [replace(model, general_far=str(model.path) not in near_only) for model in found]

    def _here(self) -> list[ListedModel]:
        shipped = _listed(FOLDER, _("Phantom demo (nasopharynx)")) if FOLDER.is_dir() else []
        models = [*shipped, *(model for folder in self._added() for model in _listed(folder, folder.name))]
        said = self._orientations()
        return [replace(model, orientation=said.get(str(model.path))) for model in models]

    def say_orientation(self, folder: Path, orientation: str | None) -> None:
        """Keep which way a model's training arrays ran; None: as the images are stored."""
        said = {path: letters for path, letters in self._orientations().items() if path != str(folder)}
        if orientation is not None:
            said[str(folder)] = orientation
        qt.QSettings().setValue(ORIENTATIONS_KEY, [f"{letters} {path}" for path, letters in said.items()])

    def say_general_far(self, folder: Path, on: bool) -> None:
        """Keep whether the general far network changes far slices of a model."""
        others = [path for path in _strings(NEAR_ONLY_KEY) if path != str(folder)]
        qt.QSettings().setValue(NEAR_ONLY_KEY, others if on else [*others, str(folder)])

    def _orientations(self) -> dict[str, str]:
        """Letters by folder."""
        entries = [entry.partition(" ") for entry in _strings(ORIENTATIONS_KEY)]
        return {path: letters for letters, _space, path in entries if is_orientation(letters)}

    def add(self, folder: str | Path) -> ListedModel:
        """Add a folder; one that is there already stays where it is. Returns its first label's entry.

        Raises:
            UserInputError: It holds no model.
        """
        folder = Path(folder)
        describe_model(folder)
        added = self._added()
        if folder not in added:
            self._store([*added, folder])
        return _listed(folder, folder.name)[0]

    def remove(self, folder: str | Path) -> None:
        """Take a folder out of the list; its files stay.

        Raises:
            UserInputError: It is the shipped bundle.
        """
        if Path(folder) == FOLDER:
            raise UserInputError("The demo model is part of the extension and cannot be removed from the list")
        self._store([path for path in self._added() if path != Path(folder)])

    def _added(self) -> list[Path]:
        return [Path(path) for path in _strings(KEY)]

    def _store(self, folders: list[Path]) -> None:
        qt.QSettings().setValue(KEY, [str(folder) for folder in folders])


def _strings(key: str) -> list[str]:
    """A list in the settings; Qt keeps one of a single entry as the entry."""
    stored = qt.QSettings().value(key) or []
    return [stored] if isinstance(stored, str) else list(stored)


def _listed(path: Path, name: str) -> list[ListedModel]:
    """An entry for each label of a folder."""
    try:
        description = _described(path)
    except (UserInputError, OSError) as error:  # such as a share that is not there
        trouble = str(error) if isinstance(error, UserInputError) else f"'{path}' cannot be looked at ({error})"
        return [ListedModel(path, "", name, None, trouble)]
    return _with_labels(name, description)


def _there(chosen: ChosenServer) -> list[ListedModel]:
    return [
        replace(model, server=chosen.server)
        for description in chosen.models
        for model in _with_labels(description.path.name, description)
    ]


def _with_labels(name: str, description: ModelDescription) -> list[ListedModel]:
    path = description.path
    if len(description.labels) < 2 or description.label:
        return [ListedModel(path, "", name, description)]
    return [ListedModel(path, label, f"{name}: {label}", description) for label in description.labels]


_descriptions: dict[Path, tuple[float, ModelDescription]] = {}


def _described(path: Path) -> ModelDescription:
    """As `describe_model`; read again only where a file in the folder is newer: it looks at every file's size."""
    newest = max((file.lstat().st_mtime for file in path.iterdir()), default=0.0) if path.is_dir() else 0.0
    known = _descriptions.get(path)
    if known is None or known[0] != newest:
        known = _descriptions[path] = (newest, describe_model(path))
    return known[1]
