"""Tables of an evaluation: accuracy, significance, regression, decoder levels, number of edits.

The input is a pandas frame with a line for each `CaseRow`, its columns the fields: of `frame_of`, or read from a
cases.csv. A line with a text in `error` counts nowhere else: it is a failure, or `NEEDED_NO_EDIT`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.measures.accuracy import SCOPES
from context_propagation.core.optional_dependency import require
from context_propagation.evaluation.edit_curves import dsc_by_edits, edit_comparisons, edit_curves
from context_propagation.evaluation.paired_test import wilcoxon_p
from context_propagation.evaluation.results import (
    COLUMNS,
    BetterInterpolation,
    CaseRow,
    Comparison,
    FailedCase,
    MeasureSummary,
    OracleShare,
    RelativeGain,
    RowSafety,
    Summary,
)
from context_propagation.evaluation.rows import (
    DEFAULT_LEVEL,
    FUSION,
    INTERPOLATIONS,
    MEASURES,
    NEEDED_NO_EDIT,
    NO_EDIT,
    ORACLE,
    PAPER_PAIR,
    PICKS,
    ROWS,
    SETTING,
)

if TYPE_CHECKING:
    import pandas as pd

    Paired = list[tuple[tuple[Any, ...], pd.DataFrame]]


Record = TypeVar("Record")


def frame_of(rows: Sequence[CaseRow]) -> pd.DataFrame:
    """The lines of an evaluation as a pandas frame."""
    pandas = require("pandas", extra="evaluation")
    frame: pd.DataFrame = pandas.DataFrame([asdict(row) for row in rows], columns=list(COLUMNS))
    return frame


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
    paired = _paired(valid)
    several = on_common_cases(valid, "edits")
    by_case = dsc_by_edits(valid, several)
    return Summary(
        measures,
        _comparisons(paired),
        _oracle_shares(paired),
        _safety(valid),
        _better(measures),
        _failed(frame),
        measure_summaries(on_common_cases(valid, "level")),
        measure_summaries(several),
        _relative_gains(paired),
        _needed_no_edit(frame),
        edit_curves(by_case),
        edit_comparisons(by_case),
    )


def on_common_cases(valid: pd.DataFrame, column: str) -> pd.DataFrame:
    """The lines by which decoder levels, or numbers of edits, can be compared: all on the same cases.

    Rows without every level, or without several edits, are left out. A case counts where it has all lines of the rows
    that stay; cases are told apart by fold and name.

    Args:
        valid: What `successful` gives.
        column: "level", of first edits, or "edits".
    """
    by_level = column == "level"
    lines = valid[valid["edits"] <= 1] if by_level else valid
    parts = [lines.iloc[:0]]
    for _, group in lines.groupby(["pick", "edits" if by_level else "level"], observed=True):
        compared = group if by_level else group[group["edits"] > 1]
        values = compared.groupby("row", observed=True)[column].nunique()
        if len(values) and values.max() >= (2 if by_level else 1):  # the first edit comes on top of the several
            parts.append(_complete(group[group["row"].isin(values.index[values == values.max()])], column))
    return require("pandas", extra="evaluation").concat(parts)


def _complete(lines: pd.DataFrame, column: str) -> pd.DataFrame:
    """The lines of the cases that have every row at every value that the row has anywhere."""
    pairs = lines["row"].astype(str) + " " + lines[column].astype(str)
    have = pairs.groupby([lines["fold"], lines["case"]]).transform("nunique")
    return lines[have == pairs.nunique()]


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
    if valid.empty:
        return ()
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


def _paired(valid: pd.DataFrame) -> Paired:
    """For each setting and compared scope the DSC, cases × rows; a failed one is NaN."""
    compared = valid[valid["scope"].isin(SCOPES)]
    groups = compared.groupby([*SETTING, "scope"], observed=True)
    return [(key, lines.pivot(index=["fold", "case"], columns="row", values="dsc")) for key, lines in groups]


def _comparisons(paired: Paired) -> tuple[Comparison, ...]:
    found = []
    for key, dsc in paired:
        for of, row in _pairs_of_rows(str(key[-1]), list(dsc.columns)):
            pairs = dsc[[of, row]].dropna()
            difference = (pairs[of] - pairs[row]).to_numpy()
            if len(difference):
                p = wilcoxon_p(difference)
                found.append(Comparison(*key, row, float(difference.mean()), p, len(difference), of))
    return tuple(found)


def _pairs_of_rows(scope: str, rows: list[str]) -> list[tuple[str, str]]:
    """Fusion with every other row on whole and far, the paper's with its own control; the update with paste."""
    own = [("update", "paste")] if scope == "near" else [PAPER_PAIR, ("update", "paste")]
    pairs = [pair for pair in own if set(pair) <= set(rows)]
    if scope != "near" and FUSION in rows:
        pairs = [(FUSION, row) for row in rows if row != FUSION] + pairs
    return pairs


def _relative_gains(paired: Paired) -> tuple[RelativeGain, ...]:
    found = []
    for key, dsc in paired:
        for row in ("update", FUSION) if key[-1] == "whole" and "baseline" in dsc else ():
            if row in dsc:
                mean = (pairs := dsc[["baseline", row]].dropna()).mean()
                if len(pairs) and mean["baseline"] > 0:
                    found.append(RelativeGain(*key[:-1], row, float(mean[row] / mean["baseline"] - 1), len(pairs)))
    return tuple(found)


def _needed_no_edit(frame: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    lines = frame[_errors(frame) == NEEDED_NO_EDIT]
    return tuple(dict.fromkeys((str(line.fold), str(line.case)) for line in lines.itertuples()))


def _oracle_shares(paired: Paired) -> tuple[OracleShare, ...]:
    found = []
    for key, dsc in paired:
        if key[-1] == "near" or not {FUSION, NO_EDIT, ORACLE} <= set(dsc.columns):
            continue
        mean = (cases := dsc[[FUSION, NO_EDIT, ORACLE]].dropna()).mean()
        if len(cases):
            gain, ceiling = float(mean[FUSION] - mean[NO_EDIT]), float(mean[ORACLE] - mean[NO_EDIT])
            found.append(OracleShare(*key, gain, ceiling, gain / ceiling if ceiling > 0 else None, len(cases)))
    return tuple(found)


def _safety(valid: pd.DataFrame) -> tuple[RowSafety, ...]:
    counts = ["regressed_slices", "untouched_slices", "far_voxels_changed", "far_voxels"]
    once = valid[valid["scope"] == "whole"].astype(
        dict.fromkeys([*counts, "new_islands", "seam_mm2"], float)
    )  # the same in every scope
    lines = once.groupby([*SETTING, "row"], observed=True)
    table = lines[counts].sum().astype("int64")
    table["cases"] = lines.size()
    table["regression_rate"] = _ratio(table["regressed_slices"], table["untouched_slices"])
    table["far_share_changed"] = _ratio(table["far_voxels_changed"], table["far_voxels"])
    table["new_islands"] = lines["new_islands"].sum().astype("int64")
    table["cases_with_islands"] = lines["new_islands"].agg(lambda of_cases: int((of_cases > 0).sum()))
    table["mean_seam_mm2"] = lines["seam_mm2"].mean()
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
    lines = lines.loc[
        ~lines["error"].isin(["", NEEDED_NO_EDIT]), ["fold", "case", *SETTING, "row", "error"]
    ].drop_duplicates()
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
