"""Runs a protocol from data to results: folds, trainings, cases, report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from context_propagation.core.errors import UserInputError
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.core.provenance import commit
from context_propagation.core.session.session_settings import SessionSettings
from context_propagation.core.storage.whole_file import whole_file
from context_propagation.evaluation.contour_interpolation import prepare_interpolation
from context_propagation.evaluation.data_sets import EvaluationData, evaluation_data
from context_propagation.evaluation.far_thresholds import choose_far_thresholds, kept_trials
from context_propagation.evaluation.fold_cases import FoldCases, cases_of_fold
from context_propagation.evaluation.kept_lines import lines_of_cases
from context_propagation.evaluation.picture import RULES, chosen_cases, draw_case, draw_steps
from context_propagation.evaluation.plan import EvaluationPlan, read_plan
from context_propagation.evaluation.regression_curve import regression_curve
from context_propagation.evaluation.report import Written, write_results
from context_propagation.evaluation.results import CaseRow
from context_propagation.evaluation.rows import FUSION, ORACLE, PAPER_PAIR, TRAINED_ROWS
from context_propagation.evaluation.simulated_case import CaseJob, FusionRow
from context_propagation.evaluation.stage_clock import StageClock
from context_propagation.training.base.base_training import BaseTraining
from context_propagation.training.fusion.fusion_controls import InputsShown
from context_propagation.training.fusion.fusion_example import load_example
from context_propagation.training.fusion.fusion_jobs import FUSION_EXAMPLES, NO_EXAMPLES, NetworkJob, train_network
from context_propagation.training.fusion.fusion_training import TrainingSettings
from context_propagation.training.fusion.training_memory import memory_of_a_training
from context_propagation.training.kept_examples import ExampleRecipe
from context_propagation.training.labelled_cases import ModelSource
from context_propagation.training.places import each, leave_the_rest_to_who_gathers, this_call_gathers
from context_propagation.training.processes import run_in_parallel

LEVEL_ROWS = TRAINED_ROWS[:2]


@dataclass(frozen=True)
class EvaluateRequest:
    """What to evaluate.

    Attributes:
        protocol: A TOML file, see `EvaluationPlan`.
        output: Folder for per-case results, tables and plots; an interrupted run goes on in it.
        work: Folder for base models, examples and networks; protocols that train alike share them in it. By default
            inside the output folder.
        quick: Whether the protocol's quick values replace the full ones.
        jobs: Processes at a time; None for one per CPU core.
        device: "auto", "cpu", "cuda" or "mps".
    """

    protocol: Path
    output: Path
    work: Path | None = None
    quick: bool = False
    jobs: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise UserInputError(f"--jobs {self.jobs}; give at least 1")


def evaluate(request: EvaluateRequest) -> str:
    """Run a protocol; every finished step is kept, and the tables are written after each fold and decoder level.

    Returns:
        A line about what was written, and one with the seconds of each stage; what an earlier run left costs none.

    Raises:
        MissingDependencyError: A package that it needs is not installed.
        UserInputError: The protocol or the data cannot be used, or the output folder holds another protocol's results;
            or cases failed: all tables are written, and the next run tries these cases again.
    """
    plan = read_plan(request.protocol, request.quick)
    data = evaluation_data(plan, request.protocol, request.work or request.output / "work")
    folds = {fold: cases_of_fold(data.folds, plan, fold) for fold in plan.test_folds}
    prepare_interpolation()  # before processes would do so at the same time, and before any training
    _claim(request.output, plan)
    commits = _commits(request.output)
    clock = StageClock()
    with clock.stage("images"):
        data.make([name for cases in folds.values() for name in cases.names], request.jobs)
    trainings = [_base_training(request, plan, data, cases) for cases in folds.values()]
    with clock.stage("base training"):
        run_in_parallel(
            [training.run for training in trainings],
            "base models",
            request.jobs,
            [f"fold {fold}" for fold in folds],
            [training.leaves for training in trainings],
            device="cpu" if plan.model == "nnU-Net" else request.device,
        )
    written = Written(plan, _command(request), commits, data.style_counts(folds))
    failed = 0
    evaluations = [_Fold(request, plan, data, fold, cases, written, clock) for fold, cases in folds.items()]
    steps: list[Callable[[], list[CaseRow]]] = [evaluation.main_level for evaluation in evaluations]
    steps += [partial(evaluations[0].other_level, level) for level in plan.other_levels]
    for lines in each(steps):
        written.lines += lines
        failed = write_results(written, request.output) if this_call_gathers() else 0
    leave_the_rest_to_who_gathers()
    done = f"{len({line.case for line in written.lines})} cases in {len(folds)} folds"
    said = f"{request.output / 'summary.md'}: {done}"
    if failed:
        raise UserInputError(f"{said}; {failed} cases FAILED, named there; the same command tries them again")
    return f"{said}\ntook: {clock}"


def _base_training(
    request: EvaluateRequest, plan: EvaluationPlan, data: EvaluationData, cases: FoldCases
) -> BaseTraining:
    """Of one fold."""
    training = tuple(data.training_case(name) for name in cases.base)
    return BaseTraining(
        plan.model, training, data.task, data.work / "base", plan.base_epochs, plan.seed, request.device
    )


def _commits(output: Path) -> list[str]:
    """The commits at which this folder's results were computed, this one last."""
    record = output / "commits.json"
    commits: list[str] = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else []
    if commit() not in commits:
        commits.append(commit())
        with whole_file(record) as partial_file:
            partial_file.write_text(json.dumps(commits), encoding="utf-8")
    return commits


def _command(request: EvaluateRequest) -> str:
    quick = " --quick" if request.quick else ""
    return f"context-propagation evaluate --protocol {request.protocol.name} --output DIR{quick}"


