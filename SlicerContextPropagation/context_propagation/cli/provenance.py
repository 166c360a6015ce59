"""What a figure was measured with: in every benchmark's and evaluation's output."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

from context_propagation.cli.report import installed_versions


def provenance() -> dict[str, str]:
    """Hardware, commit and versions."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return {
        "hardware": f"{platform.machine()}, {os.cpu_count()} CPU cores, {torch.get_num_threads()} torch threads, {gpu}",
        "commit": commit(),
        "versions": ", ".join(f"{name} {version}" for name, version in installed_versions().items()),
    }


def commit() -> str:
    """The commit that this code is at, with "-dirty" where files differ; "unknown" outside a git checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return "unknown"
    return described.stdout.strip() or "unknown"
