"""Where a command's jobs run, as its arguments say: here, on a Dask cluster, or as one part of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from context_propagation.core.errors import UserInputError
from context_propagation.training.cluster_opening import opened_cluster
from context_propagation.training.cluster_request import ClusterRequest
from context_propagation.training.places import Part, jobs_run_at
from context_propagation.training.processes import Here

NAMES = ("scheduler", "scheduler_file", "part", "parts")
"""Of `add_places`."""


@contextmanager
def jobs_placed(
    fields: Mapping[str, Any], writes: Sequence[Path | None], reads: Sequence[Path | None] = ()
) -> Iterator[dict[str, Any]]:
    """In this block, jobs run where the arguments say.

    Args:
        fields: The parsed arguments, those of `add_places` among them.
        writes: Where jobs write.
        reads: What jobs read.

    Yields:
        The other arguments; the device is one that the jobs will have.

    Raises:
        UserInputError: The arguments contradict each other, or the cluster cannot do such jobs.
        PartEnds: This was a part, and has done what it could.
    """
    scheduler, file, part, parts = (fields.get(name) for name in NAMES)
    others = {name: value for name, value in fields.items() if name not in NAMES}
    if (part is None) != (parts is None):
        raise UserInputError("--part and --parts belong together; give both, such as --part 1 --parts 8")
    if scheduler is None and file is None:
        if part is None:
            yield others
            return
        with Part(part, parts, Here()).entered():
            yield others
        return
    if part is not None:
        raise UserInputError("--part is for jobs without a cluster; leave it out, or --scheduler")
    if others.get("jobs") is not None:
        raise UserInputError(f"--jobs {others['jobs']} is for this computer; a cluster runs as many as it has workers")
    request = ClusterRequest(scheduler, file, _given(writes), _given(reads))
    with opened_cluster(request) as cluster, jobs_run_at(cluster):
        if "device" in others:
            others["device"] = cluster.device(others["device"])
        yield others


def _given(paths: Sequence[Path | None]) -> tuple[Path, ...]:
    return tuple(path for path in paths if path is not None)
