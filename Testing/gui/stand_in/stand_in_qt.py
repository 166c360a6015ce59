"""The `qt` module as PythonQt shows it, on real Qt (PySide6).

Each Qt class is mirrored by a class whose objects hold a PySide6 object. A name that is a Qt property is an attribute,
all other public methods are methods.
"""

import ctypes
import inspect
import sys
import types
import weakref

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

from stand_in_wrapped import ClassMirror, Wrapped, unwrap, wrap

UNUSABLE = {"QThread": "qt.QThread cannot be used from Python in Slicer; keep a Python thread and a QTimer"}
if sys.version_info < (3, 12):  # PySide6 6.12 gives back references to True and False that it never took: without a
    for _constant in (True, False):  # stock of them, Python ends with "bool_dealloc: deallocating True or False"
        ctypes.c_ssize_t.from_address(id(_constant)).value += 1 << 40

NOT_MIRRORED = ("connect", "disconnect", "emit", "exec", "exec_")  # done here, or only where someone may answer
SECONDS_TO_ANSWER = 10
_mirrors = {}
_timers = weakref.WeakSet()


def live_timers():
    """The timers that were made through `qt` and still exist."""
    return [t for t in _timers if shiboken6.isValid(t)]


class QtProperty:
    """A Qt property as an attribute. Python's typed getters and setters are used where Qt has them."""

    def __init__(self, name, writable, static):
        self.name, self.writable, self.static = name, writable, static

    def __get__(self, instance, owner):
        if instance is None:  # QTimer.singleShot is a property and a static function
            return self.static.__get__(None, owner) if isinstance(self.static, QtStatic) else self
        capital = self.name[0].upper() + self.name[1:]
        for getter in (f"is{capital}", self.name, f"has{capital}"):
            if inspect.isroutine(getattr(instance._qt, getter, None)):
                return wrap(getattr(instance._qt, getter)())
        return wrap(instance._qt.property(self.name))

    def __set__(self, instance, value):
        if not self.writable:
            raise AttributeError(f"{type(instance).__name__}.{self.name} is a read-only property")
        setter = getattr(instance._qt, f"set{self.name[0].upper()}{self.name[1:]}", None)
        if setter is not None:
            setter(unwrap(value))
        elif not instance._qt.setProperty(self.name, unwrap(value)):
            raise TypeError(f"{type(instance).__name__}.{self.name} cannot be {value!r}")


def _method(real, name):
    def call(self, *args):
        # A class derived by the code under test may call the base's version of what it overrides.
        function = getattr(self._qt, name) if type(self).is_stand_in else getattr(real, name).__get__(self._qt)
        return wrap(function(*unwrap(args)))

    call.__name__ = name
    return call


class QtStatic:
    """A static function, and the method of the same name that some classes have."""

    def __init__(self, real, name):
        self.real, self.name = real, name
        self.asks = issubclass(real, QtWidgets.QDialog) and (
            name.startswith(("get", "about")) or name in ("information", "question", "warning", "critical")
        )

    def __get__(self, instance, owner):
        def call(*args):
            if self.asks:
                raise AssertionError(f"qt.{owner.__name__}.{self.name} waits for a user: replace it in the test")
            holder = self.real if instance is None else instance._qt
            return wrap(getattr(holder, self.name)(*unwrap(args)))

        return call


def _property(self, name):
    declared = inspect.getattr_static(type(self), name, None)
    return getattr(self, name) if hasattr(type(declared), "__set__") else wrap(self._qt.property(name))


def _set_property(self, name, value):
    """Set a property; one that the class has not is added to the object, as in Qt."""
    if hasattr(type(inspect.getattr_static(type(self), name, None)), "__set__"):
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
    """The class in PythonQt's manners for a class of PySide6."""
    real = next(c for c in real.__mro__ if c.__module__.startswith("PySide6"))
    if real not in _mirrors:
        bases = tuple(mirror(b) for b in real.__bases__ if b.__module__.startswith("PySide6")) or (Wrapped,)
        names = {"_qt_class": real, "_stands_for": real.__name__}
        _mirrors[real] = ClassMirror(real.__name__, bases, names | _members(real, bases))
    return _mirrors[real]


def _members(real, bases):
    properties, members = {}, {}
    if issubclass(real, QtCore.QObject):
        meta = real.staticMetaObject
        own = (meta.property(i) for i in range(meta.propertyOffset(), meta.propertyCount()))
        properties = {p.name(): p.isWritable() for p in own}
        methods = [meta.method(i) for i in range(meta.methodCount())]
        signatures = {bytes(m.methodSignature().data()).decode(): m.methodType() for m in methods}
        signals = {s for s, kind in signatures.items() if kind == QtCore.QMetaMethod.MethodType.Signal}
        members = {"_qt_signals": signals, "_qt_methods": set(signatures)}
    for name, member in vars(real).items():
        inherited = any(isinstance(inspect.getattr_static(b, name, None), QtProperty) for b in bases)
        if name.startswith("_") or name in NOT_MIRRORED or inherited or isinstance(member, QtCore.Signal):
            continue
        if isinstance(member, staticmethod):
            members[name] = QtStatic(real, name)
        elif inspect.isroutine(member):
            members[name] = _method(real, name)
    for name, writable in properties.items():
        members[name] = QtProperty(name, writable, members.get(name))
    if real in (QtWidgets.QDialog, QtCore.QEventLoop):
        members["exec"] = members["exec_"] = _exec
    if real is QtCore.QObject:
        members["name"] = members["objectName"]  # Slicer's own scripts read and set it
        members["property"], members["setProperty"] = _property, _set_property
    if real is QtCore.QTimer:
        members["__init__"] = _remember_timer
    return members


class QtModule(types.ModuleType):
    """`import qt`: all of Qt's classes in one namespace."""

    def __getattr__(self, name):
        if name in UNUSABLE:
            raise AttributeError(UNUSABLE[name])
        for module in (QtCore, QtGui, QtWidgets):
            found = None if name.startswith("_") else getattr(module, name, None)
            if found is not None:
                is_class = isinstance(found, type) and issubclass(found, shiboken6.Shiboken.Object)
                return mirror(found) if is_class and found is not QtCore.Qt else found
        raise AttributeError(f"module 'qt' has no attribute {name!r}")
