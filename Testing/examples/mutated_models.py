"""Models on disk with one value of one file changed, run through the command, and read again by somebody else."""

from __future__ import annotations

import contextlib
import io
import json
import math
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from bundles import PROVENANCE, random_fusion
from context_propagation.cli.main import main
from context_propagation.core.bundle.bundle_saving import save_bundle
from monai_bundles import write_monai_bundle
from nnunet_folders import write_nnunet_folder

REMOVED = "(removed)"
"""In place of a value: the entry is left out."""


VALUES: tuple[Any, ...] = (
    *(REMOVED, None, True, False, "", "x", "$1 + 1", [], {}, [1, 2], "os.system", 0, 1, 2, -1, 7, 16, 1000, 10**9),
    *(0.5, -0.5, 1e-9, 1e30, math.nan, math.inf, -math.inf, [0, 0, 0], [1, 1, 1], ["1", None], "LPS", "all"),
)


SHAPE_KJI = (14, 16, 18)


@dataclass(frozen=True)
class Document:
    """A file of a model that holds values.

    Attributes:
        folder: The model that is right.
        name: Of the file inside it.
        under: Places inside the file that are changed; one place is a chain of names and numbers.
        expected: What an independent reading of a changed folder gives for the image: the target, bool `[K, J, I]`.
    """

    folder: Path
    name: str
    under: Sequence[tuple[Any, ...]]
    expected: Callable[[Path, Path], np.ndarray]

    @property
    def content(self) -> Any:
        return json.loads((self.folder / self.name).read_text())

    def places(self) -> list[tuple[Any, ...]]:
        """Where a value can be changed."""
        return [place for start in self.under for place in _places(_at(self.content, start), start)]

    def mutated(self, destination: Path, place: tuple[Any, ...], value: Any) -> Path:
        """A copy of the folder with another value at a place."""
        shutil.copytree(self.folder, destination)
        content = self.content
        holder = _at(content, place[:-1])
        if value is REMOVED:
            del holder[place[-1]]
        else:
            holder[place[-1]] = deepcopy(value)
        (destination / self.name).write_text(json.dumps(content))
        return destination


def _at(content: Any, place: Sequence[Any]) -> Any:
    for key in place:
        content = content[key]
    return content


def _places(value: Any, start: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if start:
        yield start
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _places(child, (*start, key))


# ---- running the command


@dataclass(frozen=True)
class Run:
    """What a prediction left behind."""

    code: int
    lines: list[str]
    seconds: float
    mask: np.ndarray | None

    @property
    def error_lines(self) -> list[str]:
        return [line for line in self.lines if ": warning: " not in line and ": note: " not in line]


def predicted(model: Path, image: Path, output: Path, limit_s: float = 60) -> Run:
    """`predict` in this process; a hang ends in `TimeoutError` after the limit."""
    arguments = ["predict", "--model", model, "--image", image, "--output", output, "--label", "GTV", "--device", "cpu"]
    said, started = io.StringIO(), time.perf_counter()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()), _watchdog(limit_s):
        code = main([str(argument) for argument in arguments])
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(output))).astype(bool) if output.exists() else None
    return Run(code, said.getvalue().splitlines(), time.perf_counter() - started, mask)


@contextlib.contextmanager
def _watchdog(limit_s: float) -> Iterator[None]:
    def bark(*_: object) -> None:
        raise TimeoutError(f"longer than {limit_s} s")

    before = signal.signal(signal.SIGALRM, bark)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- the documents


def documents(folder: Path) -> Mapping[str, Document]:
    """Each kind of file that says how a model is used, with who reads it again."""
    nnunet = write_nnunet_folder(folder / "nnunet", channel_name="CT")
    monai = write_monai_bundle(
        folder / "monai",
        described=_metadata(),
        preprocessing={"_target_": "Compose", "transforms": [dict(SCALING)]},
        inferer={"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": 0.5, "mode": "gaussian",
                 "sigma_scale": 0.2, "padding_mode": "replicate", "cval": 0.0},
        postprocessing={"_target_": "Compose", "transforms": [dict(item) for item in DECIDING]},
    )  # fmt: skip
    save_bundle(folder / "ours", nnunet, random_fusion(), PROVENANCE, label="GTV")
    full = ("configurations", "3d_fullres")
    top = ("transpose_forward", "transpose_backward", "foreground_intensity_properties_per_channel", "label_manager")
    read = ("network_def", "preprocessing", "inferer", "postprocessing", "classes")
    return {
        "plans": Document(nnunet, "plans.json", [full, *((name,) for name in top)], by_nnunet),
        "dataset": Document(nnunet, "dataset.json", [()], by_nnunet),
        "bundle": Document(folder / "ours", "bundle.json", [()], lambda path, image: by_nnunet(path / "model", image)),
        "configuration": Document(monai, "configs/inference.json", [(name,) for name in read], by_monai),
        "metadata": Document(monai, "configs/metadata.json", [()], by_monai),
    }


SCALING = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -200, "a_max": 400, "b_min": 0, "b_max": 1,
           "clip": True}  # fmt: skip
DECIDING = (
    {"_target_": "Activationsd", "keys": "pred", "softmax": True},
    {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
)


def _metadata() -> dict[str, Any]:
    channels = {"0": "background", "1": "GTV"}
    outputs = {"pred": {"type": "image", "channel_def": channels}}
    return {"network_data_format": {"inputs": {"image": {"channel_def": {"0": "CT"}}}, "outputs": outputs}}


def write_image(path: Path) -> Path:
    """An image of 1 mm voxels in the range of a CT."""
    voxels = np.random.default_rng(0).uniform(-200, 450, SHAPE_KJI).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
    return path


def by_nnunet(folder: Path, image: Path) -> np.ndarray:
    """nnU-Net's own predictor on the same folder."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(image)))[None]
    with contextlib.redirect_stdout(io.StringIO()):
        predictor = nnUNetPredictor(
            use_mirroring=False, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
        )
        predictor.initialize_from_trained_model_folder(str(folder), (0,))
        labels = predictor.predict_single_npy_array(voxels, {"spacing": [1.0, 1.0, 1.0]})
    return np.asarray(labels == predictor.dataset_json["labels"]["GTV"])


@torch.no_grad()
def by_monai(folder: Path, image: Path) -> np.ndarray:
    """MONAI's own parser, transforms, inferer and postprocessing; label 1 is the target."""
    from monai.bundle import ConfigParser
    from monai.data import MetaTensor
    from safetensors.torch import load_file

    parser = ConfigParser(json.loads((folder / "configs/inference.json").read_text()))
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(image)))
    data: Any = {"image": MetaTensor(torch.from_numpy(voxels.transpose(2, 1, 0).copy())[None])}
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(load_file(folder / "models/model.safetensors"))
    seen = parser.get_parsed_content("preprocessing")(data)["image"]
    logits = parser.get_parsed_content("inferer")(seen[None], network)[0]
    after = logits
    if "postprocessing" in parser:
        after = parser.get_parsed_content("postprocessing")({"pred": logits.clone()})["pred"]
    found = np.asarray(after).transpose(0, 3, 2, 1)
    if found.shape[0] == 1:
        return found[0] == 1
    decided = ((found >= 0) & (found <= 1)).all()
    return found[1] > 0.5 if decided else found[1] > found[0]
