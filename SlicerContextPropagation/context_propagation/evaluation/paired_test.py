"""The test that every comparison of two rows is given."""

from __future__ import annotations

import numpy as np

from context_propagation.core.optional_dependency import require


def wilcoxon_p(difference: np.ndarray) -> float:
    """Of the paired Wilcoxon test, two-sided, for the differences of all pairs; 1 where no pair differs."""
    if not difference.any():
        return 1.0
    return float(require("scipy.stats", extra="evaluation").wilcoxon(difference).pvalue)
