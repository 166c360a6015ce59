"""A frozen network as a graph of its layers: traced with torch.fx, without changing the network.

The graph works on a shell: modules of its own that share the network's parameters and buffers. In it nothing is done in
place, so that what is cached survives; a graph that computes something else than the network is refused.
"""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.func import functional_call

from context_propagation.core.errors import UserInputError

Factors = tuple[int, int, int]
"""By how much a tensor is smaller than the image along D, H, W."""


WAY_OUT = "pass two callables (encode, decode) instead: see docs/any-network.md"


TOLERANCE = {"cpu": 1e-5, "cuda": 1e-3, "mps": 1e-3}
"""Largest difference from the plain network, relative to its largest logit; GPUs round each layer more coarsely."""


MAX_LEAF_CLASSES = 20


_CALL, _GETATTR = nn.Module.__call__, nn.Module.__getattr__


OUT_OF_PLACE: Mapping[Any, Any] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    F.relu_: F.relu,
    torch.relu_: torch.relu,
}


KEEP_SHAPE = (nn.InstanceNorm3d, nn.LeakyReLU, nn.ReLU)
"""Layers of the known architectures that need not be run to know the shape of what they return."""


@dataclass(frozen=True)
class TracedGraph:
    """A network's layers.

    Attributes:
        name: The network's class.
        module: The graph with the shell's modules.
        shapes: The shape of each node that is a tensor, at the example's size.
        factors: `Factors` of each node `[1, C, D, H, W]` that shrinks and grows with the image.
        element_size: Bytes of a value.
    """

    name: str
    module: fx.GraphModule
    shapes: Mapping[fx.Node, tuple[int, ...]]
    factors: Mapping[fx.Node, Factors]
    element_size: int

    @property
    def image(self) -> fx.Node:
        """The node of the input."""
        found: fx.Node = next(node for node in self.module.graph.nodes if node.op == "placeholder")
        return found

    @property
    def logits(self) -> fx.Node:
        """The node that is returned."""
        returned = next(node for node in self.module.graph.nodes if node.op == "output").args[0]
        if not isinstance(returned, fx.Node):
            raise UserInputError(f"{self.name} does not return a single tensor; {WAY_OUT}")
        return returned


def trace_known(network: nn.Module, example: torch.Tensor) -> TracedGraph:
    """Trace an architecture of which tests hold the graph against the network; nothing is computed.

    Args:
        network: In evaluation mode; it is not changed. Without layers that ask for sizes.
        example: `[1, C, D, H, W]`, an image that it takes; only its shape counts.
    """
    name = type(network).__name__
    traced = _out_of_place(_traced(shell(network), name, set(), None))
    recorder = _WithoutData(traced)
    recorder.run(example.to("meta"))
    factors = _factors([recorder.shapes] * 2, [example] * 2)  # its layers shrink and grow with any image
    return TracedGraph(name, traced, recorder.shapes, factors, example.element_size())


def trace(network: nn.Module, example: torch.Tensor) -> TracedGraph:
    """Trace a network, and hold the graph against it at two sizes.

    What Python decides by sizes is decided as for the example, and where that does not hold at the other size, modules
    that ask for sizes or types are kept whole.

    Args:
        network: In evaluation mode; it is not changed.
        example: `[1, C, D, H, W]`, any image that it takes.

    Raises:
        UserInputError: It is in training mode, does not return one tensor of the image's size, takes only one size,
            cannot be traced, or the graph computes something else.
    """
    name = type(network).__name__
    if any(module.training for module in network.modules()):
        raise UserInputError(f"{name} is in training mode; call network.eval() first")
    plain = shell(network)
    images = [example, torch.cat((example, example.flip(2)), 2)]
    expected = [_plain_logits(plain, x, name) for x in images]
    failure: UserInputError | None = None
    for leaves, sized in ((set(), False), (set(), True), (_asking_classes(network), True)):
        try:
            traced = _out_of_place(_traced(shell(network), name, leaves, example if sized else None))
            shapes = [_checked_shapes(traced, x, z, name) for x, z in zip(images, expected, strict=True)]
        except UserInputError as error:
            failure = error
            continue
        return TracedGraph(name, traced, shapes[0], _factors(shapes, images), example.element_size())
    raise failure or UserInputError(f"{name} cannot be traced; {WAY_OUT}")


