"""Optional packages, imported where they are used and named when they are missing."""

import importlib
from types import ModuleType

from context_propagation.core.errors import MissingDependencyError


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        module: Dotted name of the module to import.
        extra: The extra of `slicer-context-propagation` that installs it.

    Raises:
        MissingDependencyError: The package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingDependencyError(
            f"The package '{module.split('.')[0]}' is not installed; "
            f"run: pip install 'slicer-context-propagation[{extra}]' (in Slicer: Install... in Python packages)"
        ) from error
