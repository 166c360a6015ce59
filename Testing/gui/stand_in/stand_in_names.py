"""The names that Python reaches in a running Slicer (pythonqt_names.json), each with its kind.

dir() shows neither of two things that PythonQt adds to every object of Qt's (its PythonQtClassInfo.cpp): `name` is
`objectName`, and a method is also found with one underscore at its end, as `exec_` and `raise_`.
"""

import enum
import functools
import json
from pathlib import Path


class Kind(enum.Enum):
    """What a name is, in the words of PythonQt's messages."""

    PROPERTY = "Property"
    READ_ONLY = "Read-only property"
    SLOT = "Slot"
    SIGNAL = "Signal"
    ENUM_VALUE = "EnumValue"
    NESTED_CLASS = "Enum"


KINDS = {
    "properties": Kind.PROPERTY,
    "slots and methods": Kind.SLOT,
    "python functions": Kind.SLOT,
    "signals": Kind.SIGNAL,
    "nested classes": Kind.NESTED_CLASS,
    "enum values and instances": Kind.ENUM_VALUE,
    "read-only properties": Kind.READ_ONLY,  # these are listed among the properties, too: so they come last
}
OBJECTS = {  # classes of which the list has an object only: names without kinds
    "qSlicerApplication": "object slicer.app (qSlicerApplication)",
    "qSlicerAppMainWindow": "object slicer.util.mainWindow() (qSlicerAppMainWindow)",
}
MODULES = ("qt", "ctk", "slicer")


@functools.cache
def listed():
    """Each entry of the list as "module.class" to its names by kind."""
    return json.loads(Path(__file__).with_name("pythonqt_names.json").read_text("utf-8"))["classes"]


def entry(name):
    """The entry of a class, which is told by its name alone; `None` where the list has none."""
    return next((e for e in (f"{module}.{name}" for module in MODULES) if e in listed()), None)


def is_listed(name):
    return entry(name) is not None or name in OBJECTS


@functools.cache
def kinds(name):
    """Each name that Python reaches on a class of the list, with its kind; `None` where only the name is known."""
    if name in OBJECTS:
        return dict.fromkeys(listed()[OBJECTS[name]]["names"].split())
    found = _kinds(entry(name))
    if "objectName" in found:
        found.setdefault("name", Kind.PROPERTY)
    return found


def _kinds(of_entry):
    described = listed()[of_entry]
    base = described["and_those_of"]
    found = dict(_kinds(base)) if base else {}
    for group, kind in KINDS.items():
        for one in described.get(group, "").split():
            # A property whose value is an object of Qt's, such as a font, is listed as an instance. Values of enums
            # begin with a capital, but for Qt's own colours.
            instance = kind is Kind.ENUM_VALUE and one[0].islower() and of_entry != "qt.Qt"
            found[one] = Kind.PROPERTY if instance else kind
    return found
