"""Protocols of an evaluation: what is read, what --quick replaces, what is refused."""

from dataclasses import fields
from pathlib import Path

import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.evaluation.plan import EvaluationPlan, read_plan

SHIPPED = sorted((Path(__file__).parents[2] / "benchmarks" / "protocols").glob("*.toml"))
NAMED = 'name = "mine"\ndata = "cases"\n'


@pytest.fixture
def protocol(tmp_path):
    def write(text, quick=False):
        (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
        return read_plan(tmp_path / "mine.toml", quick)

    return write


def test_a_protocol_needs_a_name_and_data_only(protocol):
    assert protocol(NAMED) == EvaluationPlan("mine", "cases")


def test_every_value_is_read(protocol):
    text = (
        NAMED
        + """
        phantom = ""
        difficulty = "higher"
        phantom_cases = 14
        model = "PSNN"
        variant = "observer style"
        test_folds = [1, 3, 4]
        base_cases = 2
        base_epochs = 3
        fusion_cases = 4
        validation_cases = 5
        threshold_cases = 13
        test_cases = 6
        level = 1
        other_levels = [2]
        fusion = "attention"
        width = 0.5
        most_hidden = 16
        paper_width = 8.0
        epochs = 7
        averaging = 0.75
        edits_per_case = 8
        augmented_copies = 9
        contour_styles = 15
        allowed_regression = 0.25
        rows = ["fusion", "oracle"]
        edits = 10
        several_edits_cases = 11
        regression_rates = [0, 0.5]
        seed = 12
    """
    )
    assert protocol(text) == EvaluationPlan(
        "mine", "cases", "", "higher", 14, "PSNN", "observer style",
        (1, 3, 4), 2, 3, 4, 5, 13, 6, (2,), 8.0, ("fusion", "oracle"), 10, 11, (0, 0.5),
        level=1, fusion="attention", width=0.5, most_hidden=16, epochs=7, averaging=0.75, edits_per_case=8,
        augmented_copies=9,
        contour_styles=15, allowed_regression=0.25, seed=12,
    )  # fmt: skip
    assert all(f"{field.name} = " in text for field in fields(EvaluationPlan))


def test_a_whole_number_will_do_for_a_width(protocol):
    assert protocol(NAMED + "width = 2").width == 2


def test_a_rate_that_is_no_share_is_refused(protocol):
    said = refusal(protocol, NAMED + "regression_rates = [0.01, 1.5]")
    assert "regression_rates has 1.5; give shares from 0 to 1" in said


def test_there_may_be_no_other_level(protocol):
    assert protocol(NAMED + "other_levels = []").other_levels == ()


def test_quick_replaces_its_keys_and_no_others(protocol):
    text = NAMED + "epochs = 20\nseed = 3\n[quick]\nepochs = 2\ntest_folds = [4]"
    assert protocol(text) == EvaluationPlan("mine", "cases", epochs=20, seed=3)
    assert protocol(text, quick=True) == EvaluationPlan("mine", "cases", epochs=2, seed=3, test_folds=(4,))


def test_quick_without_a_table_is_the_protocol_itself(protocol):
    assert protocol(NAMED, quick=True) == protocol(NAMED)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_protocols_can_be_read_and_quick_ones_do_less(path):
    full, quick = read_plan(path), read_plan(path, quick=True)
    assert full.variant == {"hippocampus-clean": "clean", "hippocampus-observer": "observer style",
                            "hippocampus-shifted": "shifted"}.get(path.stem, full.variant)  # fmt: skip
    assert len(quick.test_folds) == 1
    assert quick.fusion_cases < full.fusion_cases
    assert quick.data == full.data


def test_protocols_are_shipped():
    assert len(SHIPPED) >= 4


# ---- refusals


def refusal(protocol, text, quick=False):
    with pytest.raises(UserInputError) as caught:
        protocol(text, quick)
    assert "mine.toml'" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserInputError, match="Cannot read '.*gone.toml': No such file"):
        read_plan(tmp_path / "gone.toml")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(UserInputError, match="Cannot read"):
        read_plan(tmp_path)


@pytest.mark.parametrize("text", ["name = ", "name: mine", "name = 'a'\nname = 'b'"])
def test_what_is_no_toml_is_refused(protocol, text):
    assert "is not a valid TOML file" in refusal(protocol, text)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(UserInputError, match="is not a valid TOML file"):
        read_plan(tmp_path / "mine.toml")


@pytest.mark.parametrize("quick", [False, True])
def test_an_unknown_key_is_named_with_the_known_ones(protocol, quick):
    text = NAMED + ("[quick]\nepoch = 3" if quick else "epoch = 3")
    said = refusal(protocol, text, quick)
    assert "has 'epoch', which no protocol has" in said
    assert "base_epochs, fusion_cases" in said


@pytest.mark.parametrize(("text", "lacking"), [("data = 'cases'", "name"), ("", "name")])
def test_a_protocol_without_name_is_refused(protocol, text, lacking):
    assert f"lacks '{lacking}'" in refusal(protocol, text)


