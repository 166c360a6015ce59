"""Accuracy measures (paper III-C), computed by MONAI, and added path length; in three scopes.

    Dice(P, Y) = 2 |P and Y| / (|P| + |Y|)                                            Eq. 8
    HD(P, Y) = max(max_p min_y d(p, y), max_y min_p d(p, y))                          Eq. 9; here its 95th percentile
    Sensitivity(P, Y) = |P and Y| / |Y|                                               Eq. 10
    Specificity(P, Y) = |not P and not Y| / |not Y|                                   Eq. 11

P is the prediction, Y the ground truth, p and y are voxels of their surfaces; what empty masks give is in `Measures`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch

from context_propagation.core.image.slices import near_indices
from context_propagation.core.optional_dependency import require

SURFACE_TOLERANCE_MM = 2.0


SCOPES = ("whole", "near", "far")
"""The whole volume; the edited slice(s) s +- n; all slices but those."""


@dataclass(frozen=True)
class Measures:
    """Of a prediction P against the ground truth Y.

    Attributes:
        dsc: Dice similarity coefficient (Eq. 8); 1 where both are empty, 0 where one is.
        hd95_mm: 95th percentile of the Hausdorff distance (Eq. 9), the larger of both directions, between voxel
            centres of the masks' outer voxels; 0 where both are empty, infinite where one is.
        sensitivity: |P and Y| / |Y| (Eq. 10); 1 where Y is empty (nothing was overlooked), so 0 where only P is.
        specificity: |not P and not Y| / |not Y| (Eq. 11); 1 where Y leaves no voxel out.
        surface_dice_2mm: Share of both surfaces' area that lies within 2 mm of the other surface (Nikolov et al. 2021);
            1 where both are empty, 0 where one is.
        added_path_length_mm: See `added_path_length_mm`; 0 where Y is empty, Y's whole contour where P is.
    """

    dsc: float
    hd95_mm: float
    sensitivity: float
    specificity: float
    surface_dice_2mm: float
    added_path_length_mm: float


@dataclass(frozen=True)
class ScopedMeasures:
    """Measures of one prediction: whole volume, near slices (s +- n), and far slices (the others)."""

    whole: Measures
    near: Measures
    far: Measures


def measure(
    predicted: np.ndarray, truth: np.ndarray, spacing_kji_mm: tuple[float, float, float], axis: int = 0
) -> Measures:
    """Compare two masks.

    Args:
        predicted: bool `[K, J, I]`.
        truth: bool `[K, J, I]`.
        spacing_kji_mm: Voxel size along k, j, i.
        axis: Array axis that the drawn slices are perpendicular to; only the added path length depends on it.

    Raises:
        MissingDependencyError: MONAI is not installed.
    """
    return _measure(predicted, truth, spacing_kji_mm, axis, [range(truth.shape[axis])])[0]


def measure_scopes(
    predicted: np.ndarray,
    truth: np.ndarray,
    spacing_kji_mm: tuple[float, float, float],
    axis: int,
    indices: Sequence[int],
    neighbours: int = 2,
) -> ScopedMeasures:
    """Compare two masks in the three scopes.

    Only what lies on a scope's slices counts: voxels, contours, and elements of the surface. The surface is that of the
    whole mask, and distances run to the whole surface of the other: a cut through the mask is no surface. (Were the
    slices cut out instead, as in `measure(near_slices(...), ...)`, the two flat ends, which agree wherever the masks
    overlap, would make the distances look small.)

    Args:
        predicted: bool `[K, J, I]`.
        truth: bool `[K, J, I]`.
        spacing_kji_mm: Voxel size along k, j, i.
        axis: Array axis that the edited slices are perpendicular to.
        indices: The edited slices.
        neighbours: n: how many slices on each side are near.

    Raises:
        MissingDependencyError: MONAI is not installed.
    """
    scopes = [scope_slices(scope, truth.shape[axis], indices, neighbours) for scope in SCOPES]
    return ScopedMeasures(*_measure(predicted, truth, spacing_kji_mm, axis, scopes))


def scope_slices(scope: str, slices: int, indices: Sequence[int], neighbours: int) -> list[int]:
    """The slices of a scope, among `slices` slices of which `indices` are edited.

    Raises:
        ValueError: The scope is none of whole, near, far.
    """
    if scope not in SCOPES:
        raise ValueError(f"Scope '{scope}' is unknown; take one of {', '.join(SCOPES)}")
    if scope == "whole":
        return list(range(slices))
    near = near_indices(indices, neighbours, slices)
    return near if scope == "near" else sorted(set(range(slices)) - set(near))


def near_slices(mask: np.ndarray, axis: int, index: int, neighbours: int) -> np.ndarray:
    """The slices s - n ... s + n of a mask."""
    return mask.take(near_indices([index], neighbours, mask.shape[axis]), axis)


def added_path_length_mm(
    predicted: np.ndarray, truth: np.ndarray, spacing_kji_mm: tuple[float, float, float], axis: int
) -> float:
    """How much contour must be drawn to turn the prediction into the ground truth.

    On each slice, the pixels of the ground truth's contour that are not in the prediction's contour are counted; a
    contour pixel is a mask pixel with a background pixel beside it (not diagonally), beyond the picture's border being
    background. Their number, summed over slices, times the in-plane pixel size: the geometric mean of the two sides
    where these differ. Erasing what is too much costs nothing.

    Args:
        predicted: bool `[K, J, I]`.
        truth: bool `[K, J, I]`.
        spacing_kji_mm: Voxel size along k, j, i.
        axis: Array axis that the drawn slices are perpendicular to.

    Source: Vaassen et al., Evaluation of measures for assessing time-saving of automatic organ-at-risk segmentation in
    radiotherapy, Physics and Imaging in Radiation Oncology 13, 2020 (there with tolerance 0, in pixels).
    """
    return int(_added_pixels(predicted, truth, axis).sum()) * _pixel_mm(spacing_kji_mm, axis)


def _pixel_mm(spacing_kji_mm: tuple[float, float, float], axis: int) -> float:
    return math.sqrt(math.prod(mm for a, mm in enumerate(spacing_kji_mm) if a != axis))


def _added_pixels(predicted: np.ndarray, truth: np.ndarray, axis: int) -> np.ndarray:
    """Contour pixels of the truth that the prediction's contour has not, of each slice: int `[slices]`."""
    p, y = (np.moveaxis(mask, axis, 0) for mask in (predicted, truth))
    drawn = y.any(axis=(1, 2))
    added = np.zeros(len(y), int)
    if drawn.any():
        added[drawn] = (_contours(y[drawn]) & ~_contours(p[drawn])).sum(axis=(1, 2))
    return added


