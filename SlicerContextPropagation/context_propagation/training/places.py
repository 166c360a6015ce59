"""Where jobs run: on this computer, as one part of several, or on a cluster. A command says it once, for all stages."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.storage.whole_file import writing_as

Job = Callable[[], Any]
"""A function that can be pickled."""


Leaves = Path | tuple[Path, ...]
"""The file that a job leaves, or all of them; it is done where they are there."""


def are_there(leaves: Leaves) -> bool:
    """Whether a job has left all that it leaves."""
    return all(file.is_file() for file in (leaves if isinstance(leaves, tuple) else (leaves,)))


@dataclass(frozen=True)
class Stage:
    """What jobs have in common.

    Attributes:
        description: Of the stage, for progress and messages.
        workers: Processes at a time on this computer; None for one per CPU core.
        names: Of the jobs, for errors; their numbers by default.
        leaves: What each job leaves, see `Leaves`; nothing where they leave no file.
        device: What they compute on.
        memory_bytes: What a job needs at most; asked of a cluster alone, as it takes a while to say.
    """

    description: str
    workers: int | None = None
    names: Sequence[str] = ()
    leaves: Sequence[Leaves] = ()
    device: str = "cpu"
    memory_bytes: Callable[[], int] | None = None

    def named(self, numbers: Iterable[int]) -> str:
        """Jobs, for an error."""
        return ", ".join(f"'{self.names[number]}'" if self.names else f"number {number + 1}" for number in numbers)


Hear = Callable[[int, float], None]
"""Called with a job's number and how much of it is done, 0 to 1."""


Finished = Generator[tuple[int, Any], None, None]
"""Number and result of each job as soon as it is done."""


class Place(Protocol):
    """Where jobs run."""

    def finished(self, jobs: Mapping[int, Job], stage: Stage, hear: Hear) -> Finished:
        """Number and result of each job as soon as it is done. Left early, all of them end at once."""

    def device(self, asked_for: str) -> str:
        """What jobs compute on, of what the user asked for."""

    def jobs_at_a_time(self) -> int | None:
        """How many; None where the stage and this computer decide."""


_current: list[Place] = []
"""The last one holds; none is this computer."""


@contextmanager
def jobs_run_at(place: Place) -> Iterator[None]:
    """In this block, jobs run there."""
    _current.append(place)
    try:
        yield
    finally:
        _current.remove(place)


def current_place() -> Place | None:
    """Where jobs run; None for this computer."""
    return _current[-1] if _current else None


class PartEnds(Exception):
    """A part has done its share of what could be done. The message says what is lacking, and what to do."""


AGAIN = "once all parts have ended, run the same command again; without --part it does what is lacking, and gathers"


@dataclass(frozen=True)
class Part:
    """One of several calls of the same command, which share the jobs of each stage by their numbers.

    Attributes:
        number: Of this one, from 1.
        parts: How many there are.
        here: This computer.
    """

    number: int
    parts: int
    here: Place

    def __post_init__(self) -> None:
        if self.parts < 1:
            raise UserInputError(f"--parts {self.parts}; give at least 1")
        if not 1 <= self.number <= self.parts:
            raise UserInputError(f"--part {self.number}; give 1 to {self.parts}, as --parts says")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Jobs run as this part's: what it writes is written beside what others write under names of its own."""
        with jobs_run_at(self), writing_as(f"part-{self.number}-"):
            yield

    def finished(self, jobs: Mapping[int, Job], stage: Stage, hear: Hear) -> Finished:
        """Its share of the jobs, here; all of them where they leave no files that others could read.

        Raises:
            PartEnds: Files of others are lacking.
        """
        first = zlib.crc32(stage.description.encode())  # else part 1 would do all of every short stage
        own = {number: job for number, job in jobs.items() if (first + number) % self.parts == self.number - 1}
        if not stage.leaves:
            own = dict(jobs)
        if own:
            yield from self.here.finished(own, stage, hear)
        failed = [number for number in own if stage.leaves and not are_there(stage.leaves[number])]
        lacking = [number for number in jobs if stage.leaves and not are_there(stage.leaves[number])]
        if failed:
            raise PartEnds(f"'{stage.description}': {stage.named(failed)} failed; without --part you see why; {AGAIN}")
        if lacking:
            raise PartEnds(f"'{stage.description}' waits for {counted(len(lacking), 'job')} of other parts; {AGAIN}")
        for number in jobs.keys() - own.keys():  # left meanwhile
            yield number, jobs[number]()

    def device(self, asked_for: str) -> str:
        """As on this computer."""
        return self.here.device(asked_for)

    def jobs_at_a_time(self) -> int | None:
        """As on this computer."""
        return self.here.jobs_at_a_time()


def each(steps: Iterable[Callable[[], Any]]) -> Iterator[Any]:
    """Results of steps that need nothing of one another: where one of them waits for other parts, the next is begun.

    Raises:
        PartEnds: After the last step, if one waits.
    """
    said = []
    for step in steps:
        try:
            result = step()
        except PartEnds as end:
            said.append(str(end))
        else:
            yield result
    if said:
        raise PartEnds("; ".join([*dict.fromkeys(line.removesuffix(f"; {AGAIN}") for line in said), AGAIN]))


def this_call_gathers() -> bool:
    """Whether this call makes the end result of what jobs leave; a part leaves that to the call without --part."""
    return not isinstance(current_place(), Part)


def leave_the_rest_to_who_gathers() -> None:
    """Called before the end result is made.

    Raises:
        PartEnds: This is a part.
    """
    if not this_call_gathers():
        raise PartEnds("all jobs are done; the same command without --part gathers")
