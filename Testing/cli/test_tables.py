"""`tables`: the page of all evaluated protocols holds every table and picture, and needs no other file."""

import base64
import html.parser
import json

import pytest

from context_propagation.evaluation.plan import EvaluationPlan
from context_propagation.evaluation.regression_curve import CurvePoint
from context_propagation.evaluation.report import Written, write_results
from evaluation_lines import case_row

NAME = "balls <b> & shifted"


class Page(html.parser.HTMLParser):
    """What a browser would see."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.cells, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data):
        self.text += data
        if self.cells and self.tags[-1] == "td":
            self.cells[-1] += data


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results" / "balls"
    folder.mkdir(parents=True)
    lines = [case_row(case=case, row=row, edits=n) for case in "ab" for row in ("baseline", "fusion") for n in (1, 2)]
    curve = [CurvePoint("0", "fusion", 0.02, "worst", 0.2, 0.9, 0.8125, 2, 3, 100)]
    write_results(Written(EvaluationPlan(NAME, "balls", edits=2), "evaluate", ["abc"], [], lines, {}, curve), folder)
    (folder / "best-fold0.png").write_bytes((folder / "rows.png").read_bytes())
    return tmp_path / "results"


def test_the_page_holds_every_protocol_s_tables_and_pictures_and_names_no_other_file(run, results, tmp_path):
    outcome = run("tables", "--results", results, "--output", tmp_path / "page.html")

    assert outcome.code == 0
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Accuracy, mean ± standard deviation over folds (paper, Tables I, II)" in page.text
    assert "DSC on the whole volume by number of edits (paper, Fig. 8)" in page.text
    assert {"0.8125", "3.00 %", "0.800"} <= {cell.strip() for cell in page.cells}
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in sources)
    pictures = [base64.b64decode(value.partition(",")[2]) for value in sources if value.startswith("data:")]
    names = ("best-fold0.png", "edits.png", "rows.png", "regression.png")
    assert pictures == [(results / "balls" / name).read_bytes() for name in names]


def test_a_protocol_s_name_is_text_and_no_markup(run, results, tmp_path):
    run("tables", "--results", results, "--output", tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert NAME in page.text
    assert "b" not in page.tags


def test_a_folder_without_results_is_refused(run, tmp_path):
    outcome = run("tables", "--results", tmp_path, "--output", tmp_path / "page.html")
    assert outcome.code == 2
    assert "holds no folder with a summary.json" in outcome.err
    assert not (tmp_path / "page.html").exists()


def test_a_summary_that_cannot_be_read_is_named(run, results, tmp_path):
    (results / "balls" / "summary.json").write_text(json.dumps({"protocol": 3}))
    outcome = run("tables", "--results", results, "--output", tmp_path / "page.html")
    assert outcome.code == 2
    assert "summary.json' is no summary of an evaluation" in outcome.err


def test_a_page_is_replaced_and_another_page_is_not(run, results, tmp_path):
    page = tmp_path / "page.html"
    assert run("tables", "--results", results, "--output", page).code == 0
    assert run("tables", "--results", results, "--output", page).code == 0
    page.write_text("<html>my own notes</html>")
    outcome = run("tables", "--results", results, "--output", page)
    assert outcome.code == 2
    assert "is no page of this program" in outcome.err
    assert page.read_text() == "<html>my own notes</html>"


def test_another_ending_is_refused(run, results, tmp_path):
    outcome = run("tables", "--results", results, "--output", tmp_path / "page.pdf")
    assert outcome.code == 2
    assert "end its name in .html" in outcome.err
