"""A PET on the grid of a CT: known movements are found, aligned images stay, bad input is refused."""

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.registration.image_matcher import PetRegistrationSettings
from context_propagation.core.registration.pet_registration import register_pet, resample_ct, resample_pet
from context_propagation.core.registration.spacing_grid import grid_with_spacing
from context_propagation.core.registration.transform_check import check_transform
from pet_phantom import RADII_MM, Body, empty, inside, moved, rotation

SMALL = PetRegistrationSettings(samples=10_000, deformable_iterations=12)
FEWER = PetRegistrationSettings(samples=5_000, deformable_iterations=6)
CT_GRID = empty((64, 66, 40), (3.0, 2.4, 4.0), direction=rotation(12))
THREADS = 3
"""Another number than the one that a registration sets for itself, whatever the environment says."""
PET_GRID = empty((48, 40, 34), (4.2, 4.2, 4.5), centre=(4, 3, -2))


def pet_to_ct() -> sitk.CompositeTransform:
    """A shift of 10 mm, a turn of some 3 degrees and a smooth deformation: where tissue in the PET lies in the CT."""
    rigid = sitk.Euler3DTransform((0, 0, 0), *np.deg2rad((2, -1.5, 3)), (7, -5, 6))
    spline = sitk.BSplineTransformInitializer(PET_GRID, (3, 3, 3), 3)
    spline.SetParameters(np.random.default_rng(1).uniform(-10, 10, len(spline.GetParameters())).tolist())
    return sitk.CompositeTransform([rigid, spline])


def target_errors_mm(ct_to_pet: sitk.Transform, truth: sitk.Transform) -> np.ndarray:
    in_pet = np.random.default_rng(5).uniform(-1.1, 1.1, (4000, 3)) * RADII_MM
    in_ct = moved(in_pet, truth)
    body = inside(in_ct)
    return np.linalg.norm(moved(in_ct[body], ct_to_pet) - in_pet[body], axis=1)


@pytest.fixture(scope="module")
def ct() -> sitk.Image:
    return Body.make().ct(CT_GRID)


@pytest.fixture(scope="module")
def moved_pet() -> sitk.Image:
    return Body.make().pet(PET_GRID, pet_to_ct())


@pytest.fixture(scope="module")
def found(ct, moved_pet):
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(THREADS)
    yield register_pet(ct, moved_pet, SMALL)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@pytest.mark.long
def test_with_all_its_samples_the_rigid_stage_alone_finds_most(ct, moved_pet):
    found = register_pet(ct, moved_pet, PetRegistrationSettings(deformable=False))

    assert target_errors_mm(found.transform, pet_to_ct()).mean() < 2.6


def test_a_known_shift_turn_and_deformation_are_found_on_turned_grids(found):
    truth = pet_to_ct()

    before = target_errors_mm(sitk.Transform(3, sitk.sitkIdentity), truth).mean()
    rigid = target_errors_mm(found.transform.GetNthTransform(0), truth).mean()
    both = target_errors_mm(found.transform, truth).mean()

    assert before > 8.5
    assert rigid < 2.6
    assert both < 2.2
    assert both < rigid
    assert [stage.kept for stage in found.stages] == [True, True]
    assert found.check.negative_jacobians == 0
    assert found.overlap > 0.99


@pytest.mark.long
def test_a_shift_alone_is_found_within_a_millimetre(ct):
    shift = sitk.TranslationTransform(3, (6.0, -4.0, 8.0))

    found = register_pet(ct, Body.make().pet(PET_GRID, shift), SMALL)

    assert target_errors_mm(sitk.Transform(3, sitk.sitkIdentity), shift).mean() == pytest.approx(np.sqrt(116))
    assert target_errors_mm(found.transform, shift).mean() < 1


def test_itk_has_its_threads_back(found):
    assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == THREADS


def test_the_reported_metric_never_rises_from_one_kept_stage_to_the_next(found):
    rigid, deformable = found.stages

    assert rigid.metric_before > rigid.metric_after == deformable.metric_before > deformable.metric_after


def test_the_result_says_what_its_transform_does(found):
    assert found.check == check_transform(found.transform, CT_GRID)


@pytest.mark.long
def test_the_same_input_gives_the_same_transform_bit_by_bit(ct, moved_pet, found):
    again = register_pet(ct, moved_pet, SMALL)

    assert (again.stages, again.check) == (found.stages, found.check)
    for stage in range(2):
        one, other = found.transform.GetNthTransform(stage), again.transform.GetNthTransform(stage)
        assert one.GetParameters() == other.GetParameters()


def monotone(ct: sitk.Image) -> sitk.Image:
    return sitk.Sqrt(sitk.Clamp(ct, sitk.sitkFloat32, -1000, 500) + 1001)


