#!/usr/bin/env bash
# torch.fx records a network's forward pass as a graph. MONAI's BasicUNet joins encoder and decoder by skip connections, as every U-Net.
#
# Expected: tracing either refuses the network or gives a graph that computes what the network does.
# Seen (monai 1.6.1, torch 2.13.0): it gives a graph without a word, and the graph has no skip connection: not one torch.cat where the network
# has four. Each is behind an `isinstance` of the tensor, which is false for what stands in for it while tracing. The graph raises when it
# is run, at the first convolution that misses half its channels. MONAI's UNet and DynUNet keep theirs.
# What to do: trace with the class UpCat as a leaf, and always compare a graph with its network on numbers before it is used.
#
# Run it: bash findings/monai_basicunet_traced_loses_its_skips.sh   (a few minutes; needs Python 3.10 or later and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 monai==1.6.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PROGRAM'
import platform
from importlib.metadata import version

import torch
from monai.networks.nets import BasicUNet, UNet
from monai.networks.nets.basic_unet import UpCat

print("python", platform.python_version(), *(f"{name} {version(name)}" for name in ("torch", "monai")))
networks = {
    "BasicUNet": BasicUNet(spatial_dims=3, in_channels=1, out_channels=2, features=(4, 4, 8, 8, 8, 4)),
    "UNet": UNet(spatial_dims=3, in_channels=1, out_channels=2, channels=(4, 8, 8, 8, 8), strides=(2, 2, 2, 2)),
}
image = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))


class JoinsAreLeaves(torch.fx.Tracer):
    def is_leaf_module(self, module, name):
        return isinstance(module, UpCat) or super().is_leaf_module(module, name)


def outcome(graph, network):
    with torch.no_grad():
        try:
            return "same" if torch.allclose(graph(image), network(image), atol=1e-5) else "other numbers"
        except RuntimeError as error:
            return type(error).__name__


seen = {}
for name, network in networks.items():
    traced = torch.fx.symbolic_trace(network.eval())
    joins = sum(node.target is torch.cat for node in traced.graph.nodes)
    seen[name] = joins, outcome(traced, network)
    print(f"{name}: {joins} joins in the graph; run: {seen[name][1]}")
basic = networks["BasicUNet"]
leaves = outcome(torch.fx.GraphModule(basic, JoinsAreLeaves().trace(basic)), basic)
print("BasicUNet with UpCat as a leaf; run:", leaves)
assert seen == {"BasicUNet": (0, "RuntimeError"), "UNet": (4, "same")}, "this has changed"
assert leaves == "same", "this has changed"
PROGRAM
