"""Fusion networks that are trained side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from context_propagation.core.callbacks import Progress, no_progress
from context_propagation.training.fusion.fusion_jobs import NetworkJob, train_network
from context_propagation.training.fusion.training_memory import memory_of_a_training
from context_propagation.training.processes import run_in_parallel


def train_networks(
    jobs: Sequence[NetworkJob], stage: str, workers: int | None = None, progress: Progress = no_progress
) -> list[Path]:
    """Run trainings of one base model's fusion networks where `run_in_parallel` runs jobs.

    Args:
        jobs: At least one; all with the same base model, and with their examples written.
        stage: What is said of them while they run.
        workers: See `run_in_parallel`.
        progress: See `run_in_parallel`.

    Returns:
        The file with the weights, for each job.
    """
    weights: list[Path] = run_in_parallel(
        [partial(train_network, job) for job in jobs],
        stage,
        workers,
        [job.name for job in jobs],
        [job.leaves for job in jobs],
        progress,
        jobs[0].base.device,
        partial(memory_of_a_training, jobs),
    )
    return weights
