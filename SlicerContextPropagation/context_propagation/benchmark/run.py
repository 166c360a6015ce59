"""Runs a benchmark: every figure of a window is measured in turn with the others, so that all ratios are of one run."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from context_propagation.benchmark.blob import Blob
from context_propagation.benchmark.children import (
    Child,
    ChildFailed,
    closing_all,
    commit_of,
    network_child,
    package_folder,
    session_child,
)
from context_propagation.benchmark.ct_case import write_ct
from context_propagation.benchmark.literal import loss_box
from context_propagation.benchmark.measured_case import SEED, MeasuredModel, write_case, write_model
from context_propagation.benchmark.networks import INTENSITIES, TITLES, architecture
from context_propagation.benchmark.networks import build as build_network
from context_propagation.benchmark.plot import draw
from context_propagation.benchmark.report import report
from context_propagation.benchmark.request import PUBLISHED_PATCH, BenchmarkRequest
from context_propagation.benchmark.results import (
    DEEPER,
    EVALUATION,
    FORWARD,
    PROMPT,
    ROOFLINE,
    Results,
    Row,
    forward_row,
    literal_rows,
    median_row,
    session_rows,
)
from context_propagation.benchmark.roofline import evaluation_layers, layers_of, least_seconds, machine_rates
from context_propagation.core.device import select_device
from context_propagation.core.provenance import provenance
from context_propagation.core.storage.whole_file import whole_file

logger = logging.getLogger(__name__)


Steps = dict[str, list[dict[str, Any]]]
"""What each process found, by its name."""


def run_benchmark(request: BenchmarkRequest) -> str:
    """Measure, write what was asked for, and say it.

    Raises:
        UserInputError: See `BenchmarkRequest`.
    """
    results = Results(_provenance(request))
    with TemporaryDirectory(prefix="context-propagation-benchmark-", ignore_cleanup_errors=True) as folder:
        _Run(request, results, Path(folder)).all()
    found = results.as_json()
    if request.json is not None:
        with whole_file(request.json) as partial:
            partial.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if request.plot is not None:
        with whole_file(request.plot) as partial:
            draw(found, partial)
    return report(found)


def _provenance(request: BenchmarkRequest) -> dict[str, str]:
    against = {} if request.against is None else {"against": commit_of(package_folder(request.against))}
    repeats = f"medians of {request.repeats}, one more before them; device {select_device(request.device).type}"
    return {"measured": repeats, "seed": str(SEED), **provenance(), **against}


@dataclass(frozen=True)
class _Run:
    """One run.

    Attributes:
        request: What is measured.
        results: What was found so far.
        folder: For models and cases, until the end.
    """

    request: BenchmarkRequest
    results: Results
    folder: Path

    @property
    def device(self) -> str:
        return select_device(self.request.device).type

    def all(self) -> None:
        """Every network in every window, then the CT."""
        logger.info("how fast this machine convolves and copies")
        self.results.rates = machine_rates(self.device, min(64, max(self.request.sizes)))
        for kind in self.request.network:
            for size in self.request.sizes:
                model = write_model(kind, size, self.request, self.folder / f"{kind}{size}")
                for blob in self.request.cases():
                    if blob.window == size:
                        _WindowRun(self, model, blob).all()
        if self.request.ct is not None:
            self.ct(self.request.ct)

    def in_turn(
        self, children: dict[str, Child], steps: int, what: str, after_first: Callable[[Steps], None] | None = None
    ) -> Steps:
        """Ask each process for a step after the other, so many times; one that fails is left out from then on.

        Args:
            children: The processes.
            steps: Of each.
            what: They do, for the user.
            after_first: Is told what was found once each process has done its first step.
        """
        found: Steps = {name: [] for name in children}
        failed: set[str] = set()
        for step in range(steps):
            for name in [name for name in children if name not in failed]:
                logger.info("%s: %s, %d of %d", what, name, step + 1, steps)
                try:
                    found[name].append(children[name].step())
                except ChildFailed as error:
                    failed.add(name)
                    found[name] = []
                    self.results.failures.append(f"{what}, {name}: {error}")
                    logger.warning("%s: %s cannot be measured: %s", what, name, error)
            if step == 0 and after_first is not None:
                after_first(found)
        return found

    def ct(self, size_ijk: tuple[int, int, int]) -> None:
        """A large CT with the bundle that ships."""
        case = self.folder / "ct.npz"
        write_ct(case, size_ijk)
        job = {"kind": "ct", "device": self.device, "case": str(case)}
        with closing_all() as children:
            children["this"] = session_child(job)
            if self.request.against is not None:
                children["against"] = session_child(job, package_folder(self.request.against))
            found = self.in_turn(children, self.request.repeats + 1, "CT")
        for build, steps in found.items():
            place = Row("demo bundle", " x ".join(map(str, size_ijk)), "", None, build, "", 0.0)  # type: ignore[arg-type]
            if steps:
                self.results.rows += session_rows(place, steps[1:], least_dsc=0.0)


@dataclass(frozen=True)
class _WindowRun:
    """One network in one window, with one blob."""

    run: _Run
    model: MeasuredModel
    blob: Blob

    @property
    def title(self) -> str:
        return f"{self.model.kind}, window {self.blob.window}, blob {self.size}"

    @property
    def size(self) -> str:
        return " x ".join(map(str, self.blob.size_kji))

    def all(self) -> None:
        """Measure, and add the rows."""
        request, window = self.run.request, self.blob.window
        case, deep = (self.run.folder / f"{self.model.kind}{window}{name}.npz" for name in ("", "deep"))
        write_case(case, self.blob, request.repeats + 1, request.edits)
        write_case(deep, self.blob, request.repeats + 1, 1, deeper=True)
        with closing_all() as children:
            self._start(children, case, deep)
            found = self.run.in_turn(children, request.repeats + 1, self.title, self._note_losses)
        place = Row(TITLES[self.model.kind], " x ".join([str(window)] * 3), self.size, None, "this", "", 0.0)
        measured = {name: steps[1:] for name, steps in found.items() if len(steps) > 1}
        self.run.results.rows += [*self._rows(place, measured), *self._rooflines(place)]

    def _start(self, children: dict[str, Child], case: Path, deep: Path) -> None:
        request = self.run.request
        common = {
            "device": self.run.device, "model": str(self.model.folder), "case": str(case), "intensities": INTENSITIES,
            "first_channels": request.first_channels, "seed": SEED, "last": request.repeats,
        }  # fmt: skip
        children[FORWARD] = network_child({**common, "kind": "forward"})
        for level in request.levels:
            job = {**common, "kind": "session", "level": level, "fusion": self.model.fusion[level], "window": None}
            children[f"this, level {level}"] = session_child({**job, "again": True})
            if request.against is not None:
                other = package_folder(request.against)
                children[f"against, level {level}"] = session_child({**job, "again": False}, other)
            if request.twice_as_deep:
                box = [(0, 2 * self.blob.window), (0, self.blob.window), (0, self.blob.window)]
                children[f"deeper, level {level}"] = session_child(
                    {**job, "case": str(deep), "window": box, "again": False}
                )
            literal = {**common, "kind": "literal", "level": level, "enough": str(self._enough(level))}
            children[f"literal, level {level}"] = network_child(literal)
        children[PROMPT] = network_child({**common, "kind": "prompt", "patch": self.blob.window})
        if request.published_patch:
            children[f"{PROMPT}, published patch"] = network_child(
                {**common, "kind": "prompt", "patch": PUBLISHED_PATCH}
            )

    def _enough(self, level: int) -> Path:
        return self.run.folder / f"enough{level}"

    def _note_losses(self, found: Steps) -> None:
        """Where the literal updates may end, which see the image of the first step."""
        for level in self.run.request.levels:
            for step in found[f"this, level {level}"]:
                self._enough(level).write_text(str(step["edits"][0]["loss_after"]), encoding="utf-8")

    def _rows(self, place: Row, found: Steps) -> list[Row]:
        rows: list[Row] = []
        bare = replace(place, build="torch")
        if FORWARD in found:
            rows.append(forward_row(bare, found[FORWARD]))
        for level in self.run.request.levels:
            for build in ("this", "against"):
                steps = found.get(f"{build}, level {level}")
                if steps:
                    rows += session_rows(replace(place, level=level, build=build), steps)  # type: ignore[arg-type]
            if steps := found.get(f"deeper, level {level}"):
                rows.append(_deeper_row(replace(place, level=level), steps))
            if steps := found.get(f"literal, level {level}"):
                rows += literal_rows(replace(bare, level=level), steps)
        for name in (PROMPT, f"{PROMPT}, published patch"):
            if steps := found.get(name):
                remarks = "nnInteractive's network (ResEnc L, image and 7 interaction channels, random weights), bare"
                row = median_row(replace(bare, what=name), [step["torch"] for step in steps])
                rows.append(replace(row, remarks=remarks))
        return rows

    def _rooflines(self, place: Row) -> list[Row]:
        """What a forward pass and an evaluation would take at best."""
        rates, window = self.run.results.rates, self.blob.window
        at_best = replace(place, build="machine")
        plan = architecture(self.model.kind, window, self.run.request.first_channels)
        network = build_network(plan, SEED)
        index, drawn = self.blob.drawn(0)
        plane = [(one.start, one.stop) for one in loss_box(drawn | self.blob.mask[index])]
        rows = []
        for level in self.run.request.levels:
            layers = evaluation_layers(network, [window] * 3, [(index, index + 1), *plane], level)
            said = (
                f"{sum(layer.multiply_adds for layer in layers) / 1e9:.4g} G multiply-adds: only what the slice needs"
            )
            least = least_seconds(layers, rates)
            rows.append(replace(at_best, level=level, what=ROOFLINE + EVALUATION, seconds=least, remarks=said))
        layers = layers_of(network, (1, 1, *[window] * 3))
        said = f"{sum(layer.multiply_adds for layer in layers) / 1e9:.4g} G multiply-adds in {len(layers)} layers"
        forward = replace(at_best, what=ROOFLINE + FORWARD, seconds=least_seconds(layers, rates), remarks=said)
        return [forward, *rows]


def _deeper_row(place: Row, steps: list[dict[str, Any]]) -> Row:
    """The update of an edit in the deeper window."""
    updates = [{"seconds": step["edits"][0]["stages"].get("update", 0.0)} for step in steps]
    edit = steps[-1]["edits"][0]
    row = median_row(replace(place, what=DEEPER), updates)
    said = (
        f"{edit['evaluations']} evaluations, DSC of the drawn slice {edit['dsc_before']:.3f} -> {edit['dsc_after']:.3f}"
    )
    return replace(row, remarks=said)
