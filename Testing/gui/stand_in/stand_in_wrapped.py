"""Qt objects in PythonQt's manners: what an object of the `qt` module is, and how values pass to and from PySide6.

A name that is a property is an attribute, signals are connected by their signature, and what the running application
does not show is refused, in the words of PythonQt's PythonQtInstanceWrapper.cpp.
"""

import enum
import inspect
import threading
import types

import shiboken6
from PySide6 import QtCore

from stand_in_enums import EnumClass, EnumValue
from stand_in_names import Kind
from stand_in_slots import as_slot

REACHED = (Kind.SIGNAL, None)  # as a signal; or its kind is not known


def normalized(signature):
    return bytes(QtCore.QMetaObject.normalizedSignature(signature).data()).decode()


def declared(cls, name):
    """What a class or one of its bases has under a name, bound to nothing; `None` for nothing."""
    return next((vars(c)[name] for c in cls.__mro__ if name in vars(c)), None)


def unwrap(value):
    """What PySide6 takes for a value of ours."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("Qt is used outside the main thread; Slicer would crash")
    if isinstance(value, Wrapped):
        return value._qt
    if isinstance(value, (ClassMirror, EnumClass)):
        return value._qt_class
    if isinstance(value, EnumValue):
        return value._qt
    if isinstance(value, (list, tuple)):
        return type(value)(unwrap(v) for v in value)
    if inspect.isroutine(value) or isinstance(value, types.LambdaType):
        return as_slot(value)
    return value


def wrap(value):
    """What PythonQt shows for a value of PySide6's; the same object each time for the same Qt object."""
    if isinstance(value, shiboken6.Shiboken.Object):
        from stand_in_qt import shown_class  # the classes are made of what is here

        return getattr(value, "_stand_in", None) or shown_class(type(value))._around(value)
    if isinstance(value, enum.Enum):
        return EnumValue(value)
    if type(value) in (list, tuple):
        return type(value)(wrap(v) for v in value)
    return value


class ClassMirror(type):
    """The class of mirrored classes."""

    def __getattr__(cls, name):
        raise AttributeError(f"{cls.__name__} has no attribute named {name!r}")

    @property
    def stand_in(cls):
        """The nearest of our own classes."""
        return next(c for c in cls.__mro__ if c.is_stand_in)

    @property
    def is_stand_in(cls):
        """Whether this is one of our classes, not one that the code under test derived from it."""
        return "_stands_for" in vars(cls)


class Wrapped(metaclass=ClassMirror):
    """A Qt object in PythonQt's manners."""

    _qt_class = QtCore.QObject
    _qt_signals = _qt_methods = frozenset()  # signatures
    _stands_for = "QObject"
    _kinds = types.MappingProxyType({})  # what Python reaches on the real class

    def __init__(self, *args):
        self._hold(_instance_class(type(self))(*unwrap(args)))

    @classmethod
    def _around(cls, qt_object):
        self = cls.__new__(cls)
        self._hold(qt_object)
        return self

    def _hold(self, qt_object):
        self.__dict__.update(_qt=qt_object, _own=types.SimpleNamespace(), _connections=[])
        qt_object._stand_in = self

    def __getattr__(self, name):
        """Where nothing else is found: a property that was added to the object, or `exec_` for `exec`."""
        if name.startswith("__") or "_qt" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no attribute named {name!r}")
        if self._has_added(name):
            return wrap(self._qt.property(name))
        if name.endswith("_") and self._kinds.get(name[:-1]) is Kind.SLOT:
            return getattr(self, name[:-1])
        return getattr(type(self), name)

    def __setattr__(self, name, value):
        base, kind = type(self).stand_in, self._kinds.get(name)
        if hasattr(type(declared(type(self), name)), "__set__"):
            object.__setattr__(self, name, value)
        elif name in self._kinds:
            what = "Slot" if kind is None else kind.value
            raise AttributeError(f"{what} '{name}' can not be overwritten on {type(self).__name__} object")
        elif self._has_added(name):
            self._qt.setProperty(name, unwrap(value))
        elif type(self) is base:
            raise AttributeError(
                f"'{name}' does not exist on {type(self).__name__} and creating new attributes on C++ objects is not "
                "allowed"
            )
        else:
            self.__dict__[name] = value

    def _has_added(self, name):
        of_qt = isinstance(self._qt, QtCore.QObject) and shiboken6.isValid(self._qt)
        return of_qt and name.encode() in [bytes(n.data()) for n in self._qt.dynamicPropertyNames()]

    def __eq__(self, other):
        if isinstance(other, Wrapped) and not isinstance(self._qt, QtCore.QObject):
            return self._qt == other._qt
        return self is other

    def __hash__(self):
        return id(self)

    def __repr__(self):
        return f"{type(self).__name__} stand-in at {id(self):#x}"

    def _signals(self):
        """The signatures of all signals that the real class has."""
        of_slicer = {s for c in type(self).__mro__ for s in vars(c).get("_api_signals", ())}
        return {s for s in self._qt_signals | of_slicer if self._kinds.get(s.partition("(")[0], False) in REACHED}

    def connect(self, signal, function):
        signature = normalized(signal)
        if signature not in self._signals():
            raise ValueError(f"{type(self).__name__} has no signal {signal!r}; it has {sorted(self._signals())}")
        if not callable(function):
            raise TypeError(f"{function!r} cannot be connected to {signal!r}: not callable")
        arguments = signature.partition("(")[2].rstrip(")")
        slot = as_slot(function, arguments.count(",") + 1 if arguments else 0)
        connection = None
        if signature in self._qt_signals:
            target = f"2{signature}"  # what Qt's macro SIGNAL makes
            connection = QtCore.QObject.connect(self._qt, target, lambda *args: slot(*wrap(args)))
        self._connections.append((signature, function, slot, connection))
        return True

    def disconnect(self, signal, function=None):
        signature = normalized(signal)
        found = [c for c in self._connections if c[0] == signature and (function is None or c[1] == function)]
        if signature not in self._signals():
            raise ValueError(f"{type(self).__name__} has no signal {signal!r}")
        for entry in found:
            self._connections.remove(entry)
            if entry[3] is not None:
                QtCore.QObject.disconnect(entry[3])
        return bool(found)

    def _emit(self, signature, *args):
        """Emit a signal that only Slicer or CTK has."""
        if not any(signature in vars(c).get("_api_signals", ()) for c in type(self).__mro__):
            raise ValueError(f"{type(self).__name__} has no signal {signature!r}")
        for _, _, slot, _ in [c for c in self._connections if c[0] == signature]:
            if not self._qt.signalsBlocked():
                slot(*args)

    def className(self):
        return type(self).stand_in._stands_for

    def delete(self):
        shiboken6.delete(self._qt)


def _instance_class(cls):
    """The PySide6 class to instantiate: for a derived class, one that calls its overriding methods."""
    if cls.is_stand_in:
        return cls._qt_class
    if "_instances" not in vars(cls):
        derived = [c for c in cls.__mro__ if not getattr(c, "is_stand_in", True)]
        names = {n for c in derived for n, f in vars(c).items() if inspect.isfunction(f) and hasattr(cls._qt_class, n)}
        cls._instances = type(cls.__name__, (cls._qt_class,), {n: _forward(cls, n) for n in names if n[0] != "_"})
    return cls._instances


def _forward(cls, name):
    def call(qt_object, *args):
        stand_in = getattr(qt_object, "_stand_in", None)
        if stand_in is None:  # during construction
            return getattr(cls._qt_class, name)(qt_object, *args)
        return unwrap(getattr(stand_in, name)(*wrap(args)))

    return call
