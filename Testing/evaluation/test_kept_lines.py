"""A tested case's lines are kept, for the far thresholds that they were tested with."""

from dataclasses import replace
from pathlib import Path

from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.evaluation import kept_lines
from context_propagation.evaluation.results import CaseRow
from context_propagation.evaluation.simulated_case import CaseJob, FusionRow
from context_propagation.training.labelled_cases import LabelledCase, ModelSource


def test_a_case_is_tested_once_and_anew_with_other_far_thresholds(tmp_path, monkeypatch):
    row = FusionRow("fusion", FusionSettings("adaptive", 4, 1.0), "edit", (), FarThresholds(0.5, 0.5))
    case = LabelledCase("case", (), Path())
    job = CaseJob("0", ModelSource(Path("model")), case, SessionSettings(), (row,))
    other = replace(job, rows=(replace(row, far_thresholds=FarThresholds(0.5, 0.5, least_gain=0.1)),))
    tested = []

    def evaluate(one):
        tested.append(one)
        return [CaseRow("0", "case", "worst", 2, 1, "fusion", "whole", dsc=len(tested) / 10)]

    monkeypatch.setattr(kept_lines, "evaluate_case", evaluate)

    found = [kept_lines._kept(one, tmp_path)[0].dsc for one in (job, job, other, other, job)]

    assert found == [0.1, 0.1, 0.2, 0.2, 0.1]
