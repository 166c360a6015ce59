"""The split of any 3D network that torch.fx can trace: cut where the way out changes its resolution, or at a layer."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import torch
from torch import fx, nn

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, around, box_of, intersection, slices_of, whole
from context_propagation.core.network.boxed_tail import boxed_tail, needed_boxes, whole_of
from context_propagation.core.network.direct_convolution import DirectConvolution
from context_propagation.core.network.freezable_norm import (
    seen_statistics,
    use_statistics,
)
from context_propagation.core.network.graph_cut import Cut, cut_at, layer_node, level_nodes
from context_propagation.core.network.receptive_field import reached_from
from context_propagation.core.network.split_network import CachedFeatures, LocalDecode, Slab, whole_decode
from context_propagation.core.network.traced_graph import (
    TOLERANCE,
    WAY_OUT,
    Factors,
    relative_difference,
    shell,
    trace,
    trace_known,
)

VERIFIED_LEVELS = 3
"""Levels that a session can use."""


# ---- the split


class TracedSplit:
    """A `SplitNetwork` over any network that torch.fx can trace; the network itself is not changed.

    Its weights are shared, not copied: move the network to its device first.

    Args:
        network: In evaluation mode, on its device.
        example: `[1, C, D, H, W]`, any image that it takes, on the same device.
        layer: Name of the module whose output is f at every level; without it the levels are found: see `level_nodes`.
        known: An architecture that tests hold to this split: nothing is computed to make it, and of the example only
            the shape counts.

    Raises:
        UserInputError: The network cannot be traced or has no decoder levels, there is no such layer, or the two parts
            compute something else than the network. The message names the way out.
    """

    def __init__(
        self, network: nn.Module, example: torch.Tensor, layer: str | None = None, known: bool = False
    ) -> None:
        self.graph = trace_known(network, example) if known else trace(network, example)
        if layer is None:
            self._nodes = level_nodes(self.graph)
        else:
            names = [name for name, _ in network.named_modules()]
            self._nodes = [layer_node(self.graph, layer, names)] * VERIFIED_LEVELS
        if not self._nodes:
            raise UserInputError(
                f"{self.graph.name} has no layer behind which it enlarges features; name one with 'layer', or {WAY_OUT}"
            )
        self._cuts: dict[fx.Node, Cut] = {}
        if not known:
            self._verify(network, example, layer)

    @torch.no_grad()
    def _verify(self, network: nn.Module, example: torch.Tensor, layer: str | None) -> None:
        plain = shell(network)
        captured: list[torch.Tensor] = []
        if layer is not None:
            plain.get_submodule(layer).register_forward_hook(lambda module, x, y: captured.append(y.clone()))
        with DirectConvolution():
            logits = plain(example)
        for level in range(1, min(VERIFIED_LEVELS, self.max_level) + 1):
            found = self.encode(example, level)
            same_f = not captured or torch.equal(captured[-1].reshape(-1), found.f.reshape(-1))
            if not same_f or relative_difference(found.logits, logits) > TOLERANCE[example.device.type]:
                raise UserInputError(
                    f"{self.graph.name} cut at '{self.layer_at(level)}' computes something else than uncut; "
                    f"choose another layer, or {WAY_OUT}"
                )

    @property
    def max_level(self) -> int:
        """The deepest decoder level."""
        return len(self._nodes)

    @property
    def total_stride(self) -> Factors:
        """See `SplitNetwork`; the largest factor of any layer."""
        factors = list(self.graph.factors.values())
        d, h, w = (math.lcm(*(f[axis] for f in factors)) for axis in range(3))
        return d, h, w

    def layer_at(self, level: int) -> str:
        """Name of the traced layer whose output is f."""
        return self._node(level).name

    def f_channels(self, level: int) -> int:
        """See `SplitNetwork`."""
        return self.graph.shapes[self._node(level)][1]

    def cut(self, level: int) -> Cut:
        """The two parts at a level."""
        node = self._node(level)
        if node not in self._cuts:
            self._cuts[node] = cut_at(self.graph, node)
        return self._cuts[node]

    def _node(self, level: int) -> fx.Node:
        if not 1 <= level <= self.max_level:
            raise UserInputError(
                f"Decoder level {level} is beyond this network's decoder, which has {self.max_level} levels; "
                f"choose a level from 1 to {min(VERIFIED_LEVELS, self.max_level)}"
            )
        return self._nodes[level - 1]

    @torch.no_grad()
    def encode(self, x: torch.Tensor, level: int) -> CachedFeatures:
        """See `SplitNetwork`. Raises `UserInputError` for a level that the network does not have."""
        cut = self.cut(level)
        use_statistics(cut.norms, None)
        with DirectConvolution():
            f, *skips = cut.head(x)
            logits = cut.tail(f, *skips)
        return CachedFeatures(level, f, tuple(skips), seen_statistics(cut.norms), logits)

    def decode(self, features: CachedFeatures, f: torch.Tensor, frozen_statistics: bool = True) -> torch.Tensor:
        """See `SplitNetwork`."""
        cut = self.cut(features.level)
        use_statistics(cut.norms, features.norm_statistics if frozen_statistics else None)
        with DirectConvolution():
            return cast(torch.Tensor, cut.tail(f, *features.skips))

    def local(self, features: CachedFeatures, output_box: Box) -> LocalDecode:
        """See `SplitNetwork`; all logits where a layer is not known."""
        cut = self.cut(features.level)
        if cut.reaches is None:
            return whole_decode(self, features, frozen_statistics=True)
        return boxed_tail(self.graph, cut, features, output_box)

    def slab(self, features: CachedFeatures, output_box: Box) -> Slab:
        """See `SplitNetwork`: walks the receptive field back from the logits to f; all where a layer is not known."""
        cut = self.cut(features.level)
        f_shape = tuple(features.f.shape[2:])
        if cut.reaches is None:
            return Slab(features, whole(f_shape), whole(tuple(features.logits.shape[2:])))
        needed = needed_boxes(self.graph, cut, output_box, f_shape)
        f_box = needed[cut.node]
        for node in (n for n in cut.crossing if n in needed):
            f_box = around(f_box, _coarser(needed[node], cut.ratios[node]))
        skips = [
            _cut_out(skip, _scaled(f_box, cut.ratios[node])) if node in cut.ratios else skip
            for node, skip in zip(cut.crossing, features.skips, strict=True)
        ]
        box = _scaled(f_box, cut.ratios[self.graph.logits])
        f, logits = _cut_out(features.f, f_box), _cut_out(features.logits, box)
        return Slab(replace(features, f=f, skips=tuple(skips), logits=logits), f_box, box)

    def affected_box(self, features: CachedFeatures, f_box: Box) -> Box:
        """See `SplitNetwork`: walks forward from f to the logits; all where a layer is not known."""
        cut = self.cut(features.level)
        if cut.reaches is None:
            return whole(tuple(features.logits.shape[2:]))
        f_shape = tuple(features.f.shape[2:])
        reached = {cut.node: f_box}
        for step in (n for n in cut.tail_nodes if n in cut.reaches):
            for read in (n for n in step.all_input_nodes if n in reached):
                box = intersection(reached_from(reached[read], cut.reaches[step]), whole_of(cut, step, f_shape))
                if box is not None:
                    reached[step] = around(reached[step], box) if step in reached else box
        return reached[self.graph.logits]

    def cached_bytes(self, window_shape: tuple[int, int, int], level: int) -> int:
        """See `SplitNetwork`; norm statistics left out."""
        cut = self.cut(level)
        return sum(self._bytes(node, window_shape) for node in (cut.node, *cut.crossing, self.graph.logits))

    def peak_bytes(self, window_shape: tuple[int, int, int], level: int) -> int:
        """See `SplitNetwork`: the most that is alive at a time, and the largest tensor to work in."""
        del level
        order = list(self.graph.module.graph.nodes)
        last_use = {read: number for number, node in enumerate(order) for read in node.all_input_nodes}
        sizes = {node: self._bytes(node, window_shape) for node in self.graph.shapes}
        alive = most = 0
        for number, node in enumerate(order):
            alive += sizes.get(node, 0)
            most = max(most, alive)
            alive -= sum(sizes.get(read, 0) for read in set(node.all_input_nodes) if last_use[read] == number)
        return most + max(sizes.values())

    def _bytes(self, node: fx.Node, window_shape: tuple[int, int, int]) -> int:
        shape = self.graph.shapes[node]
        if node not in self.graph.factors:
            return self.graph.element_size * math.prod(shape)
        voxels = math.prod(n // f for n, f in zip(window_shape, self.graph.factors[node], strict=True))
        return self.graph.element_size * shape[0] * shape[1] * voxels


def _coarser(box: Box, ratio: Factors) -> Box:
    return box_of([(start // r, -(-stop // r)) for (start, stop), r in zip(box, ratio, strict=True)])


def _scaled(box: Box, ratio: Factors) -> Box:
    return box_of([(start * r, stop * r) for (start, stop), r in zip(box, ratio, strict=True)])


def _cut_out(tensor: torch.Tensor, box: Box) -> torch.Tensor:
    return tensor[(slice(None), slice(None), *slices_of(box))]
