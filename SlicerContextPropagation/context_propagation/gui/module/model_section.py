"""Which model is used, of those on the list, and how: its orientation, and far slices by the general network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.errors import UserInputError
from context_propagation.gui.model_list import ORIENTATIONS, ListedModel, ModelList
from context_propagation.gui.texts import breakable
from context_propagation.gui.work.messages import show_error


class ModelSection:
    """The model's selector, and the widgets of how it is used.

    Args:
        ui: The panel's widgets.
        on_changed: Called after another model was chosen, or is to be used otherwise.

    Attributes:
        listed: The models to choose from.
    """

    def __init__(self, ui: Any, on_changed: Callable[[], None]) -> None:
        self._ui, self._on_changed, self._list = ui, on_changed, ModelList()
        self._filling = False
        self.listed: list[ListedModel] = []
        ui.orientationSelector.addItems([letters or _("as stored") for letters in ORIENTATIONS])
        self.list_again()
        ui.modelSelector.connect("currentIndexChanged(int)", self._chosen)
        ui.addModelButton.connect("clicked()", self._add)
        ui.removeModelButton.connect("clicked()", self._remove)
        ui.orientationSelector.connect("currentIndexChanged(int)", self._say_orientation)
        ui.generalFarBox.connect("toggled(bool)", self._say_general_far)

    @property
    def model(self) -> ListedModel | None:
        """The chosen one."""
        index = self._ui.modelSelector.currentIndex
        return self.listed[index] if 0 <= index < len(self.listed) else None

    def choose(self, key: str) -> None:
        """Choose the model with this key, if it is on the list; nobody is told."""
        keys = [model.key for model in self.listed]
        if key in keys:
            self._choose(keys.index(key))

    def choose_loaded(self, loaded: LoadedModel | None, device: str) -> bool:
        """Choose the entry of the loaded model, if it is on the list; nobody is told.

        Args:
            loaded: What the logic holds.
            device: Where it shall compute.

        Returns:
            Whether it was found.
        """
        found = [number for number, model in enumerate(self.listed) if model.is_loaded(loaded, device)]
        if found:
            self._choose(found[0])
        return bool(found)

    def list_again(self, chosen: Path | None = None) -> None:
        """Read the list, and choose the model of a folder, else the first; nobody is told."""
        self._filling = True
        self.listed = self._list.models()
        self._ui.modelSelector.clear()
        self._ui.modelSelector.addItems([model.name for model in self.listed])
        paths = [model.path for model in self.listed]
        self._ui.modelSelector.setCurrentIndex(paths.index(chosen) if chosen in paths else 0 if paths else -1)
        self._filling = False

    def add(self, folder: str | Path, choose: bool = True) -> None:
        """Add a folder to the list.

        Args:
            folder: Of a model.
            choose: Choose it, too; else the choice stays, as far as that model is still on the list.

        Raises:
            UserInputError: It holds no model.
        """
        before, added = self.model, self._list.add(folder)
        self.list_again(added.path)
        if not choose and before is not None:
            self.choose(before.key)
        self._on_changed()

    def update(self, idle: bool, is_here: bool, no_model: str) -> None:
        """Bring the widgets in step.

        Args:
            idle: Whether nothing runs.
            is_here: Whether this computer computes, whose list can be added to.
            no_model: What to say where there is none.
        """
        ui, model = self._ui, self.model
        of_this_computer = model is not None and model.server is None
        ui.modelSelector.enabled = idle
        ui.orientationSelector.enabled = ui.removeModelButton.enabled = idle and of_this_computer
        ui.generalFarBox.enabled = idle and model is not None and not model.has_own_far_network
        ui.addModelButton.enabled = idle and is_here
        self._show_how_it_is_used()
        ui.modelDescription.text = self._description(no_model)

    def _choose(self, number: int) -> None:
        filling, self._filling = self._filling, True
        self._ui.modelSelector.setCurrentIndex(number)
        self._filling = filling

    def _chosen(self, _index: int) -> None:
        if not self._filling:
            self._on_changed()

    def _add(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(None, _("Folder of a bundle or a trained model"))
        if not folder:
            return
        try:
            self.add(folder)
        except UserInputError as error:
            show_error(error)

    def _remove(self) -> None:
        model = self.model
        if model is None:
            return
        try:
            self._list.remove(model.path)
        except UserInputError as error:
            show_error(error)
            return
        self.list_again()
        self._on_changed()

    # -- how it is used

    def _show_how_it_is_used(self) -> None:
        """The chosen model's orientation and general far network, as the list has them; the console may say others."""
        model = self.model
        said = model.orientation if model else None
        filling, self._filling = self._filling, True
        self._ui.orientationSelector.setCurrentIndex(ORIENTATIONS.index(said) if said in ORIENTATIONS else 0)
        self._ui.generalFarBox.checked = model is not None and model.general_far
        self._filling = filling

    def _say_orientation(self, index: int) -> None:
        model = self.model
        if self._filling or model is None:
            return
        self._list.say_orientation(model.path, ORIENTATIONS[index])
        self._read_again()

    def _say_general_far(self, on: bool) -> None:
        model = self.model
        if self._filling or model is None:
            return
        self._list.say_general_far(model.path, bool(on))
        self._read_again()

    def _read_again(self) -> None:
        """The same models; one of them is to be used otherwise."""
        chosen = self._ui.modelSelector.currentIndex
        self.listed = self._list.models()
        self._choose(chosen)
        self._on_changed()

    def _description(self, no_model: str) -> str:
        model = self.model
        if model is None:
            return breakable(no_model)
        if model.description is None:
            return breakable(model.trouble)
        if len(model.description.channels) > 2:
            return _("This model reads {count} volumes; the module takes two. Use the command line.").format(
                count=len(model.description.channels)
            )
        return model.summary
