"""Memory that predicting needs, measured and as `prediction_bytes` and `peak_bytes` foresee it; the shipped bundle.

Run `python benchmarks/prediction_memory.py`. Each size runs in a process of its own.
"""

from __future__ import annotations

import multiprocessing
import threading

import numpy as np
import pandas as pd
import psutil

from context_propagation.core.bundle.bundle import load_model
from context_propagation.core.bundle.shipped_bundle import shipped_bundle
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.session.memory_forecast import memory_forecast
from context_propagation.core.session.ready_image import ready_image
from context_propagation.core.session.session_settings import SessionSettings
from provenance import provenance

SHAPES = [(40, 128, 128), (80, 256, 256), (120, 320, 320)]
SPACING_IJK_MM = (0.98, 0.98, 3.0)
SEED = 0
MIB = 2**20


def main() -> None:
    """Print the table."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rows = pool.map(_row, SHAPES, chunksize=1)
    print(provenance(SEED, len(SHAPES)))
    print(pd.DataFrame(rows).to_string(index=False))


def _row(shape: tuple[int, int, int]) -> dict[str, object]:
    model = load_model(shipped_bundle(), device="cpu").model
    voxels = np.random.default_rng(SEED).normal(40, 300, (1, *shape)).astype(np.float32)
    image = ready_image(model, SourceVolume(voxels, np.diag([*SPACING_IJK_MM, 1.0])))
    foreseen = memory_forecast(model, SessionSettings(), image).peak_bytes
    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    model.predict(image.prepared)
    done.set()
    watcher.join()
    size = " x ".join(map(str, shape[::-1]))
    return {"voxels": size, "foreseen, MiB": round(foreseen / MIB), "measured, MiB": round((peak - before) / MIB)}


if __name__ == "__main__":
    main()
