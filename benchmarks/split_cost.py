"""What the split made for nnU-Net's networks costs, against the one that traces any network: CPU time and memory.

Run `python benchmarks/split_cost.py [PATCH]`; PATCH is the edge of the window, 64 by default. Times are CPU seconds, so
that other processes do not count: loading once, an evaluation (decode at level 2 and its gradient) as a median. Each
network is measured in a process of its own; memory is what that adds to what the process holds with the network alone.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import threading
import time
from collections.abc import Callable

import psutil
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import nn

from context_propagation.core.network.split_network import SplitNetwork
from context_propagation.core.network.traced_split import TracedSplit
from context_propagation.core.network.unet_split import UNetSplit
from provenance import provenance

FEATURES = {"small": (4, 8, 8, 8), "nnU-Net's default": (32, 64, 128, 256, 320, 320)}
ARCHITECTURES = ("PlainConvUNet", "ResidualEncoderUNet")
SPLITS = ("UNetSplit", "TracedSplit")
LEVEL, REPEATS, SEED = 2, 3, 0
MIB = 2**20


def main(patch: int = 64) -> None:
    """Print a line for each network and split."""
    jobs = [(size, name, split, patch) for size in FEATURES for name in ARCHITECTURES for split in SPLITS]
    print(provenance(SEED, len(jobs)))
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for row in pool.imap(_row, jobs, chunksize=1):
            print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def _network(name: str, features: tuple[int, ...]) -> nn.Module:
    plain = name == "PlainConvUNet"
    stages = len(features)
    depth = {"n_conv_per_stage": 2} if plain else {"n_blocks_per_stage": (1, 3, 4, 6, 6, 6)[:stages]}
    torch.manual_seed(SEED)
    network: nn.Module = (PlainConvUNet if plain else ResidualEncoderUNet)(
        input_channels=1,
        n_stages=stages,
        features_per_stage=features,
        conv_op=nn.Conv3d,
        kernel_sizes=3,
        strides=(1, *(2,) * (stages - 1)),
        num_classes=2,
        n_conv_per_stage_decoder=2 if plain else 1,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=False,
        **depth,
    )
    return network.eval().requires_grad_(False)


def _row(job: tuple[str, str, str, int]) -> dict[str, object]:
    size, name, split, patch = job
    torch.set_num_threads(1)
    network = _network(name, FEATURES[size])
    example = torch.rand((1, 1, patch, patch, patch), generator=torch.Generator().manual_seed(SEED))
    made: list[SplitNetwork] = []

    def load() -> None:
        made.append(UNetSplit(network) if split == "UNetSplit" else TracedSplit(network, example))

    load_s, load_mib = _cost(load)
    features = made[0].encode(example, LEVEL)

    def evaluate() -> None:
        f = features.f.clone().requires_grad_(True)
        made[0].decode(features, f).sum().backward()

    costs = [_cost(evaluate) for _ in range(REPEATS)]
    return {
        "network": f"{name}, {size}",
        "split": split,
        "load, s": round(load_s, 2),
        "load, MiB": round(load_mib),
        "evaluation, s": round(statistics.median(seconds for seconds, _ in costs), 3),
        "evaluation, MiB": round(max(mib for _, mib in costs)),
    }


def _cost(work: Callable[[], None]) -> tuple[float, float]:
    """CPU seconds, and MiB at the peak beyond what the process held before."""
    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.process_time()
    work()
    seconds = time.process_time() - started
    done.set()
    watcher.join()
    return seconds, (max(peak, process.memory_info().rss) - before) / MIB


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)
