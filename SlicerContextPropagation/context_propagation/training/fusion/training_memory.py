"""How much memory the training of a fusion network needs: said to a cluster before the job is sent."""

from __future__ import annotations

from collections.abc import Sequence

from context_propagation.core.optional_dependency import require
from context_propagation.core.propagation.trained_fusion import build_fusion_network
from context_propagation.training.fusion.fusion_jobs import NetworkJob
from context_propagation.training.job_memory import PROCESS_BYTES

EXAMPLES = 12
"""Sizes of an example's file that each simulated edit in it takes, on its way through networks and back: measured."""


WEIGHTS = 8
"""Of a network in training: itself, gradient, two moments, average, the best so far, and what a checkpoint takes."""


def memory_of_a_training(jobs: Sequence[NetworkJob]) -> int:
    """Bytes of main memory that the largest of some trainings of fusion networks needs at its peak, an estimate.

    Args:
        jobs: Whose examples are written; at least one.
    """
    return max(_of_training(job) for job in jobs)


def _of_training(job: NetworkJob) -> int:
    examples = max(path.stat().st_size * _edits_in(str(path)) for path in job.training)
    if job.base.device not in ("cpu", "auto"):
        return PROCESS_BYTES + 2 * examples
    weights = sum(tensor.nbytes for tensor in build_fusion_network(job.architecture).state_dict().values())
    return PROCESS_BYTES + EXAMPLES * examples + WEIGHTS * weights


def _edits_in(example: str) -> int:
    """The header alone is read."""
    with require("safetensors", "nnunet").safe_open(example, framework="pt") as file:
        return int(file.get_slice("edit_maps").get_shape()[0])
