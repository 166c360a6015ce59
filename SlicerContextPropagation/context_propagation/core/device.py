"""Where a model computes."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from context_propagation.core.errors import UserInputError

if TYPE_CHECKING:
    import torch


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
