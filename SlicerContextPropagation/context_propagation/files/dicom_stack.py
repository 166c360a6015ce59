"""Slices as one stack, even or made even: each is compared with it by its own header; what does not fit is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.even_slices import TOLERANCE, EvenSlices, allowed_offset, even_slices
from context_propagation.files.dicom_headers import PHASE, SHARED, SliceHeader
from context_propagation.files.image_axes import at_right_angles

REMEDY = "resample to even spacing (context-propagation even-slices)"


SAME_POSITION = 0.1
"""How close two slices of one position lie, in steps."""


@dataclass(frozen=True)
class Stack:
    """Slices in the order of k, and the grid on which they lie.

    Attributes:
        order: Numbers of the headers that were given.
        ijk_to_lps: float `[4, 4]`.
    """

    order: list[int]
    ijk_to_lps: np.ndarray


def even_stack(what: str, headers: Sequence[SliceHeader]) -> Stack:
    """Sort slices along their normal and check that they are the slices of one even grid.

    Args:
        what: Starts the message, such as "DICOM folder 'ct'".
        headers: At least two.

    Raises:
        UserInputError: They differ in patient, frame of reference, size, orientation or pixel spacing; they lie
            unevenly, beside each other or on one another.
    """
    stack, along = _sorted(what, headers)
    ordered = [headers[number] for number in stack.order]
    _check_not_sideways(what, ordered, stack.ijk_to_lps)
    _check_evenly(what, ordered, along)
    return stack


def stack_made_even(what: str, headers: Sequence[SliceHeader]) -> tuple[Stack, EvenSlices]:
    """Sort slices along their normal, and plan an even stack for those that lie unevenly.

    Args:
        what: Starts the message, such as "DICOM folder 'ct'".
        headers: At least two.

    Returns:
        The order of the slices with the grid of the even stack, and that stack.

    Raises:
        UserInputError: As `even_stack`, but for uneven distances; the stack would be far larger.
    """
    stack, along = _sorted(what, headers)
    _check_not_sideways(what, [headers[number] for number in stack.order], stack.ijk_to_lps)
    even = even_slices(what, along)
    matrix = stack.ijk_to_lps.copy()
    normal = matrix[:3, 2] / np.linalg.norm(matrix[:3, 2])
    matrix[:3, 2] = normal * even.step_mm
    matrix[:3, 3] += normal * even.start_mm
    return Stack(stack.order, matrix), even


def _sorted(what: str, headers: Sequence[SliceHeader]) -> tuple[Stack, np.ndarray]:
    """The order of slices on the grid of their mean distance, and where each lies along the normal, in that order."""
    _check_shared(what, headers)
    axes = np.quantile([header.axes_mm for header in headers], 0.5, axis=0, method="lower")
    straight = _straight(what, axes, headers[0].shape_ji)
    normal = straight[:3, 2]
    along = np.array([header.corner_lps_mm @ normal for header in headers])
    order = np.argsort(along, kind="stable").tolist()
    ordered, along = [headers[number] for number in order], along[order]
    step = (along[-1] - along[0]) / (len(order) - 1)
    matrix = np.eye(4)
    matrix[:3, :3] = np.column_stack([straight[:3, :2], normal * step])
    matrix[:3, 3] = ordered[0].corner_lps_mm + straight[:3, 3]
    _check_same_axes(what, ordered, axes)
    _check_positions_once(what, ordered, along)
    return Stack(order, matrix), along


def _check_shared(what: str, headers: Sequence[SliceHeader]) -> None:
    for keyword in SHARED:
        _check_alike(what, headers, [header.shared[keyword] for header in headers], keyword)
    sizes = [f"{header.shape_ji[1]} x {header.shape_ji[0]} pixels" for header in headers]
    _check_alike(what, headers, sizes, "size")


def _check_alike(what: str, headers: Sequence[SliceHeader], values: Sequence[str], of: str) -> None:
    usual = Counter(values).most_common(1)[0][0]
    other = next((number for number, value in enumerate(values) if value != usual), None)
    if other is not None:
        raise UserInputError(
            f"{what}: {headers[other].name} has the {of} '{values[other]}' where '{usual}' is usual; "
            "remove what does not belong to the series, or export it again"
        )


def _straight(what: str, axes: np.ndarray, shape_ji: tuple[int, int]) -> np.ndarray:
    """Axes `[3, 2]` set at right angles, their unit normal, and by how much the first voxel moves: `[4, 4]`."""
    normal = np.cross(axes[:, 0], axes[:, 1])
    length = float(np.linalg.norm(normal))
    matrix = np.eye(4)
    matrix[:3, :3] = np.column_stack([axes, normal / length if length else axes[:, 0]])
    return at_right_angles(matrix, (shape_ji[1], shape_ji[0], 1), what)


def _check_same_axes(what: str, headers: Sequence[SliceHeader], axes: np.ndarray) -> None:
    """Refuse a slice whose last voxel would be misplaced by the orientation or pixel spacing of the others."""
    sizes = np.linalg.norm(axes, axis=0)
    rows, columns = headers[0].shape_ji
    for header in headers:
        off_mm = np.abs((header.axes_mm - axes) * (columns - 1, rows - 1)).sum(axis=1).max()
        own = np.linalg.norm(header.axes_mm, axis=0)
        if off_mm <= (allowed_offset(sizes) * sizes).min():
            continue
        if (np.abs(own - sizes) * (columns - 1, rows - 1) > allowed_offset(sizes) * sizes).any():
            raise UserInputError(
                f"{what}: {header.name} has pixels of {_size(own[::-1])} mm where {_size(sizes[::-1])} mm is usual; "
                "remove what does not belong to the series, or resample it"
            )
        degrees = np.degrees(np.arccos(np.clip((header.axes_mm * axes).sum(axis=0) / own / sizes, -1, 1))).max()
        raise UserInputError(
            f"{what}: {header.name} has another orientation than the other slices, by {degrees:.3g} degrees; remove it "
            "where it is a localizer, or export the series again"
        )


def _check_positions_once(what: str, headers: Sequence[SliceHeader], along: np.ndarray) -> None:
    """Refuse slices that were sent twice, and several phases in one series."""
    steps = np.diff(along)
    apart = steps[steps > 1e-3]
    usual = float(np.median(apart)) if apart.size else 1.0
    starts = np.flatnonzero(np.concatenate([[True], steps > SAME_POSITION * usual]))
    counts = np.diff([*starts, len(along)])
    if counts.max() == 1:
        return
    if len(set(counts.tolist())) == 1 and (len(counts) > 1 or counts[0] > 2):
        raise UserInputError(
            f"{what} holds {counts[0]} images at each of {len(counts)} positions: several phases"
            f"{_differing(headers[: counts[0]])}; put the slices of one phase in a folder of their own"
        )
    first = int(starts[np.argmax(counts)])
    names = " and ".join(header.name for header in headers[first : first + 2])
    raise UserInputError(
        f"{what}: {names} lie at the same position; a slice was sent twice, or phases are mixed: keep one of each"
    )


def _differing(headers: Sequence[SliceHeader]) -> str:
    """By which attribute images of one position differ, for a message."""
    for keyword in PHASE:
        values = [header.phase.get(keyword, "") for header in headers]
        if len(set(values)) == len(values):
            return f" ({keyword} {', '.join(repr(value) for value in values[:4])})"
    return ""


def _check_not_sideways(what: str, headers: Sequence[SliceHeader], matrix: np.ndarray) -> None:
    """Compare where each slice's first voxel lies within the slice with the first slice's."""
    corners = np.array([header.corner_lps_mm for header in headers])
    sizes = np.linalg.norm(matrix[:3, :2], axis=0)
    index = np.linalg.solve(matrix[:3, :3], (corners - corners[0]).T).T[:, :2]
    if (np.abs(index) > allowed_offset(sizes)).any():
        raise _sideways(what, headers, index * sizes)


def _check_evenly(what: str, headers: Sequence[SliceHeader], along: np.ndarray) -> None:
    """Compare where each slice lies along the normal with the even stack of the same number."""
    step = (along[-1] - along[0]) / (len(along) - 1)
    index = (along - along[0]) / step
    if (np.abs(index - np.arange(len(along))) > allowed_offset(np.array(step))).any():
        raise _uneven(what, headers, along)


def _sideways(what: str, headers: Sequence[SliceHeader], aside_mm: np.ndarray) -> UserInputError:
    shifts = np.linalg.norm(np.diff(aside_mm, axis=0), axis=1)
    usual = float(np.median(shifts))
    if usual > 1e-3 and shifts.max() < 2 * usual + 1e-2:
        return UserInputError(
            f"{what} has slices shifted {usual:.3g} mm sideways from one to the next (gantry tilt?); "
            "correct the tilt and give a volume file"
        )
    worst = int(np.argmax(np.linalg.norm(aside_mm - np.median(aside_mm, axis=0), axis=1)))
    shift = float(np.linalg.norm(aside_mm[worst] - np.median(aside_mm, axis=0)))
    return UserInputError(
        f"{what}: {headers[worst].name} lies {shift:.3g} mm sideways of the other slices; "
        "remove what does not belong to the series, or export it again"
    )


def _uneven(what: str, headers: Sequence[SliceHeader], along: np.ndarray) -> UserInputError:
    steps = np.diff(along)
    usual = float(np.median(steps))
    multiples = steps / usual
    worst = int(np.argmax(np.abs(multiples - 1)))
    step = f"{what} has a step of {steps[worst]:.4g} mm between {headers[worst].name} and {headers[worst + 1].name}"
    where = f"{step} where {usual:.4g} mm is usual"
    if multiples[worst] > 1.5 and abs(multiples[worst] - round(multiples[worst])) < 2 * TOLERANCE:
        return UserInputError(f"{where}; add the missing slices, or {REMEDY}")
    return UserInputError(f"{where}: its slices are spaced unevenly; {REMEDY}")


def _size(sizes_mm: np.ndarray) -> str:
    return " x ".join(f"{size:.7g}" for size in sizes_mm)
