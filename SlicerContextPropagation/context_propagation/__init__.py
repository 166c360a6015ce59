"""Propagate one redrawn slice to the whole volume through the features of a frozen 3D segmentation network.

What `__all__` names is imported on first use, so that importing the package stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from context_propagation.core.bundle import load_model
    from context_propagation.core.edited_slices import SliceEdit
    from context_propagation.core.free_network import network_model
    from context_propagation.core.model_kinds import load_base_model
    from context_propagation.core.network_model import NetworkModel, Output
    from context_propagation.core.nnunet_model import NnunetModel
    from context_propagation.core.preprocessing import ChannelNormalisation, Preprocessing
    from context_propagation.core.session import Session, SessionSettings
    from context_propagation.core.session_file import restore_session, save_session
    from context_propagation.core.source_volume import SourceVolume

__version__ = "0.1.0"
__all__ = [
    "ChannelNormalisation",
    "NetworkModel",
    "NnunetModel",
    "Output",
    "Preprocessing",
    "Session",
    "SessionSettings",
    "SliceEdit",
    "SourceVolume",
    "load_base_model",
    "load_model",
    "network_model",
    "restore_session",
    "save_session",
]

_MODULES = {
    "ChannelNormalisation": "preprocessing",
    "NetworkModel": "network_model",
    "NnunetModel": "nnunet_model",
    "Output": "network_model",
    "Preprocessing": "preprocessing",
    "Session": "session",
    "SessionSettings": "session",
    "SliceEdit": "edited_slices",
    "SourceVolume": "source_volume",
    "load_base_model": "model_kinds",
    "load_model": "bundle",
    "network_model": "free_network",
    "restore_session": "session_file",
    "save_session": "session_file",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'context_propagation' has no attribute '{name}'")
    return getattr(import_module(f"context_propagation.core.{_MODULES[name]}"), name)
