"""What the plots draw equals the frame's figures."""

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.evaluation.plots import edits_figure, plot_edits, plot_rows, rows_figure
from context_propagation.evaluation.results import COLUMNS

pandas = pytest.importorskip("pandas")
pytest.importorskip("matplotlib")

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def frame():
    """Two picks, two folds of two cases, 1 to 3 edits, two rows, two levels, three scopes; DSC at random.

    Later edits have the one scope that a picture shows of them.
    """
    random = np.random.default_rng(0)
    lines = [
        dict.fromkeys(COLUMNS, 0)
        | {"fold": fold, "case": f"{fold}-{case}", "pick": pick, "level": level, "edits": edits, "row": row,
           "scope": scope, "dsc": random.random(), "error": ""}
        for fold in (0, 1) for case in (0, 1) for pick in ("worst", "largest") for level in (1, 2)
        for edits in (1, 2, 3) for row in ("fusion", "update")
        for scope in (("whole", "near", "far") if edits == 1 else ("whole",))
    ]  # fmt: skip
    return pandas.DataFrame(lines)


@pytest.fixture(scope="module")
def edits(frame):
    return edits_figure(frame)


@pytest.fixture(scope="module")
def rows(frame):
    return rows_figure(frame)


def lines_of(frame, **wanted):
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return frame


def test_each_line_is_the_mean_over_folds_by_number_of_edits(frame, edits):
    for axes, pick in zip(edits.axes, ("worst", "largest"), strict=True):
        assert [line.get_label() for line in axes.get_lines()] == ["update", "fusion"]
        for line in axes.get_lines():
            shown = lines_of(frame, pick=pick, row=line.get_label(), scope="whole", level=2)
            expected = [np.mean([lines_of(shown, edits=n, fold=f)["dsc"].mean() for f in (0, 1)]) for n in (1, 2, 3)]
            assert list(line.get_xdata()) == [1, 2, 3]
            assert list(line.get_ydata()) == pytest.approx(expected)


def test_the_picture_of_edits_shows_the_cases_that_have_every_number_of_edits(frame, edits):
    single = lines_of(frame, edits=1, case=0).assign(case="single", dsc=0.99)
    baseline = lines_of(frame, edits=1, row="update").assign(row="baseline")
    after = edits_figure(pandas.concat([frame, single, baseline], ignore_index=True))
    for expected, axes in zip(edits.axes, after.axes, strict=True):
        assert axes.get_title() == expected.get_title()
        assert axes.get_title().endswith("(cases: 4)")
        assert [line.get_label() for line in axes.get_lines()] == ["update", "fusion"]
        for line, same in zip(axes.get_lines(), expected.get_lines(), strict=True):
            assert list(line.get_ydata()) == list(same.get_ydata())


def test_the_band_is_one_deviation_over_folds_wide(frame):
    axes = edits_figure(frame, level=1).axes[0]
    shown = lines_of(frame, pick="worst", row="update", scope="whole", level=1, edits=1)
    means = [lines_of(shown, fold=fold)["dsc"].mean() for fold in (0, 1)]
    corners = axes.collections[0].get_paths()[0].vertices
    heights = corners[corners[:, 0] == 1, 1]
    assert (heights.min(), heights.max()) == pytest.approx(
        (np.mean(means) - np.std(means, ddof=1), np.mean(means) + np.std(means, ddof=1))
    )


def test_one_fold_has_no_band(frame):
    assert not edits_figure(lines_of(frame, fold=0)).axes[0].collections


def test_each_box_is_a_row_s_cases_after_the_first_edit(frame, rows):
    titles = [axes.get_title() for axes in rows.axes]
    assert titles == [
        f"edited slice: {pick}; {scope}"
        for pick in ("worst", "largest")
        for scope in ("whole", "near slices", "far slices")
    ]
    axes = rows.axes[5]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["update", "fusion"]
    medians = [line.get_ydata()[0] for line in axes.get_lines() if line.get_color() == "C1"]
    expected = [
        lines_of(frame, pick="largest", scope="far", level=2, edits=1, row=row)["dsc"].median()
        for row in ("update", "fusion")
    ]
    assert medians == pytest.approx(expected)


def test_failed_cases_are_not_drawn(frame):
    frame = frame.copy()
    shown = lines_of(frame, pick="worst", scope="whole", level=2, edits=1, row="update")
    frame.loc[shown.index[0], "error"] = "failed"
    frame.loc[shown.index[0], "dsc"] = 100.0
    assert rows_figure(frame).axes[0].get_ylim()[1] < 2
    assert edits_figure(frame).axes[0].get_ylim()[1] < 2


def test_plots_are_png_files(frame, tmp_path):
    plot_edits(frame, tmp_path / "edits.png")
    plot_rows(frame, tmp_path / "rows.png")
    for name in ("edits.png", "rows.png"):
        content = (tmp_path / name).read_bytes()
        assert content.startswith(PNG)
        assert len(content) > 10000


def test_a_level_that_was_not_measured_is_named(frame):
    with pytest.raises(UserInputError, match="no line without error for several edits at decoder level 7"):
        edits_figure(frame, level=7)
    with pytest.raises(UserInputError, match="no line without error for decoder level 2 and 9 edit"):
        rows_figure(frame, edits=9)


def test_a_row_has_the_same_colour_in_every_picture_though_one_lacks_rows(frame):
    some = frame[(frame["pick"] == "worst") | (frame["row"] == "fusion")]
    figure = edits_figure(some)
    colors = [{line.get_label(): line.get_color() for line in axes.get_lines()} for axes in figure.axes]
    assert set(colors[0]) == {"update", "fusion"}
    assert colors[1] == {"fusion": colors[0]["fusion"]}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["update", "fusion"]
