"""Where a traced graph is cut at a decoder level, and the module after the cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import fx, nn

from context_propagation.core.errors import UserInputError
from context_propagation.core.network.freezable_norm import (
    FreezableNorm,
    freezable,
    replace_norms,
)
from context_propagation.core.network.receptive_field import Reaches, reaches_of
from context_propagation.core.network.traced_graph import (
    WAY_OUT,
    Factors,
    TracedGraph,
    attribute,
    shell,
)

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
        modules: The module of each tail node that calls one.
        ratios: How many times larger than f (D, H, W) each tensor of the tail is that shrinks and grows with the image.
        reaches: For each tail node that depends on f, how it reads its inputs; None where that is not known.
        tail_nodes: The nodes of the whole graph that the tail holds and that depend on f, in order.
    """

    node: fx.Node
    crossing: tuple[fx.Node, ...]
    head: fx.GraphModule
    tail: fx.GraphModule
    norms: tuple[FreezableNorm, ...]
    modules: Mapping[fx.Node, nn.Module]
    ratios: Mapping[fx.Node, Factors]
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
    tail_module, modules = _tail_module(graph, node, crossing, [n for n in order if n in tail])
    norms = tuple(norm for module in modules.values() for norm in module.modules() if isinstance(norm, FreezableNorm))
    ordered = tuple(n for n in order if n in dependent)
    reaches = _tail_reaches(graph, node, crossing, ordered)
    found = {
        n: _ratio(graph.factors[node], graph.factors[n]) for n in (node, *crossing, *ordered) if n in graph.factors
    }
    ratios = {n: ratio for n, ratio in found.items() if ratio is not None}
    return Cut(node, tuple(crossing), head, tail_module, norms, modules, ratios, reaches, ordered)


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
                    f"Behind '{node.name}' {graph.name} reads '{read.name}' of shape {graph.shapes[read]}, which is "
                    f"not a feature map; choose another layer, or {WAY_OUT}"
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
) -> tuple[fx.GraphModule, dict[fx.Node, nn.Module]]:
    """The tail, and its modules: of its own, so that a norm called twice keeps two pairs of statistics."""
    tail = fx.Graph()
    copied = {node: tail.placeholder("f")}
    copied |= {read: tail.placeholder(f"skip_{number}") for number, read in enumerate(crossing)}
    called: dict[str, Any] = {}
    modules: dict[fx.Node, nn.Module] = {}
    for number, step in enumerate(nodes):
        new = copied[step] = tail.node_copy(step, lambda n: copied[n])
        if step.op == "call_module":
            new.target = f"step_{number}"
            modules[step] = _with_freezable_norms(shell(graph.module.get_submodule(str(step.target))))
            called[new.target] = modules[step]
        elif step.op == "get_attr":
            new.target = f"constant_{number}"
            called[new.target] = attribute(graph.module, str(step.target))
    tail.output(copied[graph.logits])
    return fx.GraphModule(called, tail), modules


def _with_freezable_norms(module: nn.Module) -> nn.Module:
    norm = freezable(module)
    if norm is None:
        replace_norms(module)
    return norm or module


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
