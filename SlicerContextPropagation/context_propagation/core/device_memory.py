"""Memory of a GPU given back; torch is not imported for it."""

from __future__ import annotations

import gc
import sys


def free_device_memory() -> None:
    """Give back what torch keeps of the GPU; nothing without one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
