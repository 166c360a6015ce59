"""What the module needs beyond Slicer, what of it is missing, and the steps that would install it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from context_propagation.core.errors import UserInputError

RESOURCES = Path(__file__).resolve().parents[3] / "Resources"


REQUIREMENTS = RESOURCES / "requirements.txt"


MONAI_REQUIREMENTS = RESOURCES / "requirements-monai.txt"


TRAINING_REQUIREMENTS = RESOURCES / "requirements-training.txt"


DICOM_REQUIREMENTS = RESOURCES / "requirements-dicom.txt"


PINS = RESOURCES / "constraints.txt"


TORCH = Requirement("torch>=2.4,!=2.9.*")
"""The PyTorch extension installs it. nnU-Net refuses 2.9."""


@dataclass(frozen=True)
class MissingPackage:
    """A requirement that is not met.

    Attributes:
        requirement: What is needed.
        installed: The version that is there instead, or None.
    """

    requirement: Requirement
    installed: str | None

    def __str__(self) -> str:
        """For a list that the user reads."""
        return f"{self.requirement} ({f'{self.installed} is' if self.installed else 'not'} installed)"


@dataclass(frozen=True)
class InstallationStep:
    """One call of pip, or of the PyTorch extension.

    Attributes:
        title: For the user.
        requirements: What it installs.
        through_pytorch_extension: Whether the PyTorch extension does it.
    """

    title: str
    requirements: tuple[Requirement, ...]
    through_pytorch_extension: bool = False


@dataclass(frozen=True)
class InstallationPlan:
    """What would be installed, to show before the user agrees.

    Attributes:
        steps: In order.
        wheel_folder: The only place to install from, or None for the package index.
    """

    steps: tuple[InstallationStep, ...]
    wheel_folder: Path | None = None


def read_requirements(file: Path) -> list[Requirement]:
    """The requirements of a file in pip's format that apply to this Python.

    Raises:
        UserInputError: The file is missing or has a line that is no requirement.
    """
    try:
        lines = [line.split("#")[0].strip() for line in file.read_text("utf-8").splitlines()]
        requirements = [Requirement(line) for line in lines if line]
    except (OSError, ValueError) as error:
        raise UserInputError(
            f"The list of packages '{file}' cannot be read ({error}); reinstall the extension"
        ) from error
    return [r for r in requirements if r.marker is None or r.marker.evaluate()]


def missing_packages(requirements: Iterable[Requirement], versions: Mapping[str, str]) -> tuple[MissingPackage, ...]:
    """The requirements that the installed versions do not meet.

    Args:
        requirements: What is needed.
        versions: What is installed, by canonical name.
    """
    found = [MissingPackage(r, versions.get(canonicalize_name(r.name))) for r in requirements]
    return tuple(
        m for m in found if m.installed is None or not m.requirement.specifier.contains(m.installed, prereleases=True)
    )


def plan_installation(missing: Sequence[MissingPackage], wheel_folder: Path | None = None) -> InstallationPlan:
    """The steps that install what is missing: torch first and by itself.

    Args:
        missing: From `missing_packages`.
        wheel_folder: Install from this folder alone, for a computer without a network. Torch then comes from it too.

    Raises:
        UserInputError: The folder holds no package.
    """
    if wheel_folder is not None and not _holds_packages(wheel_folder):
        raise UserInputError(f"The folder '{wheel_folder}' holds no wheel (*.whl); choose the folder with the wheels")
    torch = tuple(m.requirement for m in missing if m.requirement.name == TORCH.name)
    others = tuple(m.requirement for m in missing if m.requirement.name != TORCH.name)
    steps = [InstallationStep("PyTorch", torch, wheel_folder is None)] if torch else []
    if others:
        steps.append(InstallationStep(", ".join(r.name for r in others), others))
    return InstallationPlan(tuple(steps), wheel_folder)


def _holds_packages(folder: Path) -> bool:
    return folder.is_dir() and any(f.name.endswith((".whl", ".tar.gz", ".zip")) for f in folder.iterdir())
