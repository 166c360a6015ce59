"""Tables of an evaluation: accuracy, significance, regression, decoder levels, number of edits (method 6 and 8).

The input is a pandas frame with a line for each case, pick of the edited slice, decoder level, number of edits, row of
the table and scope; its columns are in `COLUMNS`. A line with a text in `error` is a failure and counts nowhere else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from context_propagation.cli.measures import SCOPES
from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require

if TYPE_CHECKING:
    import pandas as pd

FUSION, NO_EDIT, ORACLE = "fusion", "no-edit control", "oracle"
INTERPOLATIONS = ("contour interpolation ±5", "contour interpolation ±10")
ROWS = ("baseline", "paste", "update", FUSION, NO_EDIT, "edit-as-input control", *INTERPOLATIONS, ORACLE)
"""Names of the rows in their order; further ones follow in order of appearance."""
LEVEL_ROWS = ("update", FUSION)
PICKS = ("worst", "largest")
MEASURES = ("dsc", "hd95_mm", "sensitivity", "specificity", "surface_dice_2mm", "added_path_length_mm")
MEASURE_TITLES = {
    "dsc": ("DSC", 3),
    "hd95_mm": ("HD95, mm", 2),
    "sensitivity": ("sensitivity", 3),
    "specificity": ("specificity", 4),
    "surface_dice_2mm": ("surface Dice 2 mm", 3),
    "added_path_length_mm": ("added path length, mm", 0),
}
SCOPE_TITLES = {"whole": "whole", "near": "near slices", "far": "far slices"}
COMPARED_SCOPES = ("whole", "far")
DEFAULT_LEVEL = 2
NEEDED_NO_EDIT = "needed no edit"
SETTING = ["pick", "level", "edits"]
# fmt: off
COLUMNS = (
    "fold", "case", *SETTING, "row", "scope", "slice", *MEASURES, "regressed_slices", "untouched_slices",
    "far_voxels_changed", "far_voxels", "drawn_exact", "seconds", "error",
)
# fmt: on

Record = TypeVar("Record")


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
    """Fusion against another row, DSC, on the cases that have both.

    Attributes:
        pick: How the edited slice was chosen.
        level: Decoder level.
        edits: Number of edits so far.
        scope: whole or far.
        row: The other row.
        mean_difference: DSC of fusion minus the other row's, mean over cases.
        p: Of the paired Wilcoxon test, two-sided; 1 where no case differs.
        cases: Number of pairs.
    """

    pick: str
    level: int
    edits: int
    scope: str
    row: str
    mean_difference: float
    p: float
    cases: int


@dataclass(frozen=True)
class OracleShare:
    """What of the reachable gain the edit carried, on the cases that have all three rows (method 6, row 8).

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
    """An evaluation; serialise it with `to_json`."""

    measures: tuple[MeasureSummary, ...]
    comparisons: tuple[Comparison, ...]
    oracle_shares: tuple[OracleShare, ...]
    safety: tuple[RowSafety, ...]
    better_interpolations: tuple[BetterInterpolation, ...]
    failed: tuple[FailedCase, ...]

    @property
    def failed_cases(self) -> tuple[tuple[str, str], ...]:
        """Fold and case of each case that failed anywhere, once."""
        return tuple(dict.fromkeys((failure.fold, failure.case) for failure in self.failed))


def summarise(frame: pd.DataFrame) -> Summary:
    """Summarise the lines of an evaluation.

    Args:
        frame: With the columns `COLUMNS`.

    Raises:
        UserInputError: A column is missing, or a line is there twice.
        MissingDependencyError: pandas or SciPy is not installed.
    """
    valid = successful(frame)
    measures = measure_summaries(valid)
    return Summary(
        measures, _comparisons(valid), _oracle_shares(valid), _safety(valid), _better(measures), _failed(frame)
    )


