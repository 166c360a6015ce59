"""`bundle.json`: every entry by name and type; anything else is refused in one line."""

import json
from copy import deepcopy
from pathlib import Path

import pytest

from context_propagation.core.bundle.bundle_file import BundleDescription, read_description, write_description
from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.propagation.far_thresholds import EVERY_SLICE, FarThresholds
from context_propagation.core.propagation.fusion_settings import FusionSettings

USUAL = {
    "format": "context-propagation bundle 1",
    "base": {"sha256": "a" * 64, "folder": "model"},
    "label": "GTV",
    "orientation": None,
    "folds": ["0", "1"],
    "level": 2,
    "neighbours": 2,
    "far_thresholds": {"add": 0.1, "remove": 0.2},
    "fusion": [
        {"file": f"fusion_{fold}.safetensors", "settings": {"variant": "adaptive", "channels": 8, "width": 1.0}}
        for fold in (0, 1)
    ],
    "fusion_sha256": "b" * 64,
    "provenance": {"seed": 0},
}
MISSING = object()


def read(folder: Path, content: object) -> BundleDescription:
    (folder / "bundle.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return read_description(folder)


def refusal(folder: Path, content: object) -> str:
    with pytest.raises(UserInputError) as caught:
        read(folder, content)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500 + len(str(folder))
    assert str(folder / "bundle.json") in message
    return message


def changed(*keys: str | int, value: object) -> dict:
    content = deepcopy(USUAL)
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    if value is MISSING:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    return content


def test_a_description_reads_as_what_it_says(tmp_path):
    description = read(tmp_path, USUAL)

    assert (description.base.folder, description.base.reference) == ("model", None)
    assert description.folds == ("0", "1")
    assert description.far_thresholds == FarThresholds(0.1, 0.2)
    assert [item.file for item in description.fusion] == ["fusion_0.safetensors", "fusion_1.safetensors"]
    assert description.fusion[0].settings == FusionSettings("adaptive", 8, 1.0)
    assert description.provenance == {"seed": 0}


def test_what_is_written_reads_the_same(tmp_path):
    description = read(tmp_path, USUAL)
    write_description(tmp_path, description)

    assert read_description(tmp_path) == description
    assert json.loads((tmp_path / "bundle.json").read_text()) == USUAL


def test_a_least_gain_is_kept_and_without_one_every_slice_may_change(tmp_path):
    assert read(tmp_path, USUAL).far_thresholds.least_gain == EVERY_SLICE
    description = read(tmp_path, changed("far_thresholds", "least_gain", value=0.08))
    write_description(tmp_path, description)

    assert description.far_thresholds == FarThresholds(0.1, 0.2, least_gain=0.08)
    assert read_description(tmp_path) == description


def test_whole_numbers_may_stand_for_others(tmp_path):
    assert read(tmp_path, changed("far_thresholds", "add", value=0)).far_thresholds == FarThresholds(0.0, 0.2)


@pytest.mark.parametrize("letters", ["LPS", "RAS", "PIR", "SLA"])
def test_an_orientation_has_a_letter_for_each_axis(tmp_path, letters):
    assert read(tmp_path, changed("orientation", value=letters)).orientation == letters


@pytest.mark.parametrize("keys", [(name,) for name in USUAL] + [("base", "sha256"), ("base", "folder")], ids=str)
def test_a_missing_entry_is_named(tmp_path, keys):
    assert f"lacks the entry '{'.'.join(keys)}'" in refusal(tmp_path, changed(*keys, value=MISSING))


@pytest.mark.parametrize(
    "keys", [("file",), ("settings",), *(("settings", n) for n in ("variant", "channels", "width"))]
)
def test_a_missing_entry_of_a_fusion_network_is_named_with_its_number(tmp_path, keys):
    message = refusal(tmp_path, changed("fusion", 1, *keys, value=MISSING))
    assert f"lacks the entry 'fusion[1].{'.'.join(keys)}'" in message


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ((), "hidden_truth"),
        (("base",), "base.hidden_truth"),
        (("fusion", 0), "fusion[0].hidden_truth"),
        (("fusion", 1, "settings"), "fusion[1].settings.hidden_truth"),
    ],
)
def test_an_unknown_entry_is_named(tmp_path, keys, name):
    assert f"has the unknown entry '{name}'" in refusal(tmp_path, changed(*keys, "hidden_truth", value=1))


WRONG = [0, -1, 4, 2.5, True, None, "", "2", [], [1], {}, {"a": 1}, "x" * 1000, "line\nbreak", "\ud800"]
RIGHT = {"label": ("2", "x" * 1000, "line\nbreak", "\ud800"), "orientation": (None,),
         "neighbours": (0, 4), "provenance": ({}, {"a": 1})}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in USUAL if name != "format"])
