"""What is chosen in the Segment Editor and in the options frame of "Propagate Edit"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from context_propagation.core.errors import UserInputError
from context_propagation.gui.effect.effect_widgets import EffectWidgets
from context_propagation.gui.model_list import ListedModel, ModelList
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.selection import Selection

MODEL = "Model"


SECOND_VOLUME = "SecondVolume"


class EditorChoice:
    """Reads segment and volume from the editor's node, model and second volume from the options frame.

    Args:
        scripted_effect: Slicer's `qSlicerSegmentEditorScriptedEffect`; its node keeps the second volume.
        widgets: The options frame.
        logic: Tells which model is loaded.
        on_changed: Called when the user chose something in the options frame.
    """

    def __init__(
        self,
        scripted_effect: Any,
        widgets: EffectWidgets,
        logic: ContextPropagationLogic,
        on_changed: Callable[[], None],
    ) -> None:
        self._effect, self._widgets, self._logic, self._on_changed = scripted_effect, widgets, logic, on_changed
        self._models: list[ListedModel] = []
        widgets.model.connect("currentIndexChanged(int)", self._model_chosen)
        widgets.second.connect("nodeActivated(vtkMRMLNode*)", self._second_volume_chosen)
        self.list_models()

    def list_models(self) -> None:
        """List the models again, as the user may have added some in the module."""
        chosen = self._kept_model() or (self.model.key if self.model else "")
        self._models = ModelList().models()
        keys = [model.key for model in self._models]
        loaded = next((model.key for model in self._models if model.is_loaded(self._logic.loaded)), "")
        wanted = (chosen, loaded) if self._logic.propagation is None else (loaded, chosen)
        found = next((key for key in wanted if key in keys), keys[0] if keys else "")
        self._widgets.list_models([model.name for model in self._models], keys.index(found) if found else -1)

    @property
    def model(self) -> ListedModel | None:
        """The chosen model."""
        index = self._widgets.model.currentIndex
        return self._models[index] if 0 <= index < len(self._models) else None

    @property
    def model_is_loaded(self) -> bool:
        """Whether the logic holds it."""
        return self.model is not None and self.model.is_loaded(self._logic.loaded)

    @property
    def node(self) -> slicer.vtkMRMLSegmentEditorNode | None:
        """The editor's."""
        return self._effect.parameterSetNode()

    @property
    def selection(self) -> Selection | None:
        """Segment and volumes; None where one of them is not chosen.

        The second volume is that of the editor's node: where it is deleted, Slicer's selector goes on to another one.
        """
        node = self.node
        segmentation, volume = (node.GetSegmentationNode(), node.GetSourceVolumeNode()) if node else (None, None)
        if segmentation is None or volume is None or not node.GetSelectedSegmentID():
            return None
        second = self._effect.nodeReference(SECOND_VOLUME) if len(self._channels) > 1 else None
        volumes = (volume,) if second is None else (volume, second)
        chosen = Selection(volumes, segmentation, node.GetSelectedSegmentID())
        return chosen if chosen.is_there() else None

    def required(self) -> tuple[ListedModel, Selection]:
        """Model and selection.

        Raises:
            UserInputError: Something is not chosen, or the model cannot be read.
        """
        model, selection = self.model, self.selection
        if model is None:
            raise UserInputError("No model is chosen; add one in the module Context Propagation")
        if model.description is None:
            raise UserInputError(model.trouble)
        if selection is None:
            raise UserInputError("The Segment Editor has no segment or no source volume; select both first")
        chosen, channels = len(selection.volume_nodes), self._channels
        if chosen != len(channels):
            raise UserInputError(
                f"The model '{model.name}' reads {len(channels)} volumes ({', '.join(channels)}) and {chosen} is "
                "selected; select one volume per channel"
            )
        return model, selection

    def show(self) -> None:
        """Bring the second volume's selector in step with model and node."""
        self._widgets.ask_for_second_volume(self._channels[1] if len(self._channels) > 1 else "")
        kept = self._effect.nodeReference(SECOND_VOLUME) if self.node is not None else None
        if kept is not self._widgets.second.currentNode():
            blocked = self._widgets.second.blockSignals(True)
            self._widgets.second.setCurrentNode(kept)
            self._widgets.second.blockSignals(blocked)

    @property
    def _channels(self) -> tuple[str, ...]:
        return tuple(self.model.description.channels) if self.model and self.model.description else ("",)

    def _kept_model(self) -> str:
        return str(self._effect.parameter(MODEL)) if self.node and self._effect.parameterDefined(MODEL) else ""

    def _model_chosen(self, index: int) -> None:
        if self.node is not None and self.model is not None:
            self._effect.setParameter(MODEL, self.model.key)
        self._on_changed()

    def _second_volume_chosen(self, node: slicer.vtkMRMLNode | None) -> None:
        if self.node is not None:
            self._effect.setNodeReference(SECOND_VOLUME, node)
            self._on_changed()