def successful(frame: pd.DataFrame) -> pd.DataFrame:
    """The lines without error; pick, scope and row are ordered categories.

    Raises:
        UserInputError: A column is missing, or a line is there twice.
    """
    pandas = require("pandas", extra="evaluation")
    missing = [column for column in COLUMNS if column not in frame]
    if missing:
        raise UserInputError(f"The evaluation lacks the column(s) {', '.join(missing)}")
    valid = frame[_errors(frame) == ""].copy()
    for column, order in (("pick", PICKS), ("scope", SCOPES), ("row", ROWS)):
        categories = list(dict.fromkeys([*order, *valid[column]]))
        valid[column] = pandas.Categorical(valid[column], categories, ordered=True)
    key = ["fold", "case", *SETTING, "row", "scope"]
    twice = valid[valid.duplicated(key)]
    if len(twice):
        raise UserInputError(f"The evaluation has a line twice: {twice[key].astype(str).iloc[0].to_dict()}")
    return valid.astype({"level": int, "edits": int, "drawn_exact": bool, **dict.fromkeys(MEASURES, float)})


def measure_summaries(valid: pd.DataFrame) -> tuple[MeasureSummary, ...]:
    """Mean and standard deviation over folds of every measure and row, of what `successful` gives."""
    pandas = require("pandas", extra="evaluation")
    key = [*SETTING, "scope", "row", "measure"]
    long = valid.melt([*key[:-1], "fold", "case"], list(MEASURES), var_name="measure")
    long["measure"] = pandas.Categorical(long["measure"], MEASURES, ordered=True)
    long["infinite"] = np.isinf(long["value"])
    long["finite"] = long["value"].mask(long["infinite"])
    folds = long.groupby([*key, "fold"], observed=True)["finite"].mean().groupby(key, observed=True)
    lines = long.groupby(key, observed=True)
    table = pandas.DataFrame(
        {
            "mean": folds.mean(),
            "standard_deviation": folds.std(),
            "folds": folds.count(),
            "cases": lines["value"].count(),
            "infinite": lines["infinite"].sum(),
        }
    )
    return _records(table.reset_index(), MeasureSummary)


def to_json(summary: Summary) -> str:
    """The summary as strict JSON: what is not a number is null."""
    return json.dumps(asdict(summary), indent=2, ensure_ascii=False, allow_nan=False)


def to_markdown(summary: Summary, level: int | None = None, edits: int | None = None) -> str:
    """The summary's tables as Markdown.

    Args:
        summary: What `summarise` gives.
        level: Decoder level of all tables but that of levels; 2, or the lowest measured where 2 was not.
        edits: Number of edits of all tables but that of edits; the lowest measured above 0.
    """
    level = main_level(summary) if level is None else level
    edits = main_edits(summary) if edits is None else edits
    parts = []
    for pick in dict.fromkeys(item.pick for item in summary.measures):
        parts.append(f"## Edited slice: {pick} (decoder level {level}, edits: {edits})")
        here = {"pick": pick, "level": level, "edits": edits}
        parts += [_accuracy_table(summary, here), _comparison_table(summary, here), _safety_table(summary, here)]
        parts += [_level_table(summary, here), _edits_table(summary, here)]
    return "\n\n".join([*(part for part in parts if part), _failures_table(summary)]) + "\n"


def main_level(summary: Summary) -> int:
    """Decoder level 2, or the lowest measured where that was not."""
    levels = {item.level for item in summary.measures}
    return DEFAULT_LEVEL if DEFAULT_LEVEL in levels else min(levels, default=DEFAULT_LEVEL)


def main_edits(summary: Summary) -> int:
    """The lowest number of edits measured above 0."""
    return min((item.edits for item in summary.measures if item.edits > 0), default=0)


def _errors(frame: pd.DataFrame) -> pd.Series:
    return frame["error"].astype(object).where(frame["error"].notna(), "").astype(str).str.strip()


