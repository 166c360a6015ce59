"""Torch's libraries, loaded without Python's lock."""

from __future__ import annotations

import ctypes
import os
import sys
from importlib.util import find_spec
from pathlib import Path

LIBRARIES = (("libtorch_global_deps.so", os.RTLD_GLOBAL), ("libtorch.so", os.RTLD_LOCAL)) if os.name == "posix" else ()
"""What `import torch` loads first, in its order, and how it does; nothing in them calls Python."""


def load_torch_library() -> None:
    """Load what takes longest of `import torch`, which then finds it loaded; call it on the thread that imports.

    An import holds Python's lock while the system loads a library: half a second in which no other thread, such as the
    one that draws the application, gets on. A foreign function's call does not. Only Linux needs it: on Windows torch
    does the same by itself. Where anything is missing, the import itself says so.
    """
    if "torch" in sys.modules or not sys.platform.startswith("linux"):
        return
    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return
    folder = Path(spec.submodule_search_locations[0]) / "lib"
    load = ctypes.CDLL(None).dlopen
    load.restype, load.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    for name, scope in LIBRARIES:
        if (folder / name).is_file():
            load(os.fsencode(folder / name), os.RTLD_NOW | scope)
