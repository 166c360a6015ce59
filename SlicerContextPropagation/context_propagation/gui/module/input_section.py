"""What is worked on: model, volumes, segment, device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.gui.model_list import ListedModel
from context_propagation.gui.module.align_offer import AlignOffer
from context_propagation.gui.module.compute_section import ComputeSection
from context_propagation.gui.module.distances_offer import DistancesOffer
from context_propagation.gui.module.model_section import ModelSection
from context_propagation.gui.module.sample_data import Nodes, sample_case_operation, say_added
from context_propagation.gui.module.segment_choice import chosen_segment
from context_propagation.gui.module.suv_offer import SuvOffer
from context_propagation.gui.work.messages import confirmed, show_error
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.visibility import set_visible
from context_propagation.mrml.even_slices import EvenCopies
from context_propagation.mrml.nodes.map_volumes import is_map
from context_propagation.mrml.nodes.segments import convert_to_binary_labelmap, is_binary_labelmap
from context_propagation.mrml.nodes.selection import Selection


class InputSection:
    """Selectors of volumes and segment; model and device have sections of their own.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        parameters: The parameter node's wrapper, which keeps the choices in the scene.
        on_changed: Called after the user chose something.

    Attributes:
        compute: The section of device and server.
        models: The section of the model.
    """

    def __init__(self, ui: Any, shared: Shared, parameters: Any, on_changed: Callable[[], None]) -> None:
        self._ui, self._shared, self._parameters, self._on_changed = ui, shared, parameters, on_changed
        self._filling = True
        self.compute = ComputeSection(ui, shared, self._list_other_models, self._changed)
        self.models = ModelSection(ui, self._changed)
        self.show_parameters(parameters)
        ui.firstVolumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._changed)
        ui.secondVolumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._changed)
        ui.segmentSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._changed)
        ui.segmentSelector.connect("currentSegmentChanged(QString)", self._changed)
        self._align_offer = AlignOffer(ui, shared, lambda: self.volume_nodes, ui.secondVolumeSelector.setCurrentNode)
        self._suv_offer = SuvOffer(ui, shared, lambda: self.volume_nodes, self._take_instead)
        self._distances_offer = DistancesOffer(
            *(ui, shared, lambda: self.volume_nodes, ui.segmentSelector.currentNode, self._take_even)
        )
        ui.sampleButton.connect("clicked()", self._add_sample_case)

    # -- what is chosen

    @property
    def model(self) -> ListedModel | None:
        """The chosen model."""
        return self.models.model

    @property
    def device(self) -> str:
        """auto, cuda or cpu; auto on a server."""
        return self.compute.device

    @property
    def volume_nodes(self) -> list[slicer.vtkMRMLScalarVolumeNode]:
        """One per channel of the model, as far as they are chosen."""
        chosen = [self._ui.firstVolumeSelector.currentNode()]
        if self._channel_count() > 1:
            chosen.append(self._ui.secondVolumeSelector.currentNode())
        return [node for node in chosen if node is not None]

    @property
    def selection(self) -> Selection | None:
        """Volumes and segment, where the model is loaded and they are chosen."""
        segmentation, segment = chosen_segment(self._ui.segmentSelector)
        if segmentation is None or segment is None or not self.ready() or not self.model_is_loaded():
            return None
        return Selection(tuple(self.volume_nodes), segmentation, segment)

    @property
    def choice(self) -> tuple[Any, ...]:
        """All that is chosen, to be compared by `==`."""
        segmentation, segment = chosen_segment(self._ui.segmentSelector)
        model = self.model
        how = (model.key, model.orientation, model.general_far) if model else None
        return how, self.device, tuple(self.volume_nodes), segmentation, segment

    def volumes_are_chosen(self, selection: Selection) -> bool:
        """Whether these volumes are the chosen ones."""
        return selection.volume_nodes == tuple(self.volume_nodes)

    def is_chosen(self, selection: Selection) -> bool:
        """Whether just this is chosen, with the model that is loaded."""
        return selection == self.selection

    def ready(self) -> bool:
        """Whether all channels and a model that can be read are chosen."""
        model = self.model
        return model is not None and model.description is not None and len(self.volume_nodes) == self._channel_count()

    def select(self) -> bool:
        """Hand the choices to the logic; asks about a segment that is stored as surface or contours.

        Returns:
            Whether the user agreed to all that was asked.

        Raises:
            UserInputError: Something chosen cannot be used.
        """
        segmentation, segment = chosen_segment(self._ui.segmentSelector)
        if segmentation is not None and not is_binary_labelmap(segmentation):
            question = _(
                "'{name}' is stored as contours or surface. To be edited it is converted to voxels on the grid of "
                "'{volume}', which resamples its contours. Convert it?"
            ).format(name=segmentation.GetName(), volume=self.volume_nodes[0].GetName())
            if not confirmed(question):
                return False
            convert_to_binary_labelmap(segmentation, self.volume_nodes[0])
        selection = self._shared.logic.select(self.volume_nodes, segmentation, segment)
        self._filling = True
        self._ui.segmentSelector.setCurrentNode(selection.segmentation_node)
        self._ui.segmentSelector.setCurrentSegmentID(selection.segment_id)
        self._filling = False
        self._store_parameters()
        return True

    def choose_only_volume(self) -> None:
        """Where none is chosen and the scene has but one, take it."""
        volumes = _volumes()
        if len(volumes) == 1 and not self._filling and self._ui.firstVolumeSelector.currentNode() is None:
            self._ui.firstVolumeSelector.setCurrentNode(volumes[0])

    def model_is_loaded(self) -> bool:
        """Whether the logic holds the chosen model on the chosen device."""
        return self.model is not None and self.model.is_loaded(self._shared.logic.loaded, self.device)

    def show_loaded(self) -> None:
        """Choose the entry of the loaded model, where a session of another label is gone on with."""
        if not self.model_is_loaded() and self.models.choose_loaded(self._shared.logic.loaded, self.device):
            self._store_parameters()
            self.update()

    # -- widgets

    def update(self) -> None:
        """Bring the widgets in step."""
        idle, model = not self._shared.runner.busy, self.model
        two = self._channel_count() > 1
        self.models.update(idle, self.compute.is_here, self.compute.no_model)
        for widget in (self._ui.firstVolumeSelector, self._ui.segmentSelector, self._ui.sampleButton):
            widget.enabled = idle
        set_visible(not _volumes(), self._ui.sampleButton)
        self._ui.secondVolumeSelector.enabled = idle and two
        self._align_offer.update(two)
        set_visible(two, self._ui.secondVolumeLabel, self._ui.secondVolumeSelector)
        self._suv_offer.update()
        self._distances_offer.update()
        channels = model.description.channels if model and model.description else ("",)
        self._ui.firstVolumeLabel.text = _("Volume ({name}):").format(name=channels[0])
        if two:
            self._ui.secondVolumeLabel.text = _("Volume ({name}):").format(name=channels[1])
        self.compute.update(self._shared.logic.loaded if self.model_is_loaded() else None)

    def _channel_count(self) -> int:
        model = self.model
        return len(model.description.channels) if model and model.description else 1

    def _changed(self, *_: Any) -> None:
        if not self._filling and not slicer.mrmlScene.IsBatchProcessing():  # while a scene loads, nobody chooses
            self._store_parameters()
            self._on_changed()

    # -- parameters

    def hold(self) -> None:
        """Store nothing until `show_parameters`: while a scene is added, Slicer's selectors lose their nodes."""
        self._filling = True

    def show_parameters(self, parameters: Any) -> None:
        """Show what a scene says; from now on choices are stored there."""
        self._parameters, self._filling = parameters, True
        self._show(parameters)
        self._filling = False

    def _show(self, kept: Any) -> None:
        for selector, node in (
            (self._ui.firstVolumeSelector, kept.firstVolume),
            (self._ui.secondVolumeSelector, kept.secondVolume),
            (self._ui.segmentSelector, kept.segmentation),
        ):
            if node is not None:
                selector.setCurrentNode(node)
        if kept.segmentation is not None:
            self._ui.segmentSelector.setCurrentSegmentID(kept.segmentID)
        self.models.choose(kept.model)
        self.compute.show(kept.device)

    def _store_parameters(self) -> None:
        kept = self._parameters
        kept.firstVolume = self._ui.firstVolumeSelector.currentNode()
        kept.secondVolume = self._ui.secondVolumeSelector.currentNode()
        kept.segmentation, segment = chosen_segment(self._ui.segmentSelector)
        kept.segmentID = segment or ""
        kept.model = self.model.key if self.model else ""
        kept.device = self.device

    def _list_other_models(self) -> None:
        """Those of another computer."""
        self.models.list_again()
        self._changed()

    # -- sample case

    def _add_sample_case(self) -> None:
        try:
            self._shared.runner.start(sample_case_operation(), self._sample_case_added)
        except UserInputError as error:
            show_error(error)

    def _sample_case_added(self, nodes: Nodes) -> None:
        say_added(nodes)
        self._ui.firstVolumeSelector.setCurrentNode(nodes[0])

    # -- what was made of a chosen volume

    def _take_instead(self, node: slicer.vtkMRMLScalarVolumeNode, made: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Choose a volume that was made of a chosen one."""
        for selector in (self._ui.firstVolumeSelector, self._ui.secondVolumeSelector):
            if selector.currentNode() is node:
                selector.setCurrentNode(made)

    def _take_even(self, node: slicer.vtkMRMLScalarVolumeNode, made: EvenCopies) -> None:
        """Choose copies with even slices, with the segment that was chosen."""
        chosen, segment = chosen_segment(self._ui.segmentSelector)
        self._take_instead(node, made.volume_node)
        if chosen is None or made.segmentation_node in (None, chosen):
            return
        self._ui.segmentSelector.setCurrentNode(made.segmentation_node)
        if segment is not None:
            number = list(chosen.GetSegmentation().GetSegmentIDs()).index(segment)
            self._ui.segmentSelector.setCurrentSegmentID(
                made.segmentation_node.GetSegmentation().GetNthSegmentID(number)
            )


def _volumes() -> list[slicer.vtkMRMLScalarVolumeNode]:
    """The scene's images: no label maps, no colours, no maps of ours."""
    kind = "vtkMRMLScalarVolumeNode"
    found = (slicer.mrmlScene.GetNthNodeByClass(n, kind) for n in range(slicer.mrmlScene.GetNumberOfNodesByClass(kind)))
    return [n for n in found if n.GetClassName() == kind and not n.GetHideFromEditors() and not is_map(n)]
