"""The split of any 3D network that torch.fx can trace: cut where the way out changes its resolution, or at a layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import fx, nn

from context_propagation.core.boxes import Box, box_of, intersection, slices_of, whole
from context_propagation.core.errors import UserInputError
from context_propagation.core.freezable_norm import (
    FreezableNorm,
    freezable,
    replace_norms,
    seen_statistics,
    use_statistics,
)
from context_propagation.core.receptive_field import Reaches, reached_from, reaches_of, read_by
from context_propagation.core.split_model import CachedFeatures, Slab
from context_propagation.core.traced_graph import (
    TOLERANCE,
    WAY_OUT,
    Factors,
    TracedGraph,
    attribute,
    relative_difference,
    shell,
    trace,
)

VERIFIED_LEVELS = 3
"""Levels that a session can use."""


# ---- where to cut


def level_nodes(graph: TracedGraph) -> list[fx.Node]:
    """The nodes whose outputs are f at level 1, 2, ...: at each resolution the last one on the way to the logits.

    On the way is what everything coarser passes through. Where no layer is passed by all of it, as in a UNet++, it is
    the last layer of that resolution that something coarser reaches. After f something must be left that has weights:
    logits are no features.
    """
    before = ancestors([graph.logits])
    nodes = [node for node in graph.module.graph.nodes if node in before and node in graph.factors]
    sizes = sorted({graph.factors[node] for node in nodes}, key=math.prod)
    found = []
    for factors in sizes[1:]:
        coarser = {node for node in nodes if math.prod(graph.factors[node]) > math.prod(factors)}
        after = descendants(coarser) if coarser else before
        candidates = [node for node in reversed(nodes) if graph.factors[node] == factors and node in after]
        candidates = [node for node in candidates if _has_weights_after(graph, node)]
        passed = (node for node in candidates if not coarser & ancestors([graph.logits], without=node))
        chosen = next(passed, next(iter(candidates), None))
        if chosen is not None:
            found.append(chosen)
    return found


def ancestors(nodes: Iterable[fx.Node], without: fx.Node | None = None) -> set[fx.Node]:
    """These nodes and all that they are computed from; ways through `without` do not count."""
    return _closure(nodes, lambda node: node.all_input_nodes, without)


def descendants(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """These nodes and all that is computed from them."""
    return _closure(nodes, lambda node: node.users, None)


def _closure(
    nodes: Iterable[fx.Node], following: Callable[[fx.Node], Iterable[fx.Node]], without: fx.Node | None
) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found and node is not without:
            found.add(node)
            waiting.extend(following(node))
    return found


def _has_weights_after(graph: TracedGraph, node: fx.Node) -> bool:
    modules = dict(graph.module.named_modules())
    after = (descendants([node]) & ancestors([graph.logits])) - {node}
    called = [modules[str(n.target)] for n in after if n.op == "call_module"]
    return any(isinstance(m, nn.Conv3d | nn.ConvTranspose3d | nn.Linear) for c in called for m in c.modules())


def layer_node(graph: TracedGraph, layer: str, names: Sequence[str]) -> fx.Node:
    """The node of a module's output.

    Args:
        graph: The network.
        layer: Name of a module, as in `network.named_modules()`.
        names: All names, for the message.

    Raises:
        UserInputError: There is none of that name, or it is not on the way to the logits.
    """
    if layer not in names:
        raise UserInputError(f"{graph.name} has no layer '{layer}'; it has {', '.join(names[1:9])}, ...")
    before = ancestors([graph.logits])
    inside = [n for n in graph.module.graph.nodes if n in before and n in graph.factors and _lies_in(n, layer)]
    if not inside:
        raise UserInputError(f"The layer '{layer}' of {graph.name} is not a traced step to the logits; choose another")
    return cast(fx.Node, inside[-1])


def _lies_in(node: fx.Node, layer: str) -> bool:
    stack = [str(name) for name, _ in node.meta.get("nn_module_stack", {}).values()]
    return node.target == layer or layer in stack


# ---- the two parts


@dataclass(frozen=True)
class Cut:
    """A network in two parts.

    Attributes:
        node: Its output is f.
        crossing: The other tensors that the tail reads.
        head: From the image to (f, *crossing).
        tail: From (f, *crossing) to the logits.
        norms: The norms of the tail with input statistics, in order.
        reaches: For each tail node that depends on f, how it reads its inputs; None where that is not known.
        tail_nodes: The nodes of the whole graph that the tail holds and that depend on f, in order.
    """

    node: fx.Node
    crossing: tuple[fx.Node, ...]
    head: fx.GraphModule
    tail: fx.GraphModule
    norms: tuple[FreezableNorm, ...]
    reaches: Mapping[fx.Node, Reaches] | None
    tail_nodes: tuple[fx.Node, ...]


def cut_at(graph: TracedGraph, node: fx.Node) -> Cut:
    """Cut a network behind a node.

    Raises:
        UserInputError: Something else than tensors `[1, C, D, H, W]` would have to be cached.
    """
    order = list(graph.module.graph.nodes)
    dependent = (descendants([node]) & ancestors([graph.logits])) - {node}
    tail, crossing = _tail_and_crossing(graph, node, dependent)
    head = _head_module(graph, [node, *crossing])
    tail_module, norms = _tail_module(graph, node, crossing, [n for n in order if n in tail])
    ordered = tuple(n for n in order if n in dependent)
    reaches = _tail_reaches(graph, node, crossing, ordered)
    return Cut(node, tuple(crossing), head, tail_module, tuple(norms), reaches, ordered)


def _tail_and_crossing(
    graph: TracedGraph, node: fx.Node, dependent: set[fx.Node]
) -> tuple[set[fx.Node], list[fx.Node]]:
    """The tail's nodes, with the sizes and constants that it reads, and the tensors that cross the cut."""
    tail, crossing = set(dependent), []
    waiting = [n for n in graph.module.graph.nodes if n in dependent]
    while waiting:
        for read in waiting.pop(0).all_input_nodes:
            if read is node or read in tail or read in crossing:
                continue
            if read.op == "get_attr" or read not in graph.shapes:  # a constant, or a size: computed again in the tail
                tail.add(read)
                waiting.append(read)
            elif len(graph.shapes[read]) == 5:
                crossing.append(read)
            else:
                raise UserInputError(
                    f"Behind '{node.name}' {graph.name} reads '{read.name}' of shape {graph.shapes[read]}, which is no "
                    f"feature map; choose another layer, or {WAY_OUT}"
                )
    return tail, sorted(crossing, key=lambda n: -math.prod(graph.factors.get(n, (1, 1, 1))))


