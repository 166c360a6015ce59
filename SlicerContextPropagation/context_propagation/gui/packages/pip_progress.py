"""What pip prints, as words for the user and as a share of what is downloaded."""

from __future__ import annotations

import re

from slicer.i18n import tr as _

from context_propagation.gui.packages.download_size import DownloadSize

DOWNLOADING = re.compile(r"^\s*(?:Downloading|Using cached) (\S+?)(?: \(([\d.]+ [kMG]?B)\))?$")


PROGRESS = re.compile(r"^\s*Progress (\d+) of (\d+)$")


INSTALLING = re.compile(r"^\s*Installing collected packages: (.+)$")


COLLECTING = re.compile(r"^\s*(?:Collecting|Processing|Building wheel for|Preparing metadata for) ?([\w./\\-]*)")


METADATA = ".metadata"


MEGABYTE = 1_000_000


class PipProgress:
    """Follows pip line by line.

    Attributes:
        size: What is going to be downloaded, once that is known.
        words: What pip does, for the user.
        fraction: How much of the download is done, from 0 to 1; None where that cannot be said.
    """

    def __init__(self) -> None:
        self.size: DownloadSize | None = None
        self._files, self._name = 0, ""
        self._finished_bytes, self._file_bytes = 0, 0
        self.words = ""
        self.fraction: float | None = None

    def read(self, line: str, size: DownloadSize | None = None) -> None:
        """Take in a line.

        Args:
            line: What pip printed.
            size: What is going to be downloaded, once that is known; what was said before is not counted then.
        """
        if size is not self.size:
            self.size, self._files, self._name, self._finished_bytes, self._file_bytes = size, 0, "", 0, 0
        if (match := DOWNLOADING.match(line)) and not match.group(1).endswith(METADATA):
            self._next_file(match.group(1), match.group(2) or "")
        elif (match := PROGRESS.match(line)) and self._name:
            self._show_bytes(int(match.group(1)), int(match.group(2)))
        elif match := INSTALLING.match(line):
            self.fraction = None
            self.words = _("installing {count} packages").format(count=len(match.group(1).split(",")))
        elif match := COLLECTING.match(line):
            self._name = ""
            self.words = _("looking at {name}").format(name=_package(match.group(1)))

    def _next_file(self, address: str, size: str) -> None:
        self._files, self._name = self._files + 1, _package(address)
        self._finished_bytes, self._file_bytes = self._finished_bytes + self._file_bytes, 0
        self.words = f"{self._which()}, {size}" if size else self._which()

    def _show_bytes(self, done: int, of: int) -> None:
        self._file_bytes = done
        self.words = _("{which}, {done} of {total}").format(
            which=self._which(), done=in_words(done), total=in_words(of)
        )
        if self.size is not None and self.size.bytes:
            self.fraction = min(1.0, (self._finished_bytes + done) / self.size.bytes)
        else:
            self.fraction = done / of if of else None

    def _which(self) -> str:
        if self.size is None:
            return _("downloading {name}").format(name=self._name)
        which = _("downloading {number} of {files}: {name}").format(
            number=self._files, files=max(self.size.files, self._files), name=self._name
        )
        if self.size.bytes is None:
            return which
        return _("{which} ({total} in all)").format(which=which, total=in_words(self.size.bytes))


def in_words(size: int) -> str:
    """Bytes as pip counts them: 1 MB is a million."""
    megabytes = size / MEGABYTE
    return f"{megabytes:.0f} MB" if megabytes >= 10 else f"{megabytes:.1f} MB"


def _package(address: str) -> str:
    """The package in the name of a wheel or a source archive, or in a requirement."""
    name = re.split(r"[\\/]", address.rstrip("/\\"))[-1]
    return re.split(r"-\d|[<>=!~;\[ ]", name)[0]