def _contours(slices: np.ndarray) -> np.ndarray:
    """Contour pixels of slices, bool `[N, H, W]`: all of them below each other in one picture, background between."""
    apart = np.pad(slices, ((0, 0), (1, 1), (1, 1))).astype(np.uint8)
    picture = sitk.GetImageFromArray(apart.reshape(-1, apart.shape[2]))
    contours = sitk.GetArrayFromImage(sitk.BinaryContour(picture, fullyConnected=False))
    return np.asarray(contours.reshape(apart.shape)[:, 1:-1, 1:-1] > 0)


@dataclass(frozen=True)
class _SurfaceDistances:
    """From each element of one mask's surface to the other mask's surface.

    Attributes:
        slices: int `[N, 2]`, the first and the last slice that the element touches.
        distances_mm: float `[N]`.
        areas_mm2: float `[N]`.
    """

    slices: np.ndarray
    distances_mm: np.ndarray
    areas_mm2: np.ndarray

    def on(self, slices: Sequence[int]) -> _SurfaceDistances:
        """The elements that touch any of these slices."""
        kept = np.isin(self.slices, slices).any(axis=1)
        return _SurfaceDistances(self.slices[kept], self.distances_mm[kept], self.areas_mm2[kept])


_BothWays = tuple[_SurfaceDistances, _SurfaceDistances]
"""From the prediction's surface to the truth's, and back."""


def _measure(
    predicted: np.ndarray,
    truth: np.ndarray,
    spacing_kji_mm: tuple[float, float, float],
    axis: int,
    scopes: Sequence[Sequence[int]],
) -> list[Measures]:
    """Measures on each scope, given as slices along `axis`."""
    require("monai", extra="evaluation")
    plane_voxels = truth.size // truth.shape[axis]
    predicted, truth, first = _cut_to_box(predicted.astype(bool), truth.astype(bool), axis)
    voxels = outer = None
    if predicted.any() and truth.any():
        voxels = _outer_voxel_distances(predicted, truth, spacing_kji_mm, axis)
        outer = _surface_element_distances(predicted, truth, spacing_kji_mm, axis)
    added = _added_pixels(predicted, truth, axis)
    found = []
    for scope in scopes:
        inside = [index - first for index in scope if 0 <= index - first < truth.shape[axis]]
        p, y = predicted.take(inside, axis), truth.take(inside, axis)
        sensitivity, specificity = _sensitivity_and_specificity(p, y, len(scope) * plane_voxels)
        one_is_empty = p.any() != y.any()
        both = p.any() and y.any()
        found.append(
            Measures(
                dsc=dice(p, y),
                hd95_mm=_hd95_mm(voxels, inside) if voxels and both else math.inf if one_is_empty else 0.0,
                sensitivity=sensitivity,
                specificity=specificity,
                surface_dice_2mm=_surface_dice(outer, inside) if outer and both else 0.0 if one_is_empty else 1.0,
                added_path_length_mm=int(added[inside].sum()) * _pixel_mm(spacing_kji_mm, axis),
            )
        )
    return found


