"""`train-fusion` in a process of its own, which Slicer's user need not wait for; see docs/console.md."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from context_propagation.core.bundle.trained_bundle import TrainedBundle, place_of_bundle, read_trained_bundle
from context_propagation.core.callbacks import Standing
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.optional_dependency import require

PACKAGE = Path(__file__).resolve().parents[2]
"""The folder that this package is imported from."""


COMMAND = "context_propagation.cli.main"


SECONDS_TO_END = 20.0
"""That a cancelled training has, to let go of what it writes; then it is ended."""


SECONDS_BETWEEN_LOOKS = 0.1


TAIL_BYTES = 20_000
"""Of its output that is looked at."""


ERROR = "context-propagation: error: "


class FusionTraining:
    """A training that runs, or has run. What is finished is kept: the same training, started again, goes on.

    It ends with the program that started it, also where that is killed. It is looked at where somebody asks, by no
    thread: Slicer lets threads work only now and then.

    Args:
        bundle: Where the bundle goes.
        arguments: Of `train-fusion`.

    Attributes:
        cancelled: Whether it was asked to end.
    """

    def __init__(self, bundle: Path, arguments: Sequence[str]) -> None:
        self.bundle, self.cancelled = bundle, False
        self._standing, self._last_moment = Standing(), 0.0
        self._folder = TemporaryDirectory(prefix="context-propagation-training-", ignore_cleanup_errors=True)
        self._lines, self._errors = Path(self._folder.name) / "lines", Path(self._folder.name) / "errors"
        path = os.pathsep.join(filter(None, (str(PACKAGE), os.environ.get("PYTHONPATH"))))
        try:
            with open(self._lines, "wb") as lines, open(self._errors, "wb") as errors:  # no pipes: nobody may read them
                self._process = subprocess.Popen(
                    [_python(), "-m", COMMAND, "train-fusion", *arguments, "--for-program"],
                    stdin=subprocess.PIPE,
                    stdout=lines,
                    stderr=errors,
                    env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
                    start_new_session=True,  # Ctrl-C in a terminal is for the program, which then cancels
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
        except OSError as error:
            raise UserInputError(f"Python cannot be started ({error}); train on the command line") from error

    @property
    def standing(self) -> Standing:
        """Stage, fraction of all that is done, and an estimate of the seconds left."""
        for line in reversed(_tail(self._lines)):
            with suppress(ValueError, TypeError):
                self._standing = Standing(**json.loads(line))
                break
        return self._standing

    @property
    def running(self) -> bool:
        """Whether it still runs. One that was cancelled and does not end is ended."""
        if self._process.poll() is None and self.cancelled and time.monotonic() > self._last_moment:
            self._kill()
        return self._process.poll() is None

    def cancel(self) -> None:
        """Ask it to end, as Ctrl-C does; `running` says when it has."""
        if not self.cancelled:
            self.cancelled, self._last_moment = True, time.monotonic() + SECONDS_TO_END
            with suppress(OSError):
                self._process.stdin.close()

    def wait(self, seconds: float = float("inf")) -> TrainedBundle:
        """Wait until it has ended.

        Args:
            seconds: At most so long.

        Returns:
            What the bundle says of its training.

        Raises:
            TimeoutError: It runs on.
            UserInputError: It failed; the message is its own.
            Cancelled: `cancel` was called.
        """
        end = time.monotonic() + seconds
        while self.running:
            if time.monotonic() > end:
                raise TimeoutError(f"The training runs on: {self.standing}")
            time.sleep(SECONDS_BETWEEN_LOOKS)
        if self._process.returncode == 0:
            return read_trained_bundle(self.bundle)
        if self.cancelled:
            raise Cancelled
        raise UserInputError(self._why(self._process.returncode))

    def _kill(self) -> None:
        """With all that it started: in Slicer it is a launcher, below which Python runs."""
        psutil = require("psutil", "cli")
        with suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            for one in (*process.children(recursive=True), process):
                with suppress(psutil.Error):
                    one.kill()
        self._process.wait()

    def _why(self, code: int) -> str:
        """Its one line; else the last thing that it said."""
        lines = _tail(self._errors)
        errors = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
        if errors:
            return errors[-1]
        said = f": {lines[-1][:200]}" if lines else ""
        return f"The training ended with code {code}{said}; start it again, and it goes on"


def _tail(path: Path) -> list[str]:
    """The last lines of what a process has written so far, without one that it has only begun."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read().decode("utf-8", "replace").rpartition("\n")[0].splitlines()


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
