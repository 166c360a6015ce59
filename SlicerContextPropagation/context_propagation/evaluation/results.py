"""The results of a protocol: the lines of its cases, and one frozen class for each table made of them."""

from __future__ import annotations

from dataclasses import dataclass, fields

from context_propagation.evaluation.rows import FUSION


@dataclass(frozen=True)
class CaseRow:
    """A line of cases.csv, whose columns are these: one row of the table on one scope of one case.

    Attributes:
        fold: The test fold's name.
        case: The case's name.
        pick: How the edited slice was chosen: worst or largest.
        level: Decoder level.
        edits: Number of edits so far.
        row: Name of the table's row.
        scope: whole, near or far.
        slice: Index of the slice that was edited last. This and what follows is None where nothing was measured.
        dsc: Eq. 8; for this and the other measures see `core.measures.accuracy.Measures`.
        hd95_mm: See there.
        sensitivity: See there.
        specificity: See there.
        surface_dice_2mm: See there.
        added_path_length_mm: See there.
        regressed_slices: Untouched slices whose DSC fell by more than 0.02.
        untouched_slices: All slices that were not drawn.
        far_voxels_changed: Voxels on far slices that changed.
        far_voxels: All voxels on far slices.
        new_islands: See `core.measures.appearance`.
        seam_mm2: See there; of the slice that was edited last.
        drawn_exact: Whether all drawn slices are exactly as drawn.
        seconds: Of the last edit.
        error: What went wrong, or `NEEDED_NO_EDIT`; empty where the line was measured.
    """

    fold: str
    case: str
    pick: str
    level: int
    edits: int
    row: str
    scope: str
    slice: int | None = None
    dsc: float | None = None
    hd95_mm: float | None = None
    sensitivity: float | None = None
    specificity: float | None = None
    surface_dice_2mm: float | None = None
    added_path_length_mm: float | None = None
    regressed_slices: int | None = None
    untouched_slices: int | None = None
    far_voxels_changed: int | None = None
    far_voxels: int | None = None
    new_islands: int | None = None
    seam_mm2: float | None = None
    drawn_exact: bool | None = None
    seconds: float | None = None
    error: str = ""


COLUMNS = tuple(field.name for field in fields(CaseRow))


@dataclass(frozen=True)
class MeasureSummary:
    """One measure of one row.

    Attributes:
        pick: How the edited slice was chosen: worst or largest.
        level: Decoder level.
        edits: Number of edits so far.
        scope: whole, near or far.
        row: Name of the table's row.
        measure: Name of the measure; those in millimetres end in `_mm`.
        mean: Of the folds' means; None where there is no finite value.
        standard_deviation: Of the folds' means, with n - 1; None where there is one fold.
        folds: How many folds have a finite value.
        cases: How many cases were measured, infinite values included.
        infinite: How many values are infinite, and so in no mean.
    """

    pick: str
    level: int
    edits: int
    scope: str
    row: str
    measure: str
    mean: float | None
    standard_deviation: float | None
    folds: int
    cases: int
    infinite: int


@dataclass(frozen=True)
class Comparison:
    """One row against another, DSC, on the cases that have both.

    Attributes:
        pick: How the edited slice was chosen.
        level: Decoder level.
        edits: Number of edits so far.
        scope: whole, near or far.
        row: The other row.
        mean_difference: DSC of `of` minus the other row's, mean over cases.
        p: Of the paired Wilcoxon test, two-sided; 1 where no case differs.
        cases: Number of pairs.
        of: The row that is compared: fusion or update.
    """

    pick: str
    level: int
    edits: int
    scope: str
    row: str
    mean_difference: float
    p: float
    cases: int
    of: str = FUSION


@dataclass(frozen=True)
class RelativeGain:
    """Mean DSC on the whole volume over the baseline's, less 1, on the cases that have both."""

    pick: str
    level: int
    edits: int
    row: str
    gain: float
    cases: int


@dataclass(frozen=True)
class OracleShare:
    """What of the reachable gain the edit carried, on the cases that have all three rows (see the oracle in
    docs/evaluation.md).

    Attributes:
        pick: How the edited slice was chosen.
        level: Decoder level.
        edits: Number of edits so far.
        scope: whole or far.
        gain: DSC of fusion minus the no-edit control's, mean over cases.
        ceiling: DSC of the oracle minus the no-edit control's.
        share: gain / ceiling; None where the ceiling is not above 0.
        cases: Number of cases.
    """

    pick: str
    level: int
    edits: int
    scope: str
    gain: float
    ceiling: float
    share: float | None
    cases: int


