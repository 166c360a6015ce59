"""The benchmark's variants: TorchIO's transforms by hand under the same seed, observers by a cross of 6 neighbours."""

import numpy as np
import pytest
import torch

from context_propagation.core.errors import UserInputError
from context_propagation.evaluation.variants import STYLES, case_seed, drawn_in_style, shifted_image, style_of

SHAPE = (12, 14, 10)


def image(seed=0):
    """Like an MR: positive, far from z-scored."""
    return np.random.default_rng(seed).normal(300, 50, SHAPE)


def z_scored(array):
    return (array - array.mean()) / array.std()


# ---- seeds


@pytest.mark.parametrize(("name", "seed"), [("hippocampus_001", 1), ("hippocampus_260", 260), ("site2_case007b", 7)])
def test_a_case_is_seeded_by_the_last_number_of_its_name(name, seed):
    assert case_seed(name) == seed


def test_a_name_without_a_number_is_refused_with_a_better_one():
    with pytest.raises(UserInputError, match="case 'ann' has no number .* rename it, e.g. 'ann_001'"):
        case_seed("ann")


# ---- shifted images


def transformed(order, seed):
    """The transforms of the data page, each on its own, on the z-scored image."""
    torchio = pytest.importorskip("torchio")
    transforms = {
        "bias field": torchio.RandomBiasField(coefficients=0.5),
        "gamma": torchio.RandomGamma(log_gamma=(-0.5, 0.5)),
        "blur": torchio.RandomBlur(std=(0.5, 1.3)),
        "noise": torchio.RandomNoise(std=(0.1, 0.5)),
    }
    found = torch.from_numpy(z_scored(image()).astype(np.float32))[None]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.rand(1)  # TorchIO's Compose draws whether to run at all
        for name in order:
            found = transforms[name](found)
    return z_scored(found.numpy()[0])


ORDER = ("bias field", "gamma", "blur", "noise")


@pytest.mark.parametrize("seed", [1, 33])
def test_a_shifted_image_has_torchio_s_transforms_in_the_page_s_order_under_the_case_s_seed(seed):
    found = shifted_image(image(), f"case_{seed:03d}")
    assert np.allclose(found, transformed(ORDER, seed), atol=1e-5)
    assert not np.allclose(found, transformed(ORDER[::-1], seed), atol=0.1)
    assert not np.allclose(found, transformed(ORDER, seed + 1), atol=0.1)


def test_a_shifted_image_has_mean_0_and_standard_deviation_1():
    found = shifted_image(image(), "case_001")
    assert found.shape == SHAPE
    assert found.dtype == np.float32
    assert found.mean() == pytest.approx(0, abs=1e-5)
    assert found.std() == pytest.approx(1, abs=1e-5)


def test_a_case_is_always_shifted_the_same_and_cases_differ():
    assert np.array_equal(shifted_image(image(), "case_001"), shifted_image(image(), "case_001"))
    assert not np.allclose(shifted_image(image(), "case_001"), shifted_image(image(), "case_002"), atol=0.1)


def test_the_scanner_s_units_do_not_matter():
    assert np.allclose(shifted_image(image(), "case_001"), shifted_image(7 * image() - 900, "case_001"), atol=1e-3)


def test_shifting_changes_neither_the_image_nor_the_caller_s_random_numbers():
    given = image()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        state = torch.random.get_rng_state()
        shifted_image(given, "case_001")
        assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(given, image())


def test_a_constant_image_stays_finite():
    assert np.isfinite(shifted_image(np.full(SHAPE, 5.0), "case_001")).all()


# ---- observers


def shifts(mask):
    """The mask moved by one voxel to each of the 6 neighbours; nothing comes in from outside."""
    padded = np.pad(mask, 1)
    for axis in range(3):
        for step in (-1, 1):
            yield np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]


def random_blob():
    return np.random.default_rng(0).random((9, 8, 7)) > 0.3


def test_a_tight_observer_draws_what_has_all_six_neighbours():
    truth = random_blob()
    expected = np.logical_and.reduce([truth, *shifts(truth)])
    assert np.array_equal(drawn_in_style(truth, "tight"), expected)
    assert expected.any()


def test_a_generous_observer_draws_all_six_neighbours_too():
    truth = ~random_blob()
    assert np.array_equal(drawn_in_style(truth, "generous"), np.logical_or.reduce([truth, *shifts(truth)]))


def test_a_cube_of_three_becomes_its_centre_or_a_cube_with_six_faces():
    cube = np.zeros((7, 7, 7), bool)
    cube[2:5, 2:5, 2:5] = True
    assert np.argwhere(drawn_in_style(cube, "tight")).tolist() == [[3, 3, 3]]
    assert drawn_in_style(cube, "generous").sum() == 27 + 6 * 9


def test_the_expert_draws_the_truth_itself_as_a_copy():
    truth = random_blob()
    drawn = drawn_in_style(truth, "expert")
    assert np.array_equal(drawn, truth)
    drawn[:] = False
    assert np.array_equal(truth, random_blob())


def test_all_three_observers_get_about_a_third_of_the_cases():
    styles = [style_of(f"hippocampus_{number:03d}") for number in range(300)]
    assert set(styles) == set(STYLES) == {"tight", "expert", "generous"}
    assert min(styles.count(style) for style in STYLES) > 75


def test_a_case_always_has_the_same_observer():
    names = [f"hippocampus_{number:03d}" for number in range(50)]
    assert [style_of(name) for name in names] == [style_of(name) for name in names]
    assert len({style_of(name) for name in names[:10]}) > 1
