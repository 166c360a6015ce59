"""The `qt` module as PythonQt shows it, on real Qt (PySide6).

Each Qt class is mirrored by a class whose objects hold a PySide6 object, and which has the names that the running
application shows (stand_in_names.py): properties are attributes, methods are methods, enums' values are on the class.
"""

import ctypes
import enum
import functools
import sys
import types
import weakref

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

from stand_in_enums import EnumClass, EnumValue
from stand_in_members import (
    Hidden,
    NotDone,
    QtProperty,
    QtStatic,
    Signal,
    is_property,
    method_not_done,
    qt_function,
    qt_member,
)
from stand_in_names import Kind, is_listed, kinds, listed
from stand_in_wrapped import ClassMirror, Wrapped, declared, unwrap, wrap

UNUSABLE = {"QThread": "qt.QThread cannot be used from Python in Slicer; keep a Python thread and a QTimer"}
if sys.version_info < (
    3,
    12,
):  # PySide6 6.12 gives back references to True, False and None that it never took: without a
    for _constant in (True, False, None):  # stock of them, Python ends with "bool_dealloc", "none_dealloc"
        ctypes.c_ssize_t.from_address(id(_constant)).value += 1 << 40

NOT_MIRRORED = ("connect", "disconnect", "className", "delete")  # done by `Wrapped`
SECONDS_TO_ANSWER = 10
_mirrors = {}
_timers = weakref.WeakSet()


def live_timers():
    """The timers that were made through `qt` and still exist."""
    return [t for t in _timers if shiboken6.isValid(t)]


def _property(self, name):
    return getattr(self, name) if is_property(declared(type(self), name)) else wrap(self._qt.property(name))


def _set_property(self, name, value):
    """Set a property; one that the class has not is added to the object, as in Qt."""
    if is_property(declared(type(self), name)):
        setattr(self, name, value)
        return True
    return self._qt.setProperty(name, unwrap(value))


def _remember_timer(self, *args):
    Wrapped.__init__(self, *args)
    _timers.add(self._qt)


def _exec(self):
    """Wait for an answer, which a timer of the test must give."""
    unanswered, timer = [], QtCore.QTimer(singleShot=True, interval=SECONDS_TO_ANSWER * 1000)
    close = self._qt.reject if isinstance(self._qt, QtWidgets.QDialog) else self._qt.quit
    timer.timeout.connect(lambda: (unanswered.append(self), close()))
    timer.start()
    result = self._qt.exec()
    if unanswered:
        raise AssertionError(f"{type(self).__name__} waited {SECONDS_TO_ANSWER} s for a user; answer it in the test")
    return result


def mirror(real):
    """The class in PythonQt's manners for a class of PySide6: with the names that the running application shows.

    One that the list has not is there only for others to be derived from it.
    """
    real = next(c for c in real.__mro__ if c.__module__.startswith("PySide6"))
    if real not in _mirrors:
        bases = tuple(mirror(b) for b in real.__bases__ if b.__module__.startswith("PySide6")) or (Wrapped,)
        members = {"_qt_class": real, "_stands_for": real.__name__, **_signatures(real), **_special(real)}
        if is_listed(real.__name__):
            members["_kinds"] = kinds(real.__name__)
            members = _members(real, bases, members["_kinds"]) | members
        _mirrors[real] = ClassMirror(real.__name__, bases, members)
    return _mirrors[real]


@functools.cache
def shown_class(real):
    """The class of an object that Qt gives; one that the list has not shows what its nearest listed base has."""
    return _shown(mirror(real))


@functools.cache
def _shown(mirrored):
    if is_listed(mirrored._stands_for):
        return mirrored
    names = {n: Hidden(n) for n in reached(mirrored) if n not in mirrored._kinds}
    return ClassMirror(mirrored.__name__, (mirrored,), {"_stands_for": mirrored._stands_for, **names})


def reached(*classes):
    """All public names that classes and their bases have."""
    return {n for c in classes for base in c.__mro__ if base is not object for n in vars(base) if n[0] != "_"}


def _signatures(real):
    if not issubclass(real, QtCore.QObject):
        return {}
    meta = real.staticMetaObject
    methods = [meta.method(i) for i in range(meta.methodCount())]
    found = {bytes(m.methodSignature().data()).decode(): m.methodType() for m in methods}
    signals = {s for s, kind in found.items() if kind == QtCore.QMetaMethod.MethodType.Signal}
    return {"_qt_signals": signals, "_qt_methods": set(found)}


def _members(real, bases, of_kind):
    """A descriptor for each name that the list has and no base, and one that hides what the list has not."""
    members = {name: Hidden(name) for name in reached(*bases) if name not in of_kind}
    for name, kind in of_kind.items():
        inherited = next((f for b in bases if (f := declared(b, name)) is not None), None)
        if name not in NOT_MIRRORED and not _is_of(kind, inherited):
            members[name] = member(real, name, kind)
    return members


def _is_of(kind, member):
    if kind in (Kind.PROPERTY, Kind.READ_ONLY):
        return isinstance(member, QtProperty) and (kind is Kind.PROPERTY or not member.writable)
    classes = {Kind.SLOT: (types.FunctionType, QtStatic), Kind.SIGNAL: Signal}
    return isinstance(member, classes.get(kind, (EnumValue, EnumClass)))


def member(real, name, kind):
    """A name of a kind, on a class of PySide6."""
    if kind in (Kind.PROPERTY, Kind.READ_ONLY):
        found = qt_member(real, "objectName" if name == "name" else name)
        if not isinstance(found, QtProperty):
            return NotDone(real.__name__, name)
        found.writable = found.writable and kind is Kind.PROPERTY
        return found
    if kind is Kind.SIGNAL:
        return Signal(name)
    if kind is Kind.SLOT:
        found = None if name == "exec" else qt_function(real, name)  # `exec` waits: only where someone may answer
        return found or method_not_done(real.__name__, name)
    found = getattr(real, name, None)
    if kind is Kind.NESTED_CLASS and isinstance(found, type) and issubclass(found, enum.Enum):
        return EnumClass(found)
    return EnumValue(found) if isinstance(found, enum.Enum) else NotDone(real.__name__, name)


def _special(real):
    if real in (QtWidgets.QDialog, QtCore.QEventLoop):
        return {"exec": _exec}
    if real is QtCore.QObject:
        return {"property": _property, "setProperty": _set_property}
    return {"__init__": _remember_timer} if real is QtCore.QTimer else {}


class QtModule(types.ModuleType):
    """`import qt`: all of Qt's classes in one namespace."""

    def __getattr__(self, name):
        if name in UNUSABLE:
            raise AttributeError(UNUSABLE[name])
        if f"qt.{name}" not in listed():
            raise AttributeError(f"module 'qt' has no attribute {name!r}: it is not in pythonqt_names.json")
        found = next((f for m in (QtCore, QtGui, QtWidgets) if (f := getattr(m, name, None)) is not None), None)
        if found is None:
            raise NotImplementedError(f"the real qt has {name}; its stand-in does not do it yet")
        return mirror(found)
