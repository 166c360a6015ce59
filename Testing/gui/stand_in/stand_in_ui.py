"""Qt Designer's files, loaded with real Qt and held to what the real classes have.

Slicer's and CTK's widgets become their stand-ins. A class, a property, a signal or a slot that does not exist in Slicer
is an error here; Slicer would print a warning or nothing at all.
"""

import xml.etree.ElementTree as ElementTree
from functools import cache, reduce
from operator import or_

from PySide6 import QtCore, QtUiTools, QtWidgets

from stand_in_api import api_class, is_described, is_visible
from stand_in_members import QtProperty, is_property
from stand_in_names import listed
from stand_in_qt import mirror
from stand_in_wrapped import declared, normalized, wrap

DESIGNER_PROPERTIES = {("QLabel", "buddy"), ("Line", "orientation")}  # no properties of Qt's; its loader knows them
LAYOUT_PROPERTIES = {"leftMargin", "topMargin", "rightMargin", "bottomMargin", "margin", "spacing"}
OF_SLICER = ("qMRML", "qSlicer", "ctk")


def widget_class(name):
    """The stand-in for a widget class in a .ui file; `LookupError` for one that does not exist."""
    if name.startswith(OF_SLICER):
        if not is_visible(name):
            raise LookupError(f"{name} is not in both lists of names (slicer_api.json, pythonqt_names.json)")
        return api_class(name)
    name = {"Line": "QFrame"}.get(name, name)
    if f"qt.{name}" not in listed():
        raise LookupError(f"there is no widget class {name!r} in pythonqt_names.json")
    return mirror(getattr(QtWidgets, name))


class Loader(QtUiTools.QUiLoader):
    """Qt's loader, which asks here for each widget."""

    def createWidget(self, class_name, parent=None, name=""):
        if not class_name.startswith(OF_SLICER):
            return super().createWidget(class_name, parent, name)
        widget = api_class(class_name)(*([wrap(parent)] if parent else []))
        widget.objectName = name
        return widget._qt


class QUiLoader(mirror(QtCore.QObject)):
    """The loader that `slicer.util.loadUI` uses."""

    _stands_for = "QUiLoader"

    def load(self, file, parent=None):
        errors, later, connections, rest = checked(file._qt.readAll().data())
        if errors:
            raise AttributeError(f"{file.fileName()}: " + "; ".join(errors))
        buffer = QtCore.QBuffer()
        buffer.setData(rest)
        widget = wrap(Loader().load(buffer, parent and parent._qt))
        by_name = {w.objectName(): wrap(w) for w in [widget._qt, *widget._qt.findChildren(QtCore.QObject)]}
        for name, prop, value in later:
            setattr(by_name[name], prop, value)
        for connection in connections:
            connect(by_name, connection)
        return widget


@cache
def checked(text):
    """What is wrong in a file, what is to be done after Qt's loader, and what is left for that; once for each text."""
    root = ElementTree.fromstring(text)
    errors, later = check_and_strip(root)
    connections = root.find("connections")
    if connections is not None:
        root.remove(connections)
    found = [
        {part.tag: part.text for part in connection} for connection in (() if connections is None else connections)
    ]
    return errors, later, found, ElementTree.tostring(root)


def check_and_strip(root):
    """What the file has that Slicer has not, and the properties that only the stand-ins can set (taken out here)."""
    errors, later = [], []
    for widget in root.iter("widget"):
        try:
            kind = widget_class(widget.get("class"))
        except LookupError as error:
            errors.append(str(error))
            continue
        for prop in widget.findall("property"):
            member = declared(kind, prop.get("name"))
            where = f"{widget.get('class')} {widget.get('name')!r}"
            if not is_property(member) or not getattr(member, "writable", True):
                pseudo = (widget.get("class"), prop.get("name")) in DESIGNER_PROPERTIES
                if prop.get("stdset") != "0" and not pseudo:  # stdset: a property that the file itself adds
                    errors.append(f"{where} has no property {prop.get('name')!r}")
            elif is_described(widget.get("class")) and not isinstance(member, QtProperty):
                later.append((widget.get("name"), prop.get("name"), value_of(prop[0])))
                widget.remove(prop)
    for layout in root.iter("layout"):
        kind = mirror(getattr(QtWidgets, layout.get("class")))
        for prop in (p.get("name") for p in layout.findall("property")):
            if prop not in LAYOUT_PROPERTIES and not hasattr(kind, prop):
                errors.append(f"{layout.get('class')} has no property {prop!r}")
    return errors, later


def value_of(element):
    """A value as Designer writes it: <bool>true</bool>, <stringlist>…, <set>Qt::AlignLeft|Qt::AlignTop</set>."""
    text = element.text or ""
    simple = {"bool": lambda: text == "true", "number": lambda: int(text), "double": lambda: float(text)}
    if element.tag in simple:
        return simple[element.tag]()
    if element.tag == "stringlist":
        return [string.text or "" for string in element]
    if element.tag in ("enum", "set"):
        values = [enum_value(part) for part in text.split("|")]
        return text if None in values else reduce(or_, values)
    return text


def enum_value(text):
    owner, _, name = text.partition("::")
    holder = getattr(QtCore, owner, None) or getattr(QtWidgets, owner, None)
    return getattr(holder, name.rpartition("::")[2], None)


def connect(by_name, parts):
    """Make one connection of the file's."""
    sender, receiver = by_name[parts["sender"]], by_name[parts["receiver"]]
    name = parts["slot"].partition("(")[0]
    slot = getattr(receiver, name, None)
    of_qt = normalized(parts["slot"]) in receiver._qt_methods
    if not callable(slot) or not (of_qt or is_described(receiver.className())):
        raise AttributeError(f"{receiver.className()} {parts['receiver']!r} has no slot {parts['slot']!r}")
    sender.connect(parts["signal"], slot)
