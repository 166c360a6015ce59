"""Processes that Slicer starts and waits for, such as pip: the application goes on living, and they can be stopped."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Iterator
from typing import Any


class SlicerProcesses:
    """Those that are started inside `watched`, one after the other.

    Stopping does not kill: a process that can write to no one any more ends by itself, at its next line of output. pip
    prints nothing while it unpacks packages: so none is left half unpacked, and pip cleans up what it downloaded.

    Attributes:
        stopped: Whether `stop` was called.
    """

    def __init__(self) -> None:
        self.stopped = False

    def stop(self) -> None:
        """Let the one that runs end at its next line, and every later one at its first."""
        self.stopped = True

    @contextlib.contextmanager
    def watched(self, **environment: str) -> Iterator[None]:
        """Watch what Slicer starts inside, whoever asks for it.

        Args:
            environment: Variables for these processes.
        """
        import slicer.util

        launch = slicer.util.launchConsoleProcess

        def launch_watched(*args: Any, **kwargs: Any) -> Any:
            process = launch(*args, **kwargs)
            if kwargs.get("blocking", True):
                process.stdout = _LivingLines(process, self)
            return process

        before = dict(os.environ)
        os.environ.update(environment)
        slicer.util.launchConsoleProcess = launch_watched
        try:
            yield
        finally:
            slicer.util.launchConsoleProcess = launch
            for name in environment:
                os.environ.pop(name)
            os.environ.update({name: before[name] for name in environment if name in before})


class _LivingLines:
    """Stands for a process' output; whoever waits for a line lets the application work."""

    def __init__(self, process: Any, processes: SlicerProcesses) -> None:
        self._process, self._stream, self._processes = process, process.stdout, processes
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def readline(self) -> str:
        """The next line; "" once the process has ended."""
        from context_propagation.gui.work.meanwhile import wait_until

        wait_until(lambda: not self._lines.empty() or not self._thread.is_alive(), user_may_act=True)
        with contextlib.suppress(queue.Empty):
            return self._lines.get_nowait()
        wait_until(lambda: self._process.poll() is not None, user_may_act=True)
        return ""

    def close(self) -> None:
        self._stream.close()

    def _read(self) -> None:
        while not self._processes.stopped:
            try:
                line = self._stream.readline()
            except UnicodeDecodeError:  # as Slicer does: the line is lost
                continue
            if not line:
                break
            self._lines.put(line)
        self._stream.close()