def _claim(output: Path, plan: EvaluationPlan) -> None:
    """Say whose results the folder holds, before any work."""
    record = output / "protocol.json"
    wanted = json.dumps(asdict(plan), indent=2) + "\n"
    try:
        output.mkdir(parents=True, exist_ok=True)
        if record.is_file() and record.read_text(encoding="utf-8") != wanted:
            raise UserInputError(f"'{output}' holds results of another protocol; choose another folder or delete it")
        with whole_file(record) as partial_file:
            partial_file.write_text(wanted, encoding="utf-8")
    except OSError as error:
        raise UserInputError(f"Cannot write to '{output}': {error.strerror or error}; choose another place") from error


@dataclass(frozen=True)
class _Fold:
    """One test fold: its base model, its networks, its cases."""

    request: EvaluateRequest
    plan: EvaluationPlan
    data: EvaluationData
    fold: int
    cases: FoldCases
    written: Written
    clock: StageClock

    def folder(self, level: int) -> Path:
        """Where a decoder level's examples and networks are."""
        return self.data.work / f"fold{self.fold}" / f"level{level}"

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
        training = _base_training(self.request, self.plan, self.data, self.cases)
        return ModelSource(training.run(), device=self.request.device)

    def at_level(
        self, base: ModelSource, level: int, rows: Sequence[tuple[str, InputsShown]], main: bool
    ) -> list[CaseRow]:
        """Train the rows' networks at a decoder level and test every case."""
        settings = SessionSettings(level=level)
        trained = tuple(self.trained_rows(base, settings, rows))
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
        folder, copies = self.folder(level), min(1, self.plan.augmented_copies)
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
        """DSC against regression rate on the tested cases, with thresholds chosen on the others at several rates."""
        if not (self.plan.regression_rates and jobs):
            return
        level = jobs[0].settings.level
        kept = self.request.output / "cases" / f"fold{self.fold}-level{level}"
        copies = min(1, self.plan.augmented_copies)
        names = self.rows_that_choose(jobs[0].rows)
        trials_of = [partial(kept_trials, jobs, name, kept, workers=self.request.jobs) for name in names]
        with self.clock.stage("regression curve"):
            for name, tested in zip(names, each(trials_of), strict=True):
                validation = kept_trials(trials, name, self.folder(level), copies, self.request.jobs)
                self.written.curve += regression_curve(
                    str(self.fold), name, validation, tested, self.plan.regression_rates
                )

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

    def trained_rows(
        self, base: ModelSource, settings: SessionSettings, rows: Sequence[tuple[str, InputsShown]]
    ) -> list[FusionRow]:
        """Cache the examples, then train a network for each row and fold of the base model."""
        plan, folder = self.plan, self.folder(settings.level)
        recipe = ExampleRecipe(settings, plan.edits_per_case, plan.seed)
        of_training = replace(recipe, styles=plan.contour_styles)
        with self.clock.stage("examples"):
            training, validation = each(
                [
                    partial(self.examples, base, self.cases.fusion, of_training, plan.augmented_copies),
                    partial(self.examples, base, self.cases.validation, recipe, 0),
                ]
            )
        networks = len(base.here().load().splits)
        jobs = [
            NetworkJob(
                name=f"{row.replace(' ', '-')}.fold{number}",
                folder=folder / "networks",
                base=base,
                fold=number,
                architecture=self.architecture(row, inputs_shown, _channels(training)),
                settings=TrainingSettings(
                    epochs=plan.epochs, seed=plan.seed, inputs_shown=inputs_shown, averaging=plan.averaging
                ),
                training=tuple(path for of_fold, path in training if of_fold == number),
                validation=tuple(path for of_fold, path in validation if of_fold == number),
            )
            for row, inputs_shown in rows
            for number in range(networks)
        ]
        with self.clock.stage("fusion training"):
            run_in_parallel(
                [partial(train_network, job) for job in jobs],
                f"fold {self.fold}, level {settings.level}, networks",
                self.request.jobs,
                [job.name for job in jobs],
                [job.leaves for job in jobs],
                device=base.device,
                memory_bytes=partial(memory_of_a_training, jobs),
            )
        return [
            FusionRow(row, jobs_of_row[0].architecture, inputs_shown, tuple(job.weights for job in jobs_of_row))
            for index, (row, inputs_shown) in enumerate(rows)
            if (jobs_of_row := jobs[index * networks : (index + 1) * networks])
        ]

    def architecture(self, row: str, inputs_shown: InputsShown, channels: int) -> FusionSettings:
        plan = self.plan
        variant, width = (plan.fusion, plan.width_for(channels))
        if row in PAPER_PAIR:
            variant, width = "paper", plan.paper_width
        first = self.data.training_case(self.cases.fusion[0])
        numbers = len(first.hidden_truth) if inputs_shown == "hidden truth" else 0
        return FusionSettings(variant, channels, width, numbers)

    def examples(
        self, base: ModelSource, names: Sequence[str], recipe: ExampleRecipe, copies: int
    ) -> list[tuple[int, Path]]:
        """Number of the base model's fold, and file; of every copies + 1 cases, one is taken as it is."""
        cases = [
            replace(self.data.training_case(name), copy=number % (copies + 1)) for number, name in enumerate(names)
        ]
        folder = self.folder(recipe.settings.level) / "examples"
        stage = f"fold {self.fold}, level {recipe.settings.level}, simulated edits"
        found = FUSION_EXAMPLES.of_cases(base, cases, recipe, folder, stage, self.request.jobs)
        return [example for of_case in found for example in of_case]


def _channels(examples: Sequence[tuple[int, Path]]) -> int:
    """C', as the first example has it."""
    if not examples:
        raise UserInputError(NO_EXAMPLES)
    return int(load_example(examples[0][1]).inputs.f.shape[1])
