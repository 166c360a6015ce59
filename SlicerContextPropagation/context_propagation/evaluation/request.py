"""What is asked of an evaluation, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from context_propagation.core.errors import UserInputError


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
