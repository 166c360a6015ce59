"""CTK's widgets, as far as the GUI needs them to behave: they look plain, and keep CTK's properties and signals."""

from pathlib import Path

from PySide6 import QtCore, QtWidgets

from stand_in_api import implements
from stand_in_qt import mirror
from stand_in_wrapped import wrap

HEADER_HEIGHT = 24


class CollapsibleHeader(QtWidgets.QAbstractButton):
    """A button whose children lie below its header."""

    def __init__(self, *args):
        super().__init__(*args)
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, HEADER_HEIGHT, 0, 0)

    def paintEvent(self, event):
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width(), HEADER_HEIGHT)
        option.text = f"{'▾' if self.isChecked() else '▸'} {self.text()}"
        QtWidgets.QStylePainter(self).drawControl(QtWidgets.QStyle.ControlElement.CE_PushButton, option)

    def hitButton(self, position):
        return position.y() < HEADER_HEIGHT

    def sizeHint(self):
        inside = self.layout().totalSizeHint() if self.layout() and self.isChecked() else QtCore.QSize(80, 0)
        return QtCore.QSize(max(inside.width(), 80), max(inside.height(), HEADER_HEIGHT))


class _Collapsible:
    """Children are shown or hidden with the widget's checked state."""

    def __init__(self, *args):
        super().__init__(*args)
        self._qt.toggled.connect(self._show_children)
        self._own.hidden = []

    @property
    def collapsed(self):
        return not self._qt.isChecked()

    @collapsed.setter
    def collapsed(self, value):
        self._qt.setChecked(not value)

    def _show_children(self, shown):
        children = [c for c in self._qt.children() if isinstance(c, QtWidgets.QWidget)]
        if shown:
            for child in self._own.hidden:
                child.setVisible(True)
        self._own.hidden = [] if shown else [c for c in children if not c.isHidden()]
        for child in self._own.hidden:
            child.setVisible(False)
        self._qt.setMaximumHeight(16777215 if shown else HEADER_HEIGHT)
        self._qt.updateGeometry()


@implements
class ctkCollapsibleButton(_Collapsible, mirror(QtWidgets.QAbstractButton)):
    _qt_class = CollapsibleHeader

    def __init__(self, *args):
        super().__init__(*args)
        self._qt.toggled.connect(lambda shown: self._emit("contentsCollapsed(bool)", not shown))


@implements
class ctkCollapsibleGroupBox(_Collapsible, mirror(QtWidgets.QGroupBox)):
    def __init__(self, *args):
        super().__init__(*args)
        self._qt.setCheckable(True)


@implements
class ctkPathLineEdit(mirror(QtWidgets.QWidget)):
    """`filters` decides what its button browses for: a folder only where files are not among them."""

    Dirs, Files, Drives = 0x001, 0x002, 0x004  # of ctkPathLineEdit::Filter, which are QDir's

    def __init__(self, *args):
        super().__init__(*args)
        self._own.edit = QtWidgets.QLineEdit()
        layout = QtWidgets.QHBoxLayout(self._qt)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._own.edit)
        layout.addWidget(QtWidgets.QToolButton(text="…"))
        self._own.valid, self._own.filters = False, self.Files | self.Drives | self.Dirs  # CTK's default: all entries
        self._own.edit.textChanged.connect(self._changed)

    @property
    def currentPath(self):
        return self._own.edit.text()

    @currentPath.setter
    def currentPath(self, path):
        self._own.edit.setText(path)

    @property
    def filters(self):
        return self._own.filters

    @filters.setter
    def filters(self, value):
        self._own.filters = value

    def setCurrentPath(self, path):
        self._own.edit.setText(path)

    def addCurrentPathToHistory(self):
        pass

    def _changed(self, path):
        self._emit("currentPathChanged(QString)", path)
        was_valid, self._own.valid = self._own.valid, bool(path) and Path(path).exists()
        if was_valid != self._own.valid:
            self._emit("validInputChanged(bool)", self._own.valid)


class Forwarded:
    """A property of a widget that lies inside."""

    def __init__(self, name):
        self.name = name

    def __get__(self, instance, owner):
        return self if instance is None else getattr(wrap(instance._own.inside), self.name)

    def __set__(self, instance, value):
        setattr(wrap(instance._own.inside), self.name, value)


class _Number:
    """A number beside other widgets; the spin box is the only keeper of the value."""

    def __init__(self, *args):
        super().__init__(*args)
        self._own.inside = QtWidgets.QDoubleSpinBox()
        self._own.layout = QtWidgets.QHBoxLayout(self._qt)
        self._own.layout.setContentsMargins(0, 0, 0, 0)
        self._own.layout.addWidget(self._own.inside)
        self._own.inside.valueChanged.connect(self._changed)

    value, minimum, maximum = Forwarded("value"), Forwarded("minimum"), Forwarded("maximum")
    decimals, prefix, suffix = Forwarded("decimals"), Forwarded("prefix"), Forwarded("suffix")
    singleStep = Forwarded("singleStep")

    def setValue(self, value):
        self._own.inside.setValue(value)

    def setDecimals(self, decimals):
        self._own.inside.setDecimals(decimals)

    def _changed(self, value):
        self._emit("valueChanged(double)", value)


@implements
class ctkDoubleSpinBox(_Number, mirror(QtWidgets.QWidget)):
    readOnly, alignment, frame = Forwarded("readOnly"), Forwarded("alignment"), Forwarded("frame")

    def __init__(self, *args):
        super().__init__(*args)
        self._own.inside.editingFinished.connect(lambda: self._emit("editingFinished()"))

    def setReadOnly(self, value):
        self._own.inside.setReadOnly(value)

    def stepUp(self):
        self._own.inside.stepUp()

    def stepDown(self):
        self._own.inside.stepDown()

    def _changed(self, value):
        super()._changed(value)
        self._emit("valueChanged(QString)", self._own.inside.text())


@implements
class ctkSliderWidget(_Number, mirror(QtWidgets.QWidget)):
    def __init__(self, *args):
        super().__init__(*args)
        self._own.slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, maximum=1000)
        self._own.layout.insertWidget(0, self._own.slider)
        self._own.slider.sliderMoved.connect(self._slid)
        self._own.start = 0.0

    def _slid(self, position):
        low, high = self.minimum, self.maximum
        self.value = low + (high - low) * position / 1000

    def _changed(self, value):
        low, high = self.minimum, self.maximum
        self._own.slider.setValue(round(1000 * (value - low) / (high - low)) if high > low else 0)
        self._emit("valueIsChanging(double)", value)
        super()._changed(value)


@implements
class ctkMessageBox(mirror(QtWidgets.QMessageBox)):
    pass


@implements
class ctkComboBox(mirror(QtWidgets.QComboBox)):
    pass
