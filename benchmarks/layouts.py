"""Whether another memory layout, precision or compiled code makes nnU-Net's default network faster on this CPU.

`python benchmarks/layouts.py --window 64` times, in turn and with seeded weights, one forward pass and one evaluation
of the update (the last decoder stage forward, and the gradient of its input) in each way, and says how far the logits
part from float32's. The first round is not counted: it holds what compiling takes.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from context_propagation.benchmark.literal import LiteralWindow
from context_propagation.benchmark.networks import architecture, build
from context_propagation.core.network.direct_convolution import DirectConvolution
from provenance import provenance

SEED, LEVEL = 0, 1


@dataclass(frozen=True)
class Way:
    """A way to run a network.

    Attributes:
        name: For the table.
        prepared: What is done to a network once.
        x: What is done to its input.
        around: What it runs in.
    """

    name: str
    prepared: Callable[[nn.Module], Any] = lambda network: network
    x: Callable[[torch.Tensor], torch.Tensor] = lambda x: x
    around: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext


def _bfloat16() -> contextlib.AbstractContextManager[Any]:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise RuntimeError("this CPU has no instructions for it; torch would take very long")
    return torch.autocast("cpu", torch.bfloat16)


WAYS = (
    Way("float32"),
    Way("float32, as the package convolves", around=DirectConvolution),
    Way(
        "channels_last_3d",
        lambda network: network.to(memory_format=torch.channels_last_3d),
        lambda x: x.to(memory_format=torch.channels_last_3d),
    ),
    Way("bfloat16", around=_bfloat16),
    Way("torch.compile", torch.compile),
)


class Timed:
    """One way, and what was measured of it.

    Args:
        way: Which one.
        network: Its own copy is prepared.
        x: `[1, 1, D, H, W]`.
    """

    def __init__(self, way: Way, network: nn.Module, x: torch.Tensor) -> None:
        self.name, self._around, self._x = way.name, way.around, way.x(x)
        window = LiteralWindow(copy.deepcopy(network), x, LEVEL)
        self._f = way.x(window.f)
        window.skips = [way.x(skip) for skip in window.skips]
        self._network, self._decode = way.prepared(copy.deepcopy(network)), way.prepared(Decoded(window))
        self.forward: list[float] = []
        self.evaluation: list[float] = []
        self.logits = np.zeros(0)

    def run(self) -> None:
        """One forward pass and one evaluation."""
        with self._around():
            with timed(self.forward), torch.inference_mode():
                logits = self._network(self._x)
            with timed(self.evaluation):
                f = self._f.clone().requires_grad_(True)
                self._decode(f).float().square().mean().backward()
        self.logits = logits.float().numpy()


class Decoded(nn.Module):
    """The last decoder stage of a window, as a module."""

    def __init__(self, window: LiteralWindow) -> None:
        super().__init__()
        self._window = window
        self._parts = nn.ModuleList([window._up, window._stages, window._head])

    def forward(self, f: torch.Tensor) -> torch.Tensor:
        """Logits, from features."""
        return self._window.decode(f)


@contextlib.contextmanager
def timed(seconds: list[float]) -> Iterator[None]:
    """Append the seconds of the block."""
    begun = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - begun)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--window", type=int, default=64, help="edge of the window in voxels")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print(provenance(SEED, arguments.repeats))
    torch.manual_seed(SEED)
    network = build(architecture("plain", arguments.window), SEED, 1).eval()
    x = torch.randn(1, 1, *[arguments.window] * 3)
    ways, failed = [Timed(way, network, x) for way in WAYS], {}
    for _ in tqdm(range(arguments.repeats + 1), leave=False):
        for one in [one for one in ways if one.name not in failed]:
            try:
                one.run()
            except Exception as error:  # such as a compiler that is not there
                failed[one.name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    plain = ways[0]
    rows = [row(one, plain) for one in ways if one.name not in failed]
    print(f"nnU-Net's default network, window of {arguments.window}; medians of {arguments.repeats}\n")
    print(pd.DataFrame(rows).to_string(index=False))
    for name, why in failed.items():
        print(f"{name}: not possible here ({why})")


def row(one: Timed, plain: Timed) -> dict[str, object]:
    """Of the table: seconds, how many times float32's, and how far the logits part."""
    forward, evaluation = (statistics.median(seconds[1:]) for seconds in (one.forward, one.evaluation))
    return {
        "way": one.name,
        "forward s": round(forward, 3),
        "of float32's": round(forward / statistics.median(plain.forward[1:]), 2),
        "evaluation s": round(evaluation, 3),
        "of float32's ": round(evaluation / statistics.median(plain.evaluation[1:]), 2),
        "largest difference of logits": f"{np.abs(one.logits - plain.logits).max() / plain.logits.std():.1e} sd",
        "other labels": f"{(one.logits.argmax(1) != plain.logits.argmax(1)).mean():.2%}",
    }


if __name__ == "__main__":
    main()
