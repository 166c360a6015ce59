"""What a page does, without a browser."""

from __future__ import annotations

import base64
import gzip
import io
import urllib.request
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from context_propagation.core.image.boxed_mask import BoxedMask
from served import Served


def zipped(*channels: Sequence[Path], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Files as the page sends them."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as archive:
        for number, files in enumerate(channels):
            for file in files:
                archive.write(file, f"{number}/{file.name}")
    return held.getvalue()


@dataclass
class PageBrowser:
    """A page's session."""

    server: Served
    begun: dict[str, Any]

    @classmethod
    def with_demo(cls, server: Served, bundle: str = "phantom") -> PageBrowser:
        status, begun = server.asked("POST", "/api/page/demo", {"bundle": bundle})
        assert status == 201, begun
        return cls(server, begun)

    @classmethod
    def with_files(cls, server: Served, *channels: Sequence[Path], bundle: str = "network") -> PageBrowser:
        status, begun = server.asked("POST", f"/api/page/files?bundle={bundle}", zipped(*channels))
        assert status == 201, begun
        return cls(server, begun)

    @property
    def address(self) -> str:
        return f"/api/sessions/{self.begun['session']}"

    @property
    def shape(self) -> tuple[int, int, int]:
        k, j, i = self.begun["shape_kji"]
        return k, j, i

    def start(self, initial: np.ndarray | None = None) -> np.ndarray:
        first = None if initial is None else BoxedMask.of(initial).plain()
        return self.mask(self.ask("start", {"initial": first})["initial"])

    def ask(self, what: str, message: Any = None) -> Any:
        """The result, or the sentence of an error."""
        status, answer = self.server.asked("POST", f"{self.address}/{what}", message)
        if status != 200:
            return answer["message"]
        return answer["result"] if "result" in answer else answer["error"]["message"]

    def redraw(self, drawn: np.ndarray, axis: int | None = None) -> Any:
        answer = self.ask("page/edits", {"mask": BoxedMask.of(drawn).plain(), "axis": axis})
        return answer if isinstance(answer, str) else self.ask("page/preview", answer)

    def mask(self, plain: Any) -> np.ndarray:
        return BoxedMask.from_plain(plain, self.shape).mask

    def segmentation(self, answer: Any) -> np.ndarray:
        return self.mask(answer["segmentation"])

    def download(self, kind: str) -> bytes:
        answer = self.ask("page/file", {"kind": kind})
        assert isinstance(answer, dict), answer
        return base64.b64decode(answer["data"])

    def image(self, channel: int = 0) -> nibabel.Nifti1Image:
        with urllib.request.urlopen(f"{self.server.url}{self.address}/page/image/{channel}") as answer:
            return nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.read()))