@torch.no_grad()
def _plain_logits(plain: nn.Module, x: torch.Tensor, name: str) -> torch.Tensor:
    try:
        logits = plain(x)
    except Exception as error:  # a network raises anything on an image that it does not take
        raise UserInputError(
            f"{name} does not take an image {tuple(x.shape)} ({' '.join(str(error).split()):.150}); give a network "
            "that takes every multiple of its strides"
        ) from error
    if not isinstance(logits, torch.Tensor):
        raise UserInputError(f"{name} returns a {type(logits).__name__}, not one tensor of logits; {WAY_OUT}")
    if logits.ndim != 5 or logits.shape[2:] != x.shape[2:]:
        raise UserInputError(
            f"{name} returns logits of shape {tuple(logits.shape)} for an image {tuple(x.shape)}; give a network "
            "whose logits [1, C, D, H, W] have the image's size"
        )
    return logits


def _asking_classes(network: nn.Module) -> set[type]:
    """Classes below the network whose forward asks for sizes or types, by its source: a trace may miss the answer."""
    found = set()
    for kind in {type(module) for module in network.modules()} - {type(network)}:
        try:
            source = inspect.getsource(kind.forward)
        except (OSError, TypeError):
            continue
        if any(asked in source for asked in (".shape", ".size(", "isinstance(")):
            found.add(kind)
    return found


def shell(network: nn.Module) -> nn.Module:
    """Modules of their own on the same parameters and buffers, which take no gradients; without forward hooks."""
    shared: dict[int, Any] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in network.parameters()}
    shared |= {id(buffer): buffer for buffer in network.buffers()}
    for module in network.modules():  # what a forward pass left behind, such as DynUNet's list of heads
        for value in vars(module).values():
            kept = value if isinstance(value, list | tuple) else [value]
            shared |= {id(t): t.detach() for t in kept if isinstance(t, torch.Tensor) and id(t) not in shared}
    copied = copy.deepcopy(network, shared)
    for module in copied.modules():
        module._forward_hooks.clear()  # they belong to whoever watches the network; pre-hooks may compute its weights
    return copied


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, relative to the largest expected value."""
    largest = float(expected.abs().max())
    return float((found - expected).abs().max()) / max(largest, torch.finfo(torch.float32).tiny)


class _SizedProxy(fx.Proxy):
    """Stands for a value of which the tracer knows an example, and so its size."""

    tracer: _Tracer

    @property
    def shape(self) -> Any:
        return self._known("shape", lambda value: value.shape)

    @property
    def ndim(self) -> Any:
        return self._known("ndim", lambda value: value.ndim)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> Any:
        return self.ndim

    def __iter__(self) -> Any:
        value = self.tracer.values.get(self.node)
        if not isinstance(value, list | tuple):
            return super().__iter__()
        return (cast(Any, self)[number] for number in range(len(value)))

    def _known(self, name: str, read: Any) -> Any:
        value = self.tracer.values.get(self.node)
        return read(value) if isinstance(value, torch.Tensor) else fx.proxy.Attribute(self, name)


class _Tracer(fx.Tracer):
    """Remembers in which module it failed; with an example, what it asks for sizes is answered."""

    def __init__(self, leaves: set[type], example: torch.Tensor | None) -> None:
        super().__init__()
        self.leaves = leaves
        self.example = example
        self.values: dict[fx.Node, Any] = {}
        self.inside: list[nn.Module] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in self.leaves or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.inside.append(m)
        result = super().call_module(m, forward, args, kwargs)
        self.inside.pop()
        return result

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return fx.Proxy(node, self) if self.example is None else _SizedProxy(node, self)

    def create_node(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **named: Any) -> fx.Node:
        node = super().create_node(kind, target, args, kwargs, *rest, **named)
        if self.example is not None and kind != "output":
            self.values[node] = self._value_of(node)
        return node

    @torch.no_grad()
    def _value_of(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self.example
        if node.op == "get_attr":
            return attribute(self.root, str(node.target))
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: self.values[n])
        if node.op == "call_module":
            with _not_tracing():
                return self.root.get_submodule(str(node.target))(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return cast(Any, node.target)(*args, **kwargs)


@contextmanager
def _types_answered(tracer: _Tracer) -> Iterator[None]:
    """`torch.jit.isinstance` answers as for the values that proxies stand for."""
    ask: Any = torch.jit.isinstance

    def answer(asked: Any, kind: Any) -> bool:
        return bool(ask(tracer.values.get(asked.node, asked) if isinstance(asked, fx.Proxy) else asked, kind))

    setattr(torch.jit, "isinstance", answer)  # noqa: B010
    try:
        yield
    finally:
        setattr(torch.jit, "isinstance", ask)  # noqa: B010


@contextmanager
def _not_tracing() -> Iterator[None]:
    """Modules run as usual inside: a tracer puts itself in the place of these two methods."""
    tracing = nn.Module.__call__, nn.Module.__getattr__
    setattr(nn.Module, "__call__", _CALL)  # noqa: B010 - mypy allows no method to be assigned
    setattr(nn.Module, "__getattr__", _GETATTR)  # noqa: B010
    try:
        yield
    finally:
        setattr(nn.Module, "__call__", tracing[0])  # noqa: B010
        setattr(nn.Module, "__getattr__", tracing[1])  # noqa: B010


def attribute(module: nn.Module, name: str) -> Any:
    """What a dotted name names in a module."""
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _traced(network: nn.Module, name: str, leaves: set[type], example: torch.Tensor | None) -> fx.GraphModule:
    """The graph; modules that cannot be traced become leaves of it."""
    leaves = set(leaves)
    parameters = list(inspect.signature(network.forward).parameters.values())[1:]
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    while True:
        tracer = _Tracer(leaves, example)
        try:
            with _types_answered(tracer):
                return fx.GraphModule(network, tracer.trace(network, concrete_args=defaults))
        except Exception as error:  # tracing runs the network's own code, which raises anything
            failed = type(tracer.inside[-1]) if tracer.inside else type(network)
            if not tracer.inside or failed in leaves or len(leaves) >= MAX_LEAF_CLASSES:
                reason = " ".join(str(error).split())
                raise UserInputError(f"{name} cannot be traced: {failed.__name__}: {reason:.150}; {WAY_OUT}") from error
            leaves.add(failed)


def _out_of_place(traced: fx.GraphModule) -> fx.GraphModule:
    for module in traced.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010 - not an attribute of every module
    for node in traced.graph.nodes:
        if node.op == "call_function":
            node.target = OUT_OF_PLACE.get(node.target, node.target)
            if "inplace" in node.kwargs:
                node.kwargs = {**node.kwargs, "inplace": False}
        elif node.op == "call_method" and node.target.endswith("_") and not node.target.endswith("__"):
            node.target = node.target.removesuffix("_")
    traced.recompile()
    return traced


class _ShapeRecorder(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.shapes[n] = tuple(result.shape)
        return result


class _WithoutData(_ShapeRecorder):
    """Of an image on torch's device "meta", where tensors have a shape and no values."""

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module = self.fetch_attr(target)
        if isinstance(module, KEEP_SHAPE):
            return args[0]
        named = [*module.named_parameters(), *module.named_buffers()]
        return functional_call(module, {name: tensor.to("meta") for name, tensor in named}, args, kwargs)


