"""Values of enums as PythonQt shows them: whole numbers that live on the class itself, without names."""

import enum


class EnumValue(int):
    """A value of an enum, or several of flags."""

    def __new__(cls, real):
        value = super().__new__(cls, real.value)
        value._qt = real
        return value

    def _with(self, other, operate):
        both_flags = (
            isinstance(other, EnumValue) and isinstance(self._qt, enum.Flag) and type(other._qt) is type(self._qt)
        )
        result = operate(self._qt, other._qt) if both_flags else operate(int(self), int(other))
        return EnumValue(result) if both_flags else result

    def __or__(self, other):
        return self._with(other, lambda a, b: a | b)

    def __and__(self, other):
        return self._with(other, lambda a, b: a & b)

    def __xor__(self, other):
        return self._with(other, lambda a, b: a ^ b)

    def __invert__(self):
        return EnumValue(~self._qt) if isinstance(self._qt, enum.Flag) else ~int(self)

    def __eq__(self, other):
        return self._qt == other if isinstance(other, enum.Enum) else int(self) == other

    def __hash__(self):
        return int.__hash__(self)


class EnumClass:
    """An enum of a class: it makes values of numbers; the values that have names are on the class around it."""

    def __init__(self, real):
        self._qt_class = real

    def __call__(self, number):
        return EnumValue(self._qt_class(int(number)))

    def __getattr__(self, name):
        raise AttributeError(f"{self._qt_class.__name__} has no attribute named {name!r}: it is on the class around it")
