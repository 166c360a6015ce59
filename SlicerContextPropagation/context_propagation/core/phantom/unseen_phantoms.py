"""The phantoms that the shipped bundle never saw."""

from __future__ import annotations

from context_propagation.core.phantom.phantom import PhantomSettings

FIRST_UNSEEN = 900
"""From here on, phantoms that neither the base model nor the fusion network was trained on."""


UNSEEN = PhantomSettings("nasopharynx", seed=0, number=905)
"""Of the twelve from `FIRST_UNSEEN` the one whose gain from one redrawn worst slice is the median, the upper of the two
(`benchmarks/slice_suggestion.py` lists them); one of them loses."""