@torch.no_grad()
def _checked_shapes(
    traced: fx.GraphModule, x: torch.Tensor, expected: torch.Tensor, name: str
) -> dict[fx.Node, tuple[int, ...]]:
    """The shapes of all nodes for one image, once the graph's logits are found to be the network's."""
    try:
        found, shapes = _recorded(traced, x)
    except Exception as error:  # a trace that holds for another size alone fails anywhere
        reason = " ".join(str(error).split())
        raise UserInputError(f"The trace of {name} fails at {tuple(x.shape)} ({reason:.150}); {WAY_OUT}") from error
    same_shape = isinstance(found, torch.Tensor) and found.shape == expected.shape
    if not same_shape or relative_difference(found, expected) > TOLERANCE[x.device.type]:
        raise UserInputError(f"The trace of {name} computes something else than it at {tuple(x.shape)}; {WAY_OUT}")
    return shapes


def _recorded(traced: fx.GraphModule, x: torch.Tensor) -> tuple[Any, dict[fx.Node, tuple[int, ...]]]:
    """What a graph returns, and the shapes of its nodes."""
    recorder = _ShapeRecorder(traced)
    return recorder.run(x), recorder.shapes


def _factors(shapes: Iterable[Mapping[fx.Node, tuple[int, ...]]], images: list[torch.Tensor]) -> dict[fx.Node, Factors]:
    per_size = [
        {
            node: tuple(n // m if m and n % m == 0 else 0 for n, m in zip(image.shape[2:], shape[2:], strict=True))
            for node, shape in of_size.items()
            if len(shape) == 5
        }
        for of_size, image in zip(shapes, images, strict=True)
    ]
    return {
        node: (factors[0], factors[1], factors[2])
        for node, factors in per_size[0].items()
        if min(factors) >= 1 and per_size[1].get(node) == factors
    }
