"""Running out of memory becomes a sentence that says what to do; torch reports it in several ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from context_propagation.core.errors import UserInputError

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
        told = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(s in str(error) for s in SAID_BY_TORCH)
        if not told:
            raise
        raise UserInputError(
            f"{doing} needs more memory than there is, and nothing was changed; close other programs, choose a smaller "
            "decoder level or fewer folds, or give a smaller memory budget"
        ) from error
