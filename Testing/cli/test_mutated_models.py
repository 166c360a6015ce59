"""Any value in a model's files: the result that an independent reading gives, or exit code 2 and one line.

Some values are read here and not by nnU-Net or MONAI, which raise: there only the exit code is looked at.
`--hypothesis-show-statistics` lists them.
"""

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from mutated_models import VALUES, documents, predicted, write_image

KINDS = ("plans", "dataset", "bundle", "configuration", "metadata")
TOGETHER = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mutated")
    return documents(folder / "models"), write_image(folder / "image.nii.gz")


def check(made, tmp_path_factory, kind, data):
    found, image = made
    document = found[kind]
    place = data.draw(st.sampled_from(document.places()), label="place")
    value = data.draw(st.sampled_from(VALUES), label="value")
    folder = tmp_path_factory.mktemp("one")
    model = document.mutated(folder / "model", place, value)

    run = predicted(model, image, folder / "out.nii.gz")

    if run.code == 2:
        assert len(run.error_lines) == 1, run.lines
        assert run.error_lines[0].startswith("context-propagation: error: ")
        assert run.mask is None
        return
    assert (run.code, run.error_lines) == (0, []), run.lines
    try:
        expected = document.expected(model, image)
    except Exception as error:  # the other library raises whatever it comes to: it has no result to compare with
        event(f"read here alone: {place} = {value!r} ({error!r:.100})")
        return
    assert run.mask.shape == expected.shape
    assert (run.mask == expected).mean() >= 0.999, (place, value, run.mask.sum(), expected.sum())


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_value_gives_what_others_read_or_one_line(made, tmp_path_factory, kind):
    @settings(max_examples=6, deadline=None, derandomize=True, database=None, suppress_health_check=TOGETHER)
    @given(st.data())
    def small(data):
        check(made, tmp_path_factory, kind, data)

    small()


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_every_changed_value_gives_what_others_read_or_one_line(made, tmp_path_factory, kind):
    @settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=TOGETHER)
    @given(st.data())
    def deep(data):
        check(made, tmp_path_factory, kind, data)

    deep()


def test_the_models_that_are_changed_are_right_before(made, tmp_path_factory):
    found, image = made
    for document in found.values():
        run = predicted(document.folder, image, tmp_path_factory.mktemp("right") / "out.nii.gz")
        assert run.code == 0
        assert 0.02 < run.mask.mean() < 0.98  # so that agreement says something
        assert (run.mask == document.expected(document.folder, image)).mean() >= 0.999
