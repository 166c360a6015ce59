"""`train-fusion` in a process of its own, which Slicer's user need not wait for; see docs/console.md."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from context_propagation.core.bundle.trained_bundle import TrainedBundle, place_of_bundle, read_trained_bundle
from context_propagation.core.callbacks import Standing
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.optional_dependency import require

PACKAGE = Path(__file__).resolve().parents[2]
"""The folder that this package is imported from."""


COMMAND = "context_propagation.cli.main"


SECONDS_TO_END = 20.0
"""That a cancelled training has, to let go of what it writes; then it is ended."""


ERROR = "context-propagation: error: "


class FusionTraining:
    """A training that runs, or has run. What is finished is kept: the same training, started again, goes on.

    It ends with the program that started it, also where that is killed.

    Args:
        bundle: Where the bundle goes.
        arguments: Of `train-fusion`.

    Attributes:
        standing: Stage, fraction of all that is done, and an estimate of the seconds left.
        cancelled: Whether it was asked to end.
    """

    def __init__(self, bundle: Path, arguments: Sequence[str]) -> None:
        self.bundle, self.standing = bundle, Standing()
        self.cancelled = False
        self._errors = TemporaryFile()  # noqa: SIM115 - closed when it is garbage
        path = os.pathsep.join(filter(None, (str(PACKAGE), os.environ.get("PYTHONPATH"))))
        try:
            self._process = subprocess.Popen(
                [_python(), "-m", COMMAND, "train-fusion", *arguments, "--for-program"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # Ctrl-C in a terminal is for the program, which then cancels
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise UserInputError(f"Python cannot be started ({error}); train on the command line") from error
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        """Whether it, or a process that it started, still runs."""
        return self._reader.is_alive() or self._process.poll() is None

    def cancel(self) -> None:
        """Ask it to end, as Ctrl-C does; `running` says when it has. One that does not end is ended."""
        if not self.cancelled:
            self.cancelled = True
            with suppress(OSError):
                self._process.stdin.close()
            threading.Thread(target=self._end, daemon=True).start()

    def wait(self, seconds: float | None = None) -> TrainedBundle:
        """Wait until it has ended.

        Args:
            seconds: At most so long; None for as long as it takes.

        Returns:
            What it says of itself.

        Raises:
            TimeoutError: It runs on.
            UserInputError: It failed; the message is its own.
            Cancelled: `cancel` was called.
        """
        self._reader.join(seconds)
        if self.running:
            raise TimeoutError(f"The training runs on: {self.standing}")
        return self.outcome()

    def outcome(self) -> TrainedBundle:
        """See `wait`; for a training that no longer runs."""
        code = self._process.wait()
        if code == 0:
            return read_trained_bundle(self.bundle)
        if self.cancelled:
            raise Cancelled
        raise UserInputError(self._why(code))

    def _read(self) -> None:
        """Every line that is a standing; the last one that nobody can write any more ends this."""
        for line in self._process.stdout:
            with suppress(ValueError, TypeError):
                self.standing = Standing(**json.loads(line))
        self._process.wait()

    def _end(self) -> None:
        """Wait, and then end it with all that it started."""
        self._reader.join(SECONDS_TO_END)
        if not self.running:
            return
        psutil = require("psutil", "cli")
        with suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            for one in (*process.children(recursive=True), process):
                with suppress(psutil.Error):
                    one.kill()

    def _why(self, code: int) -> str:
        """Its one line; else the last thing that it said."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        errors = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
        if errors:
            return errors[-1]
        said = f": {lines[-1][:200]}" if lines else ""
        return f"The training ended with code {code}{said}; start it again, and it goes on"


def start_training(
    model: str | Path,
    label: str | int | None = None,
    images: str | Path | None = None,
    labels: str | Path | None = None,
    folds: str | Path | None = None,
    output: str | Path | None = None,
    device: str = "auto",
    options: Sequence[str] = (),
) -> FusionTraining:
    """Train the fusion network of a model by the command `train-fusion`, with the same defaults.

    Args:
        model: A trained-model folder.
        label: Name or value of the label, where the model has several.
        images: Folder of images; without it, nnU-Net's raw data set is found from the model's folder.
        labels: Folder of labelmaps; given where the images are.
        folds: nnU-Net's splits_final.json; without it, that of the model's data set is found.
        output: The bundle's folder; without it, a new one beside the model's.
        device: "auto", "cpu", "cuda" or "mps".
        options: Further ones of the command, as ("--epochs", "30").

    Returns:
        What runs. What the command refuses, its `wait` raises.

    Raises:
        UserInputError: No process can be started.
    """
    label = None if label is None else str(label)
    bundle = Path(output) if output is not None else place_of_bundle(Path(model), label)
    named = {"--model": model, "--label": label, "--images": images, "--labels": labels, "--folds": folds}
    named |= {"--output": output, "--device": device}
    arguments = [word for option, value in named.items() if value is not None for word in (option, str(value))]
    return FusionTraining(bundle, [*arguments, *map(str, options)])


def _python() -> str:
    """In Slicer the Python that runs without its window: Slicer puts it on the path."""
    return shutil.which("PythonSlicer") or sys.executable
