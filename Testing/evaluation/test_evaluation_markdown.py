"""The tables that a summary is written as."""

from context_propagation.evaluation.markdown import to_markdown
from context_propagation.evaluation.summary import main_edits, main_level, summarise
from evaluation_lines import line
from evaluation_tables import cases, frame, table_lines


def test_the_accuracy_table_has_a_line_for_each_scope_and_row():
    lines = [item for scope in ("whole", "near", "far") for row in ("fusion", "paste")
             for item in cases(row, [0.7, 0.7, 0.8, 0.8], scope=scope)]  # fmt: skip
    header, *rows = table_lines(to_markdown(summarise(frame(*lines))), "Accuracy")

    assert header == ["scope", "row", "cases", "DSC", "HD95, mm"]
    assert [(cells[0], cells[1]) for cells in rows] == [
        (scope, row) for scope in ("whole", "near slices", "far slices") for row in ("paste", "fusion")
    ]
    assert rows[0][2:5] == ["4", "0.750 ± 0.071", "3.00 ± 0.00"]


def test_the_other_measures_have_a_table_of_their_own_after_the_first():
    markdown = to_markdown(summarise(frame(line(added_path_length_mm=80.0))))
    assert table_lines(markdown, "Other measures") == [
        ["scope", "row", "cases", "sensitivity", "specificity", "surface Dice 2 mm", "added path length, mm"],
        ["whole", "fusion", "1", "0.700", "0.999", "0.900", "80.00"],
    ]
    assert markdown.index("### Accuracy") < markdown.index("### Regression") < markdown.index("### Other measures")


def test_each_pick_has_its_own_tables():
    markdown = to_markdown(summarise(frame(line(pick="largest", dsc=0.9), line(dsc=0.6))))
    worst, largest = markdown.split("## Edited slice: largest")
    assert "## Edited slice: worst" in worst
    assert table_lines(worst, "Accuracy")[1][3] == "0.600"
    assert table_lines(largest, "Accuracy")[1][3] == "0.900"


def test_the_comparison_table_has_both_scopes_side_by_side():
    lines = [
        item
        for scope, gain in (("whole", 0.1), ("far", -0.1))
        for item in cases("fusion", [0.5 + gain, 0.6 + gain], scope=scope) + cases("paste", [0.5, 0.6], scope=scope)
    ]
    header, row = table_lines(to_markdown(summarise(frame(*lines))), "DSC differences")
    assert header[1:4] == ["whole: mean difference", "whole: p", "whole: cases"]
    assert row == ["fusion − paste", "+0.100", "0.5", "2", "-0.100", "0.5", "2"]


def test_the_safety_table_shows_shares_in_percent():
    header, row = table_lines(to_markdown(summarise(frame(line()))), "Regression")
    assert dict(zip(header, row, strict=True)) == {
        "row": "fusion",
        "regression rate": "10.0 %",
        "regressed of untouched slices": "1 of 10",
        "new islands": "0 in 0 cases",
        "seam": "12.0 mm²",
        "far voxels changed": "0.5 %",
        "drawn slices exact": "100.0 %",
        "median seconds": "1.50",
        "cases": "1",
    }


def test_the_baseline_draws_no_slice():
    header, *rows = table_lines(to_markdown(summarise(frame(line(row="baseline"), line()))), "Regression")
    assert {cells[0]: cells[header.index("drawn slices exact")] for cells in rows} == {
        "baseline": "—", "fusion": "100.0 %",
    }  # fmt: skip


def test_the_level_table_shows_update_fusion_and_its_control_at_every_level_and_scope():
    lines = [
        line(row=row, level=level, scope=scope, dsc=level / 10)
        for row in ("baseline", "no-edit control", "fusion", "update")
        for level in (3, 1, 2)
        for scope in ("near", "whole")
    ]
    table = table_lines(to_markdown(summarise(frame(*lines))), "DSC by decoder level")
    assert table[0] == ["row", "scope", "cases", "level 1", "level 2", "level 3"]
    assert [cells[:2] for cells in table[1:]] == [
        ["update", "whole"], ["update", "near slices"], ["fusion", "whole"], ["fusion", "near slices"],
        ["no-edit control", "whole"], ["no-edit control", "near slices"],
    ]  # fmt: skip
    assert table[1][2:] == ["1", "0.100", "0.200", "0.300"]


def test_the_edits_table_shows_every_number_of_edits_in_order():
    lines = [line(row="baseline", edits=1, dsc=0.5), *(line(edits=n, dsc=n / 10) for n in (3, 1, 2))]
    table = table_lines(to_markdown(summarise(frame(*lines))), "DSC on the whole volume by number of edits")
    assert table == [
        ["row", "cases", "1", "2", "3", "area from 0", "edits to .90"],
        ["fusion", "1", "0.100", "0.200", "0.300", "0.233", "4.00 (0.0 % of cases)"],  # area (.3 + .15 + .25) / 3
    ]


def test_both_tables_say_how_many_cases_they_compare():
    lines = [line(case=case, level=n, dsc=0.5) for case in "ab" for n in (1, 2)] + [line(case="c")]
    lines += [line(case="a", edits=2, dsc=0.7)]
    markdown = to_markdown(summarise(frame(*lines)))
    assert table_lines(markdown, "DSC by decoder level")[1] == ["fusion", "whole", "2", "0.500", "0.500"]
    assert table_lines(markdown, "DSC on the whole volume by number")[1] == ["fusion", "1", "0.500", "0.700"]


def test_the_main_tables_show_level_two_after_the_first_edit_unless_told_otherwise():
    lines = [line(level=level, edits=edits, dsc=(10 * level + edits) / 100) for level in (1, 2) for edits in (0, 1, 2)]
    summary = summarise(frame(*lines))
    assert (main_level(summary), main_edits(summary)) == (2, 1)
    assert table_lines(to_markdown(summary), "Accuracy")[1][3] == "0.210"
    assert table_lines(to_markdown(summary, level=1, edits=2), "Accuracy")[1][3] == "0.120"
    assert main_level(summarise(frame(line(level=3)))) == 3


def test_an_error_of_several_lines_stays_in_its_cell():
    markdown = to_markdown(summarise(frame(line(error="first | line\n  second"))))
    assert r"| first \| line second |" in markdown


def test_no_failed_case_is_said():
    assert to_markdown(summarise(frame(line()))).endswith("Failed cases: none.\n")
