"""What a figure was measured with: in every benchmark's and evaluation's output."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path

from context_propagation.core.errors import MissingDependencyError
from context_propagation.core.optional_dependency import require


def provenance() -> dict[str, str]:
    """Hardware, commit and versions."""
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    hardware = (
        f"{_cpu_name()}, {platform.machine()}, {os.cpu_count()} CPU cores, {_memory()}, "
        f"{torch.get_num_threads()} torch threads, {gpu}"
    )
    return {
        "hardware": hardware,
        "commit": commit(),
        "versions": ", ".join(f"{name} {version}" for name, version in installed_versions().items()),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, [*names, platform.processor()]), "unknown CPU")


def _memory() -> str:
    try:
        total = require("psutil", extra="cli").virtual_memory().total
    except MissingDependencyError:
        return "unknown RAM"
    return f"{total / 2**30:.1f} GiB RAM"


def commit() -> str:
    """The commit that this code is at, with "-dirty" where files differ; "unknown" where git does not track it.

    A package that is installed in somebody's git project, say in `.venv`, is not at that project's commit.
    """
    file = Path(__file__)
    try:
        _git(file.parent, "ls-files", "--error-unmatch", "--", file.name)
        return _git(file.parent, "describe", "--always", "--dirty") or "unknown"
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


PACKAGES = (
    "slicer-context-propagation",
    "torch",
    "numpy",
    "SimpleITK",
    "nnunetv2",
    "slicer-core",
    "monai",
    "scipy",
    "pandas",
    "torchio",
    "itkwasm-morphological-contour-interpolation",
    "batchgeneratorsv2",
)


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the result; one that is missing is left out."""
    return dict(_versions_at_first())


@cache
def _versions_at_first() -> dict[str, str]:
    """Looked up once: what Python has imported stays as it is, whatever is installed meanwhile."""
    from importlib.metadata import PackageNotFoundError, version  # itself a long import

    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