def _head_module(graph: TracedGraph, outputs: list[fx.Node]) -> fx.GraphModule:
    needed = ancestors([graph.image, *outputs])
    head = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in graph.module.graph.nodes:
        if node in needed:
            copied[node] = head.node_copy(node, lambda n: copied[n])
    head.output(tuple(copied[node] for node in outputs))
    return fx.GraphModule(graph.module, head)


def _tail_module(
    graph: TracedGraph, node: fx.Node, crossing: Sequence[fx.Node], nodes: Sequence[fx.Node]
) -> tuple[fx.GraphModule, list[FreezableNorm]]:
    """The tail with modules of its own, so that a norm called twice keeps two pairs of statistics."""
    tail = fx.Graph()
    copied = {node: tail.placeholder("f")}
    copied |= {read: tail.placeholder(f"skip_{number}") for number, read in enumerate(crossing)}
    called: dict[str, Any] = {}
    norms: list[FreezableNorm] = []
    for number, step in enumerate(nodes):
        new = copied[step] = tail.node_copy(step, lambda n: copied[n])
        if step.op == "call_module":
            new.target = f"step_{number}"
            called[new.target], found = _with_freezable_norms(shell(graph.module.get_submodule(str(step.target))))
            norms.extend(found)
        elif step.op == "get_attr":
            new.target = f"constant_{number}"
            called[new.target] = attribute(graph.module, str(step.target))
    tail.output(copied[graph.logits])
    return fx.GraphModule(called, tail), norms


def _with_freezable_norms(module: nn.Module) -> tuple[nn.Module, list[FreezableNorm]]:
    norm = freezable(module)
    return (module, replace_norms(module)) if norm is None else (norm, [norm])


