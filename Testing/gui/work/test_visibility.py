"""A widget is shown or hidden once: Slicer paints the whole window each time."""

import re
from pathlib import Path

GUI = Path(__file__).parents[3] / "SlicerContextPropagation" / "context_propagation" / "gui"


class CountingWidget:
    """A widget that counts how often it is told."""

    def __init__(self, hidden):
        self.hidden, self.told = hidden, []

    def isHidden(self):  # noqa: N802 - Qt's name
        return self.hidden

    def setVisible(self, on):  # noqa: N802 - Qt's name
        self.told.append(on)
        self.hidden = not on


def test_only_widgets_that_are_not_so_already_are_told():
    from context_propagation.gui.work.visibility import set_visible

    shown, hidden = CountingWidget(hidden=False), CountingWidget(hidden=True)

    set_visible(True, shown, hidden)
    set_visible(True, shown, hidden)
    set_visible(False, shown)

    assert shown.told == [False]
    assert hidden.told == [True]


def test_it_works_on_a_real_widget(application):
    import qt

    from context_propagation.gui.work.visibility import set_visible

    label = qt.QLabel("text")
    set_visible(True, label)
    assert label.visible
    set_visible(False, label)
    assert label.isHidden()


def test_no_widget_is_shown_by_an_assignment():
    files = sorted(GUI.rglob("*.py"))
    found = [f.name for f in files if re.search(r"\.visible = |\.setVisible\(", f.read_text("utf-8"))]

    assert files
    assert found == ["visibility.py"]
