"""Training a model's fusion network: asked for, watched, cancelled; its bundle goes to the list of models."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from context_propagation.core.bundle.trained_bundle import TrainedBundle, place_of_bundle
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.model.nnunet_data import SPLITS, CasesNotFound, find_cases_of, find_folds_file, has_folds
from context_propagation.gui.model_list import ListedModel
from context_propagation.gui.module.input_section import InputSection
from context_propagation.gui.module.package_section import PackageSection
from context_propagation.gui.packages.installation_plan import TRAINING_REQUIREMENTS
from context_propagation.gui.texts import breakable, translated
from context_propagation.gui.work.messages import confirmed, guarded
from context_propagation.gui.work.progress_bar import show_fraction
from context_propagation.gui.work.shared import Shared
from context_propagation.gui.work.timer import Timer
from context_propagation.gui.work.visibility import set_visible
from context_propagation.mrml.fusion_training import FusionTraining

LOOK_MS = 500
"""Between two looks at the process."""


class TrainingSection:
    """A button, a bar, and a line that says what is done, or what came of it.

    Args:
        ui: The panel's widgets.
        shared: Logic and worker.
        inputs: The chosen model, and the list.
        packages: Gives what installs packages that are missing.
        on_changed: Called after the user pressed something, and at a training's end.
    """

    def __init__(
        self,
        ui: Any,
        shared: Shared,
        inputs: InputSection,
        packages: Callable[[], PackageSection],
        on_changed: Callable[[], None],
    ) -> None:
        self._ui, self._shared, self._inputs, self._packages = ui, shared, inputs, packages
        self._on_changed = on_changed
        self._training: FusionTraining | None = None
        self._key = self._said = ""
        self._timer = Timer(LOOK_MS, guarded(self._look, self.update))
        ui.trainButton.connect("clicked()", guarded(self.train, on_changed))
        ui.stopTrainingButton.connect("clicked()", guarded(self.cancel, on_changed))

    def train(self) -> None:
        """Find the cases, or ask for them; ask whether to begin; begin."""
        model = self._inputs.model
        if model is None or self._training is not None:
            return
        named = _cases(model.path)
        if named is None:
            return
        usual = place_of_bundle(model.path, model.label or None)
        bundle = usual if os.access(usual.parent, os.W_OK) else _asked_place(usual)
        if bundle is None or not confirmed(_question(model, bundle)):
            return
        if not self._packages().install_for(TRAINING_REQUIREMENTS):
            return
        if bundle != usual or bundle.exists():  # one that is there, the user has agreed to replace
            named["output"] = bundle
        options = ["--trust-bundle"] if model.ask_for_trust() else []
        device, label = self._inputs.device, model.label or None
        self._training = self._shared.logic.train_fusion(model.path, label, device=device, options=options, **named)
        self._key, self._said = model.key, ""
        self._timer.start()

    def cancel(self) -> None:
        """Stop it; what is finished is kept."""
        if self._training is not None:
            self._training.cancel()

    def close(self) -> None:
        """Stop it, and let go of the timer."""
        self._timer.close()
        self.cancel()

    def update(self) -> None:
        """Bring the widgets in step."""
        model, running = self._inputs.model, self._training is not None
        trainable = model is not None and model.description is not None and not model.has_own_far_network
        trainable = trainable and model.server is None
        self._ui.trainButton.enabled = trainable and not running
        set_visible(running, self._ui.trainingProgress, self._ui.stopTrainingButton)
        self._ui.trainingLabel.text = breakable(self._text(model, trainable))

    def _text(self, model: ListedModel | None, trainable: bool) -> str:
        if self._training is not None:
            return self._progress(self._training)
        if self._said or model is None:
            return self._said
        if trainable:
            return _(
                "A fusion network that is trained for this model helps more than the general one. It is trained once, "
                "on cases that the model never saw."
            )
        return _("The chosen model has its fusion network.") if model.has_own_far_network else ""

    def _progress(self, training: FusionTraining) -> str:
        standing = training.standing
        self._ui.stopTrainingButton.enabled = not training.cancelled
        show_fraction(self._ui.trainingProgress, standing.fraction)
        if training.cancelled:
            return _("Stopping the training...")
        stage = translated(standing.stage) if standing.stage else _("begins")
        left = "" if standing.seconds_left is None else _(", {time} left").format(time=_duration(standing.seconds_left))
        keep = _("Slicer can be used meanwhile. If it is closed, the training stops; it goes on when you train again.")
        return _("Training: {stage}{left}").format(stage=stage, left=left) + f"\n{keep}"

    def _look(self) -> None:
        training = self._training
        if training is None or training.running:
            return
        self._timer.stop()
        self._training = None
        try:
            self._take(training.wait())
        except Cancelled:
            self._said = _("The training was stopped. What is finished is kept: train again, and it goes on.")
        except UserInputError as error:
            self._said = _("The training failed: {reason}").format(reason=error)
        self._on_changed()

    def _take(self, bundle: TrainedBundle) -> None:
        """Add it to the list; choose it where the user is not at work with this model, nor with another one."""
        model = self._inputs.model
        at_work = self._shared.runner.busy or self._shared.logic.session is not None
        chosen = not at_work and model is not None and model.key == self._key
        self._said = f"'{bundle.path.name}': {bundle.summary}. " + _("It is in the list of models.")
        self._inputs.models.add(bundle.path, choose=chosen)


def _question(model: ListedModel, bundle: Path) -> str:
    text = _(
        "Train the fusion network of '{name}'? It uses the labelled cases that the model never saw, and takes minutes "
        "to hours in a process of its own. The bundle will be '{bundle}'."
    ).format(name=model.name, bundle=bundle)
    return f"{text} {_('The bundle that is there now is replaced.')}" if bundle.exists() else text


def _asked_place(usual: Path) -> Path | None:
    """Where nothing can be written beside the model: the bundle in a folder that the user chooses, if any."""
    title = _("'{folder}' cannot be written to: another folder for the bundle").format(folder=usual.parent)
    folder = qt.QFileDialog.getExistingDirectory(None, title)
    return Path(folder) / usual.name if folder else None


def _cases(model: Path) -> dict[str, Any] | None:
    """Where a model's cases are, as far as nothing finds them by itself; None where the user gives up."""
    named: dict[str, Any] = {}
    try:
        find_cases_of(model)
    except CasesNotFound as error:
        if not _asked(error, _("Choose a folder of images that the model never saw, and then that of their labels?")):
            return None
        for name, title in (("images", _("Images that the model never saw")), ("labels", _("Their labels"))):
            named[name] = qt.QFileDialog.getExistingDirectory(None, title)
            if not named[name]:
                return None
    try:
        if has_folds(model):
            find_folds_file(model)
    except CasesNotFound as error:
        if not _asked(error, _("Choose the file {file} that the model was trained with?").format(file=SPLITS)):
            return None
        named["folds"] = qt.QFileDialog.getOpenFileName(None, SPLITS, "", f"{SPLITS} (*.json)")
        if not named["folds"]:
            return None
    return named


def _asked(error: CasesNotFound, question: str) -> bool:
    return confirmed(f"{error.reason}.\n\n{question}")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return _("less than a minute")
    if minutes < 60:
        return _("about {minutes} min").format(minutes=minutes)
    return _("about {hours} h {minutes} min").format(hours=minutes // 60, minutes=minutes % 60)