def _tail_reaches(
    graph: TracedGraph, node: fx.Node, crossing: Sequence[fx.Node], dependent: Sequence[fx.Node]
) -> dict[fx.Node, Reaches] | None:
    """How each tail node reads its inputs; None unless that is known of all, and nothing is coarser than f."""
    modules = dict(graph.module.named_modules())
    constant = {n for n in graph.shapes if n not in dependent and _is_constant(graph, n)}
    sized = [n for n in (node, *crossing, *dependent) if n in graph.shapes and n not in constant]
    if any(n not in graph.factors or _ratio(graph.factors[node], graph.factors[n]) is None for n in sized):
        return None
    reaches = {}
    for step in (n for n in sized if n in dependent):
        read = [n for n in step.all_input_nodes if n in graph.shapes and n not in constant]
        scales = {_ratio(graph.factors[n], graph.factors[step]) for n in read if n in sized}
        scale = scales.pop() if len(scales) == 1 and all(n in sized for n in read) else None
        known = None if scale is None else reaches_of(step, modules, scale)
        if known is None:
            return None
        reaches[step] = known
    return reaches


def _is_constant(graph: TracedGraph, node: fx.Node) -> bool:
    """Whether a tensor is the same everywhere in space, such as the channel weights of a squeeze-and-excitation."""
    return node not in graph.factors and all(n == 1 for n in graph.shapes[node][-3:])


