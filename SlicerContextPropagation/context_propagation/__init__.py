"""Propagate one redrawn slice to the whole volume through the features of a frozen 3D segmentation network.

What `__all__` names is imported on first use, so that importing the package stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from context_propagation.core.bundle.bundle import load_model
    from context_propagation.core.image.slices import SliceEdit
    from context_propagation.core.image.source_volume import SourceVolume
    from context_propagation.core.model.free_network import network_model
    from context_propagation.core.model.model_kinds import load_base_model
    from context_propagation.core.model.network_model import NetworkModel, Output
    from context_propagation.core.model.nnunet_model import NnunetModel
    from context_propagation.core.model.preprocessing import ChannelNormalisation, Preprocessing
    from context_propagation.core.session.session import Session
    from context_propagation.core.session.session_file import restore_session, save_session
    from context_propagation.core.session.session_settings import SessionSettings

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
    "ChannelNormalisation": "core.model.preprocessing",
    "NetworkModel": "core.model.network_model",
    "NnunetModel": "core.model.nnunet_model",
    "Output": "core.model.network_model",
    "Preprocessing": "core.model.preprocessing",
    "Session": "core.session.session",
    "SessionSettings": "core.session.session_settings",
    "SliceEdit": "core.image.slices",
    "SourceVolume": "core.image.source_volume",
    "load_base_model": "core.model.model_kinds",
    "load_model": "core.bundle.bundle",
    "network_model": "core.model.free_network",
    "restore_session": "core.session.session_file",
    "save_session": "core.session.session_file",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'context_propagation' has no attribute '{name}'")
    return getattr(import_module(f"context_propagation.{_MODULES[name]}"), name)