@pytest.mark.quick(pet_of="a PET on the CT's grid")
@pytest.mark.parametrize(
    "pet_of",
    [lambda ct: ct, monotone, lambda ct: Body.make().pet(PET_GRID), lambda ct: Body.make().pet(CT_GRID)],
    ids=["the CT itself", "a monotone function of the CT", "a PET", "a PET on the CT's grid"],
)
def test_what_is_aligned_stays_put(ct, pet_of):
    pet = pet_of(ct)

    found = register_pet(ct, pet, FEWER)

    assert found.check.displacement_max_mm < 0.5 * min(pet.GetSpacing())
    assert found.check.negative_jacobians == 0


def test_a_pet_that_stays_put_on_the_ct_s_grid_keeps_its_voxels(ct):
    pet = monotone(ct)

    found = register_pet(ct, pet, FEWER)

    assert not any(stage.kept for stage in found.stages)
    assert np.array_equal(sitk.GetArrayFromImage(resample_pet(pet, ct, found.transform)), sitk.GetArrayFromImage(pet))
    assert len(found.messages) == 2


def test_intensities_are_only_interpolated_and_zero_outside():
    pet = sitk.Image((4, 4, 4), sitk.sitkFloat32) + 30_000.0  # Bq/ml
    grid = empty((9, 3, 3), (0.5, 1.0, 1.0))
    grid.SetOrigin((1.9, 0.0, 0.0))  # i = 1.9 to 5.9; the PET's last voxel ends at 3.5

    voxels = sitk.GetArrayFromImage(resample_pet(pet, grid, sitk.Transform(3, sitk.sitkIdentity)))

    assert voxels.dtype == np.float32
    assert (voxels[:, :, :4] == 30_000).all()
    assert (voxels[:, :, 4:] == 0).all()


def test_a_ct_on_its_own_spacing_keeps_its_voxels(ct):
    grid = grid_with_spacing(empty((8, 9, 10), (1.0, 2.0, 2.5)), (1.0, 2.0, 2.5))
    own = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(10, 9, 8)).astype(np.float32))
    own.CopyInformation(empty((8, 9, 10), (1.0, 2.0, 2.5)))

    assert sitk.GetArrayFromImage(resample_ct(own, grid)) == pytest.approx(sitk.GetArrayFromImage(own), abs=1e-5)


def test_images_that_do_not_overlap_are_refused(ct):
    far = Body.make().pet(PET_GRID)
    far.SetOrigin((2000.0, 0.0, 0.0))

    with pytest.raises(UserInputError, match="covers 0% of the CT's body"):
        register_pet(ct, far, SMALL)


def test_a_pet_that_covers_half_the_body_is_said_to(ct):
    half = Body.make().pet(empty((48, 40, 17), (4.2, 4.2, 4.5), centre=(0, 0, -38)))

    found = register_pet(ct, half, PetRegistrationSettings(samples=5000, deformable=False))

    assert 0.3 < found.overlap < 0.7
    assert any("covers only" in message for message in found.messages)


def broken(pet: sitk.Image) -> sitk.Image:
    pet = sitk.Image(pet)
    pet[1, 2, 3] = float("nan")
    return pet


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (broken, "The PET has 1 NaN"),
        (lambda pet: pet[:, :, :1], "The PET is one slice"),
        (lambda pet: sitk.JoinSeries([pet, pet]), "The PET is 4D"),
        (lambda pet: sitk.Compose([pet, pet]), "2 values per voxel"),
        (lambda pet: pet * 0 + 3, "The PET is 3 everywhere"),
    ],
)
def test_what_is_no_pet_is_refused(ct, moved_pet, make, message):
    with pytest.raises(UserInputError, match=message):
        register_pet(ct, make(moved_pet), SMALL)


@pytest.mark.parametrize("stage", ["rigid", "deformable"])
def test_cancel_takes_effect_within_one_iteration(ct, moved_pet, stage):
    seen = []

    def cancelled() -> bool:
        return bool(seen) and seen[-1] == stage

    settings = PetRegistrationSettings(samples=3000, deformable_iterations=4)
    with pytest.raises(Cancelled):
        register_pet(ct, moved_pet, settings, lambda name, _: seen.append(name), cancelled)

    assert seen.count(stage) <= 2


def test_progress_rises_from_stage_to_stage(ct, moved_pet):
    seen = []

    register_pet(
        ct, moved_pet, PetRegistrationSettings(samples=3000, deformable_iterations=4), lambda *c: seen.append(c)
    )

    assert list(dict.fromkeys(name for name, _ in seen)) == ["rigid", "deformable", "checking"]
    for stage in ("rigid", "deformable", "checking"):
        fractions = [fraction for name, fraction in seen if name == stage]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1


def test_an_error_in_the_progress_callback_comes_out_as_it_is(ct, moved_pet):
    def fails(stage: str, fraction: float) -> None:
        raise KeyError(stage)

    with pytest.raises(KeyError, match="rigid"):
        register_pet(ct, moved_pet, SMALL, fails)
