"""Phantoms: reproducible, plausible, and with a style that is in the label and not in the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.phantom.anatomy import DIFFICULTIES, Style
from context_propagation.core.phantom.phantom import ANATOMIES, Phantom, PhantomSettings, make_phantom
from context_propagation.core.phantom.space import Space, blended, both, either

COARSE = {"nasopharynx": (4.0, 4.0, 3.0), "oesophagus": (5.0, 5.0, 4.0), "organ": (4.0, 4.0, 4.0)}
KINDS = tuple(ANATOMIES)
TUMOURS = ("nasopharynx", "oesophagus")


def settings(of_kind: str, **changes) -> PhantomSettings:
    return replace(PhantomSettings(of_kind, spacing_ijk_mm=COARSE[of_kind]), **changes)


@pytest.fixture(scope="module", params=[3, pytest.param(6, marks=pytest.mark.long)])
def some(request) -> dict[str, list[Phantom]]:
    return {kind: [make_phantom(settings(kind, number=number)) for number in range(request.param)] for kind in KINDS}


def arrays(phantom: Phantom) -> list[np.ndarray]:
    return [array for array in (phantom.ct, phantom.pet, phantom.gtv) if array is not None]


@pytest.mark.parametrize("kind", KINDS)
def test_options_and_seed_give_a_case_bit_for_bit(kind, some):
    again = make_phantom(settings(kind, number=2))
    assert again.hidden_truth == some[kind][2].hidden_truth
    assert all(np.array_equal(a, b) for a, b in zip(arrays(again), arrays(some[kind][2]), strict=True))


@pytest.mark.quick(kind="organ")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [{"seed": 1}, {"number": 3}, {"difficulty": "higher"}])
def test_another_seed_number_or_difficulty_gives_another_case(kind, change, some):
    other = make_phantom(settings(kind, **{"number": 2, **change}))
    assert not np.array_equal(other.ct, some[kind][2].ct)
    assert not np.array_equal(other.gtv, some[kind][2].gtv)


@pytest.mark.parametrize("kind", TUMOURS)
def test_there_are_60_to_160_slices_of_anisotropic_voxels(kind):
    plain = PhantomSettings(kind)
    assert 60 <= plain.size_ijk[2] <= 160
    assert plain.spacing[2] > plain.spacing[0]


def test_only_the_oesophagus_has_a_pet(some):
    assert all(phantom.pet is None for kind in ("nasopharynx", "organ") for phantom in some[kind])
    assert all(phantom.pet.shape == phantom.ct.shape for phantom in some["oesophagus"])


@pytest.mark.parametrize("kind", TUMOURS)
def test_hounsfield_units_are_those_of_a_patient_in_air(kind, some):
    for phantom in some[kind]:
        middle = phantom.ct[len(phantom.ct) // 2]
        assert middle[0, 0] < -900
        assert (phantom.ct > 300).mean() > 0.01
        assert ((phantom.ct > 0) & (phantom.ct < 100)).mean() > 0.05


@pytest.mark.parametrize(
    ("kind", "least_ml", "most_ml"), [("nasopharynx", 1, 80), ("oesophagus", 5, 150), ("organ", 2, 80)]
)
def test_tumours_have_the_volume_of_tumours_and_do_not_touch_the_border(kind, least_ml, most_ml, some):
    for phantom in some[kind]:
        ml = phantom.gtv.sum() * np.prod(phantom.spacing_ijk_mm) / 1000
        assert least_ml < ml < most_ml
        for axis in range(3):
            assert not np.take(phantom.gtv, [0, -1], axis).any()


def test_an_organ_is_brighter_than_the_tissue_around_it_but_not_than_all_of_it(some):
    for phantom in some["organ"]:
        inside, outside = phantom.ct[phantom.gtv].mean(), phantom.ct[~phantom.gtv]
        assert inside > outside.mean()
        assert (outside > inside).any()


def test_the_oesophageal_tumour_is_long(some):
    for phantom in some["oesophagus"]:
        k, j, i = (np.ptp(np.flatnonzero(phantom.gtv.any(axes))) + 1 for axes in ((1, 2), (0, 2), (0, 1)))
        i_mm, j_mm, k_mm = phantom.spacing_ijk_mm
        assert k * k_mm > max(i * i_mm, j * j_mm)


def test_uptake_is_high_in_the_tumour_and_does_not_match_it(some):
    for phantom in some["oesophagus"]:
        inside, body = phantom.pet[phantom.gtv], phantom.pet[(phantom.ct > -200) & ~phantom.gtv]
        assert inside.mean() > 2 * body.mean()
        hot = phantom.pet > 0.41 * inside.max()
        overlap = 2 * (hot & phantom.gtv).sum() / (hot.sum() + phantom.gtv.sum())
        assert 0.1 < overlap < 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_the_style_is_in_the_label_and_not_in_the_image(kind, monkeypatch):
    def with_offset(mm: float) -> Phantom:
        monkeypatch.setattr(Style, "drawn", classmethod(lambda cls, rng, difficulty: cls(mm, 0.6, True)))
        return make_phantom(settings(kind))

    tight, generous = with_offset(-2.0), with_offset(3.0)
    assert np.array_equal(tight.ct, generous.ct)
    assert tight.gtv.sum() < 0.8 * generous.gtv.sum()
    assert not (tight.gtv & ~generous.gtv).any()


@pytest.mark.quick(kind="oesophagus")
@pytest.mark.parametrize("kind", KINDS)
def test_the_anatomy_does_not_depend_on_the_grid(kind):
    coarse, fine = make_phantom(settings(kind)), make_phantom(PhantomSettings(kind))
    volumes = [p.gtv.sum() * np.prod(p.spacing_ijk_mm) for p in (coarse, fine)]
    centres = [np.argwhere(p.gtv).mean(0)[::-1] * p.spacing_ijk_mm + p.image(p.gtv).GetOrigin() for p in (coarse, fine)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.15)
    assert np.allclose(*centres, atol=2)


def test_what_an_oracle_is_told_lies_between_minus_1_and_1():
    difficulty = DIFFICULTIES["middle"]
    low, high = difficulty.offset_mm
    assert Style(low, 0.2, False).numbers(difficulty) == pytest.approx((-1, -1, -1))
    assert Style(high, 1.0, True).numbers(difficulty) == pytest.approx((1, 1, 1))
    assert Style((low + high) / 2, 0.6, True).numbers(difficulty) == pytest.approx((0, 0, 1))


def test_higher_difficulty_is_harder_in_every_respect():
    lower, middle, higher = (DIFFICULTIES[name] for name in ("lower", "middle", "higher"))
    for easy, hard in ((lower, middle), (middle, higher)):
        assert hard.contrast_hu < easy.contrast_hu
        assert hard.visible_share < easy.visible_share
        assert np.ptp(hard.offset_mm) > np.ptp(easy.offset_mm)
        assert hard.noise_hu > easy.noise_hu


def test_the_image_is_centred_on_the_origin_with_its_spacing(some):
    phantom = some["nasopharynx"][0]
    image = phantom.image(phantom.gtv)
    assert image.GetSpacing() == COARSE["nasopharynx"]
    first, last = (
        np.array(image.TransformIndexToPhysicalPoint(at)) for at in ((0, 0, 0), [n - 1 for n in image.GetSize()])
    )
    assert np.allclose(first + last, 0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "knee"}, "Unknown kind 'knee' of a phantom; choose nasopharynx, oesophagus"),
        ({"difficulty": "hard"}, "Unknown difficulty 'hard'"),
        ({"seed": -1}, "seed -1"),
        ({"spacing_ijk_mm": (0.0, 1.0, 1.0)}, "give 0.3 to 10 mm"),
        ({"spacing_ijk_mm": (0.3, 0.3, 0.3)}, "a volume that fits"),
    ],
)
def test_what_cannot_be_generated_is_refused(changes, said):
    with pytest.raises(UserInputError, match=said):
        settings("nasopharynx", **changes)


# ---- shapes, worked out by hand


@pytest.fixture
def line() -> Space:
    """Points on the x axis at -20, -10, 0, 10, 20 mm."""
    return Space.of_grid((5, 1, 1), (10.0, 1.0, 1.0), 1)


def test_a_sphere_s_distance_is_that_from_its_surface(line):
    assert np.allclose(line.ellipsoid((0, 0, 0), (8, 8, 8))[0, 0, [0, 1, 3, 4]], [12, 2, 2, 12])


def test_a_rod_s_distance_is_that_from_its_nearest_point(line):
    assert np.allclose(line.capsule((-10, 0, 0), (0, 0, 0), 4)[0, 0], [6, -4, -4, 6, 16])


def test_a_shape_seen_at_moved_points_moves_the_other_way(line):
    moved = line.moved(10, 0, 0).ellipsoid((0, 0, 0), (5, 5, 5))[0, 0]
    assert moved.argmin() == 1


def test_shapes_combine(line):
    left, right = line.ellipsoid((-10, 0, 0), (5, 5, 5)), line.ellipsoid((10, 0, 0), (5, 5, 5))
    assert (either(left, right) < 0)[0, 0].tolist() == [False, True, False, True, False]
    assert not (both(left, right) < 0).any()
    assert np.allclose(blended(left, right, 4)[0, 0, [0, 4]], either(left, right)[0, 0, [0, 4]])
    assert blended(left, right, 4)[0, 0, 2] == pytest.approx(5 - 1)  # both 5 mm away: a quarter of the width nearer


def test_slices_are_sampled_within_their_thickness():
    space = Space.of_grid((1, 1, 2), (1.0, 1.0, 4.0), 2)
    assert np.allclose(space.z[:, 0, 0], [-3, -1, 1, 3])


def test_a_random_field_is_smooth_with_mean_0_and_deviation_1():
    space = Space.of_grid((60, 60, 60), (3.0, 3.0, 3.0), 1)
    field = space.field(np.random.default_rng(0), 10)
    assert abs(field.mean()) < 0.2
    assert field.std() == pytest.approx(1, abs=0.15)
    assert np.abs(np.diff(field, axis=2)).max() < 1.5
