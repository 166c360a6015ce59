"""The phantoms that the shipped bundle never saw."""

from __future__ import annotations

from context_propagation.core.phantom.phantom import PhantomSettings

FIRST_UNSEEN = 900
"""From here on, phantoms that neither the base model nor the fusion network was trained on."""


UNSEEN = PhantomSettings("nasopharynx", seed=0, number=901)
"""Of the twenty from `FIRST_UNSEEN` the one whose slices far from the redrawn worst one gain from the edit as the mean
does (`benchmarks/demo_case.py` lists them); six of them lose."""
