"""Keeps Triton out of a process that it would end."""

from __future__ import annotations

import sys
from pathlib import Path

MAPPED = Path("/proc/self/maps")
"""Linux: the libraries that a process has loaded."""


def keep_triton_out(mapped: Path = MAPPED) -> None:
    """Let `import triton` fail where Mesa's LLVM is loaded, as it is by software rendering and some graphics drivers.

    torch for NVIDIA brings Triton, and imports it with much of its own. Its LLVM and Mesa's do not live in one process:
    Slicer ended without a word (Triton 3.8, LLVM 15). Triton compiles networks, which nobody does here, and torch goes
    on without it.

    Args:
        mapped: The file that lists the libraries.
    """
    if not sys.platform.startswith("linux") or "triton" in sys.modules or not mapped.is_file():
        return
    if "/libLLVM" in mapped.read_text("utf-8", errors="replace"):
        sys.modules["triton"] = None  # type: ignore[assignment]  # Python's own way to say that there is none
