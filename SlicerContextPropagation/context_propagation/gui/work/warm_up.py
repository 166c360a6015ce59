"""Imports what panel and effect need in small steps after start-up, so that nobody waits when they are first opened."""

from __future__ import annotations

import importlib
import logging

import qt

PAUSE_MS = 50


STEPS = (
    "packaging.requirements",
    "context_propagation.core.image.slices",
    "context_propagation.core.model.model_listing",
    "context_propagation.mrml.nodes.segments",
    "context_propagation.mrml.session.session_node",
    "context_propagation.mrml.session.propagation_logic",
    "context_propagation.mrml.context_propagation_logic",
    "context_propagation.remote.connection",
    "context_propagation.gui.packages.download_size",
    "context_propagation.gui.packages.dependencies",
    "context_propagation.gui.module.package_section",
    "context_propagation.gui.module.input_section",
    "context_propagation.gui.module.panel",
    "context_propagation.gui.effect.effect_panel",
)
"""Each needs those before it, and a few hundredths of a second; none of them imports torch or SimpleITK."""


logger = logging.getLogger(__name__)


def warm_up(steps: tuple[str, ...] = STEPS) -> None:
    """Import the first, and the others one by one in later turns of the event loop."""
    if not steps:
        return
    try:
        importlib.import_module(steps[0])
    except ImportError:  # opening the panel says what is missing
        logger.debug("%s cannot be imported", steps[0], exc_info=True)
        return
    qt.QTimer.singleShot(PAUSE_MS, lambda: warm_up(steps[1:]))
