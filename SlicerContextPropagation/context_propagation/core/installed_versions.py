"""Versions of what decides a result."""

from __future__ import annotations

import platform

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
    "itk",
    "batchgeneratorsv2",
)


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the result; one that is missing is left out."""
    from importlib.metadata import PackageNotFoundError, version  # itself a long import

    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
