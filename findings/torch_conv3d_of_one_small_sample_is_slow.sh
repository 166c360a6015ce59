#!/usr/bin/env bash
# torch convolves on a CPU by oneDNN. In three dimensions one often convolves one image at a time, as decoders of a segmentation network do.
#
# Expected: one sample goes the way that two go, and takes half as long.
# Seen (torch 2.13.0, float32): a single sample of at most 20480 values in channels x depth x rows (columns do not count) goes to a plain
# loop, aten::slow_conv3d; two such samples, or one with a few rows more, go to oneDNN. So one sample of 32 x 24 x 24 x 24 took
# 61 ms where two such samples together took 10 (one thread of a Xeon).
# What to do: where many small convolutions run on a CPU, give torch two samples, or call torch.ops.aten.mkldnn_convolution.
#
# Run it: bash findings/torch_conv3d_of_one_small_sample_is_slow.sh   (a minute; needs Python 3.10 or later, a package index, an x86-64 CPU)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PROGRAM'
import platform
import time

import torch
from torch.profiler import profile

print("python", platform.python_version(), "torch", torch.__version__)
torch.set_num_threads(1)
torch.manual_seed(0)
convolution = torch.nn.Conv3d(32, 32, 3, padding=1).requires_grad_(False)
PLAIN, ONEDNN = "aten::slow_conv3d_forward", "aten::mkldnn_convolution"


def way(x):
    """Which of torch's own functions convolved, and the shortest of ten times."""
    with profile() as seen:
        convolution(x)
    names = {event.key for event in seen.key_averages()}
    times = []
    for _ in range(10):
        begun = time.perf_counter()
        convolution(x)
        times.append(time.perf_counter() - begun)
    return [name for name in (PLAIN, ONEDNN) if name in names], min(times)


one, larger = torch.randn(1, 32, 24, 24, 24), torch.randn(1, 32, 24, 27, 24)
assert one[0, ..., 0].numel() <= 20480 < larger[0, ..., 0].numel()
two = torch.cat((one, one))
ways = {name: way(x) for name, x in (("one sample", one), ("two samples", two), ("one with more rows", larger))}
for name, (functions, seconds) in ways.items():
    print(f"{name}: {functions}, {1000 * seconds:.1f} ms")
difference = (convolution(two)[:1] - convolution(one)).abs().max().item()
print(f"the results differ by rounding: {difference:.1g}")
assert difference < 1e-4
found = [functions for functions, _ in ways.values()]
assert found == [[PLAIN], [ONEDNN], [ONEDNN]], "this has changed"
PROGRAM