def _ratio(coarse: Factors, fine: Factors) -> Factors | None:
    """How many times larger a tensor is than a coarser one; None where that is no whole number."""
    if any(c % n for c, n in zip(coarse, fine, strict=True)):
        return None
    d, h, w = (c // n for c, n in zip(coarse, fine, strict=True))
    return d, h, w


# ---- the split


class TracedSplit:
    """A `SplitNetwork` over any network that torch.fx can trace; the network itself is not changed.

    Its weights are shared, not copied: move the network to its device first.

    Args:
        network: In evaluation mode, on its device.
        example: `[1, C, D, H, W]`, any image that it takes, on the same device.
        layer: Name of the module whose output is f at every level; without it the levels are found: see `level_nodes`.

    Raises:
        UserInputError: The network cannot be traced or has no decoder levels, there is no such layer, or the two parts
            compute something else than the network. The message names the way out.
    """

    def __init__(self, network: nn.Module, example: torch.Tensor, layer: str | None = None) -> None:
        self.graph = trace(network, example)
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
        self._verify(network, example, layer)

    @torch.no_grad()
    def _verify(self, network: nn.Module, example: torch.Tensor, layer: str | None) -> None:
        plain = shell(network)
        captured: list[torch.Tensor] = []
        if layer is not None:
            plain.get_submodule(layer).register_forward_hook(lambda module, x, y: captured.append(y.clone()))
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
        f, *skips = cut.head(x)
        use_statistics(cut.norms, None)
        logits = cut.tail(f, *skips)
        return CachedFeatures(level, f, tuple(skips), seen_statistics(cut.norms), logits)

    def decode(self, features: CachedFeatures, f: torch.Tensor, frozen_statistics: bool = True) -> torch.Tensor:
        """See `SplitNetwork`."""
        cut = self.cut(features.level)
        use_statistics(cut.norms, features.norm_statistics if frozen_statistics else None)
        return cast(torch.Tensor, cut.tail(f, *features.skips))

    def slab(self, features: CachedFeatures, output_box: Box) -> Slab:
        """See `SplitNetwork`: walks the receptive field back from the logits to f; all where a layer is not known."""
        cut = self.cut(features.level)
        f_shape = tuple(features.f.shape[2:])
        if cut.reaches is None:
            return Slab(features, whole(f_shape), whole(tuple(features.logits.shape[2:])))
        needed = self._needed(cut, output_box, f_shape)
        f_box = needed.get(cut.node, box_of([(start, start + 1) for start, _ in whole(f_shape)]))
        for node in (n for n in cut.crossing if n in needed):
            ratio = self._ratio_to(cut, node)
            f_box = _hull(f_box, box_of([(a // r, -(-b // r)) for (a, b), r in zip(needed[node], ratio, strict=True)]))
        skips = [
            _cut_out(skip, _scaled(f_box, self._ratio_to(cut, node))) if node in self.graph.factors else skip
            for node, skip in zip(cut.crossing, features.skips, strict=True)
        ]
        box = _scaled(f_box, self._ratio_to(cut, self.graph.logits))
        f, logits = _cut_out(features.f, f_box), _cut_out(features.logits, box)
        return Slab(replace(features, f=f, skips=tuple(skips), logits=logits), f_box, box)

    def _needed(self, cut: Cut, output_box: Box, f_shape: tuple[int, ...]) -> dict[fx.Node, Box]:
        """For each tensor that is read for a box of logits, the box of it that is read."""
        reaches = cut.reaches or {}
        needed = {self.graph.logits: output_box}
        for step in reversed(cut.tail_nodes):
            if step not in needed or step not in reaches:
                continue
            for read in (n for n in step.all_input_nodes if n in self.graph.factors):
                limits = _scaled(whole(f_shape), self._ratio_to(cut, read))
                box = intersection(read_by(needed[step], reaches[step]), limits)
                if box is not None:
                    needed[read] = _hull(needed[read], box) if read in needed else box
        return needed

    def affected_box(self, features: CachedFeatures, f_box: Box) -> Box:
        """See `SplitNetwork`: walks forward from f to the logits; all where a layer is not known."""
        cut = self.cut(features.level)
        if cut.reaches is None:
            return whole(tuple(features.logits.shape[2:]))
        f_shape = tuple(features.f.shape[2:])
        reached = {cut.node: f_box}
        for step in (n for n in cut.tail_nodes if n in cut.reaches):
            for read in (n for n in step.all_input_nodes if n in reached):
                limits = _scaled(whole(f_shape), self._ratio_to(cut, step))
                box = intersection(reached_from(reached[read], cut.reaches[step]), limits)
                if box is not None:
                    reached[step] = _hull(reached[step], box) if step in reached else box
        return reached[self.graph.logits]

    def _ratio_to(self, cut: Cut, node: fx.Node) -> Factors:
        """How many times larger a tensor is than f."""
        ratio = _ratio(self.graph.factors[cut.node], self.graph.factors[node])
        if ratio is None:
            raise UserInputError(f"'{node.name}' is coarser than '{cut.node.name}'; choose another layer")
        return ratio

    def cached_bytes(self, window_shape: tuple[int, int, int], level: int) -> int:
        """See `SplitNetwork`; norm statistics left out."""
        cut = self.cut(level)
        return sum(self._bytes(node, window_shape) for node in (cut.node, *cut.crossing, self.graph.logits))

    def peak_bytes(self, window_shape: tuple[int, int, int], level: int) -> int:
        """See `SplitNetwork`: the most that is alive at a time, and twice the largest tensor to work in."""
        del level
        order = list(self.graph.module.graph.nodes)
        last_use = {read: number for number, node in enumerate(order) for read in node.all_input_nodes}
        sizes = {node: self._bytes(node, window_shape) for node in self.graph.shapes}
        alive = most = 0
        for number, node in enumerate(order):
            alive += sizes.get(node, 0)
            most = max(most, alive)
            alive -= sum(sizes.get(read, 0) for read in set(node.all_input_nodes) if last_use[read] == number)
        return most + 2 * max(sizes.values())

    def _bytes(self, node: fx.Node, window_shape: tuple[int, int, int]) -> int:
        shape = self.graph.shapes[node]
        if node not in self.graph.factors:
            return self.graph.element_size * math.prod(shape)
        voxels = math.prod(n // f for n, f in zip(window_shape, self.graph.factors[node], strict=True))
        return self.graph.element_size * shape[0] * shape[1] * voxels


def _hull(a: Box, b: Box) -> Box:
    return box_of([(min(p[0], q[0]), max(p[1], q[1])) for p, q in zip(a, b, strict=True)])


def _scaled(box: Box, ratio: Factors) -> Box:
    return box_of([(start * r, stop * r) for (start, stop), r in zip(box, ratio, strict=True)])


def _cut_out(tensor: torch.Tensor, box: Box) -> torch.Tensor:
    return tensor[(slice(None), slice(None), *slices_of(box))]
