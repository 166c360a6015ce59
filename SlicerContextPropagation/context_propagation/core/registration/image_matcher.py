"""Rigid, then B-spline matching of two images by mutual information (SimpleITK)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import Cancelled, UserInputError


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


def _shrunk(image: sitk.Image, voxel_mm: float) -> sitk.Image:
    """Means over blocks of voxels of about this size; two voxels at least are left along each axis."""
    factors = [
        max(1, min(round(voxel_mm / s), n // 2)) for s, n in zip(image.GetSpacing(), image.GetSize(), strict=True)
    ]
    shrunk: sitk.Image = sitk.BinShrink(image, factors)
    return shrunk


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
