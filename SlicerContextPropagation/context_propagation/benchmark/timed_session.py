"""Times sessions of one checkout of this package, in a process of its own.

It is run by its path and stands alone: it imports the package from the folder that it is told, which may be that of an
older checkout, and uses only what both have. It works through its job step by step: a line on its standard input starts
a step, a line of JSON on its standard output ends it; the end of the input ends the process.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

RESULT, FAILED = "RESULT ", "FAILED "
SAMPLE_SECONDS = 0.004
MIB = 2**20

Job = dict[str, Any]
Steps = Iterator[dict[str, Any]]


# ---- the conversation with the process that started this one


def serve(jobs: dict[str, Callable[[Job], Steps]]) -> None:
    """Do the job that is given as JSON in the first argument, one step for each line of the standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process hears of Ctrl-C, and ends this one
    job = json.loads(sys.argv[1])
    asked: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    out, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    try:
        steps = jobs[job["kind"]](job)
        while True:
            asked.get()
            print(RESULT + json.dumps(next(steps)), file=out, flush=True)
    except Exception as error:
        print(f"{FAILED}{type(error).__name__}: {' '.join(str(error).split())}", file=out, flush=True)
        raise


def _listen(asked: queue.Queue[str]) -> None:
    for line in sys.stdin:
        asked.put(line)
    os._exit(0)


# ---- what is measured


class Meter:
    """Seconds, and the memory at the peak beyond what was held when the meter was made.

    Args:
        device: "cpu" or "cuda": whose memory counts, and whose queue must be empty before the clock is read.
    """

    def __init__(self, device: str) -> None:
        import psutil

        self._cuda = device == "cuda"
        self._process = psutil.Process()
        self.release()
        self._before = self._held()

    def release(self) -> None:
        """Give back what nobody holds, so that it does not count for the next stage."""
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            importlib.import_module("ctypes").CDLL("libc.so.6").malloc_trim(0)

    @contextlib.contextmanager
    def measured(self) -> Iterator[dict[str, float]]:
        """Gives a dictionary that has "seconds" and "mib" when the block is left."""
        found: dict[str, float] = {}
        self.release()
        with self._sampled() as peak:
            begun = self.now()
            yield found
            found["seconds"] = self.now() - begun
        found["mib"] = max(0.0, (peak[0] - self._before) / MIB)

    def now(self) -> float:
        """The time, once all that was asked of the device is done."""
        if self._cuda:
            import torch

            torch.cuda.synchronize()
        return time.perf_counter()

    @contextlib.contextmanager
    def _sampled(self) -> Iterator[list[int]]:
        peak, done = [self._held()], threading.Event()
        if self._cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()

        def sample() -> None:
            while not done.wait(SAMPLE_SECONDS):
                peak[0] = max(peak[0], self._held())

        sampler = threading.Thread(target=sample, daemon=True)
        sampler.start()
        try:
            yield peak
        finally:
            done.set()
            sampler.join()
            peak[0] = max(peak[0], self._held(at_the_peak=True))

    def _held(self, at_the_peak: bool = False) -> int:
        if self._cuda:
            import torch

            return int(torch.cuda.max_memory_allocated() if at_the_peak else torch.cuda.memory_allocated())
        return int(self._process.memory_info().rss)


