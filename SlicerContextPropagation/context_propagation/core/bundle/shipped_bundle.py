"""The bundle that ships with the package: a small nnU-Net for nasopharynx phantoms, and its fusion network.

It has seen no patient: it is for trying out and for tests. `context-propagation build-demo` trains it.
"""

from __future__ import annotations

from pathlib import Path

from context_propagation.core.errors import UserInputError

FOLDER = Path(__file__).resolve().parents[2] / "bundles" / "nasopharynx_phantom"


CONTROL = Path("training") / "no-edit-control_all.safetensors"
"""The network of the no-edit control inside the bundle."""


def shipped_bundle() -> Path:
    """The bundle's folder.

    Raises:
        UserInputError: It is not there, as in a copy of the sources alone.
    """
    if not FOLDER.is_dir():
        raise UserInputError(f"The demo bundle '{FOLDER}' is missing; make it: context-propagation build-demo")
    return FOLDER
