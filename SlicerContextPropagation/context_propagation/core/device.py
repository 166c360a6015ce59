"""Where a model computes."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


UNKNOWN_MEMORY_BYTES = 4 * 2**30


USABLE_SHARE = 0.8


def select_device(name: str) -> torch.device:
    """Resolve "auto", "cpu" or "cuda".

    Raises:
        UserInputError: Unknown name, or "cuda" without a CUDA device.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserInputError("Device 'cuda' was asked for and no CUDA device is available; use cpu or auto")
    if name not in ("cpu", "cuda"):
        raise UserInputError(f"Unknown device '{name}'; choose auto, cpu or cuda")
    return torch.device(name)


def available_bytes(device: torch.device | None = None) -> int:
    """Memory that may be used on a device, or the main memory: four fifths of what is free."""
    import torch

    if device is not None and device.type == "cuda":
        return int(USABLE_SHARE * torch.cuda.mem_get_info(device)[0])
    try:
        return int(USABLE_SHARE * require("psutil", extra="cli").virtual_memory().available)
    except UserInputError:
        logger.warning("psutil is not installed: free memory is unknown, 4 GiB are assumed")
        return UNKNOWN_MEMORY_BYTES


def refuse_without_memory(needed_bytes: int, doing: str, remedy: str) -> None:
    """Ask before main memory is taken.

    Args:
        needed_bytes: What will be allocated.
        doing: Begins the message.
        remedy: What the user should do.

    Raises:
        UserInputError: There is less.
    """
    usable = available_bytes()
    if needed_bytes > usable:
        raise UserInputError(
            f"{doing} needs {needed_bytes / 2**20:.0f} MiB and {usable / 2**20:.0f} MiB may be used; {remedy}"
        )


def free_device_memory() -> None:
    """Give back what torch keeps of the GPU; nothing without one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


SAID_BY_TORCH = ("can't allocate memory", "not enough memory", "out of memory")
"""Parts of the messages of plain RuntimeErrors, by which torch reports it on a CPU."""


@contextmanager
def out_of_memory_reported(doing: str) -> Iterator[None]:
    """Use it as a decorator or in a `with`.

    Args:
        doing: What runs inside, for the message: "Propagating the edit".

    Raises:
        UserInputError: Memory did not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        torch = sys.modules.get("torch")
        kinds = (MemoryError,) if torch is None else (MemoryError, torch.OutOfMemoryError)
        if not isinstance(error, kinds) and not any(words in str(error) for words in SAID_BY_TORCH):
            raise
        raise UserInputError(
            f"{doing} needs more memory than there is, and nothing was changed; close other programs, or use a "
            "computer with more memory"
        ) from error
