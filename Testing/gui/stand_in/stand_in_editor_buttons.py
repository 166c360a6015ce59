"""The buttons of a Segment Editor's widget, and its ears in the slice views."""

import slicer
import vtk
from PySide6 import QtWidgets

from stand_in_brushes import MouseTool
from stand_in_slots import as_slot

EVENTS = (
    "LeftButtonPressEvent",
    "LeftButtonReleaseEvent",
    "RightButtonPressEvent",
    "RightButtonReleaseEvent",
    "MouseMoveEvent",
)


class EditorButtons:
    """The buttons of an editor's widget, by the names that Slicer gives them, and its ears in the slice views."""

    def __init__(self, widget):
        self._widget, self._buttons, self._observed = widget, {}, []
        layout = widget._qt.layout()
        for name, act in (("AddSegmentButton", self._add), ("UndoButton", widget.undo), ("RedoButton", widget.redo)):
            self._buttons[name] = self._button(QtWidgets.QToolButton, name, act)
        for name in self._editor.effects:
            self._buttons[name] = self._button(QtWidgets.QToolButton, name, lambda name=name: self._press(name))
        for button in self._buttons.values():
            layout.addWidget(button)
        self._editor.listeners.append(self.update)
        self.update()

    @property
    def _editor(self):
        return self._widget._own.editor

    @staticmethod
    def _button(kind, name, act):
        button = kind(text=name)
        button.setObjectName(name)
        button.clicked.connect(as_slot(lambda: act()))
        return button

    def update(self):
        """Enable what can be pressed, and listen to the views where an effect is active."""
        editor = self._editor
        ready = editor.node.GetSegmentationNode() is not None and editor.node.GetSourceVolumeNode() is not None
        segment = bool(editor.node.GetSelectedSegmentID())
        for name, effect in editor.effects.items():
            self._buttons[name].setEnabled(ready and (segment or not effect.requireSegments))
        self._buttons["AddSegmentButton"].setEnabled(editor.node.GetSegmentationNode() is not None)
        self._buttons["UndoButton"].setEnabled(bool(editor.logic.CanUndo()))
        self._buttons["RedoButton"].setEnabled(bool(editor.logic.CanRedo()))
        self.listen(editor.effect is not None)

    def listen(self, on):
        """Observe the mouse in all slice views, or no more."""
        if not on:
            while self._observed:
                interactor, tag = self._observed.pop()
                interactor.RemoveObserver(tag)
        elif not self._observed:
            layout = slicer.app.layoutManager()
            for name in layout.sliceViewNames():
                view = layout.sliceWidget(name)
                interactor = view.interactorStyle().GetInteractor()
                for event in EVENTS:
                    observer = as_slot(lambda caller, event, view=view: self._interact(caller, event, view))
                    self._observed.append((interactor, interactor.AddObserver(event, observer, 1.0)))

    def _interact(self, interactor, event, view):
        effect = self._editor.effect
        if isinstance(effect, MouseTool):
            effect._interact(interactor, event, view)
            self.update()
        elif effect is not None:
            effect._call("processInteractionEvents", interactor, vtk.vtkCommand.GetEventIdFromString(event), view)

    def _press(self, name):
        self._editor.setActiveEffect(name)

    def _add(self):
        editor = self._editor
        editor.node.SetSelectedSegmentID(editor.logic.AddEmptySegment("", 0))
