"""A PET onto the grid of a CT: rigid, then B-spline, by mutual information.

Source: method 9, paper III-A (registration and spacing of the oesophagus data); Mattes et al., IEEE Trans Med Imaging
22(1), 2003 (the metric, PET on CT).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.transform_check import TransformCheck, check_transform, covered_share

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
BODY_MARGIN_MM = 30.0
"""Air around the body in which the metric looks: the skin shows in both images."""


@dataclass(frozen=True)
class PetRegistrationSettings:
    """How a PET is registered.

    Attributes:
        deformable: Whether a B-spline follows the rigid stage.
        control_point_spacing_mm: Of the B-spline, about; a whole number of intervals fits the CT.
        bins: Of the joint histogram, per image.
        samples: Voxels at which the metric is evaluated, at most; drawn with `seed`.
        rigid_levels_mm: Voxel size at each level of the rigid stage, coarse to fine, about; the last is the finest
            of all, at which stages are compared.
        rigid_iterations: Per level, at most.
        deformable_iterations: At most.
        rigid_least_gain: The rigid stage is kept where it lowers the metric by more than this share of its value.
        deformable_least_gain: The same of the B-spline. Between images that are aligned it still gains 3 to 4 %
            (docs/pet-registration.md): less than this is no evidence of a deformation.
        seed: Of the samples.
    """

    deformable: bool = True
    control_point_spacing_mm: float = 50.0
    bins: int = 50
    samples: int = 20_000
    rigid_levels_mm: tuple[float, ...] = (12.0, 6.0, 4.0)
    rigid_iterations: int = 60
    deformable_iterations: int = 25
    rigid_least_gain: float = 0.01
    deformable_least_gain: float = 0.05
    seed: int = 1


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
    matcher = _Matcher(ct, pet, _with_margin(body), settings, progress, cancelled)
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


class _Matcher:
    """Two images at several resolutions, and the metric between them."""

    def __init__(
        self,
        ct: sitk.Image,
        pet: sitk.Image,
        mask: sitk.Image,
        settings: PetRegistrationSettings,
        progress: Progress,
        cancelled: CancelCheck,
    ) -> None:
        self.ct = ct
        self._pet = pet
        self._mask = mask
        self._settings = settings
        self._progress = progress
        self._cancelled = cancelled

    def metric(self, transform: sitk.Transform) -> float:
        """Negative mutual information over all voxels of the finest level in the mask."""
        method = self._method()
        method.SetInitialTransform(transform)
        return float(method.MetricEvaluate(*self._pair(self._settings.rigid_levels_mm[-1], 0.0)))

    def rigid(self, transform: sitk.Transform) -> int:
        """Optimise a rigid transform in place; iterations."""
        levels = self._settings.rigid_levels_mm
        done = 0
        for number, level_mm in enumerate(levels):
            method = self._method()
            method.SetInitialTransform(transform, True)
            method.SetOptimizerAsRegularStepGradientDescent(
                learningRate=level_mm / 2,
                minStep=level_mm / 200,
                numberOfIterations=self._settings.rigid_iterations,
                gradientMagnitudeTolerance=1e-8,
            )
            method.SetOptimizerScalesFromPhysicalShift()
            smoothing_mm = 0.0 if number == len(levels) - 1 else level_mm * 2 / 3
            start, share = number / len(levels), 1 / len(levels)
            done += self._execute(
                method, level_mm, smoothing_mm, "rigid", (start, share), self._settings.rigid_iterations
            )
        return done

    def deformable(self, rigid: sitk.Transform, spline: sitk.BSplineTransform, step_mm: float) -> int:
        """Optimise a B-spline, which comes before the rigid transform, in place; iterations.

        All parameters are displacements in mm, so they need no scales.
        """
        method = self._method()
        method.SetMovingInitialTransform(rigid)
        method.SetInitialTransform(spline, True)
        iterations = self._settings.deformable_iterations
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=step_mm,
            minStep=step_mm / 200,
            numberOfIterations=iterations,
            relaxationFactor=0.6,
            gradientMagnitudeTolerance=1e-9,
        )
        return self._execute(method, self._settings.rigid_levels_mm[-1], 0.0, "deformable", (0.0, 1.0), iterations)

    def _pair(self, level_mm: float, smoothing_mm: float) -> tuple[sitk.Image, sitk.Image]:
        ct, pet = _shrunk(self.ct, level_mm), _shrunk(self._pet, level_mm)
        if smoothing_mm and min(*ct.GetSize(), *pet.GetSize()) >= 4:  # the recursive filter needs four voxels
            return sitk.SmoothingRecursiveGaussian(ct, smoothing_mm), sitk.SmoothingRecursiveGaussian(pet, smoothing_mm)
        return ct, pet

    def _method(self) -> sitk.ImageRegistrationMethod:
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(self._settings.bins)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetMetricFixedMask(self._mask)
        method.MetricUseMovingImageGradientFilterOff()  # the filter smooths: its gradient is not that of the metric
        return method

    def _execute(
        self,
        method: sitk.ImageRegistrationMethod,
        level_mm: float,
        smoothing_mm: float,
        stage: str,
        span: tuple[float, float],
        iterations: int,
    ) -> int:
        """Run one level; `span` is the start and the length of its part of the stage."""
        if self._cancelled():
            raise Cancelled
        ct, pet = self._pair(level_mm, smoothing_mm)
        in_mask = _mask_voxels(self._mask, ct)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(min(1.0, self._settings.samples / max(in_mask, 1)), self._settings.seed)
        stopped, failures = False, list[BaseException]()

        def iterated() -> None:
            nonlocal stopped
            try:
                self._progress(stage, span[0] + span[1] * min(1.0, (method.GetOptimizerIteration() + 1) / iterations))
                stopped = stopped or self._cancelled()
            except BaseException as error:  # ITK would print it and lose it
                failures.append(error)
            if stopped or failures:
                method.StopRegistration()

        method.AddCommand(sitk.sitkIterationEvent, iterated)
        _translated(lambda: method.Execute(ct, pet))
        if failures:
            raise failures[0]
        if stopped:
            raise Cancelled
        self._progress(stage, span[0] + span[1])
        return int(method.GetOptimizerIteration())


@contextmanager
def _one_thread() -> Iterator[None]:
    """ITK in one thread: several add up in any order. A filter's own setting does not reach its metric."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


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


