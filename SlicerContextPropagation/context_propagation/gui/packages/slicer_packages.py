"""Slicer's pip and its PyTorch extension, as `context_propagation.gui.packages.dependencies` calls them.

`slicer.packaging` installs and removes, and says whether somebody else's pip runs. It does not cancel, does not say how
much is downloaded or which version is there instead of the needed one, takes nothing back, does not watch the pip that
the PyTorch extension runs, and is missing in Slicer 5.10: the rest of this folder does that.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO

from packaging.utils import canonicalize_name
from packaging.version import Version

from context_propagation.core.errors import UserInputError
from context_propagation.gui.packages.dependencies import InstalledPackage, Log
from context_propagation.gui.packages.slicer_processes import SlicerProcesses

FIRST_PIP_WITH_LINES = Version("24.1")


class SlicerPackages:
    """The packages of the Python that runs Slicer."""

    def __init__(
        self,
        pip_install: Callable[[list[str]], Any],
        pip_uninstall: Callable[[list[str]], Any],
        processes: SlicerProcesses,
    ) -> None:
        """Hold the two functions; `of_application` finds Slicer's.

        Args:
            pip_install: Takes the arguments of `pip install`, prints what it does, raises if it fails.
            pip_uninstall: The same for `pip uninstall`.
            processes: Watches what they start.
        """
        self._pip_install = pip_install
        self._pip_uninstall = pip_uninstall
        self._processes = processes

    @classmethod
    def of_application(cls, processes: SlicerProcesses) -> SlicerPackages:
        """Slicer 5.12 has a module for it, older ones two functions; the application handles events meanwhile."""
        import slicer.util

        try:
            packaging = importlib.import_module("slicer.packaging")
        except ModuleNotFoundError:
            return cls(slicer.util.pip_install, slicer.util.pip_uninstall, processes)

        def pip_install(arguments: list[str]) -> None:
            if packaging.isPipInstallInProgress():
                raise UserInputError("Another extension is installing packages; wait until it is done, then try again")
            packaging.pip_install(arguments, show_progress=False)

        return cls(pip_install, packaging.pip_uninstall, processes)

    def installed(self, names: Iterable[str] | None = None) -> dict[str, InstalledPackage]:
        """The distributions of these names that this Python can import, or all that it can."""
        return installed_packages(sys.path, names)

    def install(self, arguments: Sequence[str], log: Log) -> None:
        """Run `pip install`."""
        with self._processes.watched(**pip_environment()), printed_lines(log):
            self._pip_install(list(arguments))

    def uninstall(self, names: Sequence[str], log: Log) -> None:
        """Run `pip uninstall`."""
        with self._processes.watched(), printed_lines(log):
            self._pip_uninstall(list(names))

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Let the application work until something is done."""
        from context_propagation.gui.work.meanwhile import wait_until

        wait_until(done, user_may_act=True)

    def stop(self) -> None:
        """Let what runs end at its next line of output."""
        self._processes.stop()


class PyTorchExtension:
    """The PyTorch extension, which knows the build of torch for this computer.

    Args:
        processes: Watches what it starts.
    """

    def __init__(self, processes: SlicerProcesses) -> None:
        self._processes = processes

    def install(self, specifier: str, log: Log) -> None:
        """Install torch without asking again.

        Raises:
            UserInputError: The extension is not installed.
        """
        try:
            utils = importlib.import_module("PyTorchUtils")
        except ModuleNotFoundError as error:
            raise UserInputError(
                "The PyTorch extension is not installed; install it from the Extensions Manager and restart Slicer, "
                "or install from a folder of wheels"
            ) from error
        install = utils.PyTorchUtilsLogic().installTorch
        with self._processes.watched(**pip_environment()), printed_lines(log):
            install(**torch_arguments(install, specifier))


def pip_environment() -> dict[str, str]:
    """What makes pip say how far a download is, from the version on that can do so in lines."""
    pip = next(iter(importlib.metadata.distributions(name="pip")), None)
    speaks = pip is not None and Version(pip.version) >= FIRST_PIP_WITH_LINES
    return {"PIP_PROGRESS_BAR": "raw"} if speaks else {}


def imported(names: Iterable[str]) -> list[str]:
    """Which of these distributions Python has loaded: another version of them takes effect after a restart."""
    loaded = {module.split(".")[0] for module in sys.modules}
    of_modules = importlib.metadata.packages_distributions()
    in_use = {canonicalize_name(d) for module in loaded for d in of_modules.get(module, ())}
    return sorted(in_use.intersection(names))


def installed_packages(path: Sequence[str], names: Iterable[str] | None = None) -> dict[str, InstalledPackage]:
    """Distributions that are found by their name, by canonical name: not what a failed removal left behind.

    Args:
        path: Where to look, in the order of import.
        names: Those to look for; without it all, which takes a second where hundreds are installed.
    """
    importlib.invalidate_caches()
    found: dict[str, InstalledPackage] = {}
    if names is None:
        names = filter(None, {d.metadata["Name"] for d in importlib.metadata.distributions(path=list(path))})
    for name in names:
        distribution = next(iter(importlib.metadata.distributions(name=name, path=list(path))), None)
        if distribution is not None:
            found[canonicalize_name(name)] = _installed_package(distribution)
    return found


def torch_arguments(install: Callable[..., Any], specifier: str) -> dict[str, Any]:
    """The keyword arguments for `installTorch` in any version of the extension: its names have changed.

    Args:
        install: The function.
        specifier: Versions of torch, such as `>=2.4`.
    """
    meant = {"askconfirmation": False, "confirm": False, "torchversionrequirement": specifier}
    names = {name: name.replace("_", "").lower() for name in inspect.signature(install).parameters}
    return {name: meant[plain] for name, plain in names.items() if plain in meant}


@contextlib.contextmanager
def printed_lines(log: Log) -> Iterator[None]:
    """Pass on what is printed inside, line by line; it is printed all the same."""
    tee = _Tee(sys.stdout, log)
    try:
        with contextlib.redirect_stdout(tee):
            yield
    finally:
        tee.finish()


class _Tee:
    """Writes on, and calls the log once a line; what the log itself prints is only written on."""

    def __init__(self, stream: TextIO, log: Log) -> None:
        self._stream = stream
        self._log = log
        self._pending = ""
        self._logging = False

    def write(self, text: str) -> int:
        self._stream.write(text)
        if not self._logging:
            *lines, self._pending = (self._pending + text).split("\n")
            self._pass_on(lines)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def finish(self) -> None:
        if self._pending:
            self._pass_on([self._pending])

    def _pass_on(self, lines: list[str]) -> None:
        self._logging = True
        try:
            for line in lines:
                self._log(line)
        finally:
            self._logging = False


def _installed_package(distribution: importlib.metadata.Distribution) -> InstalledPackage:
    metadata = distribution.metadata  # read from the file at each look: so once for both
    requires = metadata.get_all("Requires-Dist") or distribution.requires or ()  # an egg's are in a file of their own
    return InstalledPackage(metadata["Version"], tuple(requires))
