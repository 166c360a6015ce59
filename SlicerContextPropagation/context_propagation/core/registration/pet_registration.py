"""A PET onto the grid of a CT: rigid, then B-spline, by mutual information.

Source: paper III-A (registration and spacing of the oesophagus data); Mattes et al., IEEE Trans Med Imaging
22(1), 2003 (the metric, PET on CT).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.errors import UserInputError
from context_propagation.core.registration.image_matcher import PetRegistrationSettings, _Matcher, _one_thread, _shrunk
from context_propagation.core.registration.transform_check import TransformCheck, check_transform, covered_share

INJECTIVE_SHARE = 0.4
"""A cubic B-spline whose coefficients stay below this share of the control point spacing cannot fold.
Source: Choi and Lee, Graphical Models 62(6), 2000: 1 / 2.48 in 3D."""


LEAST_OVERLAP = 0.05
"""Share of the CT's body in the PET below which nothing is registered."""


POOR_OVERLAP = 0.9
"""Share below which the user is told that PET is missing."""


AIR_HU = -1024.0
"""Scanners fill the corners outside their field of view with less, which is air too."""


CT_PERCENTILES = (1.0, 99.5)


PET_PERCENTILES = (0.0, 99.5)
"""Metal, a full bladder and hot nodes would leave all else in a few bins; only the metric sees clipped values."""


BODY_BORDER_MM = 30.0
"""Air around the body in which the metric looks: the skin shows in both images."""


@dataclass(frozen=True)
class StageResult:
    """One stage.

    Attributes:
        name: "rigid" or "deformable".
        metric_before: Negative mutual information before the stage, over all voxels of the finest level in and around
            the body.
        metric_after: After it, over the same voxels.
        iterations: Of all its levels.
        kept: Whether the metric fell by enough; else the result is that of the stage before.
    """

    name: str
    metric_before: float
    metric_after: float
    iterations: int
    kept: bool


@dataclass(frozen=True)
class PetRegistration:
    """The result.

    Attributes:
        transform: From a point of the CT to the point of the PET that belongs there, LPS in mm: what resampling takes.
        stages: In their order.
        overlap: Share of the CT's body that the PET covers, registered.
        overlap_before: The same as the scanner placed the images.
        check: The transform over the CT's grid.
        messages: What the user should know.
    """

    transform: sitk.Transform
    stages: tuple[StageResult, ...]
    overlap: float
    overlap_before: float
    check: TransformCheck
    messages: tuple[str, ...]


