"""Where a model computes."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from context_propagation.core.errors import NotEnoughMemory, UserInputError
from context_propagation.core.optional_dependency import require

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


UNKNOWN_MEMORY_BYTES = 4 * 2**30


USABLE_SHARE = 0.8


DEVICES = ("auto", "cpu", "cuda", "mps")
"""What may be asked for; "mps" is the GPU of an Apple computer."""


def select_device(name: str) -> torch.device:
    """Resolve the name of a device; "auto" is the GPU where there is one that can compute a network.

    Raises:
        UserInputError: Unknown name, or a GPU that is not there.
    """
    import torch

    if name not in DEVICES:
        raise UserInputError(f"Unknown device '{name}'; choose {', '.join(DEVICES[:-1])} or {DEVICES[-1]}")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(name, True):
        raise UserInputError(f"Device '{name}' was asked for and this computer has none; use cpu or auto")
    if name == "auto":
        name = next((gpu for gpu, found in there.items() if found), "cpu")
    device = torch.device(name)
    if name == "mps" and (missing := _missing_on(device)) is not None:
        logger.warning("This computer's Apple GPU cannot compute such networks (%s); the CPU is used instead", missing)
        return torch.device("cpu")
    return device


def _missing_on(device: torch.device) -> str | None:
    """Why a device cannot compute a 3D network and its gradient, in torch's words; None where it can."""
    import torch
    import torch.nn.functional as F

    try:
        x = torch.ones((1, 2, 4, 4, 4), device=device, requires_grad=True)
        weight = torch.ones((2, 2, 2, 2, 2), device=device)
        small = F.instance_norm(F.conv3d(x, weight, stride=2))
        large = F.interpolate(F.conv_transpose3d(small, weight, stride=2), scale_factor=2, mode="trilinear")
        large.sum().backward()  # type: ignore[no-untyped-call]
    except (NotImplementedError, RuntimeError) as error:
        return str(error).partition("\n")[0]
    return None


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
        raise NotEnoughMemory(
            f"{doing} needs {needed_bytes / 2**20:.0f} MiB and {usable / 2**20:.0f} MiB may be used; {remedy}"
        )


def free_device_memory() -> None:
    """Give back what torch keeps of the GPU; nothing without one."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    for gpu, there in ((torch.cuda, torch.cuda.is_available()), (torch.mps, torch.backends.mps.is_available())):
        if there:
            gc.collect()
            gpu.empty_cache()


SAID_BY_TORCH = ("can't allocate memory", "not enough memory", "out of memory")
"""Parts of the messages of plain RuntimeErrors, by which torch reports it on a CPU."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory did not suffice, on the computer or its GPU."""
    torch = sys.modules.get("torch")
    kinds = (MemoryError,) if torch is None else (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or any(words in str(error) for words in SAID_BY_TORCH)


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
        if not is_out_of_memory(error):
            raise
        raise NotEnoughMemory(
            f"{doing} needs more memory than there is, and nothing was changed; close other programs, or use a "
            "computer with more memory"
        ) from error
