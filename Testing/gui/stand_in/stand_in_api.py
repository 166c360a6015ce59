"""What the real Slicer and CTK classes offer to Python (slicer_api.json), and stand-in classes held to that."""

import functools
import itertools
import json
import re
from pathlib import Path

from PySide6 import QtCore, QtGui, QtWidgets

from stand_in_members import Hidden, NotDone, is_property, method_not_done, qt_member, refused, require_writable
from stand_in_names import Kind, entry, is_listed, kinds
from stand_in_qt import member as qt_member_of_kind
from stand_in_qt import mirror, reached
from stand_in_wrapped import Wrapped, declared, normalized

DEFAULTS = {"bool": False, "int": 0, "double": 0.0, "QString": "", "QStringList": ()}
TYPES = {"bool": bool, "int": int, "double": (int, float), "QString": str, "QStringList": (list, tuple)}
ADDED_BY_PYTHONQT = ("className", "delete", "help", "inherits", "name")
ONE_LIST_ONLY = {  # what the code under test meets although one of the lists has not got it: what it does without
    "qSlicerScriptedLoadableModuleWidget": "the panel's parent; without `isEntered` it is taken as hidden",
}
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


def is_visible(name):
    """Whether the code under test finds a Slicer or CTK class: both lists must have it."""
    return is_described(name) and entry(name) is not None


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
        require_writable(self, instance)
        if self.kind in TYPES and not isinstance(value, TYPES[self.kind]):
            raise refused(self.name, value, self.kind)
        setattr(instance._own, self.name, value)


def lineage(name):
    """A class and its bases, as far as they are Slicer's or CTK's."""
    return [name, *(c for base in api()[name]["inherits"] if is_described(base) for c in lineage(base))]


def described(name):
    """The names of a class in its headers and its bases', with their kinds."""
    found = {}
    for one in reversed(lineage(name)):
        found |= dict.fromkeys(method_names(one), Kind.SLOT)
        found |= dict.fromkeys((s.partition("(")[0] for s in api()[one]["signals"]), Kind.SIGNAL)
        properties = api()[one].get("properties", {}).items()
        found |= {p: Kind.PROPERTY if about["writable"] else Kind.READ_ONLY for p, about in properties}
    return found


def usable(name, qt_class):
    """The names that may be used on a Slicer or CTK class, with their kinds: those that both lists have.

    The headers' list has neither Qt's names nor enums. A class that the running application's list has not is there for
    others to be derived from it, or is one of ONE_LIST_ONLY.
    """
    in_headers, of_qt = described(name), mirror(qt_class)._kinds
    if not is_listed(name):
        return of_qt | in_headers
    found = {}
    for one, kind in kinds(name).items():
        is_of_qt = one in of_qt or hasattr(qt_class, one) or qt_member(qt_class, one) is not None
        if one in in_headers or is_of_qt or one in ADDED_BY_PYTHONQT:
            found[one] = kind or in_headers.get(one) or of_qt.get(one)
        elif kind in (Kind.ENUM_VALUE, Kind.NESTED_CLASS):
            found[one] = kind
    return found


def implements(cls):
    """Hold a stand-in class to the real one of the same name: its properties, signals and methods, and no others."""
    name = cls.__name__
    if name in _classes:
        raise RuntimeError(f"{name} was made before its stand-in was imported; import that first")
    for base in api()[name]["inherits"]:
        if is_described(base) and base not in [c.__name__ for c in cls.__mro__]:
            raise TypeError(f"the real {name} is a {base}; its stand-in is not")
    qt_class = next(c for c in cls._qt_class.__mro__ if c.__module__.startswith("PySide6"))
    of_kind, own = usable(name, qt_class), dict(_own_members(cls))
    for member, value in own.items():
        _check(name, member, value, of_kind)
    for member in reached(cls) - set(of_kind):
        setattr(cls, member, Hidden(member))
    for member, kind in of_kind.items():
        said_anew = member in api()[name].get("properties", {})
        if member not in own and (said_anew or not _stands(cls, member, kind)):
            setattr(cls, member, _stored(name, member, kind) or qt_member_of_kind(qt_class, member, kind))
    cls._kinds, cls._stands_for = of_kind, name
    cls._api_signals = tuple(normalized(s) for s in api()[name]["signals"])
    _classes[name] = cls
    return cls


def _check(name, member, value, of_kind):
    """Whether a member of a stand-in's is of the kind that the real one has."""
    if member not in of_kind:
        raise TypeError(f"the real {name} has no {member}")
    kind = of_kind[member]
    fits = {Kind.SLOT: not is_property(value), Kind.PROPERTY: is_property(value), Kind.READ_ONLY: is_property(value)}
    if not fits.get(kind, True):
        raise TypeError(f"{member} of the real {name} is a {kind.value}")


def _stands(cls, member, kind):
    """Whether a base of a stand-in's has a member that will do."""
    found = declared(cls, member)
    if kind in (Kind.PROPERTY, Kind.READ_ONLY):
        too_free = kind is Kind.READ_ONLY and getattr(found, "writable", False)
        return is_property(found) and not too_free and not isinstance(found, NotDone)
    return found is not None and not isinstance(found, Hidden)


def _stored(name, member, kind):
    """What stands for a member that only headers describe; `None` for one of Qt's."""
    for one in lineage(name):
        about = api()[one].get("properties", {}).get(member)
        if about is not None:
            return StoredProperty(member, about["type"], about["writable"] and kind is Kind.PROPERTY)
        if kind is Kind.SLOT and member in method_names(one):
            return method_not_done(name, member)
    return None


def _own_members(cls):
    """What a class and its mixins define by themselves."""
    own = itertools.takewhile(lambda c: c is cls or not getattr(c, "is_stand_in", False), cls.__mro__)
    return [(n, v) for c in reversed(list(own)) for n, v in vars(c).items() if not n.startswith("_")]


def api_class(name):
    """The stand-in class for a Slicer or CTK class: one written here, or one that only keeps its properties.

    It is for the stand-ins themselves: what the code under test finds is `is_visible`.

    Raises:
        LookupError: The class is not in slicer_api.json.
    """
    if name in _classes:
        return _classes[name]
    if not is_described(name):
        raise LookupError(f"{name} is not in Testing/gui/stand_in/slicer_api.json; add it from Slicer's headers")
    bases = [api_class(b) if is_described(b) else _qt_base(b) for b in api()[name]["inherits"]]
    bases = [b for b in bases if b is not None] or [mirror(QtCore.QObject)]
    concrete = [b for b in bases if not any(b is not other and issubclass(other, b) for other in bases)]
    qt_class = concrete[0]._qt_class
    qt_class = {QtWidgets.QAbstractButton: QtWidgets.QPushButton}.get(qt_class, qt_class)
    return implements(type(Wrapped)(name, tuple(concrete), {"_qt_class": qt_class}))


def _qt_base(name):
    name = {"QVTKOpenGLNativeWidget": "QWidget"}.get(name, name)  # VTK's
    found = next((f for m in (QtCore, QtGui, QtWidgets) if (f := getattr(m, name, None)) is not None), None)
    return None if found is None else mirror(found)
