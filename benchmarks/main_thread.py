"""How long each step holds Slicer's main thread, on a CT of 512 x 512 x 160 voxels; the long parts run elsewhere.

Run `python benchmarks/main_thread.py`. The shipped bundle; noise with a drawn ellipsoid, since only sizes matter here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pandas as pd

from context_propagation.core.bundle.shipped_bundle import shipped_bundle
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.preview_node import PropagationPreview
from context_propagation.mrml.nodes.scenes import new_scene
from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation
from context_propagation.mrml.nodes.volume_nodes import add_volume
from context_propagation.mrml.session.operation import Operation
from provenance import provenance

SHAPE = (160, 512, 512)
SPACING_IJK_MM = (0.98, 0.98, 3.0)
SEED = 0
T = TypeVar("T")


class Stopwatch:
    """Seconds by step, on the main thread and elsewhere."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []

    def main(self, step: str, act: Callable[[], T]) -> T:
        """Time something that runs on the main thread."""
        start = time.perf_counter()
        result = act()
        self.rows.append({"step": step, "main thread, ms": round(1000 * (time.perf_counter() - start), 1)})
        return result

    def operation(self, step: str, make: Callable[[], Operation[T]]) -> T:
        """Time the parts of an operation."""
        operation = self.main(f"{step}: begin", make)
        start = time.perf_counter()
        computed = operation.compute(lambda stage, fraction: None, lambda: False)
        elsewhere = time.perf_counter() - start
        result = self.main(f"{step}: finish", lambda: operation.finish(computed))
        self.rows[-1]["worker, s"] = round(elsewhere, 2)
        return result


def main() -> None:
    """Print the table."""
    scene, logic, watch = new_scene(), None, Stopwatch()
    rng = np.random.default_rng(SEED)
    voxels = np.broadcast_to(rng.normal(40, 30, SHAPE[1:]).astype(np.int16), SHAPE).copy()[None]
    ct = add_volume(scene, SourceVolume(voxels, np.diag([*SPACING_IJK_MM, 1.0])), "CT")
    k, j, i = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    target = ((k - 80) / 8) ** 2 + ((j - 256) / 25) ** 2 + ((i - 256) / 30) ** 2 <= 1
    segmentation = add_segmentation(scene, ct, "Segmentation")
    add_segment_from_mask(segmentation, target, ct, "GTV")
    logic = ContextPropagationLogic(scene)
    logic.load_model(shipped_bundle())
    watch.main("select", lambda: logic.select([ct], segmentation))
    watch.operation("check", logic.check_operation)
    watch.operation("predict", logic.predict_operation)
    drawn = target[80].copy()
    drawn[240:260, 280:295] = True
    watch.main("write a drawn slice", lambda: logic.edit_slice(80, drawn))
    watch.main("find redrawn slices", logic.edits)
    pending = watch.operation("propagate", logic.propagate_operation)
    result = pending.result
    preview = watch.main(
        "preview",
        lambda: PropagationPreview(
            scene, ct, result.changed & result.segmentation, result.changed & ~result.segmentation
        ),
    )
    preview.close()
    watch.main("apply", lambda: logic.apply(pending))
    watch.main("undo", logic.undo)
    watch.main("redo", logic.redo)
    logic.close()
    print(provenance(SEED, 1))
    print(f"{' x '.join(map(str, SHAPE[::-1]))} voxels; {int(result.changed.sum())} voxels changed")
    print(pd.DataFrame(watch.rows).to_string(index=False, na_rep="-"))


if __name__ == "__main__":
    main()
