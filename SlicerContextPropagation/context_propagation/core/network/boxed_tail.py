"""The tail of a traced network on a box of logits: each layer computes the box of its output that is read, no more.

With frozen statistics a norm is a scale and a shift for each channel; behind a convolution both go into its weights.
What does not depend on f is computed once: of a convolution over (what comes from f, skip) the skip's share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import fx, nn

from context_propagation.core.image.boxes import Box, around, box_of, inside_of, intersection, slices_of
from context_propagation.core.network.boxed_convolution import BoxedConvolution
from context_propagation.core.network.direct_convolution import DirectConvolution
from context_propagation.core.network.graph_cut import Cut
from context_propagation.core.network.receptive_field import CONCATENATIONS, interpolation_mode, read_by
from context_propagation.core.network.split_network import CachedFeatures, LocalDecode
from context_propagation.core.network.traced_graph import TracedGraph, attribute

Operation = Callable[..., torch.Tensor]


def boxed_tail(graph: TracedGraph, cut: Cut, features: CachedFeatures, output_box: Box) -> LocalDecode:
    """The tail of a cut whose reaches are known.

    Args:
        graph: The network.
        cut: Where it is cut.
        features: The cache; its statistics are used.
        output_box: The logits that are wanted, inside the cached ones.
    """
    tail = _BoxedTail(graph, cut, features, output_box)
    return LocalDecode(tail.boxes[cut.node], output_box, tail.run)


def needed_boxes(graph: TracedGraph, cut: Cut, output_box: Box, f_shape: Sequence[int]) -> dict[fx.Node, Box]:
    """For each tensor that is read for a box of logits, the box of it that is read; of f at least a voxel."""
    reaches = cut.reaches or {}
    needed = {graph.logits: output_box}
    for step in reversed(cut.tail_nodes):
        if step not in needed or step not in reaches:
            continue
        for read in (n for n in step.all_input_nodes if n in graph.factors):
            box = intersection(read_by(needed[step], reaches[step]), whole_of(cut, read, f_shape))
            if box is not None:
                needed[read] = around(needed[read], box) if read in needed else box
    needed.setdefault(cut.node, box_of([(0, 1)] * 3))
    return needed


def whole_of(cut: Cut, node: fx.Node, f_shape: Sequence[int]) -> Box:
    """All of a tensor, where f has a shape."""
    return box_of([(0, n * ratio) for n, ratio in zip(f_shape, cut.ratios[node], strict=True)])


@dataclass(frozen=True)
class _Step:
    """A layer on its box.

    Attributes:
        node: Whose box comes out: the layer, or the norm behind it that its weights hold.
        reads: Whose boxes it takes.
        operation: From these to that.
    """

    node: fx.Node
    reads: tuple[fx.Node, ...]
    operation: Operation


class _BoxedTail:
    def __init__(self, graph: TracedGraph, cut: Cut, features: CachedFeatures, output_box: Box) -> None:
        self.graph, self.cut = graph, cut
        self.f_shape = tuple(features.f.shape[2:])
        self.boxes = needed_boxes(graph, cut, output_box, self.f_shape)
        self.cached = dict(zip(cut.crossing, features.skips, strict=True))
        self.scales = {
            id(norm): norm.scale_and_shift(seen) for norm, seen in zip(cut.norms, features.norm_statistics, strict=True)
        }
        self.steps: list[_Step] = []

    def run(self, f: torch.Tensor) -> torch.Tensor:
        """See `LocalDecode.run`; what does not depend on f is computed the first time."""
        if not self.steps:
            self._add_steps()
        values = {self.cut.node: f}
        last_read = {node: number for number, step in enumerate(self.steps) for node in step.reads}
        with DirectConvolution():
            for number, step in enumerate(self.steps):
                values[step.node] = step.operation(*(values[node] for node in step.reads))
                for node in [node for node in values if last_read.get(node) == number]:
                    del values[node]
        return values[self.graph.logits]

    @torch.no_grad()
    def _add_steps(self) -> None:
        with DirectConvolution():
            for node in (n for n in self.cut.tail_nodes if n in self.boxes):
                if all(step.node is not node for step in self.steps):
                    self._add(node)

    def _add(self, node: fx.Node) -> None:
        module = self.cut.modules.get(node)
        if isinstance(module, nn.Conv3d):
            self._add_convolution(node, module)
        elif isinstance(module, nn.ConvTranspose3d):
            self._add_enlargement(node, module)
        elif (mode := interpolation_mode(node, module)) is not None:
            corners = None if mode == "nearest" else False
            ratio = self._ratio(node)
            self._add_enlargement(
                node, lambda x: F.interpolate(x, scale_factor=ratio, mode=mode, align_corners=corners)
            )
        elif not (is_concatenation(node) and all(self._takes_parts(user) for user in node.users)):
            self._add_pointwise(node, module)

    def _add_convolution(self, node: fx.Node, layer: nn.Conv3d) -> None:
        (source,) = node.all_input_nodes
        wanted, inside = self._read(node, source)
        convolution = BoxedConvolution.of(
            layer, [(i[0] - w[0], w[1] - i[1]) for w, i in zip(wanted, inside, strict=True)]
        )
        norm = next(iter(node.users)) if len(node.users) == 1 else node
        scale = self.scales.get(id(self.cut.modules.get(norm)))
        if scale is not None:
            convolution = convolution.scaled(scale)
        parts = self._parts(source) if self._takes_parts(node) else [(source, slice(None))]
        moving = [(part, channels) for part, channels in parts if part not in self.cached]
        constant: torch.Tensor | None = None
        if len(moving) < len(parts):
            fixed = [(part, channels) for part, channels in parts if part in self.cached]
            skips = torch.cat([self.cached[part][_place(inside)] for part, _ in fixed], 1)
            constant = convolution.of_channels([channels for _, channels in fixed], with_bias=True)(skips)
        convolve = convolution.of_channels([channels for _, channels in moving], with_bias=constant is None)
        reads = tuple(part for part, _ in moving)

        def operation(*values: torch.Tensor) -> torch.Tensor:
            pieces = [self._cut(value, part, inside) for part, value in zip(reads, values, strict=True)]
            result = convolve(torch.cat(pieces, 1) if len(pieces) > 1 else pieces[0])
            return result if constant is None else result + constant

        self.steps.append(_Step(node if scale is None else norm, reads, operation))

    def _takes_parts(self, node: fx.Node) -> bool:
        """Whether a layer is a convolution that takes one by one what is concatenated before it."""
        module = self.cut.modules.get(node)
        return isinstance(module, nn.Conv3d) and module.groups == 1

    def _parts(self, source: fx.Node) -> list[tuple[fx.Node, slice]]:
        """What is concatenated to a tensor, and its channels there; the tensor itself where nothing is."""
        parts = source.args[0] if source in self.cut.tail_nodes and is_concatenation(source) else [source]
        nodes = cast(Sequence[fx.Node], parts)
        ends = list(accumulate(self.graph.shapes[part][1] for part in nodes))
        return [(part, slice(start, end)) for part, start, end in zip(nodes, [0, *ends[:-1]], ends, strict=True)]

    def _add_enlargement(self, node: fx.Node, enlarge: Operation) -> None:
        """A transposed convolution or an interpolation: from the box that is read to more than the layer's box."""
        (source,) = (n for n in node.all_input_nodes if n in self.boxes)
        _, inside = self._read(node, source)
        given = box_of([(start * n, stop * n) for (start, stop), n in zip(inside, self._ratio(node), strict=True)])
        wanted = _place(inside_of(self.boxes[node], given))
        self.steps.append(_Step(node, (source,), lambda value: enlarge(self._cut(value, source, inside))[wanted]))

    def _add_pointwise(self, node: fx.Node, module: nn.Module | None) -> None:
        """A layer that looks at one voxel alone."""
        box = self.boxes[node]
        reads = tuple(n for n in node.all_input_nodes if n in self.boxes and n not in self.cached)
        fixed = {n: self._fixed(n, box) for n in node.all_input_nodes if n not in reads}
        apply = self._layer(node, module)

        def operation(*values: torch.Tensor) -> torch.Tensor:
            known = fixed | {n: self._cut(value, n, box) for n, value in zip(reads, values, strict=True)}
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: known[n])
            return apply(*args, **kwargs)

        self.steps.append(_Step(node, reads, operation))

    def _layer(self, node: fx.Node, module: nn.Module | None) -> Operation:
        if id(module) in self.scales:
            scale, shift = self.scales[id(module)]
            return lambda x: x * scale + shift
        if module is not None:
            return module
        if node.target is F.pad:  # with nothing to pad: see `reaches_of`
            return lambda x, *_, **__: x
        if node.op == "call_method":
            return lambda x, *args, **kwargs: getattr(x, str(node.target))(*args, **kwargs)
        return cast(Operation, node.target)

    def _fixed(self, node: fx.Node, box: Box) -> Any:
        """What a layer reads that does not depend on f."""
        if node.op == "get_attr":
            return attribute(self.graph.module, str(node.target))
        value = self.cached.get(node)
        return value if value is None or node not in self.graph.factors else value[_place(box)]

    def _read(self, node: fx.Node, source: fx.Node) -> tuple[Box, Box]:
        """The box of its input that a layer reads, and the part of it that lies in the window."""
        wanted = read_by(self.boxes[node], cast(Any, self.cut.reaches)[node])
        return wanted, intersection(wanted, whole_of(self.cut, source, self.f_shape)) or self.boxes[source]

    def _cut(self, value: torch.Tensor, node: fx.Node, box: Box) -> torch.Tensor:
        """A box of a tensor of which its own box is at hand."""
        return value if box == self.boxes[node] else value[_place(inside_of(box, self.boxes[node]))]

    def _ratio(self, node: fx.Node) -> tuple[int, ...]:
        """How many times larger a layer's output is than its input."""
        source = next(n for n in node.all_input_nodes if n in self.boxes)
        return tuple(n // m for n, m in zip(self.cut.ratios[node], self.cut.ratios[source], strict=True))


def is_concatenation(node: fx.Node) -> bool:
    """Whether a layer joins channels."""
    return node.op == "call_function" and node.target in CONCATENATIONS


def _place(box: Box) -> tuple[slice, ...]:
    return slice(None), slice(None), *slices_of(box)
