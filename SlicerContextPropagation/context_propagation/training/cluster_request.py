"""Which Dask cluster a user asks for."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

from context_propagation.core.errors import UserInputError

SECONDS_FOR_THE_FILE = 20.0
"""So long a scheduler that was just started may take to write its file."""


@dataclass(frozen=True)
class ClusterRequest:
    """Which cluster, and what its workers must see.

    Attributes:
        scheduler: Address, `tcp://host:port` or `tls://host:port`; None where a file says it.
        scheduler_file: Written by `dask scheduler --scheduler-file`; None where the address is given.
        writes: Folders that jobs write to; one that is not there yet lies in a shared one.
        reads: What jobs read.
    """

    scheduler: str | None = None
    scheduler_file: Path | None = None
    writes: tuple[Path, ...] = ()
    reads: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.scheduler is not None and self.scheduler_file is not None:
            raise UserInputError("--scheduler and --scheduler-file both name a cluster; give one of them")
        if self.scheduler is not None and not re.fullmatch(r"(tcp|tls)://\S+", self.scheduler):
            raise UserInputError(
                f"--scheduler '{self.scheduler}' is no address; give one such as tcp://host:8786, or tls://host:8786"
            )

    @property
    def address(self) -> str:
        """The scheduler's; a scheduler that was just started is given a while to write its file.

        Raises:
            UserInputError: The file does not say it.
        """
        if self.scheduler_file is None:
            return self.scheduler or ""
        end = time.monotonic() + SECONDS_FOR_THE_FILE
        while True:
            try:
                return str(json.loads(self.scheduler_file.read_text(encoding="utf-8"))["address"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                if time.monotonic() > end:
                    raise UserInputError(
                        f"--scheduler-file '{self.scheduler_file}' cannot be read ({error!r:.80}); start the scheduler "
                        "with dask scheduler --scheduler-file first"
                    ) from error
            time.sleep(0.1)
