"""Slots as PythonQt calls them: with no more arguments than they take. No exception in one is lost."""

import traceback
import types

failures = []  # exceptions raised in slots; PythonQt prints them and goes on, a test must fail


def argument_count(function):
    """How many positional arguments PythonQt passes at most; `None` for all of them. Defaults count too."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & 0x04:  # no Python function, or *args
        return None
    return code.co_argcount - isinstance(function, types.MethodType)


def as_slot(function, signal_arguments=None):
    """A callable for Qt around a Python function; Qt may pass arguments that neither signature nor function has."""
    counts = [c for c in (argument_count(function), signal_arguments) if c is not None]
    count = min(counts) if counts else None

    def call(*args):
        try:
            return function(*args[:count])
        except BaseException as error:
            traceback.print_exc()
            failures.append(error)

    return call


def raise_failures():
    """Raise the first exception that a slot raised since the last call."""
    if failures:
        first = failures[0]
        failures.clear()
        raise first
