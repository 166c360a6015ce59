"""A test fold of a protocol, from its base model to its cases, curves and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.evaluation.data_sets import EvaluationData
from context_propagation.evaluation.far_thresholds import choose_far_thresholds, kept_trials
from context_propagation.evaluation.fold_cases import FoldCases
from context_propagation.evaluation.fold_networks import FoldNetworks
from context_propagation.evaluation.kept_lines import lines_of_cases
from context_propagation.evaluation.picture import RULES, chosen_cases, draw_case, draw_steps
from context_propagation.evaluation.plan import EvaluationPlan
from context_propagation.evaluation.regression_curve import HINDSIGHT, regression_curve
from context_propagation.evaluation.report import Written
from context_propagation.evaluation.request import EvaluateRequest
from context_propagation.evaluation.results import CaseRow
from context_propagation.evaluation.rows import FUSION, ORACLE, PAPER_PAIR, TRAINED_ROWS
from context_propagation.evaluation.simulated_case import CaseJob, FusionRow
from context_propagation.evaluation.stage_clock import StageClock
from context_propagation.training.base.base_training import BaseTraining
from context_propagation.training.fusion.fusion_controls import InputsShown
from context_propagation.training.labelled_cases import ModelSource
from context_propagation.training.places import each, this_call_gathers

LEVEL_ROWS = TRAINED_ROWS[:2]


@dataclass(frozen=True)
class ProtocolFold:
    """One test fold: its base model, its networks, its cases.

    Attributes:
        request: Where results go, how many processes, on which device.
        plan: The protocol.
        data: Of the protocol.
        fold: Its number.
        cases: Of the fold.
        written: What the report is made of; thresholds, curves and notes are added to it.
        clock: Counts the seconds of the stages.
    """

    request: EvaluateRequest
    plan: EvaluationPlan
    data: EvaluationData
    fold: int
    cases: FoldCases
    written: Written
    clock: StageClock

    @property
    def networks(self) -> FoldNetworks:
        """Those of the fold."""
        return FoldNetworks(self.plan, self.data, self.fold, self.cases, self.request.jobs, self.clock)

    def main_level(self) -> list[CaseRow]:
        """Lines of the table: every row at the protocol's decoder level."""
        wanted = self.plan.rows or [name for name, _ in TRAINED_ROWS]
        rows = [row for row in TRAINED_ROWS if row[0] in wanted and (row[0] != ORACLE or self.data.has_styles)]
        return self.at_level(self.base_model(), self.plan.level, rows, main=True)

    def other_level(self, level: int) -> list[CaseRow]:
        """Lines of the table: fusion and its control at another decoder level (Tables III, IV)."""
        return self.at_level(self.base_model(), level, LEVEL_ROWS, main=False)

    def base_model(self) -> ModelSource:
        """Trained on this fold's base cases, on clean images."""
        training = base_training(self.request, self.plan, self.data, self.cases)
        return ModelSource(training.run(), device=self.request.device)

    def at_level(
        self, base: ModelSource, level: int, rows: Sequence[tuple[str, InputsShown]], main: bool
    ) -> list[CaseRow]:
        """Train the rows' networks at a decoder level and test every case."""
        settings = SessionSettings(level=level)
        trained = tuple(self.networks.trained_rows(base, settings, rows))
        trials = [
            CaseJob(str(self.fold), base, self.data.training_case(name), settings, trained)
            for name in self.cases.thresholds
        ]
        trained = self.with_far_thresholds(trained, trials)
        jobs = [
            CaseJob(
                fold=str(self.fold),
                base=base,
                case=self.data.test_case(name),
                settings=settings,
                rows=trained,
                interpolation=main,
                edits=self.plan.edits if main and number < self.plan.several_edits_cases else 1,
            )
            for number, name in enumerate(self.cases.test)
        ]
        folder = self.request.output / "cases" / f"fold{self.fold}-level{level}"
        with self.clock.stage("testing"):
            lines = lines_of_cases(jobs, folder, f"fold {self.fold}, level {level}, cases", self.request.jobs)
        if main:
            if this_call_gathers():
                self.pictures(jobs, lines)
            measured = {line.case for line in lines if not line.error}
            self.regression_curves(trials, [job for job in jobs if job.case.name in measured])
        return lines

    def with_far_thresholds(self, rows: Sequence[FusionRow], trials: Sequence[CaseJob]) -> tuple[FusionRow, ...]:
        """Thresholds that the fusion row chose for all rows, and the paper's row for its own pair."""
        level = trials[0].settings.level
        folder, copies = self.networks.folder(level), min(1, self.plan.augmented_copies)
        allowed, names = self.plan.allowed_regression, self.rows_that_choose(rows)
        choices = [
            partial(choose_far_thresholds, trials, name, folder, copies, allowed, self.request.jobs) for name in names
        ]
        with self.clock.stage("far thresholds"):
            chosen = dict(zip(names, each(choices), strict=True))
        for name, thresholds in chosen.items():
            self.written.far_thresholds[f"fold {self.fold}, level {level}, {name}"] = thresholds
        of_paper = chosen.get(PAPER_PAIR[0], chosen[FUSION])
        return tuple(
            replace(row, far_thresholds=of_paper if row.name in PAPER_PAIR else chosen[FUSION]) for row in rows
        )

    def rows_that_choose(self, rows: Sequence[FusionRow]) -> list[str]:
        """Rows with far thresholds of their own."""
        return [row.name for row in rows if row.name in (FUSION, PAPER_PAIR[0])]

    def regression_curves(self, trials: Sequence[CaseJob], jobs: Sequence[CaseJob]) -> None:
        """DSC against regression rate: thresholds chosen on validation cases, and with hindsight on the tested ones."""
        if not (self.plan.regression_rates and jobs):
            return
        level = jobs[0].settings.level
        kept = self.request.output / "cases" / f"fold{self.fold}-level{level}"
        copies = min(1, self.plan.augmented_copies)
        names = self.rows_that_choose(jobs[0].rows)
        trials_of = [partial(kept_trials, jobs, name, kept, workers=self.request.jobs) for name in names]
        with self.clock.stage("regression curve"):
            for name, tested in zip(names, each(trials_of), strict=True):
                validation = kept_trials(trials, name, self.networks.folder(level), copies, self.request.jobs)
                for row, choosing in ((name, validation), (name + HINDSIGHT, tested)):
                    rates = self.plan.regression_rates
                    self.written.curve += regression_curve(str(self.fold), row, choosing, tested, rates)

    def pictures(self, jobs: Sequence[CaseJob], lines: Sequence[CaseRow]) -> None:
        """Draw the fold's chosen cases once, and say which they are."""
        by_name = {job.case.name: job for job in jobs}
        for word, name in chosen_cases(lines).items():
            file = f"{word}-fold{self.fold}.png"
            self.draw(file, by_name[name], draw_case)
            said = f"{file}: {name}, whose gain from one edit of the largest slice is the fold's {RULES[word]}"
            self.written.notes.append(said)
            if word == "typical" and by_name[name].edits > 1:
                self.draw(f"steps-fold{self.fold}.png", by_name[name], draw_steps)

    def draw(self, file: str, job: CaseJob, make: Callable[[CaseJob, Path], None]) -> None:
        """A picture, once."""
        path = self.request.output / file
        with self.clock.stage("pictures"):
            if not path.is_file():
                make(job, path)


def base_training(
    request: EvaluateRequest, plan: EvaluationPlan, data: EvaluationData, cases: FoldCases
) -> BaseTraining:
    """Of one fold, on its base cases as they are."""
    training = tuple(data.training_case(name) for name in cases.base)
    return BaseTraining(
        plan.model, training, data.task, data.work / "base", plan.base_epochs, plan.seed, request.device
    )
