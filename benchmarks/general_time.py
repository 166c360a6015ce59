"""What an edit costs with the general far network, in forward passes of the bare network over the same window.

    python benchmarks/general_time.py [--size 128] [--repeats 3]

nnU-Net's default network, blob and edit are the benchmark's own (docs/results/performance.md); medians, one more first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch

from context_propagation.benchmark.blob import Blob, noisy
from context_propagation.benchmark.measured_case import write_model
from context_propagation.benchmark.request import BenchmarkRequest
from context_propagation.core.bundle.general_file import load_general_far
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from provenance import provenance

LEVELS = (1, 2)


def seconds(call: Callable[[], object], repeats: int) -> float:
    """The median of so many calls, after one that does not count."""
    taken = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return median(taken[1:])


def main() -> None:
    """Print a line for each level and far network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="edge of the window in voxels")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    request = BenchmarkRequest(sizes=(arguments.size,), levels=LEVELS, network=("plain",))
    blob = Blob(arguments.size, request.blobs[0])
    index, drawn = blob.drawn(0)
    print(provenance(0, 1))
    with TemporaryDirectory() as folder:
        made = write_model("plain", arguments.size, request, Path(folder) / "model")
        model = NnunetModel.load(made.folder, device="cpu")
        network, image = made.network.eval(), noisy(blob.mask, np.random.default_rng(0))[None]
        with torch.inference_mode():
            forward = seconds(lambda: network(torch.from_numpy(image)[None]), arguments.repeats)
        print(f"forward pass: {forward:.2f} s")
        for level in LEVELS:
            session = Session(model, SessionSettings(level=level))
            session.set_image(SourceVolume(image, np.eye(4)), blob.mask)
            for name, far in (("near slices only", None), ("general", load_general_far())):
                of_edit = session.restarted(session.settings, far)
                edit = seconds(lambda s=of_edit: s.preview([SliceEdit(0, index, drawn)]).result, arguments.repeats)
                print(f"level {level}, {name}: {edit:.2f} s, {edit / forward:.2f} forward passes")


if __name__ == "__main__":
    main()
