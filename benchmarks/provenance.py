"""What a figure was measured with: printed by every benchmark."""

from __future__ import annotations

import os
import platform
import subprocess

import torch

from context_propagation.cli.report import installed_versions
from hippocampus_cases import REPOSITORY


def provenance(seed: int, cases: int) -> str:
    """Seed, sizes, hardware, commit and versions, one line each."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    ).stdout.strip()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    versions = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    return (
        f"seed {seed}; {cases} cases\n"
        f"{platform.machine()}, {os.cpu_count()} CPU cores, {torch.get_num_threads()} torch threads, {gpu}\n"
        f"commit {commit or 'unknown'}\n{versions}"
    )
