"""A picture of one tested case in three planes, chosen by a rule and not by eye (paper, Fig. 4-7)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from context_propagation.core.measures.accuracy import dice
from context_propagation.core.storage.whole_file import whole_file
from context_propagation.evaluation.results import CaseRow
from context_propagation.evaluation.rows import FUSION, Pick
from context_propagation.evaluation.simulated_case import CaseJob, CaseSession
from context_propagation.files.figure import write_figure, write_steps_figure

PICK: Pick = "largest"


RULES = {"best": "largest", "typical": "median", "worst": "smallest"}
"""Which gain of a fold each drawn case has."""


def chosen_cases(rows: Sequence[CaseRow]) -> dict[str, str]:
    """The cases whose whole-volume DSC gains most, as the median case and least from one edit, fused.

    Args:
        rows: Lines of one fold and decoder level.

    Returns:
        "best", "typical" (of two the lower one) and "worst", each with the case's name, as far as there are different
        ones; nothing where no case has both rows.
    """
    single = [x for x in rows if (x.pick, x.scope, x.edits, x.error) == (PICK, "whole", 1, "")]
    dsc = {(x.row, x.case): x.dsc for x in single if x.dsc is not None}
    ordered = sorted((value - dsc["baseline", case], case) for (row, case), value in dsc.items() if row == FUSION)
    names = [case for _, case in ordered]
    found: dict[str, str] = {}
    for word, place in (("typical", (len(names) - 1) // 2), ("best", -1), ("worst", 0)):
        if names and names[place] not in found.values():
            found[word] = names[place]
    return found


def draw_case(job: CaseJob, path: Path) -> None:
    """Run the edit again and draw baseline, fusion and ground truth through the edited slice."""
    evaluation = CaseSession(job)
    edit = evaluation.edit(PICK)
    if edit is None:
        return
    after = evaluation.preview(edit).fused_by(evaluation.fusions[FUSION]).segmentation
    with whole_file(path) as partial_file:
        write_figure(partial_file, evaluation.volume, evaluation.baseline, after, [edit], evaluation.truth)


def draw_steps(job: CaseJob, path: Path) -> None:
    """Run the edits again, each on the slice that is then the worst, and draw the volume after each."""
    evaluation = CaseSession(job)
    session = evaluation.session.restarted(job.settings, evaluation.fusions[FUSION])
    masks, edits = [evaluation.baseline], []
    while len(edits) < job.edits:
        edit = evaluation.next_edit("worst", masks[-1], edits, session)
        if edit is None:
            break
        edits.append(edit)
        masks.append(session.propagate([edit]).segmentation.copy())
    if edits:
        titles = [
            f"{n} edit{'' if n == 1 else 's'}, DSC {dice(mask, evaluation.truth):.3f}" for n, mask in enumerate(masks)
        ]
        with whole_file(path) as partial_file:
            write_steps_figure(partial_file, evaluation.volume, masks, edits, titles, evaluation.truth)
