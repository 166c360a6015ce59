"""Slicer's pip and its PyTorch extension, as `context_propagation.gui.packages.dependencies` calls them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from context_propagation.core.errors import UserInputError
from context_propagation.gui.packages.dependencies import InstalledPackage, Log


class SlicerPackages:
    """The packages of the Python that runs Slicer."""

    def __init__(self, pip_install: Callable[[list[str]], Any], pip_uninstall: Callable[[list[str]], Any]) -> None:
        """Hold the two functions; `of_application` finds Slicer's.

        Args:
            pip_install: Takes the arguments of `pip install`, prints what it does, raises if it fails.
            pip_uninstall: The same for `pip uninstall`.
        """
        self._pip_install = pip_install
        self._pip_uninstall = pip_uninstall

    @classmethod
    def of_application(cls) -> SlicerPackages:
        """Slicer 5.12 has a module for it, older ones two functions; the application handles events meanwhile."""
        import slicer.util

        try:
            packaging = importlib.import_module("slicer.packaging")
        except ModuleNotFoundError:
            return cls(slicer.util.pip_install, slicer.util.pip_uninstall)

        def pip_install(arguments: list[str]) -> None:
            if packaging.isPipInstallInProgress():
                raise UserInputError("Another extension is installing packages; wait until it is done, then try again")
            packaging.pip_install(arguments, show_progress=False)

        return cls(pip_install, packaging.pip_uninstall)

    def installed(self) -> dict[str, InstalledPackage]:
        """Every distribution that this Python can import."""
        return installed_packages(sys.path)

    def install(self, arguments: Sequence[str], log: Log) -> None:
        """Run `pip install`."""
        with printed_lines(log):
            self._pip_install(list(arguments))

    def uninstall(self, names: Sequence[str], log: Log) -> None:
        """Run `pip uninstall`."""
        with printed_lines(log):
            self._pip_uninstall(list(names))


class PyTorchExtension:
    """The PyTorch extension, which knows the build of torch for this computer."""

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
        with printed_lines(log):
            install(**torch_arguments(install, specifier))


def installed_packages(path: Sequence[str]) -> dict[str, InstalledPackage]:
    """Every distribution that is found by its name, by canonical name: not what a failed removal left behind.

    Args:
        path: Where to look, in the order of import.
    """
    importlib.invalidate_caches()
    found: dict[str, InstalledPackage] = {}
    for name in filter(None, {d.metadata["Name"] for d in importlib.metadata.distributions(path=list(path))}):
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
    return InstalledPackage(distribution.version, frozenset(_needs(distribution.requires or [])))


def _needs(lines: list[str]) -> Iterator[str]:
    for line in lines:
        with contextlib.suppress(InvalidRequirement):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                yield canonicalize_name(requirement.name)
