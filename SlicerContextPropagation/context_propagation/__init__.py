"""Propagate one redrawn slice to the whole volume through the features of a frozen 3D segmentation network.

What `__all__` names is imported on first use, so that importing the package stays light. All else may move.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from context_propagation.core.bundle.bundle import load_model
    from context_propagation.core.bundle.bundle_saving import save_bundle
    from context_propagation.core.bundle.loaded_model import LoadedModel
    from context_propagation.core.bundle.shipped_bundle import shipped_bundle
    from context_propagation.core.errors import Cancelled, UserInputError
    from context_propagation.core.image.slices import SliceEdit, find_edited_slices
    from context_propagation.core.image.source_volume import SourceVolume
    from context_propagation.core.model.free_network import from_network
    from context_propagation.core.model.network_model import Output
    from context_propagation.core.model.preprocessing import ChannelNormalisation, Preprocessing
    from context_propagation.core.propagation.update_settings import UpdateSettings
    from context_propagation.core.session.session import Session
    from context_propagation.core.session.session_settings import PropagationResult, SessionSettings

__version__ = "0.1.0"
__all__ = [
    "Cancelled",
    "ChannelNormalisation",
    "LoadedModel",
    "Output",
    "Preprocessing",
    "PropagationResult",
    "Session",
    "SessionSettings",
    "SliceEdit",
    "SourceVolume",
    "UpdateSettings",
    "UserInputError",
    "find_edited_slices",
    "from_network",
    "load_model",
    "save_bundle",
    "shipped_bundle",
]

_MODULES = {
    "Cancelled": "core.errors",
    "ChannelNormalisation": "core.model.preprocessing",
    "LoadedModel": "core.bundle.loaded_model",
    "Output": "core.model.network_model",
    "Preprocessing": "core.model.preprocessing",
    "PropagationResult": "core.session.session_settings",
    "Session": "core.session.session",
    "SessionSettings": "core.session.session_settings",
    "SliceEdit": "core.image.slices",
    "SourceVolume": "core.image.source_volume",
    "UpdateSettings": "core.propagation.activation_update",
    "UserInputError": "core.errors",
    "find_edited_slices": "core.image.slices",
    "from_network": "core.model.free_network",
    "load_model": "core.bundle.bundle",
    "save_bundle": "core.bundle.bundle_saving",
    "shipped_bundle": "core.bundle.shipped_bundle",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'context_propagation' has no attribute '{name}'")
    return getattr(import_module(f"context_propagation.{_MODULES[name]}"), name)