def _shrunk(image: sitk.Image, voxel_mm: float) -> sitk.Image:
    """Means over blocks of voxels of about this size; two voxels at least are left along each axis."""
    factors = [
        max(1, min(round(voxel_mm / s), n // 2)) for s, n in zip(image.GetSpacing(), image.GetSize(), strict=True)
    ]
    shrunk: sitk.Image = sitk.BinShrink(image, factors)
    return shrunk


def _body(ct: sitk.Image) -> sitk.Image:
    """The largest connected piece that is brighter than air; lungs are not in it."""
    parts = sitk.ConnectedComponent(sitk.OtsuThreshold(ct, 0, 1))
    body: sitk.Image = sitk.RelabelComponent(parts, sortByObjectSize=True) == 1
    return body


def _with_margin(body: sitk.Image) -> sitk.Image:
    distance = sitk.SignedMaurerDistanceMap(body, squaredDistance=False, useImageSpacing=True)
    mask: sitk.Image = sitk.Cast(distance <= BODY_MARGIN_MM, sitk.sitkUInt8)
    return mask


def _mask_voxels(mask: sitk.Image, grid: sitk.Image) -> int:
    """How many voxels a grid has in a mask's volume: its sampling share is one of the voxels in the mask."""
    volume = np.prod(mask.GetSpacing()) * float(sitk.GetArrayViewFromImage(mask).sum())
    return round(float(volume / np.prod(grid.GetSpacing())))


def _translated(run: Callable[[], object]) -> None:
    try:
        run()
    except RuntimeError as error:
        raise UserInputError(
            "The PET cannot be registered: it moved out of the CT; check that they show the same patient and region"
        ) from error


def _messages(stages: tuple[StageResult, ...], overlap: float, check: TransformCheck) -> tuple[str, ...]:
    lines = [
        f"the {stage.name} stage was not kept: it did not lower the metric enough "
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
