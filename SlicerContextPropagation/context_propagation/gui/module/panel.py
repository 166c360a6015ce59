"""The module's panel: each section keeps its own widgets in step with the one logic behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk

from context_propagation.gui.module.doubt_section import DoubtSection
from context_propagation.gui.module.edit_section import EditSection
from context_propagation.gui.module.export_section import ExportSection
from context_propagation.gui.module.input_section import InputSection
from context_propagation.gui.module.journal_section import journal_section
from context_propagation.gui.module.lesion_section import LesionSection
from context_propagation.gui.module.measure_section import MeasureSection
from context_propagation.gui.module.package_section import PackageSection
from context_propagation.gui.module.problem_section import ProblemSection
from context_propagation.gui.module.profile_section import profile_section
from context_propagation.gui.module.summary_section import SummarySection
from context_propagation.gui.module.training_section import TrainingSection
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.timer import Timer
from context_propagation.gui.work.worker import Job
from context_propagation.mrml.session.session_node import remove_orphaned_sessions


class Panel:
    """Connects sections, scene and worker.

    Args:
        ui: The widgets of `ContextPropagation.ui` by name.
        shared: Logic and worker.
        parameters_of: Gives the parameter node's wrapper, which a new scene makes anew.
    """

    def __init__(self, ui: Any, shared: Shared, parameters_of: Callable[[], Any]) -> None:
        self._shared, self._parameters_of = shared, parameters_of
        self._observed: list[tuple[Any, int]] = []
        self.inputs = InputSection(ui, shared, parameters_of(), self.update)
        self.packages = PackageSection(ui, shared, self.update, is_needed=lambda: self.inputs.compute.is_here)
        self.edits = EditSection(ui, shared, self.inputs, self.update, lambda: self.packages.prevents_running())
        self.doubt = DoubtSection(ui, shared, self.update)
        self.lesions = LesionSection(ui, shared)
        self.measures = MeasureSection(ui, shared, self.inputs)
        self.summary = SummarySection(ui, shared, self.inputs)
        self.exports = ExportSection(ui, shared, self.inputs)
        self.profile = profile_section(ui, shared, self.update)
        self.journal = journal_section(ui, shared, self.update)
        self.training = TrainingSection(ui, shared, self.inputs, lambda: self.packages, self.update)
        self.problems = ProblemSection(ui, shared, self.update)
        shared.runner.listeners.append(self._job_changed)
        self._observe(slicer.mrmlScene, slicer.vtkMRMLScene.EndCloseEvent, self._scene_closed)
        self._observe(slicer.mrmlScene, slicer.vtkMRMLScene.StartImportEvent, self._scene_is_added)
        self._observe(slicer.mrmlScene, slicer.vtkMRMLScene.EndImportEvent, self._scene_was_added)
        self._observe(slicer.mrmlScene, slicer.vtkMRMLScene.NodeRemovedEvent, self._nodes_changed)
        self._observe(slicer.mrmlScene, slicer.vtkMRMLScene.NodeAddedEvent, self._nodes_changed)
        self._soon = Timer(0, self._after_change, once=True)
        self._after_import = Timer(0, self._show_added_scene, once=True)
        self.update()

    def enter(self) -> None:
        """The panel is shown."""
        self.edits.watch(True)
        self.doubt.watch(True)
        self.inputs.choose_only_volume()
        self.update()

    def exit(self) -> None:
        """Another module is shown."""
        self.edits.watch(False)
        self.doubt.watch(False)

    def update(self) -> None:
        """Bring all widgets in step."""
        self.inputs.update()
        self.edits.update()
        self.doubt.update()
        self.lesions.update()
        self.measures.update()
        self.summary.update()
        self.exports.update()
        self.profile.update()
        self.journal.update()
        self.training.update()
        self.packages.update()

    def close(self) -> None:
        """Let go of scene and worker; what runs goes on."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed.clear()
        self._soon.close()
        self._after_import.close()
        self.inputs.compute.close()
        self.packages.stop()
        self.training.close()
        self.edits.close()
        self.doubt.close()
        self.lesions.close()
        self.measures.close()
        if self._job_changed in self._shared.runner.listeners:
            self._shared.runner.listeners.remove(self._job_changed)

    def _observe(self, node: Any, event: int | str, callback: Any) -> None:
        self._observed.append((node, node.AddObserver(event, callback)))

    def _scene_closed(self, caller: vtk.vtkObject, event: str) -> None:
        self._shared.runner.cancel()
        if not self._shared.runner.busy:  # else the run's end frees what it holds
            self._shared.logic.forget_gone()
        self.inputs.show_parameters(self._parameters_of())
        self.update()

    def _scene_is_added(self, caller: vtk.vtkObject, event: str) -> None:
        self.inputs.hold()

    def _scene_was_added(self, caller: vtk.vtkObject, event: str) -> None:
        self._after_import.start()  # after Slicer's selectors, which fill themselves anew on the same event

    def _show_added_scene(self) -> None:
        self.inputs.show_parameters(self._parameters_of())
        self.update()

    def _nodes_changed(self, caller: vtk.vtkObject, event: str) -> None:
        self._soon.start()  # many may be added or removed at once

    def _after_change(self) -> None:
        remove_orphaned_sessions(slicer.mrmlScene)
        logic, runner = self._shared.logic, self._shared.runner
        if logic.selection is not None and not logic.selection.nodes_are_there():
            runner.cancel()
        selections = [logic.selection, *(live.selection for live in logic.sessions)]
        gone = any(one is not None and not one.nodes_are_there() for one in selections)
        if gone and not runner.busy:
            logic.forget_gone()
        self.inputs.choose_only_volume()
        self.update()

    def _job_changed(self, job: Job | None) -> None:
        self.edits.show_progress(job)
        if job is None:
            self._soon.start()  # in a turn of its own: handing over a result may have taken long
