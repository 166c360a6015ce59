"""What is remembered of earlier cases: numbers alone, of the last ones, by model; in a file that is checked."""

import json

import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.session.drawing_profile import DrawingProfile, read_profile, write_profile


def profile(*offsets, model="m GTV"):
    made = DrawingProfile()
    for number, offset in enumerate(offsets):
        made = made.with_case(model, f"case{number}", offset)
    return made


def test_the_next_case_begins_at_the_mean_of_the_earlier_ones():
    assert profile(1.0, 0.5, 0.0).offset_mm("m GTV") == 0.5


def test_without_cases_of_the_model_nothing_is_moved():
    assert profile(1.0).offset_mm("other GTV") == 0
    assert profile(1.0).cases("other GTV") == 0


def test_a_case_counts_once_with_what_it_said_last():
    made = profile(1.0, 0.0).with_case("m GTV", "case0", 2.0)
    assert (made.cases("m GTV"), made.offset_mm("m GTV")) == (2, 1.0)


def test_a_case_in_which_all_was_undone_is_forgotten():
    assert profile(1.0, 3.0).with_case("m GTV", "case1", None).offset_mm("m GTV") == 1.0


def test_the_last_ten_cases_count():
    made = profile(*range(-8, 4))
    assert made.cases("m GTV") == 10
    assert made.offset_mm("m GTV") == sum(range(-6, 4)) / 10


def test_it_comes_back_from_its_file_and_the_file_holds_nothing_else(tmp_path):
    made = profile(1.0, -0.25)
    write_profile(made, tmp_path / "p.json")
    assert read_profile(tmp_path / "p.json") == made
    assert json.loads((tmp_path / "p.json").read_text()) == {
        "format": "context-propagation drawing profile 1",
        "models": {"m GTV": {"case0": 1.0, "case1": -0.25}},
    }


def test_without_a_file_it_is_empty(tmp_path):
    assert read_profile(tmp_path / "none.json") == DrawingProfile()


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "{}", '{"format": "other", "models": {}}',
        '{"format": "context-propagation drawing profile 1", "models": []}',
        '{"format": "context-propagation drawing profile 1", "models": {"m": {"a": 9}}}',
        '{"format": "context-propagation drawing profile 1", "models": {"m": {"a": "1"}}}',
        '{"format": "context-propagation drawing profile 1", "models": {"m": {"a": true}}}',
        '{"format": "context-propagation drawing profile 1", "models": {"m": 1}}',
        '{"format": "context-propagation drawing profile 1", "models": {}, "more": 1}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_with_what_to_do(tmp_path, text):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(UserInputError, match="delete it to begin anew"):
        read_profile(tmp_path / "p.json")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UserInputError, match="choose another place"):
        write_profile(DrawingProfile(), tmp_path / "missing" / "p.json")
