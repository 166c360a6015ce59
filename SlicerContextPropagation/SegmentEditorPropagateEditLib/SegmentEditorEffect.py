"""The Segment Editor's effect "Propagate Edit"; what it does is in `context_propagation.gui.effect.effect_panel`."""

import os

import qSlicerSegmentationsEditorEffectsPythonQt as effects
import qt
import vtk
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """Thin: Slicer calls it, `EffectPanel` does it."""

    def __init__(self, scriptedEffect):
        scriptedEffect.name = "Propagate Edit"
        scriptedEffect.title = _("Propagate Edit")
        scriptedEffect.perSegment = True
        scriptedEffect.requireSegments = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.panel = None

    def clone(self):
        cloned = effects.qSlicerSegmentEditorScriptedEffect(None)
        cloned.setPythonSource(__file__.replace("\\", "/"))
        return cloned

    def icon(self):
        return qt.QIcon(os.path.join(os.path.dirname(__file__), "SegmentEditorEffect.png"))

    def helpText(self):
        return _(
            "<html>Redraw a slice with any tool; the features of a frozen network carry the correction through the "
            "volume.<br><ul><li><b>Start</b> before you redraw.</li><li>Redraw one or more slices of one plane.</li>"
            "<li><b>Propagate</b> shows a preview: green would be added, red removed.</li>"
            "<li><b>Apply</b> writes it: redrawn slices stay exactly as drawn, masks are obeyed, and one Undo takes it "
            "back.</li></ul></html>"
        )

    def setupOptionsFrame(self):
        from context_propagation.gui.effect.effect_panel import EffectPanel

        self.panel = EffectPanel(self.scriptedEffect)

    def setMRMLDefaults(self):
        self.scriptedEffect.setParameterDefault("AutoPropagate", 0)
        self.scriptedEffect.setParameterDefault("Model", "")

    def activate(self):
        if self.panel is None or self.panel.closed:  # the module was reloaded
            self.setupOptionsFrame()
        self.panel.activate()

    def deactivate(self):
        if self.panel is not None:
            self.panel.deactivate()

    def cleanup(self):
        if self.panel is not None:
            self.panel.close()

    def updateGUIFromMRML(self):
        if self.panel is not None:
            self.panel.update()

    def sourceVolumeNodeChanged(self):
        if self.panel is not None:
            self.panel.update()

    def updateMRMLFromGUI(self):
        pass

    def processInteractionEvents(self, callerInteractor, eventId, viewWidget):
        """A click on a region of the preview; all else is Slicer's."""
        if self.panel is None or eventId != vtk.vtkCommand.LeftButtonPressEvent:
            return False
        if viewWidget.className() != "qMRMLSliceWidget" or callerInteractor.GetShiftKey():
            return False
        x, y = callerInteractor.GetEventPosition()
        return self.panel.clicked(viewWidget.mrmlSliceNode().GetXYToRAS().MultiplyPoint((x, y, 0.0, 1.0))[:3])
