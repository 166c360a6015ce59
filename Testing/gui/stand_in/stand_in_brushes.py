"""Slicer's tools Paint, Erase and Draw, as far as the mouse in slice views goes: real events in, real voxels out.

Voxels are written by the editor's real logic, on the slice that the view shows, as one step of Undo for each stroke.
"""

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from stand_in_effect import LOGIC, qSlicerSegmentEditorAbstractEffect

DEFAULTS = {"BrushAbsoluteDiameter": 5.0, "BrushRelativeDiameter": 3.0, "BrushDiameterIsRelative": 1}
POINT_DISTANCE = 0.2
"""Of two points of a stroke, at most, in brush diameters: between the places of two events the brush is moved on."""


class MouseTool(qSlicerSegmentEditorAbstractEffect):
    """An effect that listens to the mouse."""

    def __init__(self, name, *args):
        super().__init__(*args)
        self.name, self.showEffectCursorInSliceView = name, True
        self._own.points = []

    def clone(self):
        return type(self)(self.name)

    def helpText(self):
        return ""

    def _call(self, method, *args):
        """What the editor tells scripted effects; these need none of it but their defaults."""
        if method == "setMRMLDefaults":
            for name, value in DEFAULTS.items():
                self.setCommonParameterDefault(name, value)

    def updateGUIFromMRML(self):
        pass

    def _interact(self, interactor, event, widget):
        """Take an event of a view; True where nobody else shall."""
        raise NotImplementedError

    @staticmethod
    def _world(interactor, widget):
        """Where the mouse is, in the world."""
        x, y = interactor.GetEventPosition()
        return widget.mrmlSliceNode().GetXYToRAS().MultiplyPoint((x, y, 0.0, 1.0))[:3]


class BrushTool(MouseTool):
    """Paint and Erase: the press begins a stroke, the release writes it."""

    def _interact(self, interactor, event, widget):
        if event == "LeftButtonPressEvent":
            if self.confirmCurrentSegmentVisible() == self.ConfirmedWithDialog:
                return True
            self._own.points = [self._world(interactor, widget)]
            return True
        if not self._own.points or event not in ("MouseMoveEvent", "LeftButtonReleaseEvent"):
            return False
        self._own.points.append(self._world(interactor, widget))
        if event == "LeftButtonReleaseEvent":
            self._write(widget)
            return True
        return False

    def _diameter(self, widget):
        if not self.integerParameter("BrushDiameterIsRelative"):
            return self.doubleParameter("BrushAbsoluteDiameter")
        raise NotImplementedError("a brush relative to the screen; there is no screen here")

    def _write(self, widget):
        points, diameter = self._own.points, self._diameter(widget)
        self._own.points = []
        modifier = self.defaultModifierLabelmap()
        self.saveStateForUndo()
        mask = vtk_to_numpy(modifier.GetPointData().GetScalars()).reshape(modifier.GetDimensions()[::-1])
        near = self._near(modifier, _filled_up(points, POINT_DISTANCE * diameter), diameter / 2, widget)
        mask[:] = near
        modifier.Modified()
        offset, where = modifier.GetExtent()[::2], np.argwhere(near)[:, ::-1]
        ends = zip(np.add(where.min(axis=0), offset), np.add(where.max(axis=0), offset), strict=True)
        extent = [int(n) for pair in ends for n in pair]
        remove = self.name == "Erase"
        mode = LOGIC.ModificationModeRemove if remove else LOGIC.ModificationModeAdd
        self.modifySelectedSegmentByLabelmap(modifier, mode, extent)

    def _near(self, modifier, points, radius, widget):
        """Voxels whose centre lies in a cylinder around one of the points, as high as the view's slice is thick."""
        segmentation = self._own.node.GetSegmentationNode()
        to_world = vtk.vtkMatrix4x4()
        modifier.GetImageToWorldMatrix(to_world)
        parent = vtk.vtkMatrix4x4()
        slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(segmentation.GetParentTransformNode(), None, parent)
        vtk.vtkMatrix4x4.Multiply4x4(parent, to_world, to_world)
        to_slice = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(widget.mrmlSliceNode().GetSliceToRAS(), to_slice)
        vtk.vtkMatrix4x4.Multiply4x4(to_slice, to_world, to_world)
        ijk_to_slice = slicer.util.arrayFromVTKMatrix(to_world)
        to_slice = slicer.util.arrayFromVTKMatrix(to_slice)
        i0, i1, j0, j1, k0, k1 = modifier.GetExtent()
        k, j, i = np.mgrid[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1]
        x, y, z = np.tensordot(ijk_to_slice[:3, :3], np.stack([i, j, k]), 1) + ijk_to_slice[:3, 3, None, None, None]
        height = widget.sliceLogic().GetLowestVolumeSliceSpacing()[2]
        on_slice = np.abs(z) < height / 2 - 1e-6
        found = np.zeros(x.shape, bool)
        for point in points:
            px, py, _pz, _pw = to_slice @ np.array([*point, 1.0])
            found |= on_slice & ((x - px) ** 2 + (y - py) ** 2 <= radius**2)
        if not found.any():
            raise ValueError("the stroke meets no voxel: the brush is smaller than a voxel, or beside the volume")
        return found


def _filled_up(points, distance):
    filled = [np.array(points[0])]
    for point in points[1:]:
        steps = max(int(np.ceil(np.linalg.norm(np.array(point) - filled[-1]) / distance)), 1)
        filled += [filled[-1] + (np.array(point) - filled[-1]) * n / steps for n in range(1, steps + 1)]
    return filled


class DrawTool(MouseTool):
    """Draw: the left button adds points, in the view's pixels; the right one writes what lies inside the outline."""

    def _interact(self, interactor, event, widget):
        own = self._own
        if event == "LeftButtonPressEvent":
            if self.confirmCurrentSegmentVisible() == self.ConfirmedWithDialog:
                return True
            own.drawing = True
            own.points.append((*interactor.GetEventPosition(), 0.0))
            return True
        if event == "MouseMoveEvent" and getattr(own, "drawing", False):
            own.points.append((*interactor.GetEventPosition(), 0.0))
            return True
        if event == "LeftButtonReleaseEvent":
            own.drawing = False
            return True
        if event == "RightButtonReleaseEvent":
            if len(own.points) > 1:
                self._write(widget)
            return True
        return event == "RightButtonPressEvent"

    def _write(self, widget):
        points, line = vtk.vtkPoints(), vtk.vtkIdList()
        for point in self._own.points:
            line.InsertNextId(points.InsertNextPoint(point))
        line.InsertNextId(0)
        self._own.points = []
        outline = vtk.vtkPolyData()
        outline.SetPoints(points)
        outline.AllocateExact(1, points.GetNumberOfPoints() + 1)
        outline.InsertNextCell(vtk.VTK_POLY_LINE, line)
        modifier = self.defaultModifierLabelmap()
        LOGIC.AppendPolyMask(modifier, outline, widget.mrmlSliceNode(), self._own.node.GetSegmentationNode())
        self.saveStateForUndo()
        self.modifySelectedSegmentByLabelmap(modifier, LOGIC.ModificationModeAdd)


def mouse_tools():
    """One of each, to be registered when the application starts."""
    return [BrushTool("Paint"), DrawTool("Draw"), BrushTool("Erase")]
