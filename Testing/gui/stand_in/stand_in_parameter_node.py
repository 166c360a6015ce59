"""`slicer.parameterNodeWrapper`: typed attributes kept in a scene's parameter node, and bound to widgets.

Kept like Slicer's: numbers, texts, flags and enums as parameters, MRML nodes as node references.
"""

import enum
import pathlib
import types
import typing

import slicer
import vtk

from stand_in_wrapped import Wrapped

PROPERTY = "SlicerParameterName"
# class name to the signal that tells of a change and the property that holds the value; the first that fits is taken
CONNECTORS = {
    "qMRMLNodeComboBox": ("currentNodeChanged(vtkMRMLNode*)", None),
    "ctkPathLineEdit": ("currentPathChanged(QString)", "currentPath"),
    "ctkSliderWidget": ("valueChanged(double)", "value"),
    "ctkDoubleSpinBox": ("valueChanged(double)", "value"),
    "QDoubleSpinBox": ("valueChanged(double)", "value"),
    "QSpinBox": ("valueChanged(int)", "value"),
    "QSlider": ("valueChanged(int)", "value"),
    "QComboBox": ("currentTextChanged(QString)", "currentText"),
    "QLineEdit": ("textChanged(QString)", "text"),
    "QAbstractButton": ("toggled(bool)", "checked"),
}


def is_node(kind):
    return isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)


def plain_type(hint):
    """The type of an attribute: `X | None` is X, which is how a node that may be missing is written."""
    kinds = [k for k in typing.get_args(hint) if k is not type(None)]
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        hint = kinds[0] if len(kinds) == 1 else hint
    if hint in (str, int, float, bool, pathlib.Path) or is_node(hint):
        return hint
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint
    raise TypeError(f"this parameterNodeWrapper does not know {hint!r}; Slicer's may")


def to_text(value):
    return value.name if isinstance(value, enum.Enum) else str(value)


def from_text(kind, text):
    if issubclass(kind, enum.Enum):
        return kind[text]
    return text == "True" if kind is bool else kind(text)


def parameter(name, kind):
    """A property that reads from and writes to the parameter node."""

    def read(self):
        if is_node(kind):
            return self.parameterNode.GetNodeReference(name)
        return from_text(kind, self.parameterNode.GetParameter(name))

    def write(self, value):
        if is_node(kind):
            if value is not None and not isinstance(value, kind):
                raise TypeError(f"{name} is a {kind.__name__}, not {value!r}")
            self.parameterNode.SetNodeReferenceID(name, value.GetID() if value else None)
            return
        if not isinstance(value, (int, float) if kind is float else kind):
            raise TypeError(f"{name} is a {kind.__name__}, not {value!r}")
        self.parameterNode.SetParameter(name, to_text(value))

    return property(read, write)


def parameterNodeWrapper(cls):
    kinds = {name: plain_type(hint) for name, hint in typing.get_type_hints(cls).items()}
    defaults = {name: getattr(cls, name, None) for name in kinds}
    for name, kind in kinds.items():
        if defaults[name] is None and not is_node(kind):
            defaults[name] = next(iter(kind)) if issubclass(kind, enum.Enum) else kind()
        setattr(cls, name, parameter(name, kind))
    cls.allParameters = kinds
    cls._defaults = defaults
    for name, member in vars(_Wrapper).items():
        if not name.startswith("__") or name == "__init__":
            setattr(cls, name, member)
    return cls


class _Wrapper:
    """What a decorated class gets."""

    def __init__(self, parameterNode, prefix=None):
        if prefix:
            raise NotImplementedError("prefixes are not done here")
        self.parameterNode, self._guis, self._updating, self._observer = parameterNode, {}, False, None
        for name, kind in self.allParameters.items():
            if not is_node(kind) and not parameterNode.GetParameter(name):
                parameterNode.SetParameter(name, to_text(self._defaults[name]))

    def isCached(self, name):
        return not is_node(self.allParameters[name])

    def dataType(self, name):
        return self.allParameters[name]

    def getValue(self, name):
        return getattr(self, name)

    def setValue(self, name, value):
        setattr(self, name, value)

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, was_modified):
        return self.parameterNode.EndModify(was_modified)

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)

    def Modified(self):
        self.parameterNode.Modified()

    def connectGui(self, gui):
        widgets = gui.findChildren(_widgets()) if isinstance(gui, Wrapped) else list(vars(gui).values())
        return self.connectParametersToGui({w.property(PROPERTY): w for w in widgets if w.property(PROPERTY)})

    def connectParametersToGui(self, mapping):
        unknown = sorted(set(mapping) - set(self.allParameters))
        if unknown:
            raise ValueError(f"Cannot find a param with the given name: {unknown}")
        tag = len(self._guis)
        self._guis[tag] = [_Connector(self, name, widget) for name, widget in mapping.items()]
        if self._observer is None:
            self._observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, self._update_gui)
        return tag

    def disconnectGui(self, tag):
        for connector in self._guis.pop(tag):
            connector.disconnect()

    def _update_gui(self, caller=None, event=None):
        if not self._updating:
            self._updating = True
            try:
                for connector in [c for connectors in self._guis.values() for c in connectors]:
                    connector.write()
            finally:
                self._updating = False


class _Connector:
    """One parameter and one widget."""

    def __init__(self, wrapper, name, widget):
        kinds = [c._stands_for for c in type(widget).__mro__ if "_stands_for" in vars(c)]
        found = next((k for k in kinds if k in CONNECTORS), None)
        if found is None:
            raise TypeError(f"no way to bind {name} to a {widget.className()}")
        self.wrapper, self.name, self.widget = wrapper, name, widget
        self.signal, self.holder = CONNECTORS[found]
        self.write()
        widget.connect(self.signal, self.read)

    def disconnect(self):
        self.widget.disconnect(self.signal, self.read)

    def write(self):
        value = self.wrapper.getValue(self.name)
        if self.holder is None:
            self.widget.setCurrentNode(value)
        elif self.holder == "currentText":
            self.widget.setCurrentText(value.value if isinstance(value, enum.Enum) else value)
        else:
            setattr(self.widget, self.holder, str(value) if isinstance(value, pathlib.Path) else value)

    def read(self):
        if self.wrapper._updating:
            return
        value = self.widget.currentNode() if self.holder is None else getattr(self.widget, self.holder)
        kind = self.wrapper.allParameters[self.name]
        self.wrapper.setValue(self.name, value if value is None or isinstance(value, kind) else kind(value))


def _widgets():
    import qt

    return qt.QWidget