def test_an_entry_of_the_wrong_type_or_range_is_named(tmp_path, name):
    allowed = RIGHT.get(name, ())
    for value in WRONG:
        if any(value is item or (type(value) is type(item) and value == item) for item in allowed):
            read(tmp_path, changed(name, value=value))
        else:
            assert f"'{name}" in refusal(tmp_path, changed(name, value=value)), value


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("level",), 0),
        (("level",), 10**30),
        (("neighbours",), 10**9),
        (("far_thresholds", "add"), 1.5),
        (("far_thresholds", "remove"), -0.1),
        (("far_thresholds", "least_gain"), -1.0),
        (("far_thresholds", "least_gain"), "0.1"),
        (("base", "sha256"), "A" * 64),
        (("base", "sha256"), "a" * 63),
        (("fusion_sha256",), "a" * 65),
        (("orientation",), "LPX"),
        (("orientation",), "LRS"),
        (("orientation",), "LPSI"),
        (("folds",), ["0", "0"]),
        (("folds",), [0, 1]),
        (("folds",), ["0", "../1"]),
        (("folds",), "01"),
        (("fusion", 0, "settings", "channels"), 10**9),
        (("fusion", 0, "settings", "channels"), 8.0),
        (("fusion", 0, "settings", "width"), 10**9),
        (("fusion", 0, "settings", "width"), True),
    ],
)
def test_a_value_out_of_range_is_named(tmp_path, keys, value):
    assert f"{keys[-1]}' is {value!r}, not " in refusal(tmp_path, changed(*keys, value=value))


@pytest.mark.parametrize("variant", ["os.system", None, ["paper"], 3, {}])
def test_an_unknown_variant_is_named(tmp_path, variant):
    message = refusal(tmp_path, changed("fusion", 0, "settings", "variant", value=variant))
    assert f"'fusion[0].settings.variant' is {variant!r}, not " in message


def test_a_width_of_nothing_is_refused(tmp_path):
    assert "'fusion[0].settings.width' is 0, not a number above 0" in refusal(
        tmp_path, changed("fusion", 0, "settings", "width", value=0)
    )


OUTSIDE = [
    "/etc",
    "../model",
    "..",
    ".",
    "model/../../x",
    "a/b",
    "C:\\model",
    "C:model",
    "\\\\host\\share",
    "~",
    "a\0b",
    "",
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("keys", [("base", "folder"), ("fusion", 0, "file")])
def test_a_path_that_leaves_the_bundle_is_refused(tmp_path, keys, name):
    assert f"{keys[-1]}' is {name!r}, not " in refusal(tmp_path, changed(*keys, value=name))


@pytest.mark.parametrize("reference", ["model", "../model", "", 3])
def test_a_reference_that_is_no_absolute_path_is_refused(tmp_path, reference):
    content = changed("base", value={"sha256": "a" * 64, "reference": reference})
    assert f"'base.reference' is {reference!r}, not " in refusal(tmp_path, content)


def test_a_base_is_a_folder_or_a_reference_not_both(tmp_path):
    assert "unknown entry 'base.folder'" in refusal(tmp_path, changed("base", "reference", value="/models/a"))


@pytest.mark.parametrize(("fusion", "folds"), [(1, 2), (2, 1), (0, 2)])
def test_a_wrong_number_of_networks_is_counted(tmp_path, fusion, folds):
    content = {**deepcopy(USUAL), "fusion": USUAL["fusion"][:fusion], "folds": USUAL["folds"][:folds]}
    lists = f"'fusion' lists {counted(fusion, 'network')} for {counted(folds, 'fold')}"
    assert lists in refusal(tmp_path, content)


@pytest.mark.parametrize("version", ["context-propagation bundle 2", "something", 1, None])
def test_another_format_is_named_with_the_remedy(tmp_path, version):
    message = refusal(tmp_path, {"format": version, "unheard": 1})
    assert f"has format {version!r}, not 'context-propagation bundle 1'; update this program" in message


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "null", '"text"', "[" * 100_000, '{"format": NaN}', '{"format": ' + "9" * 5000 + "}"]
)
def test_what_is_no_json_object_is_refused(tmp_path, text):
    assert "copy the bundle again" in refusal(tmp_path, text)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "bundle.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserInputError, match="is not valid JSON"):
        read_description(tmp_path)


def test_a_missing_description_is_named(tmp_path):
    with pytest.raises(UserInputError, match=r"bundle.json' is missing; give a bundle's folder"):
        read_description(tmp_path)
