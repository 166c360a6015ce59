"""An evaluation protocol: everything that decides an evaluation's figures, read from a TOML file."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.core.phantom.anatomy import DifficultyName
from context_propagation.core.phantom.phantom import Kind
from context_propagation.core.propagation.fusion_settings import Variant as FusionVariant
from context_propagation.evaluation.fusion_recipe import FusionRecipe
from context_propagation.evaluation.rows import FUSION, TRAINED_ROWS
from context_propagation.evaluation.variants import Variant

MODELS = ("nnU-Net", "PSNN")


@dataclass(frozen=True)
class EvaluationPlan(FusionRecipe):
    """What is evaluated, on what, and how much of it; the keys of a protocol's file are these fields and the recipe's.

    The recipe's level and fusion are those of the main tables; the rows of the paper's network have "paper".

    Attributes:
        name: Of the protocol, for titles.
        data: Folder with images/, labels/ and folds.json, relative to the protocol file, or of that name in
            CONTEXT_PROPAGATION_DATA; empty for phantoms.
        phantom: Kind of the phantoms that are generated instead, "nasopharynx", "oesophagus" or "organ"; else empty.
        difficulty: Of the phantoms: "lower", "middle" or "higher".
        phantom_cases: How many phantoms there are.
        model: The base model: "nnU-Net" or "PSNN"; the latter is the two-stream chain where there is a PET.
        variant: "clean", "shifted" or "observer style"; see `variants`.
        test_folds: Each one in turn is tested; the mean and standard deviation are over these.
        base_cases: Cases that nnU-Net trains the base model on, spread over the other folds.
        base_epochs: Of 40 steps each.
        fusion_cases: Cases that the fusion networks are trained on; the base model never saw them.
        validation_cases: Further ones that choose the best epoch.
        threshold_cases: Further ones that choose the far thresholds.
        test_cases: At most so many cases of a test fold.
        other_levels: Decoder levels of the comparison (Tables III, IV), on the first test fold.
        paper_width: Width of the paper's network.
        rows: Names of the rows of the main tables that are trained; empty for all.
        edits: Edits one after the other (Fig. 8), each on the slice that is then the worst, largest or suggested.
        several_edits_cases: At most so many cases of a fold on which several edits are made.
        regression_rates: Allowed rates at which fusion and the paper's network choose their far thresholds once more,
            for the curve of DSC against regression, and again with hindsight; empty for no curve.
    """

    name: str
    data: str = ""
    phantom: str = ""
    difficulty: str = "middle"
    phantom_cases: int = 100
    model: str = "nnU-Net"
    variant: Variant = "clean"
    test_folds: tuple[int, ...] = (0, 2)
    base_cases: int = 10
    base_epochs: int = 8
    fusion_cases: int = 48
    validation_cases: int = 6
    threshold_cases: int = 24
    test_cases: int = 20
    other_levels: tuple[int, ...] = ()
    paper_width: float = 2.0
    rows: tuple[str, ...] = ()
    edits: int = 5
    several_edits_cases: int = 20
    regression_rates: tuple[float, ...] = (0.005, 0.01, 0.02, 0.03, 0.05)


def read_plan(path: Path, quick: bool = False) -> EvaluationPlan:
    """Read and check a protocol.

    Args:
        path: A TOML file; its keys are the fields of `EvaluationPlan`, and a table `quick` holds those that --quick
            replaces.
        quick: Whether to replace them.

    Raises:
        UserInputError: The file is missing or no TOML, or a key or value is not one of a protocol's.
    """
    toml = require("tomllib" if sys.version_info >= (3, 11) else "tomli", extra="evaluation")
    try:
        values = toml.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserInputError(f"Cannot read '{path}': {error.strerror or error}") from error
    except (toml.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserInputError(f"'{path}' is not a valid TOML file: {error}") from error
    replaced = values.pop("quick", {})
    if not isinstance(replaced, dict):
        raise UserInputError(f"'{path}': quick = {replaced!r}; give a table [quick] of the keys that --quick replaces")
    return _checked(path, {**values, **(replaced if quick else {})})


def _checked(path: Path, values: dict[str, Any]) -> EvaluationPlan:
    known = {item.name: item for item in fields(EvaluationPlan)}
    for name, value in values.items():
        if name not in known:
            raise UserInputError(f"'{path}' has '{name}', which no protocol has; known are {', '.join(known)}")
        example = getattr(_EXAMPLE, name)
        kinds = {"rows": (str,), "regression_rates": (float, int)}.get(name, (int,))
        if isinstance(example, tuple) and isinstance(value, list) and all(type(item) in kinds for item in value):
            values[name] = tuple(value)
        elif type(value) is not type(example) and not (type(example) is float and type(value) is int):
            raise UserInputError(f"'{path}': {name} = {value!r}; give a value like {example!r}")
    if "name" not in values:
        raise UserInputError(f"'{path}' lacks 'name'; see benchmarks/protocols for examples")
    if bool(values.get("data")) == bool(values.get("phantom")):
        raise UserInputError(f"'{path}': name either 'data' or 'phantom'; see benchmarks/protocols for examples")
    _check_ranges(path, plan := EvaluationPlan(**values))
    return plan


_EXAMPLE = EvaluationPlan("hippocampus", "hippocampus")


def _check_ranges(path: Path, plan: EvaluationPlan) -> None:
    if plan.variant not in get_args(Variant):
        raise UserInputError(f"'{path}': variant = '{plan.variant}'; choose {', '.join(get_args(Variant))}")
    for name, value, choices in (
        ("phantom", plan.phantom, ("", *get_args(Kind))),
        ("difficulty", plan.difficulty, get_args(DifficultyName)),
        ("model", plan.model, MODELS),
        ("fusion", plan.fusion, get_args(FusionVariant)),
    ):
        if value not in choices:
            raise UserInputError(f"'{path}': {name} = '{value}'; choose {', '.join(filter(None, choices))}")
    if plan.phantom and plan.variant != "clean":
        raise UserInputError(f"'{path}': variant = '{plan.variant}'; phantoms have styles of their own, leave it out")
    trained = [name for name, _ in TRAINED_ROWS]
    if plan.rows and (not set(plan.rows) <= set(trained) or FUSION not in plan.rows):
        raise UserInputError(f"'{path}': rows = {list(plan.rows)}; choose {FUSION} and of {', '.join(trained[1:])}")
    if not plan.test_folds:
        raise UserInputError(f"'{path}': test_folds is empty; name at least one fold")
    for name in (
        "base_cases", "base_epochs", "fusion_cases", "validation_cases", "threshold_cases", "test_cases", "edits",
        "phantom_cases",
    ):  # fmt: skip
        if getattr(plan, name) < 1:
            raise UserInputError(f"'{path}': {name} = {getattr(plan, name)}; give at least 1")
    if plan.several_edits_cases < 0:
        raise UserInputError(f"'{path}': several_edits_cases = {plan.several_edits_cases}; give 0 or more")
    if wrong_rates := [rate for rate in plan.regression_rates if not 0 <= rate <= 1]:
        raise UserInputError(f"'{path}': regression_rates has {wrong_rates[0]}; give shares from 0 to 1")
    if not 0 < plan.paper_width < math.inf:
        raise UserInputError(f"'{path}': paper_width = {plan.paper_width}; give a finite number above 0")
    if wrong := plan.wrong():
        raise UserInputError(f"'{path}': {wrong[0]} = {getattr(plan, wrong[0])}; {wrong[1]}")
    levels = (plan.level, *plan.other_levels)
    if len(set(levels)) < len(levels):
        raise UserInputError(
            f"'{path}': a decoder level is named twice in level and other_levels {levels}; name each once"
        )
    for level in levels:
        if level not in (1, 2, 3):
            raise UserInputError(f"'{path}': decoder level {level}; choose 1, 2 or 3")
