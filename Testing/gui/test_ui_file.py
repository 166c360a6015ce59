"""The panel's .ui file: what Qt's designer would keep right."""

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

UI = Path(__file__).parents[2] / "SlicerContextPropagation" / "Resources" / "UI" / "ContextPropagation.ui"
FORM = ElementTree.parse(UI)


@pytest.mark.parametrize("layout", [one for one in FORM.iter("layout") if one.get("class") == "QFormLayout"])
def test_no_two_widgets_lie_in_one_cell_of_a_form(layout):
    cells = Counter()
    for item in layout.findall("item"):
        first, columns = int(item.get("column")), int(item.get("colspan", "1"))
        cells.update((int(item.get("row")), column) for column in range(first, first + columns))

    assert [cell for cell, count in cells.items() if count > 1] == []


def test_no_name_is_given_twice():
    names = Counter(one.get("name") for kind in ("widget", "layout") for one in FORM.iter(kind))

    assert [name for name, count in names.items() if count > 1] == []
