"""The page in the Chromium of this computer, used as a person uses it: by mouse and keyboard."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PICTURES = Path(__file__).parents[2] / "output" / "page"
"""Where a test leaves what it saw."""

WAIT_MS = 240_000
STROKE = ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser that renders in software; skips where it, its driver or the built page is missing."""
    from context_propagation.page.static_files import BUILT  # not above: it needs FastAPI

    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make install")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    if not (BUILT / "index.html").is_file():
        pytest.skip("the page is not built: make page")
    options = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--no-sandbox")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, headless=True, args=options)
        yield browser
        browser.close()


@dataclass
class Tab:
    """One tab.

    Attributes:
        page: Playwright's.
        complaints: What the browser wrote into its console: also what the page may not load.
        questions: What the page asked in a dialog; each is answered with yes.
    """

    page: Any
    complaints: list[str] = field(default_factory=list)
    questions: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._answer)

    def _answer(self, dialog: Any) -> None:
        self.questions.append((dialog.type, dialog.message))
        dialog.accept()

    def open(self, url: str) -> Tab:
        self.page.goto(url)
        return self.until("empty")

    def until(self, state: str) -> Tab:
        """Wait until nothing goes on; fails where the page is in another state then."""
        self.page.wait_for_selector("body[data-state]:not([data-state=busy])")
        now = self.page.get_attribute("body", "data-state")
        assert now == state, f"{now}: {self.said}"
        return self

    @property
    def said(self) -> str:
        return str(self.page.inner_text("#said"))

    def click(self, button: str, state: str = "ready") -> str:
        """Click, wait, and give what is said then."""
        self.page.click(f"#{button}")
        return self.until(state).said

    def value(self, script: str) -> Any:
        return self.page.evaluate(f"(({{ viewer }}) => {script})(contextPropagationPage)")

    def mask(self, shape_kji: tuple[int, int, int]) -> np.ndarray:
        """The segmentation as it is drawn."""
        flat = self.value("((mask) => [...mask.keys()].filter((at) => mask[at]))(viewer.mask)")
        mask = np.zeros(shape_kji, bool)
        mask.reshape(-1)[flat] = True
        return mask

    def draw(self, tool: str, first: tuple[float, float], size: float = 0.12) -> list[list[float]]:
        """Go round a square on the axial slice that is shown, and fill it.

        Args:
            tool: "pen" or "eraser".
            first: Its corner: x and y from the crosshair, in parts of the image.
            size: In parts of the image.

        Returns:
            That corner, and those beside it along x and y, in the patient: R, A, S in mm.
        """
        self.page.select_option("#view", "axial")
        self.page.check(f"input[value={tool}]")
        corners = [[first[0] + x * size, first[1] + y * size] for x, y in STROKE]
        points = self.value(
            f"{corners}.map(([x, y]) => {{ const c = viewer.niivue.scene.crosshairPos;"
            " const [left, top] = viewer.niivue.frac2canvasPos([c[0] + x, c[1] + y, c[2]]);"
            " const box = document.getElementById('canvas').getBoundingClientRect();"
            " return [left + box.left, top + box.top]; })"
        )
        ras = self.value(
            f"{[corners[0], corners[1], corners[3]]}.map(([x, y]) => {{ const c = viewer.niivue.scene.crosshairPos;"
            " return [...viewer.niivue.frac2mm([c[0] + x, c[1] + y, c[2]], 0, true)].slice(0, 3); })"
        )
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*point, steps=6)
        self.page.mouse.up()
        self.page.check("input[value=look]")
        return [[float(mm) for mm in corner] for corner in ras]

    def download(self, button: str) -> bytes:
        with self.page.expect_download() as waited:
            self.page.click(f"#{button}")
        data = Path(waited.value.path()).read_bytes()
        self.until("ready")
        return data

    def picture(self, name: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png")
