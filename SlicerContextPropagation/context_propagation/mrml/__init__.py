"""The engine on nodes of an MRML scene; the scene is passed in. `ContextPropagationLogic` is the way in.

What `__all__` names is imported on first use, because it needs Slicer's libraries. All else may move.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
    from context_propagation.mrml.nodes.scenes import new_scene
    from context_propagation.mrml.nodes.segments import segment_mask
    from context_propagation.mrml.phantom_scene import add_phantom

__all__ = ["ContextPropagationLogic", "add_phantom", "new_scene", "segment_mask"]

_MODULES = {
    "ContextPropagationLogic": "context_propagation_logic",
    "add_phantom": "phantom_scene",
    "new_scene": "nodes.scenes",
    "segment_mask": "nodes.segments",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'context_propagation.mrml' has no attribute '{name}'")
    return getattr(import_module(f"context_propagation.mrml.{_MODULES[name]}"), name)