def register_pet(
    ct: sitk.Image,
    pet: sitk.Image,
    settings: PetRegistrationSettings | None = None,
    progress: Progress = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> PetRegistration:
    """Find where each point of a CT lies in a PET.

    Starts where the scanner placed both images in the patient. The same input gives the same transform, bit by bit, on
    one machine: the optimisation runs in one thread. The images are not changed.

    Args:
        ct: 3D, scalar; any unit, spacing and direction cosines.
        pet: 3D, scalar; any unit, on any grid.
        settings: The defaults for None.
        progress: Called with the stage and the fraction done, at each iteration.
        cancelled: Asked at each iteration.

    Raises:
        UserInputError: An image is no 3D volume of finite, varying voxels, or the PET covers too little of the CT.
        Cancelled: As `cancelled` says.
    """
    settings = settings or PetRegistrationSettings()
    _check_image(ct, "CT")
    _check_image(pet, "PET")
    ct, pet = _clipped(sitk.Clamp(ct, sitk.sitkFloat32, AIR_HU), CT_PERCENTILES), _clipped(pet, PET_PERCENTILES)
    body = _body(_shrunk(ct, settings.rigid_levels_mm[-1]))
    identity = sitk.Euler3DTransform()
    before = covered_share(body, pet, identity)
    _check_overlap(before, ct, pet)
    matcher = _Matcher(ct, pet, _with_border(body), settings, progress, cancelled)
    with _one_thread():
        transform, stages = _run_stages(matcher, settings)
    check = check_transform(transform, ct, progress, cancelled)
    overlap = covered_share(body, pet, transform)
    return PetRegistration(transform, stages, overlap, before, check, _messages(stages, overlap, check))


def resample_pet(pet: sitk.Image, grid: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """The PET on a grid: float32, linear, 0 (no activity) where the PET does not reach."""
    return sitk.Resample(pet, grid, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32)


def resample_ct(ct: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """The CT on a grid: float32, linear, its lowest value (air) where it does not reach."""
    air = float(sitk.GetArrayViewFromImage(ct).min())
    return sitk.Resample(ct, grid, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkLinear, air, sitk.sitkFloat32)


def _run_stages(matcher: _Matcher, settings: PetRegistrationSettings) -> tuple[sitk.Transform, tuple[StageResult, ...]]:
    identity, rigid = (_centred(matcher.ct) for _ in range(2))
    start = matcher.metric(identity)
    iterations = matcher.rigid(rigid)
    stages = [_stage("rigid", start, matcher.metric(rigid), iterations, settings.rigid_least_gain)]
    kept = rigid if stages[0].kept else identity
    if not settings.deformable:
        return sitk.CompositeTransform([kept]), tuple(stages)
    spline, bound_mm = _spline(matcher.ct, settings.control_point_spacing_mm)
    iterations = matcher.deformable(kept, spline, step_mm=bound_mm)
    spline.SetParameters(np.clip(spline.GetParameters(), -bound_mm, bound_mm).tolist())
    both = sitk.CompositeTransform([kept, spline])  # the last one is applied first
    before = stages[0].metric_after if stages[0].kept else start
    stages.append(_stage("deformable", before, matcher.metric(both), iterations, settings.deformable_least_gain))
    return (both if stages[1].kept else sitk.CompositeTransform([kept])), tuple(stages)


def _stage(name: str, before: float, after: float, iterations: int, least_gain: float) -> StageResult:
    return StageResult(name, before, after, iterations, kept=before - after > least_gain * abs(before))


def _centred(ct: sitk.Image) -> sitk.Euler3DTransform:
    """The identity, turning about the middle of the CT's grid."""
    transform = sitk.Euler3DTransform()
    transform.SetCenter(ct.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in ct.GetSize()]))
    return transform


def _spline(ct: sitk.Image, spacing_mm: float) -> tuple[sitk.BSplineTransform, float]:
    """A B-spline at rest over the CT, and how far its coefficients may go, in mm, without folding space."""
    extent = np.array(ct.GetSize()) * np.array(ct.GetSpacing())
    mesh = np.maximum(1, np.round(extent / spacing_mm)).astype(int)
    spline = sitk.BSplineTransformInitializer(ct, mesh.tolist(), 3)
    # coefficients run along patient axes, the condition along the grid's: a component there is at most |column|_1 of it
    most = np.abs(np.reshape(ct.GetDirection(), (3, 3))).sum(axis=0).max()
    return spline, float(INJECTIVE_SHARE * (extent / mesh).min() / most)


def _check_image(image: sitk.Image, name: str) -> None:
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UserInputError(
            f"The {name} is {image.GetDimension()}D with {image.GetNumberOfComponentsPerPixel()} values per voxel; "
            "give a 3D scalar volume"
        )
    if min(image.GetSize()) < 2:
        raise UserInputError(f"The {name} is one slice ({' x '.join(map(str, image.GetSize()))}); give a 3D volume")
    voxels = sitk.GetArrayViewFromImage(image)
    if not np.isfinite(voxels).all():
        raise UserInputError(f"The {name} has {int((~np.isfinite(voxels)).sum())} NaN or infinite voxels; replace them")
    if voxels.min() == voxels.max():
        raise UserInputError(f"The {name} is {float(voxels.min()):g} everywhere; give an image that shows something")


def _check_overlap(overlap: float, ct: sitk.Image, pet: sitk.Image) -> None:
    if overlap < LEAST_OVERLAP:
        raise UserInputError(
            f"The PET covers {overlap:.0%} of the CT's body in patient space (the CT is centred at {_centre(ct)}, the "
            f"PET at {_centre(pet)}, LPS in mm); check that they belong together, and align them roughly first"
        )


def _centre(image: sitk.Image) -> str:
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    return "(" + ", ".join(f"{value:.0f}" for value in middle) + ")"


def _clipped(image: sitk.Image, percentiles: tuple[float, float]) -> sitk.Image:
    voxels = sitk.GetArrayViewFromImage(image)
    low, high = (float(value) for value in np.percentile(voxels, percentiles))
    if low == high:  # nearly all voxels are air
        low, high = float(voxels.min()), float(voxels.max())
    clipped: sitk.Image = sitk.Clamp(image, sitk.sitkFloat32, low, high)
    return clipped


def _body(ct: sitk.Image) -> sitk.Image:
    """The largest connected piece that is brighter than air; lungs are not in it."""
    parts = sitk.ConnectedComponent(sitk.OtsuThreshold(ct, 0, 1))
    body: sitk.Image = sitk.RelabelComponent(parts, sortByObjectSize=True) == 1
    return body


def _with_border(body: sitk.Image) -> sitk.Image:
    distance = sitk.SignedMaurerDistanceMap(body, squaredDistance=False, useImageSpacing=True)
    mask: sitk.Image = sitk.Cast(distance <= BODY_BORDER_MM, sitk.sitkUInt8)
    return mask


def _messages(stages: tuple[StageResult, ...], overlap: float, check: TransformCheck) -> tuple[str, ...]:
    lines = [
        f"the {stage.name} stage was not kept: it did not improve the match enough, by the metric "
        f"({stage.metric_before:.4f} to {stage.metric_after:.4f})"
        for stage in stages
        if not stage.kept
    ]
    if check.negative_jacobians:
        lines.append(
            f"the transform folds {check.negative_jacobians} of {check.voxels} voxels ({check.negative_share:.2%}): "
            "do not trust the PET there"
        )
    if overlap < POOR_OVERLAP:
        lines.append(f"the PET covers only {overlap:.0%} of the CT's body: it is 0 in the rest")
    return tuple(lines)
