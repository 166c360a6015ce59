"""Opens a Dask cluster that somebody else started: its workers are checked before any work."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.training.cluster import EXTRA, Cluster, call_for_a_worker
from context_propagation.training.cluster_request import ClusterRequest
from context_propagation.training.cluster_worker import (
    Answer,
    Terms,
    Token,
    answer,
    compared_versions,
    end_idle_processes,
)

TOKEN = ".context-propagation-shared-"


SECONDS_TO_CONNECT = 20.0


SECONDS_TO_SEE_A_FILE = 20.0
"""So long a network file system may take to show what a worker wrote."""


@contextmanager
def opened_cluster(request: ClusterRequest) -> Iterator[Cluster]:
    """A cluster whose workers were checked; nothing of ours runs on it when the block is left.

    Raises:
        UserInputError: There is no such cluster, or its workers cannot do these jobs.
        MissingDependencyError: Dask is not installed.
    """
    with ExitStack() as stack:
        stack.enter_context(_silent())  # what matters is said in our words
        address = request.address
        client = stack.enter_context(_client(address))
        folders = sorted({_existing(folder) for folder in request.writes})
        tokens = tuple(stack.enter_context(_token(folder)) for folder in folders)
        reads = tuple(sorted({path.absolute() for path in request.reads}))
        terms = Terms(compared_versions(), Path.cwd(), tokens, reads)
        _check_workers(client, address, terms)
        cluster = Cluster(client, address, terms)
        client.subscribe_topic(cluster.topic, cluster.hear)
        try:
            yield cluster
        finally:
            with suppress(Exception):  # a cluster that is gone
                client.run(end_idle_processes, on_error="ignore")


@contextmanager
def _silent() -> Iterator[None]:
    """What Dask would log in this process; each of its loggers has a level of its own."""
    require("distributed", EXTRA)
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _client(address: str) -> Iterator[Any]:
    distributed = require("distributed", EXTRA)
    try:
        client = distributed.Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # TypeError: TLS without certificates
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserInputError(f"No Dask scheduler answers at '{address}' ({reason:.200}); start it first") from error
    with client:
        yield client


def _existing(folder: Path) -> Path:
    """The folder itself, or the one that it will be made in."""
    return next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())


@contextmanager
def _token(folder: Path) -> Iterator[Token]:
    token = Token(folder / f"{TOKEN}{uuid.uuid4().hex}", uuid.uuid4().hex)
    try:
        token.file.write_text(token.text, encoding="utf-8")
        yield token
    finally:
        for file in folder.glob(f"{token.file.name}*"):
            with suppress(OSError):
                file.unlink(missing_ok=True)


def _check_workers(client: Any, address: str, terms: Terms) -> None:
    """Ask each worker; those that come later are asked with their first job.

    Raises:
        UserInputError: There is none, or one of them cannot do these jobs.
    """
    call_for_a_worker(client, address)
    for worker, said in client.run(answer, terms, on_error="return").items():
        if isinstance(said, BaseException):
            reason = " ".join(str(said).split())
            raise UserInputError(
                f"Worker '{worker}' cannot run this program ({reason:.200}); start workers in the same environment"
            )
        if said.wrong is not None:
            raise UserInputError(f"Worker '{worker}' {said.wrong}")
        _find(worker, said, terms)


def _find(worker: str, said: Answer, terms: Terms) -> None:
    for token, file in zip(terms.tokens, said.files, strict=True):
        end = time.monotonic() + SECONDS_TO_SEE_A_FILE
        while not _reads_as(file, token.text):
            if time.monotonic() > end:
                raise UserInputError(
                    f"What worker '{worker}' wrote to '{file.parent}' is not seen here; give an --output that all "
                    "workers share with this computer"
                )
            time.sleep(0.1)


def _reads_as(file: Path, text: str) -> bool:
    with suppress(OSError):
        return file.read_text(encoding="utf-8") == text
    return False
