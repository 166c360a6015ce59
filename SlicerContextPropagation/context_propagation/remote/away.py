"""The network on a thread of its own: whoever waits for it can leave at once, whatever the network does."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

Waiting = Callable[[], None]
"""Called ten times a second while nothing comes; what it raises ends the waiting, and the thread is left to itself."""


ASKED_EVERY_S = 0.1


class Away:
    """What one thread gives another one.

    Args:
        give: On a thread of its own: gives one thing after the other; it is given this, for `taken`.
        leave: Called once nobody waits any more: lets what blocks the thread fail.
    """

    def __init__(self, give: Callable[[Away], Iterable[Any]], leave: Callable[[], None]) -> None:
        self.left = threading.Event()
        self._give, self._leave = give, leave
        self._given: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._wanted: queue.Queue[Any] = queue.Queue(maxsize=2)
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()

    def given(self, waiting: Waiting) -> Generator[Any, None, None]:
        """All that is given; what the thread raises is raised here."""
        try:
            while True:
                try:
                    kind, found = self._given.get(timeout=ASKED_EVERY_S)
                except queue.Empty:
                    waiting()
                    continue
                if kind == "end":
                    return
                if kind == "error":
                    raise found
                yield found
        finally:
            self.leave()

    def hand(self, pieces: Iterable[Any], waiting: Waiting) -> None:
        """Give the thread what it takes with `taken`, two pieces ahead at most, as long as it wants any."""
        try:
            for piece in _with_end(pieces):
                if not self._put(piece, waiting):
                    return
        except BaseException:
            self.leave()
            raise

    def _put(self, piece: Any, waiting: Waiting) -> bool:
        while self._thread.is_alive():
            try:
                self._wanted.put(piece, timeout=ASKED_EVERY_S)
                return True
            except queue.Full:
                waiting()
        return False

    def taken(self) -> Iterator[Any]:
        """On the thread: what it is handed."""
        while not self.left.is_set():
            try:
                piece = self._wanted.get(timeout=ASKED_EVERY_S)
            except queue.Empty:
                continue
            if piece is None:
                return
            yield piece
        raise ConnectionAbortedError("nobody waits for it")

    def leave(self) -> None:
        """Wait no more."""
        self.left.set()
        self._leave()

    def _run(self) -> None:
        try:
            for one in self._give(self):
                self._given.put(("one", one))
                if self.left.is_set():
                    return
            self._given.put(("end", None))
        except BaseException as error:
            self._given.put(("error", error))


def _with_end(pieces: Iterable[Any]) -> Iterator[Any]:
    """The pieces, and None."""
    yield from pieces
    yield None
