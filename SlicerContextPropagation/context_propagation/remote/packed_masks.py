"""Masks on their way to a server, each packed once."""

from __future__ import annotations

from typing import Any

import numpy as np

from context_propagation.core.image.boxed_mask import BoxedMask


class PackedMasks:
    """The packed form of the last masks that were asked for.

    A session never writes into its masks: another content is another object. To look through a large one for its box
    takes longer than to send it.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[np.ndarray, dict[str, Any]]] = {}

    def of(self, what: str, mask: np.ndarray) -> dict[str, Any]:
        """A mask, bool `[K, J, I]`, as JSON; `what` it is names its place."""
        known = self._known.get(what)
        if known is None or known[0] is not mask:
            self.remember(what, mask, BoxedMask.of(mask).plain())
        return self._known[what][1]

    def remember(self, what: str, mask: np.ndarray, plain: dict[str, Any]) -> None:
        """One whose packed form is at hand."""
        self._known[what] = mask, plain