class Stages:
    """Seconds of each stage that a session reports, and of what comes after the last one."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._stage = ""
        self._since = now()
        self.seconds: dict[str, float] = {}

    def __call__(self, stage: str, fraction: float) -> None:
        """The session's progress: a stage lasts until it is done or another is named, and has the time before it."""
        if stage == self._stage and fraction < 1:
            return
        now = self._now()
        if self._stage != stage and self._stage:
            self._add(self._stage, now)
        self._stage = stage
        if fraction >= 1:
            self._add(stage, now)
            self._stage = ""

    def end(self, fusing: float) -> dict[str, float]:
        """The stages, "rest" among them; "fuse" in its two parts, where the fusion network's own is known."""
        self._add("rest", self._now())
        if fusing and "fuse" in self.seconds:
            self.seconds["fuse"] -= fusing
            return {("far decode" if name == "fuse" else name): value for name, value in self.seconds.items()} | {
                "fusion network": fusing
            }
        return self.seconds

    def _add(self, stage: str, now: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._since
        self._since = now


class Fusing:
    """Seconds that fusion networks take, as long as the block lasts."""

    def __init__(self, networks: Any, now: Callable[[], float]) -> None:
        self._networks, self._now = networks, now
        self.seconds = 0.0

    def __enter__(self) -> Fusing:
        for network in self._networks:
            setattr(network, self._called(network), self._timed(getattr(network, self._called(network))))
        return self

    def __exit__(self, *_: object) -> None:
        for network in self._networks:
            delattr(network, self._called(network))

    @staticmethod
    def _called(network: Any) -> str:
        """What a session calls; older versions fuse the whole window."""
        return "on_box" if hasattr(network, "on_box") else "forward"

    def _timed(self, fuse: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            begun = self._now()
            fused = fuse(*arguments)
            self.seconds += self._now() - begun
            return fused

        return timed


class NnunetsOwn:
    """Seconds in nnU-Net's own code of a prediction, as long as the block lasts: what no checkout of this can save."""

    def __init__(self, now: Callable[[], float]) -> None:
        from nnunetv2.inference import export_prediction
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
        from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
        from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

        self._now, self._inside = now, False
        self._restore = contextlib.ExitStack()
        self._resampling = ConfigurationManager, "resampling_fn_probabilities"
        self._calls = (
            (DefaultPreprocessor, "run_case_npy"),
            (nnUNetPredictor, "predict_sliding_window_return_logits"),
            (export_prediction, "convert_predicted_logits_to_segmentation_with_correct_shape"),
        )
        self.seconds = 0.0

    def __enter__(self) -> NnunetsOwn:
        for owner, name in self._calls:
            self._restore.enter_context(mock.patch.object(owner, name, self._timed(getattr(owner, name))))
        owner, name = self._resampling
        function_of = getattr(owner, name).fget
        timed = property(lambda configuration: self._timed(function_of(configuration)))
        self._restore.enter_context(mock.patch.object(owner, name, timed))
        return self

    def __exit__(self, *_: object) -> None:
        self._restore.close()

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            if self._inside:  # of another one that counts already
                return call(*arguments, **named)
            self._inside, begun = True, self._now()
            try:
                return call(*arguments, **named)
            finally:
                self._inside = False
                self.seconds += self._now() - begun

        return timed


# ---- the package, wherever its names are


def _named(name: str, *modules: str) -> Any:
    """A name of the package, from the first of some modules that there is."""
    for module in modules:
        with contextlib.suppress(ModuleNotFoundError, AttributeError):
            return getattr(importlib.import_module(f"context_propagation.{module}".rstrip(".")), name)
    raise ImportError(f"this checkout has no {name} that the benchmark knows of")


def _fusion(job: Job) -> Any:
    """The fusion network of a job: a file of weights, and its architecture."""
    made = job["fusion"]
    homes = ("core.propagation.fusion_settings", "core.propagation.fusion_network", "core.fusion_network")
    settings = _named("FusionSettings", *homes)(**made["settings"])
    read = _named("read_network", "core.bundle.bundle_file", "core.fusion_file")
    network = read(Path(made["file"]), settings)
    older = "core.propagation.fusion_network"
    try:
        thresholds = _named("FarThresholds", "core.propagation.far_thresholds", older)
    except ImportError:
        thresholds = _named("FarMargin", "core.composition", older)
    fusion_of = _named("fusion_of", "core.bundle.bundle", "core.bundle")
    return fusion_of([network], job["level"], 2, thresholds())


def _write_of() -> Callable[[Any, Any, Any, Meter], float] | None:
    """Times what the module does with the result of an edit: it goes into a segmentation node.

    Returns:
        Takes the image, the segment before (bool `[K, J, I]`), the edit's result and the clock; gives seconds. None
        without Slicer's MRML library, and in an older checkout with other names.
    """
    try:
        new_scene = _named("new_scene", "mrml.nodes.scenes")
        add_volume = _named("add_volume", "mrml.nodes.volume_nodes")
        add_segmentation, add_segment = (
            _named(name, "mrml.nodes.segments") for name in ("add_segmentation", "add_segment_from_mask")
        )
        writer_of = _named("EditorLogicWriter", "mrml.writing.editor_logic_writer")
        write = _named("write_changed_voxels", "mrml.writing.segment_writer")
    except ImportError:
        return None

    def written(volume: Any, shown: Any, result: Any, meter: Meter) -> float:
        scene = new_scene()
        image = add_volume(scene, volume, "CT")
        node = add_segmentation(scene, image, "Segmentation")
        segment = add_segment(node, shown, image, "GTV")
        writer, within = writer_of(scene, node, image), result.changed_box_kji
        begun = meter.now()
        write(writer, node, segment, image, result.segmentation, result.changed, within=within)
        return meter.now() - begun

    return written


# ---- one window with a blob


def session_steps(job: Job) -> Steps:
    """Each step: another image of the same blob is set, then slices are drawn one after the other.

    The job's case is a file of numpy's with images, the first segmentation, and the drawn slices.
    """
    import numpy as np

    model = _named("load_base_model", "core.model.model_kinds", "core.model_kinds")(job["model"], None, job["device"])
    settings = _named("SessionSettings", "")(level=job["level"])
    fusion = _fusion(job)
    with np.load(job["case"]) as case:
        images, mask, indices, drawn = (case[name] for name in ("images", "mask", "indices", "drawn"))
    groups = [[tuple(tuple(span) for span in job["window"])]] if job["window"] else []
    write = _write_of()
    meter = Meter(job["device"])
    step = 0
    while True:
        session = _named("Session", "")(model, settings, fusion)
        volume = _named("SourceVolume", "")(images[step % len(images)], np.eye(4))
        with meter.measured() as set_image:
            session.set_image(volume, mask, window_groups=groups)
        again = dict(_again(session, volume, mask, groups, meter)) if job["again"] else {}
        edits = [_edit(session, volume, *one, meter, write) for one in zip(indices, drawn, strict=True)]
        yield {"set_image": set_image, "again": again, "edits": edits, "prediction": _likeness(session, mask)}
        del session
        step += 1


def _again(session: Any, volume: Any, mask: Any, groups: Any, meter: Meter) -> dict[str, float]:
    """The same image set once more."""
    with meter.measured() as found:
        session.set_image(volume, mask, window_groups=groups)
    return found


def _edit(session: Any, volume: Any, index: int, mask: Any, meter: Meter, write: Any) -> dict[str, Any]:
    edit = _named("SliceEdit", "")(0, int(index), mask)
    before = session.window_prediction[index]
    shown = session.segmentation.copy()
    with meter.measured() as found, Fusing(session.fusion.networks, meter.now) as fusing:
        stages = Stages(meter.now)
        result = session.propagate([edit], progress=stages)
        seconds = stages.end(fusing.seconds)
    if write is not None:
        seconds["write to MRML"] = write(volume, shown, result, meter)
    changed = result.changed.sum(axis=(1, 2))
    near = slice(max(0, int(index) - 2), int(index) + 3)
    return {
        **found,
        "stages": seconds,
        "evaluations": sum(report.evaluations for report in result.updates),
        "loss_before": result.updates[0].loss_before,
        "loss_after": result.updates[0].loss_after,
        "stop_reason": result.updates[0].stop_reason,
        "index": int(index),
        "dsc_before": dsc(before, mask),
        "dsc_after": dsc(_decoded(session, int(index)), mask),
        "near_voxels": int(changed[near].sum()),
        "far_voxels": int(changed.sum() - changed[near].sum()),
        "drawn_voxels": int((shown[index] != mask).sum()),
    }


def _decoded(session: Any, index: int) -> Any:
    """What the updated features decode to on a slice along k: R_0 where the update flipped nothing."""
    labels = session.window_prediction[index].copy()
    for near in session.records[-1].near:
        if near.index == index:
            place = tuple(slice(*span) for span in near.box[1:])
            labels[place][near.changed[0]] = near.labels[0][near.changed[0]]
    return labels


def _likeness(session: Any, mask: Any) -> dict[str, Any]:
    """Whether R_0 is the blob, and one piece."""
    import SimpleITK as sitk

    predicted = session.window_prediction
    pieces = sitk.ConnectedComponent(sitk.GetImageFromArray(predicted.astype("uint8")), True)
    return {"dsc": dsc(predicted, mask), "pieces": int(sitk.GetArrayViewFromImage(pieces).max())}


def dsc(a: Any, b: Any) -> float:
    """Of two bool arrays; 1 where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


# ---- a large CT with the bundle that ships


def ct_steps(job: Job) -> Steps:
    """Each step: the CT is set without a segmentation, so that the network predicts it, and a slice is propagated."""
    import numpy as np

    folder = _named("shipped_bundle", "core.bundle.shipped_bundle", "core.shipped_bundle")()
    loaded = _named("load_model", "")(folder, device=job["device"])
    model, fusion = loaded if isinstance(loaded, tuple) else (loaded.model, loaded.fusion)
    settings = _named("SessionSettings", "")(level=fusion.level, neighbours=fusion.neighbours)
    with np.load(job["case"]) as case:
        image, to_lps, index, drawn = (case[name] for name in ("image", "to_lps", "index", "drawn"))
    write = _write_of()
    meter = Meter(job["device"])
    while True:
        session = _named("Session", "")(model, settings, fusion)
        image = image.copy()
        image.flat[0] += 1  # another image: else nothing would be prepared and predicted again
        volume = _named("SourceVolume", "")(image[None], to_lps)
        with meter.measured() as set_image, NnunetsOwn(meter.now) as nnunets_own:
            stages = Stages(meter.now)
            session.set_image(volume, progress=stages)
            set_image_stages = stages.end(0.0)
        edit = _edit(session, volume, int(index), drawn, meter, write)
        yield {
            "set_image": {**set_image, "stages": set_image_stages},
            "beyond": {"seconds": set_image["seconds"] - nnunets_own.seconds},
            "edits": [edit],
        }
        del session


if __name__ == "__main__":
    sys.path[0] = json.loads(sys.argv[1])["package"]  # in place of this file's own folder
    serve({"session": session_steps, "ct": ct_steps})
