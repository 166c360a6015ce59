"""Timed work in processes of their own, one step at a time, so that several are timed in turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from context_propagation.benchmark.timed_session import FAILED, RESULT
from context_propagation.core import SET_HERE
from context_propagation.core.errors import UserInputError

OWN = Path(__file__).parents[2]
"""The folder on the path that holds this package."""


SESSION_SCRIPT = Path(__file__).with_name("timed_session.py")


NETWORK_MODULE = "context_propagation.benchmark.timed_network"


LAST_WORDS = 300


class ChildFailed(Exception):
    """A process could not do its work; the message says why."""


class Child:
    """A process that waits to be asked for its next step.

    Args:
        command: What Python runs: a file, or -m and a module.
        job: What it is told.
        package: The folder that the package is imported from.
    """

    def __init__(self, command: Sequence[str], job: Mapping[str, Any], package: Path = OWN) -> None:
        self._errors = TemporaryFile()  # noqa: SIM115 - closed with the process
        path = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH"))))
        users = {name: value for name, value in os.environ.items() if name not in SET_HERE}  # a version sets its own
        self._process = subprocess.Popen(
            [sys.executable, *command, json.dumps({**job, "package": str(package)})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**users, "PYTHONPATH": path},
            text=True,
            encoding="utf-8",
        )

    def step(self) -> dict[str, Any]:
        """Do the next step.

        Raises:
            ChildFailed: It could not.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise ChildFailed("it has no pipes")
        try:
            self._process.stdin.write("next\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ChildFailed(self._last_words()) from None
        for line in self._process.stdout:
            if line.startswith(RESULT):
                return dict(json.loads(line[len(RESULT) :]))
            if line.startswith(FAILED):
                raise ChildFailed(line[len(FAILED) :].strip())
        raise ChildFailed(self._last_words())

    def _last_words(self) -> str:
        """Why a process ended that did not say it: for lack of memory, say."""
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return f"it ended with code {code}{': ' + lines[-1][:LAST_WORDS] if lines else ''}"

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue


def session_child(job: Mapping[str, Any], package: Path = OWN) -> Child:
    """Sessions, of this checkout or another one."""
    return Child([str(SESSION_SCRIPT)], job, package)


def network_child(job: Mapping[str, Any]) -> Child:
    """Bare networks."""
    return Child(["-m", NETWORK_MODULE], job)


@contextmanager
def closing_all() -> Iterator[dict[str, Child]]:
    """Processes by name; all are ended when the block is left, also by Ctrl-C."""
    children: dict[str, Child] = {}
    try:
        yield children
    finally:
        for child in children.values():
            child.close()


def package_folder(checkout: Path) -> Path:
    """The folder of a checkout that holds the package.

    Raises:
        UserInputError: There is none.
    """
    for folder in (checkout / "SlicerContextPropagation", checkout):
        if (folder / "context_propagation" / "__init__.py").is_file():
            return folder.resolve()
    raise UserInputError(
        f"'{checkout}' is no checkout of this package; give the folder that holds SlicerContextPropagation"
    )


def commit_of(package: Path) -> str:
    """The commit that a checkout is at, "unknown" where git does not track it."""
    tracked = ["ls-files", "--error-unmatch", "--", "context_propagation/__init__.py"]
    try:
        for arguments in (tracked, ["describe", "--always", "--dirty"]):
            done = subprocess.run(["git", *arguments], cwd=package, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip() or "unknown"
