"""The Slicer module "Context Propagation"; torch is not imported before a model is loaded."""

import os
import sys

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class ContextPropagation(ScriptedLoadableModule):
    """What Slicer shows of the module, and what happens at start-up."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Context Propagation")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "Plots"]
        parent.contributors = ["Name (Organisation)"]  # as in the extension's CMakeLists.txt
        parent.helpText = _(
            "Redraw one slice of a contour; the features of your own frozen segmentation network carry the correction "
            "through the volume. Research software: not a medical device."
        )
        parent.acknowledgementText = _(
            "Method: C.-H. Chao, H.-T. Cheng, T.-Y. Ho, L. Lu, M. Sun, Interactive Radiotherapy Target Delineation "
            "with 3D-Fused Context Propagation. This is an independent implementation."
        )
        slicer.app.connect("startupCompleted()", register_effect)
        slicer.app.connect("startupCompleted()", register_sample_case)
        slicer.app.connect("startupCompleted()", tidy_loaded_scenes)
        slicer.app.connect("startupCompleted()", warm_up_soon)


def register_sample_case():
    """Offer the phantom in the module Sample Data."""
    from context_propagation.gui.module.sample_data import register_sample_data

    register_sample_data()


def register_effect():
    """Make "Propagate Edit" known to the Segment Editor."""
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    effect = effects.qSlicerSegmentEditorScriptedEffect(None)
    folder = os.path.join(os.path.dirname(__file__), "SegmentEditorPropagateEditLib")
    effect.setPythonSource(os.path.join(folder, "SegmentEditorEffect.py").replace("\\", "/"))
    effect.self().register()


def warm_up_soon():
    """So that the first opening of panel or effect does not wait for imports."""
    from context_propagation.gui.work.warm_up import PAUSE_MS, warm_up

    qt.QTimer.singleShot(PAUSE_MS, lambda: warm_up())


def tidy_loaded_scenes():
    """Whichever module is open: a scene saved with an open preview has an entry of it that Slicer cannot use."""
    slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, lambda caller, event: remove_dead_entries_soon())


def remove_dead_entries_soon():
    """After Slicer has made its own entries, on the same event."""
    from context_propagation.mrml.nodes.preview_node import remove_dead_previews

    qt.QTimer.singleShot(0, lambda: remove_dead_previews(slicer.mrmlScene))


class ContextPropagationWidget(ScriptedLoadableModuleWidget):
    """A shell around `context_propagation.gui.module.panel`."""

    def __init__(self, parent=None):
        self.panel = self.logic = None
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from context_propagation.gui.module.panel import Panel
        from context_propagation.gui.module.parameters import ContextPropagationParameters
        from context_propagation.gui.work.shared import shared

        widget = slicer.util.loadUI(self.resourcePath("UI/ContextPropagation.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = shared().logic
        owner = ScriptedLoadableModuleLogic()
        owner.moduleName = self.moduleName
        self.panel = Panel(
            slicer.util.childWidgetVariables(widget),
            shared(),
            lambda: ContextPropagationParameters(owner.getParameterNode()),
        )
        if getattr(self.parent, "isEntered", False):  # after a reload: Slicer does not enter again
            self.enter()

    def enter(self):
        if self.panel is not None:
            self.panel.enter()

    def exit(self):
        if self.panel is not None:
            self.panel.exit()

    def cleanup(self):
        """A reload, or Slicer's end: nothing may run on when the widgets are gone."""
        if self.panel is None:
            return
        from context_propagation.gui.work.shared import release

        self.panel.close()
        self.panel = None
        release()

    def onReload(self):
        """Reload runs this file alone: let go of the worker and of our packages first."""
        from context_propagation.gui.work.shared import release

        self.cleanup()
        release()  # the effect may be in use without the panel
        for name in [name for name in sys.modules if name.split(".")[0] == "context_propagation"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)


def __getattr__(name):
    """`ContextPropagationLogic` is made when it is first asked for: Slicer imports this file at every start."""
    if name != "ContextPropagationLogic":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from context_propagation.mrml import context_propagation_logic

    class ContextPropagationLogic(context_propagation_logic.ContextPropagationLogic):
        """The whole job without GUI, for the Python console and scripts; see docs/console.md."""

        def __init__(self, scene=None):
            super().__init__(scene or slicer.mrmlScene)

    globals()[name] = ContextPropagationLogic
    return ContextPropagationLogic


class ContextPropagationTest(ScriptedLoadableModuleTest):
    """The whole job on the phantom that ships: predict, redraw, propagate, undo, measure."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_one_edit_propagates_and_the_drawn_slice_stays()

    def test_one_edit_propagates_and_the_drawn_slice_stays(self):
        from context_propagation.mrml.self_test import run_self_test

        before, after = run_self_test(slicer.mrmlScene, self.delayDisplay)
        assert after.comparison.dsc > before.comparison.dsc
