"""What the real Slicer and CTK classes offer to Python (slicer_api.json), and stand-in classes held to that."""

import functools
import inspect
import itertools
import json
import re
from pathlib import Path

from PySide6 import QtCore, QtGui, QtWidgets

from stand_in_qt import mirror
from stand_in_wrapped import Wrapped, normalized

DEFAULTS = {"bool": False, "int": 0, "double": 0.0, "QString": "", "QStringList": ()}
TYPES = {"bool": bool, "int": int, "double": (int, float), "QString": str, "QStringList": (list, tuple)}
_classes = {}  # stand-in classes by name


@functools.cache
def api():
    """Class name to header, bases, properties, signals, slots and invokable methods."""
    return json.loads(Path(__file__).with_name("slicer_api.json").read_text("utf-8"))["classes"]


@functools.cache
def decorated():
    """Class name to the methods that Slicer's PythonQt decorators add to it."""
    found = {}
    for decorators in (n for n in api() if n.endswith("PythonQtDecorators")):
        for slot in api()[decorators]["slots"]:
            static = re.match(r"static_([A-Za-z]+)_(\w+)\(", slot)
            kind, name = static.groups() if static else reversed(re.match(r"(\w+)\((\w+)\*", slot).groups())
            found.setdefault(kind, set()).add(name)
    return found


def is_described(name):
    return name in api()


def method_names(name):
    described = (s.partition("(")[0] for s in [*api()[name]["slots"], *api()[name]["invokable"]])
    return set(described) | decorated().get(name, set())


class StoredProperty:
    """A property of a Slicer or CTK class that only keeps its value."""

    def __init__(self, name, kind, writable):
        self.name, self.kind, self.writable = name, kind, writable

    def __get__(self, instance, owner):
        return self if instance is None else vars(instance._own).get(self.name, DEFAULTS.get(self.kind))

    def __set__(self, instance, value):
        where = f"{instance.className()}.{self.name}"
        if not self.writable:
            raise AttributeError(f"{where} is a read-only property")
        if self.kind in TYPES and not isinstance(value, TYPES[self.kind]):
            raise TypeError(f"{where} is a {self.kind}, not {value!r}")
        setattr(instance._own, self.name, value)


def implements(cls):
    """Hold a stand-in class to the real one of the same name: its properties, signals and methods, and no others."""
    name, described = cls.__name__, api()[cls.__name__]
    if name in _classes:
        raise RuntimeError(f"{name} was made before its stand-in was imported; import that first")
    for base in described["inherits"]:
        if is_described(base) and base not in [c.__name__ for c in cls.__mro__]:
            raise TypeError(f"the real {name} is a {base}; its stand-in is not")
    standing = [c for c in cls.__mro__[1:] if getattr(c, "is_stand_in", False)]
    described_bases = [c.__name__ for c in standing if is_described(c.__name__)]
    known = set().union(*(_names(n) for n in [name, *described_bases]))
    for member, value in _own_members(cls):
        public = inspect.isroutine(value) or hasattr(type(value), "__set__")
        if public and member not in known and not any(hasattr(base, member) for base in standing):
            raise TypeError(f"the real {name} has no {member}")
    for member, about in described.get("properties", {}).items():
        if member not in dict(_own_members(cls)):
            setattr(cls, member, StoredProperty(member, about["type"], about["writable"]))
    for member in method_names(name):
        if inspect.getattr_static(cls, member, None) is None:
            setattr(cls, member, _not_done(name, member))
    cls._stands_for = name
    cls._api_signals = tuple(normalized(s) for s in described["signals"])
    _classes[name] = cls
    return cls


def _names(name):
    return method_names(name) | set(api()[name].get("properties", {}))


def _own_members(cls):
    """What a class and its mixins define by themselves."""
    own = itertools.takewhile(lambda c: c is cls or not getattr(c, "is_stand_in", False), cls.__mro__)
    return [(n, v) for c in reversed(list(own)) for n, v in vars(c).items() if not n.startswith("_")]


def _not_done(name, method):
    def call(self, *args):
        raise NotImplementedError(f"the real {name} has {method}(); its stand-in does not do it yet")

    return call


def api_class(name):
    """The stand-in class for a Slicer or CTK class: one written here, or one that only keeps its properties.

    Raises:
        LookupError: The class is not in slicer_api.json.
    """
    if name in _classes:
        return _classes[name]
    if not is_described(name):
        raise LookupError(f"{name} is not in Testing/gui/slicer_api.json; add it from Slicer's headers")
    bases = [api_class(b) if is_described(b) else _qt_base(b) for b in api()[name]["inherits"]]
    bases = [b for b in bases if b is not None] or [mirror(QtCore.QObject)]
    concrete = [b for b in bases if not any(b is not other and issubclass(other, b) for other in bases)]
    qt_class = concrete[0]._qt_class
    qt_class = {QtWidgets.QAbstractButton: QtWidgets.QPushButton}.get(qt_class, qt_class)
    return implements(type(Wrapped)(name, tuple(concrete), {"_qt_class": qt_class}))


def _qt_base(name):
    found = next((vars(m)[name] for m in (QtCore, QtGui, QtWidgets) if name in vars(m)), None)
    return None if found is None else mirror(found)
