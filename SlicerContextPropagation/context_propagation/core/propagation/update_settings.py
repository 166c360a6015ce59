"""How an update of the features is told to run, and what it says of itself. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from context_propagation.core.errors import UserInputError
from context_propagation.core.model.loss import Loss

StopReason = Literal[
    "threshold", "iterations", "no improvement", "converged", "cancelled", "stopped", "already satisfied"
]


@dataclass(frozen=True)
class UpdateSettings:
    """How the features are optimised; defaults as measured in docs/activation-update.md.

    Attributes:
        optimizer: "lbfgs" (strong Wolfe line search) or "adam".
        loss: Another loss than the base model's own, for comparisons; None for `SegmentationModel.loss`.
        iterations: Iteration limit of the optimiser; without it, 10 for LBFGS and 30 for Adam.
        learning_rate: Step of Adam; LBFGS finds its own by line search.
        proximal_weight: Weight of sum((f - f0)^2) / (C' H' W'), with C' H' W' counted on one slice of f.
        loss_threshold: Stop once the loss without the proximal term is at or below this.
        patience: Stop after so many evaluations without a better objective.
        frozen_statistics: Keep the norm statistics of the cached pass, which makes the update local.
    """

    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    loss: Loss | None = None
    iterations: int | None = None
    learning_rate: float = 0.05
    proximal_weight: float = 0.3
    loss_threshold: float = 0.0
    patience: int = 15
    frozen_statistics: bool = True

    def __post_init__(self) -> None:
        if self.optimizer not in ("lbfgs", "adam"):
            raise UserInputError(f"Unknown optimizer '{self.optimizer}'; choose lbfgs or adam")
        if self.loss not in (None, *get_args(Loss)):
            raise UserInputError(f"Unknown loss '{self.loss}'; choose {' or '.join(get_args(Loss))}")
        if self.iterations is not None and self.iterations < 1:
            raise UserInputError(f"{self.iterations} iterations; give at least 1")
        if not self.learning_rate > 0:
            raise UserInputError(f"The learning rate is {self.learning_rate}; give a number above 0")
        if not self.proximal_weight >= 0:
            raise UserInputError(f"The proximal weight is {self.proximal_weight}; give 0 or more")

    @property
    def iteration_limit(self) -> int:
        """`iterations`, or the optimiser's default."""
        return self.iterations or {"lbfgs": 10, "adam": 30}[self.optimizer]


@dataclass(frozen=True)
class UpdateReport:
    """What an update did.

    Attributes:
        loss_before: Loss at the start, untouched features or those of an earlier edit, against the drawing (Eq. 5 or 7,
            Dice counted as 1 - Dice).
        loss_after: Loss of the features kept.
        evaluations: Number of loss evaluations.
        stop_reason: Why it stopped; "stopped" where it was told that what it had was enough.
    """

    loss_before: float
    loss_after: float
    evaluations: int
    stop_reason: StopReason
