"""What a person does: clicks, chooses, waits, and draws in the slice views."""

import time

import numpy as np
import qt
import slicer

from app_holds import holds
from app_report import report

WAIT = 300
"""Seconds that a person waits for the computer, at most."""

counted = {"clicks": 0}


def process_events(seconds=0.0, until=None, at_most=WAIT):
    """Let the application work: for some seconds, or until a condition holds."""
    end = time.monotonic() + (seconds if until is None else at_most)
    while True:
        with holds.measured("the event loop"):
            slicer.app.processEvents()
        if until is not None and until():
            return
        if time.monotonic() >= end:
            if until is not None:
                raise AssertionError(f"waited {at_most} s in vain")
            return
        time.sleep(0.002)


def click(button):
    """Press a button, which must be there and enabled."""
    name = f"{button.className()} {button.text!r}"
    if not button.isEnabled():
        raise AssertionError(f"{name} is disabled")
    if not button.isVisible():
        raise AssertionError(f"{name} is hidden")
    report().say(f"       clicks {name}")
    counted["clicks"] += 1
    with holds.measured(f"click on {name}"):
        button.click()
    process_events()


def choose(combo, text):
    """Choose an entry of a combo box by what it shows."""
    index = combo.findText(text)
    if index < 0:
        raise AssertionError(f"{text!r} is not among {[combo.itemText(n) for n in range(combo.count)]}")
    with holds.measured(f"choice of {text!r}"):
        combo.setCurrentIndex(index)
    process_events()


def choose_node(selector, node):
    """Choose a node in one of Slicer's selectors."""
    with holds.measured(f"choice of {node.GetName() if node else None!r}"):
        selector.setCurrentNode(node)
    process_events()


def pick_node(selector, node):
    """Choose a node in the list that a selector opens: selectors tell a person's choice from a script's."""
    (combo,) = [c for c in slicer.util.findChildren(selector) if c.inherits("QComboBox")]
    index = combo.findText(node.GetName())
    with holds.measured(f"choice of {node.GetName()!r}"):
        combo.setCurrentIndex(index)
        combo.activated(index)  # calling a signal sends it
    process_events()
    if selector.currentNode() is not node:
        raise AssertionError(f"{node.GetName()!r} is not offered")


def child(widget, name, class_name=""):
    """A widget inside another one, by its name."""
    found = slicer.util.findChildren(widget, name=name, className=class_name)
    if not found:
        raise AssertionError(f"there is no widget {name!r}")
    return found[0]


def open_module(name):
    """Switch to a module as the module selector does; returns its panel's Python object."""
    counted["clicks"] += 1
    with holds.measured(f"switch to {name}"):
        slicer.util.selectModule(name)
    process_events(0.05)
    return getattr(slicer.modules, name.lower()).widgetRepresentation().self()


def press_shortcut(frame, keys):
    """Press a key sequence that a `QShortcut` inside a widget waits for.

    Python cannot press real keys in Slicer: what one such shortcut sends when it is pressed is sent.
    """
    sequence = qt.QKeySequence(keys)
    found = [s for s in _shortcuts(frame) if s.key.toString() == sequence.toString()]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} shortcuts wait for {keys}; Qt calls none of several")
    with holds.measured(f"keys {keys}"):
        found[0].activated()  # calling a signal sends it
    process_events()


def has_shortcut(frame):
    """Whether any shortcut waits inside a widget."""
    return bool(_shortcuts(frame))


def _shortcuts(frame):
    """Those that are enabled; others wait to be deleted."""
    return [c for c in slicer.util.findChildren(frame) if c.className() == "QShortcut" and c.enabled]


VIEWS = {0: "Red", 1: "Green", 2: "Yellow"}
"""Of Slicer's first layout, by the array axis (k, j, i) of an axial volume that each goes through."""


class SliceView:
    """One slice view on one slice of a volume whose axes are those of the patient."""

    def __init__(self, volume_node, axis, index):
        self.widget = slicer.app.layoutManager().sliceWidget(VIEWS[axis])
        self._volume, self._axis, self._index = volume_node, axis, index
        shape = volume_node.GetImageData().GetDimensions()[::-1]
        centre = [(n - 1) / 2 for n in shape]
        centre[axis] = index
        self.widget.mrmlSliceNode().JumpSliceByCentering(*self._world(centre))
        process_events(0.02)

    def stroke(self, points):
        """Press the left button at the first (k, j, i), move over the others, release at the last."""
        interactor, places = self._interactor, [self._place(p) for p in points]
        with holds.measured("press"):
            interactor.SetEventPosition(*places[0])
            interactor.MouseMoveEvent()  # the pointer comes into the view
            interactor.LeftButtonPressEvent()
        for place in places[1:]:
            with holds.measured("move"):
                interactor.SetEventPosition(*place)
                interactor.MouseMoveEvent()
            process_events()
        with holds.measured("release"):
            interactor.LeftButtonReleaseEvent()
        process_events(0.02)

    def right_click(self):
        """Press and release the right button where the pointer is."""
        with holds.measured("right click"):
            self._interactor.RightButtonPressEvent()
            self._interactor.RightButtonReleaseEvent()
        process_events(0.02)

    @property
    def _interactor(self):
        return self.widget.interactorStyle().GetInteractor()

    def _place(self, kji):
        """Where a voxel is in the view, in the interactor's pixels."""
        xy_to_ras = slicer.util.arrayFromVTKMatrix(self.widget.mrmlSliceNode().GetXYToRAS())
        x, y, _z, _w = np.linalg.solve(xy_to_ras, [*self._world(kji), 1.0])
        return round(x), round(y)

    def _world(self, kji):
        import vtk

        matrix = vtk.vtkMatrix4x4()
        self._volume.GetIJKToRASMatrix(matrix)
        world = slicer.util.arrayFromVTKMatrix(matrix) @ np.array([*kji[::-1], 1.0])
        transform = self._volume.GetParentTransformNode()
        if transform is not None:
            transform.GetMatrixTransformToWorld(matrix)
            world = slicer.util.arrayFromVTKMatrix(matrix) @ world
        return [float(v) for v in world[:3]]