def _cut_to_box(predicted: np.ndarray, truth: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Both masks in the box around them, and its first slice: a CT is mostly air, and MONAI counts in float32."""
    either = predicted | truth
    if not either.any():
        return predicted, truth, 0
    box = []
    for a in range(3):
        inside = np.flatnonzero(either.any(axis=tuple(b for b in range(3) if b != a)))
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return predicted[tuple(box)], truth[tuple(box)], box[axis].start


def _batch(mask: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(mask))[None, None].float()  # 1 1 K J I


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """DSC, 2 |P and Y| / (|P| + |Y|) (Eq. 8), of two masks, bool `[K, J, I]`; 1 where both are empty."""
    if not predicted.any() and not truth.any():
        return 1.0
    metrics = require("monai.metrics", extra="evaluation")
    return float(metrics.compute_dice(_batch(predicted), _batch(truth), ignore_empty=False))


def _sensitivity_and_specificity(predicted: np.ndarray, truth: np.ndarray, voxels: int) -> tuple[float, float]:
    """|P and Y| / |Y| and |not P and not Y| / |not Y| (Eq. 10-11) of a scope with so many voxels.

    Those of them that are not in the masks' box are true negatives.
    """
    metrics = require("monai.metrics", extra="evaluation")
    counts = torch.zeros(1, 1, 4, dtype=torch.float64)  # TP, FP, TN, FN
    if truth.size:
        counts += metrics.get_confusion_matrix(_batch(predicted), _batch(truth))
    counts[..., 2] += voxels - truth.size
    shares = [metrics.compute_confusion_matrix_metric(name, counts) for name in ("sensitivity", "specificity")]
    sensitivity, specificity = (1.0 if torch.isnan(share).any() else float(share) for share in shares)
    return sensitivity, specificity


def _outer_voxel_distances(
    predicted: np.ndarray, truth: np.ndarray, spacing_kji_mm: tuple[float, float, float], axis: int
) -> _BothWays:
    """Between the centres of voxels with a face to the background; what `monai.compute_hausdorff_distance` measures."""
    metrics = require("monai.metrics.utils", extra="evaluation")
    p, y = map(np.asarray, metrics.get_mask_edges(*_padded(predicted, truth), crop=False))
    return _both_ways(p, y, np.ones(p.shape), np.ones(y.shape), spacing_kji_mm, axis, (-1, -1))


def _surface_element_distances(
    predicted: np.ndarray, truth: np.ndarray, spacing_kji_mm: tuple[float, float, float], axis: int
) -> _BothWays:
    """Between surface elements at the voxels' corners, with areas; what `monai.compute_surface_dice` measures."""
    metrics = require("monai.metrics.utils", extra="evaluation")
    found = metrics.get_mask_edges(*_padded(predicted, truth), crop=False, spacing=spacing_kji_mm)
    p, y, areas_p, areas_y = map(np.asarray, found)
    return _both_ways(p, y, areas_p, areas_y, spacing_kji_mm, axis, (-1, 0))


def _padded(predicted: np.ndarray, truth: np.ndarray) -> list[torch.Tensor]:
    return [torch.as_tensor(np.pad(mask, 1)) for mask in (predicted, truth)]


def _both_ways(
    p: np.ndarray,
    y: np.ndarray,
    areas_p: np.ndarray,
    areas_y: np.ndarray,
    spacing_kji_mm: tuple[float, float, float],
    axis: int,
    touched: tuple[int, int],
) -> _BothWays:
    """Distances between two surfaces; element k of an array touches the slices k + touched."""
    p, y = p.astype(bool), y.astype(bool)
    slices_p, slices_y = (np.nonzero(edges)[axis][:, None] + np.array(touched) for edges in (p, y))
    return (
        _SurfaceDistances(slices_p, _distances_mm(p, y, spacing_kji_mm), areas_p[p].astype(float)),
        _SurfaceDistances(slices_y, _distances_mm(y, p, spacing_kji_mm), areas_y[y].astype(float)),
    )


def _distances_mm(of: np.ndarray, to: np.ndarray, spacing_kji_mm: tuple[float, float, float]) -> np.ndarray:
    """From each element of a surface to the other one; 0 where it lies on both, which needs no search."""
    distance = require("monai.metrics.utils", extra="evaluation").get_surface_distance
    found = np.zeros(of.shape)
    apart = of & ~to
    if apart.any():
        found[apart] = distance(apart, to, spacing=spacing_kji_mm)
    return np.asarray(found[of])


def _hd95_mm(surfaces: _BothWays, slices: Sequence[int]) -> float:
    """max(P95_p min_y d(p, y), P95_y min_p d(p, y)): Eq. 9 with the 95th percentile in place of the inner maximum."""
    return max(float(np.percentile(surface.on(slices).distances_mm, 95)) for surface in surfaces)


def _surface_dice(surfaces: _BothWays, slices: Sequence[int]) -> float:
    near = total = 0.0
    for surface in surfaces:
        on = surface.on(slices)
        near += float(on.areas_mm2[on.distances_mm <= SURFACE_TOLERANCE_MM].sum())
        total += float(on.areas_mm2.sum())
    return near / total
