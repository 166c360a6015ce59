"""What docs/user-guide.md quotes from the panel, the effect and error messages is what they say."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "SlicerContextPropagation"
PAGE = (ROOT / "docs" / "user-guide.md").read_text(encoding="utf-8")


def texts_in(tree):
    """All strings of a module; for an f-string its constant parts, with a mark for what is filled in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)


def all_texts():
    files = [*SHIPPED.glob("context_propagation/**/*.py"), *SHIPPED.glob("SegmentEditorPropagateEditLib/*.py")]
    texts = [text for file in files for text in texts_in(ast.parse(file.read_text(encoding="utf-8")))]
    labels = re.findall(r"<string>(.*?)</string>", (SHIPPED / "Resources/UI/ContextPropagation.ui").read_text("utf-8"))
    return texts, labels


def test_every_sentence_in_the_table_of_troubles_is_said_by_the_code():
    texts, _ = all_texts()
    table = PAGE.split("## Troubleshooting")[1].split("\n## ")[0]
    first_column = [row.split(" | ")[0] for row in table.splitlines() if row.startswith("| ")]
    quoted = [quote for cell in first_column for quote in re.findall(r"`(.+?)`", cell)]

    assert len(quoted) > 20
    assert not [quote for quote in quoted if not any(quote in text for text in texts)]


def test_every_label_in_bold_is_in_the_panel_or_the_effect():
    texts, labels = all_texts()
    known = {*texts, *labels, "Volume (CT):"}  # the channel's name is filled in
    bold = set(re.findall(r"\*\*(\S.*?)\*\*", PAGE))
    emphasis = {text for text in bold if text[0].islower() or (text[-1] == "." and not text.endswith("..."))}
    emphasis |= {"Near slices only", "Whole volume", "Masks", "Redrawn slices stay exactly as drawn"}

    assert {"Predict", "Propagate", "Apply", "Align..."} <= bold
    assert not [text for text in bold - emphasis if text not in known]


def test_the_guide_s_links_and_pictures_are_there():
    targets = re.findall(r"\]\((?!http|#)([^)#]+)", PAGE)

    assert len(targets) > 10
    assert not [target for target in targets if not (ROOT / "docs" / target).exists()]
