"""Start of "Propagate Edit": ask what must be asked, load the model, check the volumes, cache the image."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from context_propagation.gui.effect.editor_choice import EditorChoice
from context_propagation.gui.start_questions import asked, bring_back
from context_propagation.gui.work.guarded_run import GuardedRun
from context_propagation.gui.work.messages import confirmed
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.segments import convert_to_binary_labelmap, is_binary_labelmap
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.session.start_check import StartCheck
from context_propagation.mrml.writing.segment_writer import SegmentWriter


class Start:
    """One operation after the other on the worker; the user may stop each.

    Args:
        choice: Model and selection.
        logic: Model and session.
        run: Runs the operations.
        new_writer: Makes the writer of an empty segment's prediction.
        on_ready: Called at the end, with the number of voxels that were predicted into an empty segment.
    """

    def __init__(
        self,
        choice: EditorChoice,
        logic: ContextPropagationLogic,
        run: GuardedRun,
        new_writer: Callable[[], SegmentWriter],
        on_ready: Callable[[int], None],
    ) -> None:
        self._choice, self._logic, self._run = choice, logic, run
        self._new_writer, self._on_ready = new_writer, on_ready

    def begin(self) -> Selection | None:
        """Load the model if need be, then go on by itself.

        Returns:
            What is started on; None where the user did not agree.

        Raises:
            UserInputError: Something is not chosen or cannot be used, or something runs.
        """
        model, selection = self._choice.required()
        if not _is_made_of_voxels(selection):
            return None
        if self._choice.model_is_loaded:
            self._check(selection)
        else:
            self._run.start(model.load_operation(self._logic), lambda loaded: self._check(selection))
        return selection

    def _check(self, selection: Selection) -> None:
        self._logic.select(selection.volume_nodes, selection.segmentation_node, selection.segment_id)
        self._run.start(self._logic.check_operation(), self._cache)

    def _cache(self, check: StartCheck) -> None:
        logic = self._logic
        answers = asked(check, logic)
        if answers is None:
            return
        self._run.require_idle()  # something may have been started while the user was asked
        answers = bring_back(answers, logic)
        writer = self._new_writer()
        if answers.replays:
            self._run.start(logic.restore_operation(writer, check), lambda saved: self._on_ready(0))
        else:
            operation = logic.predict_operation(writer, check, answers.keeps_drawn, answers.fills)
            self._run.start(operation, lambda report: self._on_ready(report.written))


def _is_made_of_voxels(selection: Selection) -> bool:
    """Whether it is, or was converted with the user's consent."""
    segmentation = selection.segmentation_node
    if is_binary_labelmap(segmentation):
        return True
    question = _("'{name}' is stored as contours or surface. Editing needs voxels: this resamples it. Convert it?")
    if not confirmed(question.format(name=segmentation.GetName())):
        return False
    convert_to_binary_labelmap(segmentation, selection.volume_nodes[0])
    return True
