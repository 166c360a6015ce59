"""Times bare networks in a process of its own: a forward pass, a prompt, the literal update."""

from __future__ import annotations

import statistics
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from context_propagation.benchmark.literal import LiteralWindow
from context_propagation.benchmark.networks import architecture, build
from context_propagation.benchmark.timed_session import Job, Meter, Steps, dsc, serve
from context_propagation.core.model.nnunet_folder import load_nnunet_folder
from context_propagation.core.network.direct_convolution import DirectConvolution

INTERACTION_CHANNELS = 7
"""Of nnInteractive beside the image: positive and negative points, boxes, scribbles, and the last result."""


def forward_steps(job: Job) -> Steps:
    """Each step: a forward pass of the model's network over one window, in torch's own way and in the package's."""
    network = _network(job)
    x = _window(job)
    meter = Meter(job["device"])
    with torch.inference_mode():
        while True:
            with meter.measured() as plain:
                network(x)
            with meter.measured() as direct, DirectConvolution():
                network(x)
            yield {"torch": plain, "package": direct}


def prompt_steps(job: Job) -> Steps:
    """Each step: the network of nnInteractive, with random weights, over one window: what a prompt costs at least."""
    plan = architecture("resenc", job["patch"], job["first_channels"])
    network = build(plan, job["seed"], 1 + INTERACTION_CHANNELS).eval().to(job["device"])
    x = torch.zeros((1, 1 + INTERACTION_CHANNELS, *(job["patch"],) * 3), device=job["device"])
    meter = Meter(job["device"])
    with torch.inference_mode():
        while True:
            with meter.measured() as found:
                network(x)
            yield {"torch": found}


def literal_steps(job: Job) -> Steps:
    """Each step: one evaluation, with its gradient. The step that is asked for `update` also runs the whole update."""
    network, x = _network(job), _window(job)
    meter = Meter(job["device"])
    window = LiteralWindow(network, x, job["level"])
    with np.load(job["case"]) as case:
        index, drawn = int(case["indices"][0]), case["drawn"][0]
    for step in count():
        with meter.measured() as found:
            f = window.f.clone().requires_grad_(True)
            window.loss(f, index, drawn).backward()
        del f
        yield {"evaluation": found, **(_update(window, index, drawn, job) if step == job["last"] else {})}


def _update(window: LiteralWindow, index: int, drawn: np.ndarray, job: Job) -> dict[str, Any]:
    enough = float(Path(job["enough"]).read_text(encoding="utf-8"))
    done = window.update(index, drawn, enough)
    return {
        "update": {"seconds": done.total_seconds},
        "evaluations": len(done.losses),
        "loss_before": done.losses[0],
        "loss_after": min(done.losses),
        "dsc_after": dsc(window.predicted(done.f)[index], drawn),
        "evaluation_median": statistics.median(done.seconds),
    }


def _network(job: Job) -> nn.Module:
    (network,) = load_nnunet_folder(job["model"]).networks
    return network.to(job["device"])


def _window(job: Job) -> torch.Tensor:
    """The first image of the case, normalised as the plans say, `[1, 1, D, H, W]`."""
    with np.load(job["case"]) as case:
        hu = torch.from_numpy(case["images"][0])
    low, high, mean, std = (job["intensities"][name] for name in ("percentile_00_5", "percentile_99_5", "mean", "std"))
    return ((hu.clamp(low, high) - mean) / std)[None].to(job["device"])


if __name__ == "__main__":
    serve({"forward": forward_steps, "prompt": prompt_steps, "literal": literal_steps})