@pytest.mark.parametrize("text", ["name = 'mine'", NAMED + "phantom = 'oesophagus'"])
def test_a_protocol_has_either_data_or_phantoms(protocol, text):
    assert "name either 'data' or 'phantom'" in refusal(protocol, text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("phantom = 'knee'", "phantom = 'knee'; choose nasopharynx, oesophagus"),
        ("phantom = 'nasopharynx'\ndifficulty = 'hard'", "difficulty = 'hard'; choose lower, middle, higher"),
        ("phantom = 'nasopharynx'\nvariant = 'shifted'", "phantoms have styles of their own"),
        ("phantom = 'nasopharynx'\nmodel = 'SAM'", "model = 'SAM'; choose nnU-Net, PSNN"),
        ("data = 'cases'\nfusion = 'mean'", "fusion = 'mean'; choose paper, adaptive, attention"),
        ("data = 'cases'\nrows = ['fusion', 'magic']", "rows = ['fusion', 'magic']; choose fusion and of"),
        ("data = 'cases'\nrows = ['oracle']", "rows = ['oracle']; choose fusion and of"),
        ("data = 'cases'\naveraging = 1.0", "averaging = 1.0; give a share"),
        ("data = 'cases'\nallowed_regression = 2", "allowed_regression = 2; give a share"),
    ],
)
def test_values_that_do_not_exist_are_refused_with_the_choices(protocol, line, said):
    assert said in refusal(protocol, f"name = 'mine'\n{line}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("epochs = '10'", "epochs = '10'; give a value like "),
        ("epochs = 2.5", "epochs = 2.5"),
        ("epochs = true", "epochs = True"),
        ("width = '1'", "width = '1'; give a value like 2.0"),
        ("width = true", "width = True"),
        ("test_folds = 0", "test_folds = 0; give a value like ("),
        ("test_folds = ['0']", "test_folds = ['0']"),
        ("test_folds = [true]", "test_folds = [True]"),
        ("other_levels = [1.0]", "other_levels = [1.0]"),
        ("variant = 3", "variant = 3"),
        ("seed = 2026-01-01", "seed = datetime"),
    ],
)
def test_a_value_of_another_type_is_refused_with_an_example(protocol, line, said):
    assert said in refusal(protocol, NAMED + line)


@pytest.mark.parametrize("value", ["true", "3", "[1]"])
@pytest.mark.parametrize("quick", [False, True])
def test_quick_must_be_a_table(protocol, value, quick):
    assert "give a table [quick]" in refusal(protocol, f"{NAMED}quick = {value}", quick)


def test_an_unknown_variant_is_refused_with_the_known_ones(protocol):
    said = refusal(protocol, NAMED + "variant = 'blurred'")
    assert "variant = 'blurred'; choose clean, shifted, observer style" in said


def test_a_protocol_that_tests_no_fold_is_refused(protocol):
    assert "test_folds is empty" in refusal(protocol, NAMED + "test_folds = []")


@pytest.mark.parametrize(
    "name",
    [
        "base_cases", "base_epochs", "fusion_cases", "validation_cases", "threshold_cases", "test_cases", "epochs",
        "edits_per_case", "edits", "most_hidden",
    ],
)  # fmt: skip
def test_there_must_be_at_least_one_of_what_an_evaluation_needs(protocol, name):
    assert f"{name} = 0; give at least 1" in refusal(protocol, f"{NAMED}{name} = 0")
    assert getattr(protocol(f"{NAMED}{name} = 1"), name) == 1


@pytest.mark.parametrize("name", ["augmented_copies", "contour_styles", "several_edits_cases", "seed"])
def test_other_counts_may_be_zero_but_not_below(protocol, name):
    assert f"{name} = -1; give 0 or more" in refusal(protocol, f"{NAMED}{name} = -1")
    assert getattr(protocol(f"{NAMED}{name} = 0"), name) == 0


@pytest.mark.parametrize("name", ["width", "paper_width"])
@pytest.mark.parametrize("value", ["0", "-1.0", "nan", "inf"])
def test_a_network_has_some_width(protocol, name, value):
    assert "give a finite number above 0" in refusal(protocol, f"{NAMED}{name} = {value}")


def test_a_fusion_network_of_many_features_has_no_more_hidden_channels_than_allowed(protocol):
    plan = protocol(NAMED + "width = 2.0\nmost_hidden = 128")
    assert [plan.width_for(channels) * channels for channels in (32, 64, 128, 320)] == [64, 128, 128, 128]


@pytest.mark.parametrize("line", ["level = 0", "level = 4", "other_levels = [1, 5]"])
def test_decoder_levels_are_1_to_3(protocol, line):
    assert "choose 1, 2 or 3" in refusal(protocol, NAMED + line)


def test_what_quick_replaces_is_checked_too(protocol):
    assert "epochs = 0" in refusal(protocol, NAMED + "[quick]\nepochs = 0", quick=True)


def test_a_decoder_level_named_twice_is_refused(protocol):
    with pytest.raises(UserInputError, match="a decoder level is named twice"):
        protocol(NAMED + "level = 1\nother_levels = [1, 3]")
