"""The segment as a DICOM file: what is written, of which series, and what came in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from context_propagation.gui.module.input_section import InputSection
from context_propagation.gui.module.segment_choice import chosen_segment
from context_propagation.gui.texts import breakable
from context_propagation.gui.work.messages import confirmed, guarded
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.visibility import set_visible
from context_propagation.mrml.dicom_export import DicomSource, Exported, export_operation
from context_propagation.mrml.nodes.dicom_database import INSTANCES, files_of_volume, structure_set_of
from context_propagation.mrml.nodes.segments import segment_name, segment_named

ENDINGS = (".dcm", ".seg.dcm")
"""Of the formats, in the order of the list."""


class ExportSection:
    """Lists, two paths and a button.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        inputs: What is chosen.

    Attributes:
        ask_path: Asks the user for a file, from a suggested path and a filter; empty where none is given.
    """

    def __init__(self, ui: Any, shared: Shared, inputs: InputSection) -> None:
        self._ui, self._shared, self._inputs = ui, shared, inputs
        self._known: dict[str, bool] = {}
        self._volume: slicer.vtkMRMLScalarVolumeNode | None = None
        self._came_from: slicer.vtkMRMLSegmentationNode | None = None
        self._folder = Path.home()
        self.ask_path = _ask_path
        ui.exportFormatSelector.addItems([_("RT Structure Set"), _("DICOM segmentation")])
        ui.exportSegmentsSelector.addItems([_("the chosen one"), _("all of its segmentation")])
        ui.seriesFolder.filters = ctk.ctkPathLineEdit.Dirs
        ui.structureSetPath.filters = ctk.ctkPathLineEdit.Files
        ui.exportSection.connect("contentsCollapsed(bool)", lambda collapsed: self.update())
        ui.exportFormatSelector.connect("currentIndexChanged(int)", lambda index: self.update())
        ui.seriesFolder.connect("currentPathChanged(QString)", lambda path: self.update())
        ui.exportButton.connect("clicked()", guarded(self.export, self.update))

    def export(self) -> None:
        """Ask for a file, and write the chosen segment to it, or all of its segmentation."""
        node, segment = chosen_segment(self._ui.segmentSelector)
        if node is None or not self._inputs.volume_nodes:
            return
        everything = self._ui.exportSegmentsSelector.currentIndex == 1
        ids = list(node.GetSegmentation().GetSegmentIDs()) if everything else [segment_named(node, segment)]
        ending = ENDINGS[self._ui.exportFormatSelector.currentIndex]
        name = node.GetName() if everything else segment_name(node, ids[0])
        path = self._asked_for(self._folder / f"{_plain(name)}{ending}", ending)
        if path is None:
            return
        self._known.clear()
        folder = "" if self._files_known() else self._ui.seriesFolder.currentPath
        structure_set = self._ui.structureSetPath.currentPath if ending == ENDINGS[0] else ""
        source = DicomSource.of(self._inputs.volume_nodes[0], folder, structure_set)
        self._ui.exportedLabel.text = ""
        self._shared.runner.start(export_operation(path, node, ids, source), self._done)
        self._folder = path.parent

    def update(self) -> None:
        """Bring the widgets in step: paths that belong to another volume or segmentation go."""
        node, _segment = chosen_segment(self._ui.segmentSelector)
        volume = self._inputs.volume_nodes[0] if self._inputs.volume_nodes else None
        if volume is not self._volume:
            self._volume = volume
            self._ui.seriesFolder.currentPath = self._ui.exportedLabel.text = ""
        if node is not self._came_from:
            self._came_from = node
            found = structure_set_of(node) if node is not None else None
            self._ui.structureSetPath.currentPath = str(found) if found else ""
        known = self._files_known()
        set_visible(not known, self._ui.seriesFolderLabel, self._ui.seriesFolder)
        set_visible(
            self._ui.exportFormatSelector.currentIndex == 0, self._ui.structureSetLabel, self._ui.structureSetPath
        )
        set_visible(bool(self._ui.exportedLabel.text), self._ui.exportedLabel)
        self._ui.exportButton.enabled = (
            node is not None
            and volume is not None
            and (known or bool(self._ui.seriesFolder.currentPath))
            and not self._shared.runner.busy
        )

    def _files_known(self) -> bool:
        """Whether Slicer's database has the first volume's files; it is asked once."""
        volumes = self._inputs.volume_nodes
        instances = (volumes[0].GetAttribute(INSTANCES) or "") if volumes else ""
        if instances not in self._known:
            self._known[instances] = bool(instances and files_of_volume(volumes[0]))
        return self._known[instances]

    def _asked_for(self, suggested: Path, ending: str) -> Path | None:
        """The file to write; a name without the format's ending, or with the other's, gets it."""
        what = self._ui.exportFormatSelector.currentText
        text = self.ask_path(suggested, f"{what} (*{ending})")
        has = next((one for one in reversed(ENDINGS) if text.lower().endswith(one)), "")
        if not text or has == ending:
            return Path(text) if text else None
        path = Path(text[: len(text) - len(has)] + ending)
        question = _("'{path}' exists. Replace it?").format(path=path)
        return path if not path.exists() or confirmed(question) else None

    def _done(self, exported: Exported) -> None:
        self._say(exported.message)

    def _say(self, text: str) -> None:
        self._ui.exportedLabel.text = breakable(text)
        self.update()


def _ask_path(suggested: Path, file_filter: str) -> str:
    return str(qt.QFileDialog.getSaveFileName(None, _("Export"), str(suggested), file_filter) or "")


def _plain(name: str) -> str:
    """A name that any system takes for a file."""
    return "".join(letter if letter.isalnum() or letter in "-_ ." else "_" for letter in name).strip(" .") or "segment"
