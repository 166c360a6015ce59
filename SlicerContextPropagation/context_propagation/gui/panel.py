"""The module's panel: each section keeps its own widgets in step with the one logic behind them."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from context_propagation.core.worker import Job
from context_propagation.gui.edit_section import EditSection
from context_propagation.gui.input_section import InputSection
from context_propagation.gui.measure_section import MeasureSection
from context_propagation.gui.package_section import PackageSection
from context_propagation.gui.shared import Shared


class Panel:
    """Connects sections, scene and worker.

    Args:
        ui: The widgets of `ContextPropagation.ui` by name.
        shared: Logic and worker.
        parameters: The parameter node's wrapper.
    """

    def __init__(self, ui: Any, shared: Shared, parameters: Any) -> None:
        self._shared = shared
        self._observed: list[tuple[Any, int]] = []
        self.inputs = InputSection(ui, shared, parameters, self.update)
        self.edits = EditSection(ui, shared, self.inputs, self.update)
        self.measures = MeasureSection(ui, shared, self.inputs)
        self.packages = PackageSection(ui, shared, self.inputs)
        shared.runner.listeners.append(self._job_changed)
        self._observe(slicer.mrmlScene, slicer.vtkMRMLScene.EndCloseEvent, self._scene_closed)
        self._observe(slicer.mrmlScene, slicer.vtkMRMLScene.NodeRemovedEvent, lambda *_: self.update())
        self.update()

    def update(self) -> None:
        """Bring all widgets in step."""
        self.inputs.update()
        self.edits.update()
        self.measures.update()
        self.packages.update()

    def close(self) -> None:
        """Let go of scene and worker; what runs goes on."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed.clear()
        self.edits.close()
        if self._job_changed in self._shared.runner.listeners:
            self._shared.runner.listeners.remove(self._job_changed)

    def _observe(self, node: Any, event: int | str, callback: Any) -> None:
        self._observed.append((node, node.AddObserver(event, callback)))

    def _scene_closed(self, caller: vtk.vtkObject, event: str) -> None:
        self._shared.runner.cancel()
        self._shared.logic.close_session()
        self._shared.logic.selection = None
        self.update()

    def _job_changed(self, job: Job | None) -> None:
        self.edits.show_progress(job)
        if job is None:
            self.update()
