"""Imports that take seconds, on a thread of their own, so that all others get on meanwhile."""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from context_propagation.core.triton_guard import keep_triton_out

LIBRARIES = (
    ("torch", "lib/libtorch_global_deps.so", "RTLD_GLOBAL"),  # as torch does it, and in its order
    ("torch", "lib/libtorch.so", "RTLD_LOCAL"),
    ("SimpleITK", "_SimpleITK*.so", "RTLD_LOCAL"),
)
"""Large ones: the package, where in it, and how the system loads it. None runs Python when it is loaded."""


WITH_FIRST_OPTIMISER = "torch._dynamo"
"""torch imports this, for two seconds, when the first optimiser is made: the first propagation would wait for it.
nnU-Net imports it as well."""


@contextmanager
def long_imports() -> Iterator[None]:
    """Import torch and what goes with it inside, on the worker's thread; nothing special once torch is there.

    Python's lock is held while the system loads a library, half a second for torch's, and while Python looks through
    all objects for garbage, a quarter of a second once torch's are among them. The thread that draws the application
    would stand still. So libraries are loaded first, by foreign calls, which let go of the lock; and what the imports
    made, which stays for good, is taken out of later searches.
    """
    keep_triton_out()
    if "torch" in sys.modules:
        yield
        return
    with no_garbage_search():
        load_libraries()
        yield
        importlib.import_module(WITH_FIRST_OPTIMISER)


@contextmanager
def no_garbage_search() -> Iterator[None]:
    """Import inside; what the imports made stays for good, and is taken out of later searches for garbage too."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collects:
            gc.enable()


def load_libraries() -> None:
    """Load `LIBRARIES` without Python's lock. Only for Linux: on Windows torch does so by itself.

    Where anything is missing, the import that follows says so.
    """
    if not sys.platform.startswith("linux"):
        return
    load = ctypes.CDLL(None).dlopen
    load.restype, load.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    for package, pattern, scope in LIBRARIES:
        spec = None if package in sys.modules else find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for file in Path(folder).glob(pattern):
                load(os.fsencode(file), os.RTLD_NOW | getattr(os, scope))
