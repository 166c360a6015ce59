"""What fusion networks compute of f alone, the same for every edit: kept with the image where there is memory for it.

At decoder level 1 of nnU-Net's networks it is a tenth of what an edit takes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch

from context_propagation.core.callbacks import CancelCheck
from context_propagation.core.device import available_bytes
from context_propagation.core.errors import Cancelled
from context_propagation.core.propagation.feature_cache import FeatureCache
from context_propagation.core.propagation.general_far import FarNetworks
from context_propagation.core.propagation.trained_fusion import Fusion
from context_propagation.core.session.session_settings import SessionSettings


@torch.no_grad()
def keep_of_f(
    cache: FeatureCache,
    settings: SessionSettings,
    fusion: FarNetworks | None,
    progress: Callable[[float], None],
    cancelled: CancelCheck,
) -> None:
    """Compute it for every window and fold; what does not fit into memory is left to the edits.

    Args:
        cache: What is cached.
        settings: Memory.
        fusion: The session's.
        progress: Called with the fraction done.
        cancelled: Asked before each fold of each window.

    Raises:
        Cancelled: The user cancelled.
    """
    folds = list(enumerate(fusion.networks)) if isinstance(fusion, Fusion) else []
    for number, (window, (fold, network)) in enumerate(places := list(product(cache.windows, folds))):
        if cancelled():
            raise Cancelled
        progress(number / len(places))
        f, given = window.features[fold].f, settings.memory_budget_bytes
        needed = f.element_size() * network.settings.hidden * f[0, 0].numel()
        usable = available_bytes(f.device) if given is None else given - cache.cached_bytes()
        if window.of_f(network, fold) is None and needed <= usable:
            made = network.of_f(f)
            if made is not None:
                window.kept.setdefault(network, {})[fold] = made


def forget_of_f(cache: FeatureCache) -> None:
    """Give its memory back, before more is cached."""
    for window in cache.windows:
        window.kept.clear()