@dataclass(frozen=True)
class RowSafety:
    """What a row did elsewhere, summed over cases.

    Attributes:
        pick: How the edited slice was chosen.
        level: Decoder level.
        edits: Number of edits so far.
        row: Name of the table's row.
        cases: Number of cases.
        regressed_slices: Untouched slices whose DSC fell by more than 0.02.
        untouched_slices: All untouched slices.
        regression_rate: Their ratio; None where no slice is untouched.
        far_voxels_changed: Voxels on far slices that changed.
        far_voxels: All voxels on far slices.
        far_share_changed: Their ratio; None where no slice is far.
        new_islands: Connected pieces that the edit made and that no drawn slice runs through.
        cases_with_islands: Cases with at least one.
        mean_seam_mm2: How far the change of area between near and far slices is from the truth's own change.
        drawn_exact_percent: Cases whose drawn slices are exactly as drawn, in percent.
        median_seconds: Of one edit; None where it was not measured.
    """

    pick: str
    level: int
    edits: int
    row: str
    cases: int
    regressed_slices: int
    untouched_slices: int
    regression_rate: float | None
    far_voxels_changed: int
    far_voxels: int
    far_share_changed: float | None
    new_islands: int
    cases_with_islands: int
    mean_seam_mm2: float
    drawn_exact_percent: float
    median_seconds: float | None


@dataclass(frozen=True)
class BetterInterpolation:
    """The contour interpolation that has the higher mean DSC on the whole volume (of equal ones ±5)."""

    pick: str
    level: int
    edits: int
    row: str
    mean_dsc: float


@dataclass(frozen=True)
class EditCurve:
    """DSC on the whole volume over the number of edits, from none, on the cases that have all of them.

    Attributes:
        pick: How the edited slices were chosen.
        level: Decoder level.
        row: Name of the table's row.
        edits: The largest number of edits.
        cases: Number of cases.
        area: Under the curve, over the number of edits: a mean DSC.
        reached: Share of cases that came to DSC .90.
        edits_needed: For that, mean over cases; one that never came to it counts `edits` + 1.
    """

    pick: str
    level: int
    row: str
    edits: int
    cases: int
    area: float
    reached: float
    edits_needed: float


@dataclass(frozen=True)
class EditComparison:
    """One way of editing again and again against another, DSC on the whole volume, on the cases that have both.

    Attributes:
        level: Decoder level.
        better: Slices, row and number of edits of one: "suggested, fusion, 2 edits", or "area" in place of a number.
        other: Of the other.
        mean_difference: Mean over cases.
        p: Of the paired Wilcoxon test, two-sided.
        cases: Number of pairs.
    """

    level: int
    better: str
    other: str
    mean_difference: float
    p: float
    cases: int


@dataclass(frozen=True)
class FailedCase:
    """An error; level, edits and row are None where it struck before they were known."""

    fold: str
    case: str
    pick: str | None
    level: int | None
    edits: int | None
    row: str | None
    error: str


@dataclass(frozen=True)
class Summary:
    """The tables of an evaluation.

    Attributes:
        measures: Of all cases.
        comparisons: Rows against rows.
        oracle_shares: Where there is an oracle.
        safety: What each row did elsewhere.
        better_interpolations: Which contour interpolation to compare with.
        failed: Errors.
        by_level: Measures of the cases that every decoder level was measured on, so that levels can be compared.
        by_edits: Measures of the cases that every number of edits was measured on.
        relative_gains: Update and fusion over the baseline.
        needed_no_edit: Fold and case where the baseline is the ground truth: neither measured nor failed.
        edit_curves: Each row over the number of edits.
        edit_comparisons: One way of choosing slices against another.
    """

    measures: tuple[MeasureSummary, ...]
    comparisons: tuple[Comparison, ...]
    oracle_shares: tuple[OracleShare, ...]
    safety: tuple[RowSafety, ...]
    better_interpolations: tuple[BetterInterpolation, ...]
    failed: tuple[FailedCase, ...]
    by_level: tuple[MeasureSummary, ...] = ()
    by_edits: tuple[MeasureSummary, ...] = ()
    relative_gains: tuple[RelativeGain, ...] = ()
    needed_no_edit: tuple[tuple[str, str], ...] = ()
    edit_curves: tuple[EditCurve, ...] = ()
    edit_comparisons: tuple[EditComparison, ...] = ()

    @property
    def failed_cases(self) -> tuple[tuple[str, str], ...]:
        """Fold and case of each case that failed anywhere, once."""
        return tuple(dict.fromkeys((failure.fold, failure.case) for failure in self.failed))
