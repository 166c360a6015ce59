"""What a name on a class of Qt's, CTK's or Slicer's is: a property, a method, a signal, an enum's value, or nothing."""

import inspect
import keyword

import shiboken6
from PySide6 import QtCore, QtWidgets

from stand_in_enums import EnumValue
from stand_in_wrapped import unwrap, wrap


class QtProperty:
    """A Qt property as an attribute. Python's typed getters and setters are used where Qt has them."""

    def __init__(self, name, writable):
        self.name, self.writable = name, writable

    def __get__(self, instance, owner):
        if instance is None:
            return self
        if not shiboken6.isValid(instance._qt):
            raise ValueError(f"Trying to read property '{self.name}' from a destroyed {owner.__name__} object")
        capital = self.name[0].upper() + self.name[1:]
        for getter in (f"is{capital}", self.name, f"has{capital}"):
            if inspect.isroutine(getattr(instance._qt, getter, None)):
                return wrap(getattr(instance._qt, getter)())
        return wrap(instance._qt.property(self.name))

    def __set__(self, instance, value):
        kind = type(instance).__name__
        if not shiboken6.isValid(instance._qt):
            raise AttributeError(f"Trying to set property '{self.name}' on a destroyed {kind} object")
        require_writable(self, instance)
        setter = getattr(instance._qt, f"set{self.name[0].upper()}{self.name[1:]}", None)
        if setter is None or (type(value) is int and isinstance(self.__get__(instance, type(instance)), EnumValue)):
            taken = instance._qt.setProperty(self.name, unwrap(value))
        else:
            try:
                taken = setter(unwrap(value))
            except TypeError as error:
                raise refused(self.name, value, self._type(instance)) from error
        if taken is False:
            raise refused(self.name, value, self._type(instance))

    def _type(self, instance):
        meta = instance._qt.metaObject()
        return meta.property(meta.indexOfProperty(self.name)).typeName()


def require_writable(member, instance):
    if not member.writable:
        raise AttributeError(f"Property '{member.name}' of {type(instance).__name__} object is not writable")


def refused(name, value, kind):
    return AttributeError(
        f"Property '{name}' of type '{kind}' does not accept an object of type {type(value).__name__} ({value!r})"
    )


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
            holder = self.real if instance is None or self.name == "singleShot" else instance._qt
            return wrap(getattr(holder, self.name)(*unwrap(args)))

        return call


class Signal:
    """A signal as an attribute. PythonQt connects it without a signature; here only where it has but one."""

    def __init__(self, name):
        self.name = name

    def __get__(self, instance, owner):
        return self if instance is None else BoundSignal(instance, self.name)


class BoundSignal:
    def __init__(self, instance, name):
        self._instance, self._name = instance, name

    def __call__(self, *args):
        """Emit it, as PythonQt does where a signal is called."""
        if any(s.partition("(")[0] == self._name for s in self._instance._qt_signals):
            getattr(self._instance._qt, self._name).emit(*unwrap(args))
        else:
            self._instance._emit(self._signature(), *args)

    def connect(self, function):
        return self._instance.connect(self._signature(), function)

    def disconnect(self, function=None):
        return self._instance.disconnect(self._signature(), function)

    def _signature(self):
        found = [s for s in self._instance._signals() if s.partition("(")[0] == self._name]
        if len(found) != 1:
            raise NotImplementedError(f"say which one is meant: use connect('{self._name}(...)', function)")
        return found[0]


class NotDone:
    """A property, or an enum's value, that the real class has and the stand-in has not."""

    def __init__(self, owner, name):
        self.owner, self.name = owner, name

    def __get__(self, instance, owner):
        raise NotImplementedError(f"the real {self.owner} has {self.name}; its stand-in does not do it yet")

    def __set__(self, instance, value):
        raise NotImplementedError(f"the real {self.owner} has {self.name}; its stand-in does not do it yet")


class Hidden:
    """A name that PySide6 or a stand-in's base has, and the application has not."""

    def __init__(self, name):
        self.name = name

    def __get__(self, instance, owner):
        raise AttributeError(f"{owner.__name__} has no attribute named {self.name!r}")


def is_property(member):
    return hasattr(type(member), "__set__")


def method(real, name):
    """A method of a PySide6 class."""

    def call(self, *args):
        if not shiboken6.isValid(self._qt):
            raise ValueError(f"Trying to call '{name}' on a destroyed {type(self).__name__} object")
        # A class derived by the code under test may call the base's version of what it overrides.
        function = getattr(self._qt, name) if type(self).is_stand_in else getattr(real, name).__get__(self._qt)
        return wrap(function(*unwrap(args)))

    call.__name__ = name
    return call


def method_not_done(owner, name):
    def call(self, *args):
        raise NotImplementedError(f"the real {owner} has {name}(); its stand-in does not do it yet")

    return call


def qt_member(real, name):
    """What PySide6's class has under a name; `None` for what it has not."""
    meta = real.staticMetaObject if issubclass(real, QtCore.QObject) else None
    index = -1 if meta is None else meta.indexOfProperty(name)
    if index >= 0:
        return QtProperty(name, meta.property(index).isWritable())
    return qt_function(real, name)


def qt_function(real, name):
    name = f"{name}_" if keyword.iskeyword(name) else name  # PySide6's own way
    found = inspect.getattr_static(real, name, None)
    if isinstance(found, staticmethod):
        return QtStatic(real, name)
    return method(real, name) if inspect.isroutine(found) else None
