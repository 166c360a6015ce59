"""A picture of one tested case in three planes, chosen by a rule and not by eye (paper, Fig. 4-7)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from context_propagation.evaluation.results import CaseRow
from context_propagation.evaluation.rows import FUSION, Pick
from context_propagation.evaluation.simulated_case import CaseJob, CaseSession
from context_propagation.files.figure import write_figure

PICK: Pick = "largest"


def typical_case(rows: Sequence[CaseRow]) -> str | None:
    """The case whose whole-volume DSC gains as much from one edit, fused, as the median case; of two the lower one.

    Args:
        rows: Lines of one fold and decoder level.

    Returns:
        Its name; None where no case has both rows.
    """
    single = [x for x in rows if (x.pick, x.scope, x.edits, x.error) == (PICK, "whole", 1, "")]
    dsc = {(x.row, x.case): x.dsc for x in single if x.dsc is not None}
    gains = [(value - dsc["baseline", case], case) for (row, case), value in dsc.items() if row == FUSION]
    return sorted(gains)[(len(gains) - 1) // 2][1] if gains else None


def draw_case(job: CaseJob, path: Path) -> None:
    """Run the edit again and draw baseline, fusion and ground truth through the edited slice."""
    evaluation = CaseSession(job)
    edit = evaluation.edit(PICK)
    if edit is None:
        return
    after = evaluation.preview(edit).fused_by(evaluation.fusions[FUSION]).segmentation
    write_figure(path, evaluation.volume, evaluation.baseline, after, [edit], evaluation.truth)