def _records(table: pd.DataFrame, kind: type[Record]) -> tuple[Record, ...]:
    """Lines as dataclasses; NaN becomes None."""
    table = table.astype(object).where(table.notna(), None)
    return tuple(
        kind(**{str(name): _plain(value) for name, value in line.items()}) for line in table.to_dict("records")
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _paired(valid: pd.DataFrame) -> Iterable[tuple[tuple[Any, ...], pd.DataFrame]]:
    """For each setting and compared scope the DSC, cases × rows; a failed one is NaN."""
    compared = valid[valid["scope"].isin(COMPARED_SCOPES)]
    for key, lines in compared.groupby([*SETTING, "scope"], observed=True):
        yield key, lines.pivot(index=["fold", "case"], columns="row", values="dsc")


def _comparisons(valid: pd.DataFrame) -> tuple[Comparison, ...]:
    found = []
    for key, dsc in _paired(valid):
        if FUSION not in dsc:
            continue
        for row in (row for row in dsc.columns if row != FUSION):
            pairs = dsc[[FUSION, row]].dropna()
            difference = (pairs[FUSION] - pairs[row]).to_numpy()
            if len(difference):
                found.append(Comparison(*key, row, float(difference.mean()), _wilcoxon_p(difference), len(difference)))
    return tuple(found)


def _wilcoxon_p(difference: np.ndarray) -> float:
    if not difference.any():
        return 1.0
    return float(require("scipy.stats", extra="evaluation").wilcoxon(difference).pvalue)


def _oracle_shares(valid: pd.DataFrame) -> tuple[OracleShare, ...]:
    found = []
    for key, dsc in _paired(valid):
        if not {FUSION, NO_EDIT, ORACLE} <= set(dsc.columns):
            continue
        mean = (cases := dsc[[FUSION, NO_EDIT, ORACLE]].dropna()).mean()
        if len(cases):
            gain, ceiling = float(mean[FUSION] - mean[NO_EDIT]), float(mean[ORACLE] - mean[NO_EDIT])
            found.append(OracleShare(*key, gain, ceiling, gain / ceiling if ceiling > 0 else None, len(cases)))
    return tuple(found)


def _safety(valid: pd.DataFrame) -> tuple[RowSafety, ...]:
    counts = ["regressed_slices", "untouched_slices", "far_voxels_changed", "far_voxels"]
    once = valid[valid["scope"] == "whole"].astype(dict.fromkeys(counts, float))  # the same in every scope
    lines = once.groupby([*SETTING, "row"], observed=True)
    table = lines[counts].sum().astype("int64")
    table["cases"] = lines.size()
    table["regression_rate"] = _ratio(table["regressed_slices"], table["untouched_slices"])
    table["far_share_changed"] = _ratio(table["far_voxels_changed"], table["far_voxels"])
    table["drawn_exact_percent"] = 100 * lines["drawn_exact"].mean()
    table["median_seconds"] = lines["seconds"].median()
    return _records(table.reset_index(), RowSafety)


def _ratio(part: pd.Series, whole: pd.Series) -> pd.Series:
    return part / whole.where(whole > 0)


def _better(measures: tuple[MeasureSummary, ...]) -> tuple[BetterInterpolation, ...]:
    best: dict[tuple[str, int, int], BetterInterpolation] = {}
    for item in measures:
        if (item.scope, item.measure) != ("whole", "dsc") or item.row not in INTERPOLATIONS or item.mean is None:
            continue
        key = (item.pick, item.level, item.edits)
        if key not in best or item.mean > best[key].mean_dsc:
            best[key] = BetterInterpolation(*key, item.row, item.mean)
    return tuple(best.values())


def _failed(frame: pd.DataFrame) -> tuple[FailedCase, ...]:
    lines = frame.assign(error=_errors(frame))
    lines = lines.loc[lines["error"] != "", ["fold", "case", *SETTING, "row", "error"]].drop_duplicates()
    lines = lines.astype(object).where(lines.notna(), None)
    return tuple(
        FailedCase(
            str(line.fold), str(line.case), _text(line.pick), _count(line.level), _count(line.edits), _text(line.row),
            line.error,
        )
        for line in lines.itertuples()
    )  # fmt: skip


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _count(value: Any) -> int | None:
    return None if value is None or value == "" else int(value)


# Tables. `here` names pick, level and edits; an item of the summary belongs to a table where these agree.


def _accuracy_table(summary: Summary, here: dict[str, Any]) -> str:
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for item in _matching(summary.measures, here):
        line = cells.setdefault((SCOPE_TITLES[item.scope], item.row), {"cases": str(item.cases)})
        title, digits = MEASURE_TITLES[item.measure]
        line[title] = mean_and_deviation(item, digits)
    better = "".join(
        f"\n\nBetter contour interpolation: {item.row.removeprefix('contour interpolation ')} slices "
        f"(mean DSC on the whole volume {item.mean_dsc:.3f})."
        for item in _matching(summary.better_interpolations, here)
    )
    return _titled("Accuracy, mean ± standard deviation over folds", cells, ("scope", "row")) + better


def _comparison_table(summary: Summary, here: dict[str, Any]) -> str:
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for item in _matching(summary.comparisons, here):
        scope = SCOPE_TITLES[item.scope]
        cells.setdefault((item.row,), {}).update(
            {
                f"{scope}: mean difference": f"{item.mean_difference:+.3f}",
                f"{scope}: p": f"{item.p:.2g}",
                f"{scope}: cases": str(item.cases),
            }
        )
    shares = "".join(
        f"\n\nFusion over no-edit control, {SCOPE_TITLES[item.scope]}: {item.gain:+.3f} of the oracle's "
        f"{item.ceiling:+.3f} DSC ({_percent(item.share, 0)}; cases: {item.cases})."
        for item in _matching(summary.oracle_shares, here)
    )
    return (
        _titled("DSC of fusion minus each other row's, paired Wilcoxon over cases", cells, ("fusion minus",)) + shares
    )


def _safety_table(summary: Summary, here: dict[str, Any]) -> str:
    cells = {
        (item.row,): {
            "regression rate": _percent(item.regression_rate, 1),
            "regressed of untouched slices": f"{item.regressed_slices} of {item.untouched_slices}",
            "far voxels changed": _percent(item.far_share_changed, 3),
            "drawn slices exact": _percent(item.drawn_exact_percent / 100, 1),
            "median seconds": "—" if item.median_seconds is None else f"{item.median_seconds:.2f}",
            "cases": str(item.cases),
        }
        for item in _matching(summary.safety, here)
    }
    return _titled("Regression: untouched slices whose DSC fell by more than 0.02", cells, ("row",))


def _level_table(summary: Summary, here: dict[str, Any]) -> str:
    chosen = [i for i in _matching(summary.measures, here, but="level") if i.measure == "dsc" and i.row in LEVEL_ROWS]
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for item in sorted(chosen, key=lambda item: (LEVEL_ROWS.index(item.row), SCOPES.index(item.scope), item.level)):
        line = cells.setdefault((item.row, SCOPE_TITLES[item.scope]), {})
        line[f"level {item.level}"] = mean_and_deviation(item, 3)
    return _titled("DSC by decoder level", cells, ("row", "scope"))


def _edits_table(summary: Summary, here: dict[str, Any]) -> str:
    chosen = [i for i in _matching(summary.measures, here, but="edits") if (i.measure, i.scope) == ("dsc", "whole")]
    rows = list(dict.fromkeys(item.row for item in summary.measures))
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for item in sorted(chosen, key=lambda item: (rows.index(item.row), item.edits)):
        cells.setdefault((item.row,), {})[str(item.edits)] = mean_and_deviation(item, 3)
    return _titled("DSC on the whole volume by number of edits", cells, ("row",))


def _failures_table(summary: Summary) -> str:
    if not summary.failed:
        return "Failed cases: none."
    cells = {
        (str(number),): {name: _one_line(value) for name, value in asdict(item).items()}
        for number, item in enumerate(summary.failed, 1)
    }
    return _titled(f"Failed cases: {len(summary.failed_cases)}", cells, ("failure",))


def _one_line(value: object) -> str:
    return "—" if value is None else " ".join(str(value).split()).replace("|", r"\|")


def mean_and_deviation(item: MeasureSummary, digits: int) -> str:
    """For example "0.812 ± 0.014", "0.812" with one fold, "3.20 ± 0.41 (2 infinite)"."""
    if item.mean is None:
        text = "—"
    elif item.standard_deviation is None:
        text = f"{item.mean:.{digits}f}"
    else:
        text = f"{item.mean:.{digits}f} ± {item.standard_deviation:.{digits}f}"
    return text + (f" ({item.infinite} infinite)" if item.infinite else "")


def _percent(share: float | None, digits: int) -> str:
    return "—" if share is None or math.isnan(share) else f"{100 * share:.{digits}f} %"


def _matching(items: Iterable[Any], here: dict[str, Any], but: str | None = None) -> list[Any]:
    return [item for item in items if all(getattr(item, name) == here[name] for name in here if name != but)]


def _titled(title: str, cells: dict[Any, dict[str, str]], index: tuple[str, ...]) -> str:
    """A heading and a table with a line for each key of `cells`; nothing where there is no cell."""
    if not cells:
        return ""
    lines = [{**dict(zip(index, key, strict=True)), **line} for key, line in cells.items()]
    table = require("pandas", extra="evaluation").DataFrame(lines).fillna("—")
    require("tabulate", extra="evaluation")  # pandas names it by another extra
    return f"### {title}\n\n" + table.to_markdown(index=False, disable_numparse=True)
