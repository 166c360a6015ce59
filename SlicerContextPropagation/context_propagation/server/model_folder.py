"""The models that a server offers: bundles and models in one folder of its own, by their folder's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.device import free_device_memory
from context_propagation.core.errors import UserInputError
from context_propagation.core.model.model_listing import ModelDescription, describe_model


@dataclass(frozen=True)
class ModelChoice:
    """Which model, and how it is loaded.

    Attributes:
        bundle: Name of its folder.
        label: As `load_model` has it.
        general_far: Whether the general far network serves it, where it has no fusion networks.
    """

    bundle: str
    label: str | None = None
    general_far: bool = True


class ModelFolder:
    """A folder whose own folders are bundles or models.

    Args:
        folder: On the server; nothing else of the server can be named.
        device: As `load_model` has it.
        load: Loads one.

    Raises:
        UserInputError: It holds none.
    """

    def __init__(self, folder: Path, device: str = "auto", load: Callable[..., LoadedModel] = load_model) -> None:
        self._folder, self._device, self._load = folder, device, load
        self._loaded: dict[ModelChoice, LoadedModel] = {}
        if not self.listed():
            raise UserInputError(f"'{folder}' holds no bundle and no model; put their folders into it")

    def listed(self) -> dict[str, ModelDescription]:
        """What there is, by name."""
        found = {}
        for path in sorted(self._folder.iterdir()) if self._folder.is_dir() else []:
            try:
                found[path.name] = describe_model(path)
            except UserInputError:
                continue  # something else lies there
        return found

    def checked(self, choice: ModelChoice) -> ModelChoice:
        """The choice in the one form that it has here: a label that is chosen anyhow is not named.

        Raises:
            UserInputError: There is no such model, or one of several labels has to be named.
        """
        models = self.listed()
        if choice.bundle not in models:
            known = ", ".join(f"'{name}'" for name in models)
            raise UserInputError(f"The server has no model '{choice.bundle:.100}'; choose one of {known}")
        model = models[choice.bundle]
        if choice.label is None and not model.label:
            known = ", ".join(model.labels)
            raise UserInputError(f"The model has several labels: {known}; name the one to refine as the label")
        return replace(choice, label=None) if choice.label == model.label else choice

    def loaded(self, choice: ModelChoice, in_use: set[ModelChoice]) -> LoadedModel:
        """The model; on the worker's thread. Those that no session uses make room for one that is new.

        Args:
            choice: As `checked` gave it.
            in_use: By sessions.

        Raises:
            UserInputError: It cannot be used.
        """
        if choice not in self._loaded:
            self._loaded = {one: model for one, model in self._loaded.items() if one in in_use}
            free_device_memory()
            self._loaded[choice] = self._of_another_label(choice) or self._anew(choice)
        return self._loaded[choice]

    def _of_another_label(self, choice: ModelChoice) -> LoadedModel | None:
        """The same networks, where they are loaded for another label."""
        if choice.label is None:
            return None
        loaded = (model for one, model in self._loaded.items() if replace(one, label=choice.label) == choice)
        return next((found for model in loaded if (found := model.with_label(choice.label)) is not None), None)

    def _anew(self, choice: ModelChoice) -> LoadedModel:
        loaded = self._load(self._folder / choice.bundle, choice.label, self._device)
        return loaded.with_general_far() if choice.general_far else loaded


def plain_description(name: str, description: ModelDescription) -> dict[str, Any]:
    """What a list of models shows, without where the folder is."""
    return {
        "name": name,
        "kind": description.kind,
        "architecture": description.architecture,
        "channels": list(description.channels),
        "labels": list(description.labels),
        "label": description.label,
        "size_bytes": description.size_bytes,
        "reach": description.reach,
        "validation": description.validation,
    }


def plain_model(loaded: LoadedModel) -> dict[str, Any]:
    """What a client needs to know of a loaded model."""
    model, far = loaded.model, loaded.far
    target = model.target
    fusion = loaded.fusion
    return {
        "content_hash": model.content_hash,
        "device": str(model.device),
        "orientation": model.orientation,
        "channel_names": list(model.channel_names),
        "target": {
            "name": target.name,
            "channel": target.channel,
            "label": list(target.label),
            "trained": list(target.trained),
            "outer": list(target.outer),
        },
        "expectations": [None if one is None else vars(one) for one in model.channel_expectations],
        "far": None if far is None else {"content_hash": far.content_hash, "reach": far.reach},
        "fusion": None if fusion is None else {"level": fusion.level, "neighbours": fusion.neighbours},
        "most_level": min(split.max_level for split in model.splits),
        "versions": loaded.versions,
    }
