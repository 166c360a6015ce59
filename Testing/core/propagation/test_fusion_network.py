"""The fusion networks: the paper's against a computation of its own, ours by what goes in and what comes out."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import slices_of, whole
from context_propagation.core.propagation.edit_description import DESCRIPTION_SIZE
from context_propagation.core.propagation.edit_fusion import MAP_CHANNELS, PROTOTYPES
from context_propagation.core.propagation.fusion_inputs import FusionInputs
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.core.propagation.trained_fusion import build_fusion_network

VARIANTS = ["paper", "adaptive", "attention"]
ODD = (5, 7, 9)


def inputs(channels=2, shape=ODD, edits=1, hidden_truth=0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = [
        (channels, *shape),
        (channels, *shape),
        (MAP_CHANNELS, *shape),
        (DESCRIPTION_SIZE + hidden_truth,),
        (PROTOTYPES, channels),
    ]
    return [torch.randn(edits, *size, generator=generator) for size in sizes]


def replaced(given, position, seed=9):
    """The same inputs, one of them drawn anew."""
    fresh = torch.randn(given[position].shape, generator=torch.Generator().manual_seed(seed))
    return [*given[:position], fresh, *given[position + 1 :]]


def network(variant="adaptive", channels=2, width=4.0, hidden_truth=0):
    """Seeded fresh weights, moved a little, so that norms scale and shift."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        built = build_fusion_network(FusionSettings(variant, channels, width, hidden_truth))
        for parameter in built.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return built


# ---- all variants


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [ODD, (4, 6, 8), (3, 3, 16)])
def test_the_output_has_exactly_the_shape_of_f(variant, shape):
    assert network(variant)(FusionInputs(*inputs(shape=shape))).shape == (1, 2, *shape)


@pytest.mark.quick(shape=((30, 25, 34),), box=("box0", "box1"))
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(32, 24, 40), (30, 25, 34)])
@pytest.mark.parametrize(
    "box", [((14, 17), (9, 12), (21, 23)), ((0, 3), (20, 24), (38, 40)), ((0, 30), (3, 5), (0, 2))]
)
def test_a_box_of_the_fused_map_is_that_of_the_whole_map(variant, shape, box):
    box = tuple((min(start, n - 1), min(stop, n)) for (start, stop), n in zip(box, shape, strict=True))
    given = FusionInputs(*inputs(shape=shape, edits=2))
    drawn = torch.zeros_like(given.edit_maps)
    drawn[:, :, 16] = given.edit_maps[:, :, 16].abs()
    given = replace(given, f=given.f[:1], edit_maps=drawn)
    f_updated = given.f_of_each.clone()
    f_updated[0, :, 15:17, 8:20] += 1.0  # the second edit does not move f
    fuses = network(variant)

    with torch.no_grad():
        for inputs_given in (given, replace(given, f_updated=f_updated), replace(given, f_updated=given.f_of_each)):
            complete = fuses(inputs_given)[(..., *slices_of(box))]
            for of_f in (None, fuses.of_f(given.f)):
                part = fuses.on_box(inputs_given, box, of_f)
                torch.testing.assert_close(part, complete, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_edits_in_one_batch_do_not_see_each_other(variant):
    given = inputs(edits=3)
    together = network(variant)(FusionInputs(*given))
    for number in range(3):
        alone = network(variant)(FusionInputs(*(piece[number : number + 1] for piece in given)))
        assert torch.allclose(together[number : number + 1], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", ["adaptive", "attention"])
def test_what_is_given_of_f_takes_the_place_of_its_share_in_the_first_convolution(variant):
    fuses, given = network(variant), FusionInputs(*inputs(edits=1))
    other = FusionInputs(*replaced(inputs(edits=1), 0)).f
    everything, first = whole(ODD), fuses.entry.weight[:, :2]

    with torch.no_grad():
        torch.testing.assert_close(fuses.of_f(given.f), F.conv3d(given.f, first, fuses.entry.bias, padding=1))
        kept = fuses.of_f(given.f).clone()
        right = fuses.on_box(given, everything, kept)
        wrong = fuses.on_box(given, everything, fuses.of_f(other))
        assert torch.equal(kept, fuses.of_f(given.f))  # it serves every edit
    assert not torch.allclose(right, wrong, atol=1e-3)


def test_the_paper_s_network_computes_nothing_of_f_that_edits_share():
    assert network("paper").of_f(FusionInputs(*inputs()).f) is None


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_output_is_the_same_where_nothing_is_learned_and_no_input_is_changed(variant):
    fusion, given = network(variant), FusionInputs(*inputs())
    before = {name: tensor.clone() for name, tensor in given.tensors().items()}
    learning = fusion(given)
    with torch.no_grad():
        frozen = fusion(given)

    torch.testing.assert_close(frozen, learning.detach())
    assert all(torch.equal(tensor, before[name]) for name, tensor in given.tensors().items())


def test_in_mixed_precision_norms_are_as_precise_where_nothing_is_learned_as_where_something_is():
    fusion, given = network("adaptive"), FusionInputs.together([FusionInputs(*inputs())] * 2)
    with torch.autocast("cpu", torch.bfloat16):
        learning = fusion(given)
        with torch.no_grad():
            frozen = fusion(given)

    assert frozen.dtype == learning.dtype == torch.float32


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("position", [0, 1])
def test_the_output_depends_on_f_and_on_f_updated(variant, position):
    given = inputs()
    assert not torch.allclose(
        network(variant)(FusionInputs(*given)), network(variant)(FusionInputs(*replaced(given, position)))
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_larger_width_has_more_weights(variant):
    def weights(width):
        return sum(p.numel() for p in build_fusion_network(FusionSettings(variant, 4, width)).parameters())

    assert weights(0.5) < weights(1.0) < weights(8.0)


@pytest.mark.parametrize(("width", "channels", "hidden"), [(8.0, 3, 24), (0.5, 8, 4), (1.0, 5, 5), (0.01, 8, 1)])
def test_the_hidden_layers_have_width_times_the_channels_of_f_and_at_least_one(width, channels, hidden):
    assert FusionSettings("adaptive", channels, width).hidden == hidden


# ---- the paper's


def test_the_paper_s_network_has_three_units_of_convolution_norm_and_relu_in_each_of_four_blocks():
    paper = network("paper")
    kinds = [type(module) for module in paper.modules() if not list(module.children())]
    assert kinds == [nn.Conv3d, nn.InstanceNorm3d, nn.ReLU] * 12


def test_the_paper_s_convolutions_have_its_channels_strides_and_kernels():
    convolutions = [m for m in network("paper", channels=2, width=8.0).modules() if isinstance(m, nn.Conv3d)]
    input_block = [(2, 16), (16, 16), (16, 16)]
    join, output = [(32, 16), (16, 16), (16, 16)], [(16, 2), (2, 2), (2, 2)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [*input_block, *input_block, *join, *output]
    assert [m.stride for m in convolutions] == [(2, 2, 2) if n in (0, 3) else (1, 1, 1) for n in range(12)]
    assert {m.kernel_size for m in convolutions} == {(3, 3, 3)}


@pytest.mark.parametrize("shape", [ODD, (4, 6, 8)])
def test_the_paper_s_network_computes_fig_2c(shape):
    paper = network("paper", width=8.0)
    weights = list(paper.state_dict().values())  # per unit: kernel, bias, norm's scale, norm's shift
    units = [weights[4 * n : 4 * n + 4] for n in range(12)]

    def block(x, numbers, stride=1):
        for number in numbers:
            kernel, bias, scale, shift = units[number]
            x = F.conv3d(x, kernel, bias, stride, padding=1)
            stride = 1
            mean, variance = x.mean((2, 3, 4), keepdim=True), x.var((2, 3, 4), keepdim=True, correction=0)
            x = (x - mean) / (variance + 1e-5).sqrt() * scale.view(1, -1, 1, 1, 1) + shift.view(1, -1, 1, 1, 1)
            x = x.clamp(min=0)
        return x

    f, f_updated, *ignored = inputs(shape=shape)
    streams = [block(f, range(3), 2), block(f_updated, range(3, 6), 2)]
    grown = torch.cat([F.interpolate(s, shape, mode="trilinear", align_corners=False) for s in streams], 1)
    expected = block(block(grown, range(6, 9)), range(9, 12))

    assert torch.allclose(paper(FusionInputs(f, f_updated, *ignored)), expected, atol=1e-4)
    assert expected.std() > 0.1


def test_the_paper_s_output_is_never_below_0():
    fused = network("paper")(FusionInputs(*inputs()))
    assert fused.min() == 0
    assert fused.max() > 0


@pytest.mark.parametrize("position", [2, 3, 4])
def test_the_paper_s_network_sees_neither_edit_map_nor_description_nor_prototypes(position):
    given = inputs()
    assert torch.equal(
        network("paper")(FusionInputs(*given)), network("paper")(FusionInputs(*replaced(given, position)))
    )


# ---- ours


@pytest.mark.parametrize("shape", [ODD, (4, 6, 8)])
def test_the_adaptive_network_computes_its_layers_and_norms(shape):
    """Step by step; the last two norms measure every second voxel along each axis."""
    adaptive, given = network(), inputs(shape=shape)
    weights, (f, f_updated, maps, description, prototypes) = adaptive.state_dict(), given

    def convolved(x, layer, **how):
        return F.conv3d(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"], **how)

    def normalised(x, layer, measured=None):
        of = x if measured is None else measured
        mean, variance = of.mean((2, 3, 4), keepdim=True), of.var((2, 3, 4), keepdim=True, correction=0)
        scale, shift = (weights[f"{layer}_norm.{name}"].view(1, -1, 1, 1, 1) for name in ("weight", "bias"))
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    alike = torch.stack([F.cosine_similarity(f, p.view(1, -1, 1, 1, 1)) for p in prototypes[0]], 1)
    near = normalised(convolved(torch.cat((f, f_updated - f, maps, alike), 1), "entry", padding=1), "entry").clamp(0)
    wide = normalised(convolved(near, "wide", stride=2, padding=1), "wide").clamp(0)
    wide = normalised(convolved(wide, "deep", padding=1), "deep").clamp(0)
    grown = F.interpolate(wide, shape, mode="trilinear", align_corners=False)
    joined = convolved(torch.cat((near, grown), 1), "join", padding=1)
    spoken = F.linear(description, weights["described.weight"], weights["described.bias"]).clamp(0)
    spoken = F.linear(spoken, weights["globally.weight"], weights["globally.bias"])
    scale, shift = spoken.view(1, -1, 1, 1, 1).chunk(2, 1)
    hidden = (normalised(joined, "join", joined[..., ::2, ::2, ::2]) * (1 + scale) + shift).clamp(0)
    made = convolved(hidden, "output")
    made = normalised(made, "output", made[..., ::2, ::2, ::2])
    expected = torch.where(made > 0, made, 0.01 * made)

    torch.testing.assert_close(adaptive(FusionInputs(*given)), expected, atol=1e-3, rtol=1e-3)
    assert expected.std() > 0.1


def test_the_adaptive_network_does_not_see_the_scale_of_the_features():
    """What a scanner does to all of f alike; the paper's norms take it out just so."""
    f, f_updated, maps, description, prototypes = inputs(shape=(8, 8, 8))
    fuses = network()
    fused = fuses(FusionInputs(f, f_updated, maps, description, torch.zeros_like(prototypes)))
    moved = fuses(FusionInputs(3 * f, 3 * f_updated, 3 * maps, description, torch.zeros_like(prototypes)))
    torch.testing.assert_close(moved, fused, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("width", [0.25, 1.0, 8.0])
def test_the_attention_network_starts_as_f_exactly(width):
    given = inputs()
    fresh = build_fusion_network(FusionSettings("attention", 2, width))
    assert torch.equal(fresh(FusionInputs(*given)), given[0])


@pytest.mark.parametrize("variant", ["adaptive", "attention"])
def test_our_networks_learn_to_give_back_what_they_are_shown(variant):
    given = inputs()
    fresh = build_fusion_network(FusionSettings(variant, 2, 2.0))
    optimizer = torch.optim.Adam(fresh.parameters(), lr=0.01)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = ((fresh(FusionInputs(*given)) - given[1].abs()) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_a_map_of_one_voxel_is_fused_too():
    given = [torch.ones_like(tensor) for tensor in inputs(shape=(1, 2, 1))]
    assert torch.isfinite(network()(FusionInputs(*given))).all()


@pytest.mark.parametrize(("name", "position"), [("edit map", 2), ("description", 3), ("prototypes", 4)])
def test_the_adaptive_network_sees_map_description_and_prototypes(name, position):
    given = inputs()
    assert not torch.allclose(
        network()(FusionInputs(*given)), network()(FusionInputs(*replaced(given, position))), atol=1e-3
    )


def test_the_description_moves_every_voxel_of_the_output():
    given = inputs(shape=(9, 11, 13))
    other = [*given[:3], given[3] + 1, given[4]]
    many_units = network(width=32.0)  # with few, all of them may be silent at some voxel
    moved = (many_units(FusionInputs(*given)) - many_units(FusionInputs(*other))).abs().amax((0, 1))
    assert (moved > 1e-5).all()


def test_every_number_of_the_description_counts():
    given = inputs()
    for number in range(DESCRIPTION_SIZE):
        other = given[3].clone()
        other[0, number] += 1
        assert not torch.allclose(
            network()(FusionInputs(*given)), network()(FusionInputs(*given[:3], other, given[4])), atol=1e-3
        ), number


def test_what_an_oracle_is_told_counts_too():
    given = inputs(hidden_truth=3)
    other = given[3].clone()
    other[0, -1] += 1
    assert not torch.allclose(
        network(hidden_truth=3)(FusionInputs(*given)),
        network(hidden_truth=3)(FusionInputs(*given[:3], other, given[4])),
        atol=1e-3,
    )


def test_a_prototype_counts_by_its_direction_alone():
    given = inputs()
    assert torch.allclose(network()(FusionInputs(*given)), network()(FusionInputs(*given[:4], 3 * given[4])), atol=1e-4)
    assert not torch.allclose(
        network()(FusionInputs(*given)), network()(FusionInputs(*given[:4], -given[4])), atol=1e-3
    )


def test_what_is_alike_is_the_cosine_between_f_and_each_prototype():
    given = inputs()
    probe = build_fusion_network(FusionSettings("adaptive", 2, 1.0))
    seen = probe.beside_f(FusionInputs(*given), whole(ODD))
    f, prototypes = given[0][0].numpy(), given[4][0].numpy()
    for number, prototype in enumerate(prototypes):
        length = np.sqrt((f**2).sum(0)) * np.sqrt((prototype**2).sum())
        assert np.allclose(seen[0, -2 + number].numpy(), np.einsum("cdhw,c->dhw", f, prototype) / length, atol=1e-5)


def test_prototypes_of_zeros_are_like_nothing():
    f, f_updated, edit_map, description, prototypes = inputs()
    probe = build_fusion_network(FusionSettings("adaptive", 2, 1.0))
    given = FusionInputs(f, f_updated, edit_map, description, torch.zeros_like(prototypes))
    assert not probe.beside_f(given, whole(ODD))[0, -2:].any()


def test_an_oracle_starts_from_the_weights_of_the_network_that_it_is_compared_with():
    """And from its output: what it is told counts nothing at first."""
    built = []
    with torch.random.fork_rng(devices=[]):
        for hidden_truth in (0, 3):
            torch.manual_seed(0)
            built.append(build_fusion_network(FusionSettings("adaptive", 2, 1.0, hidden_truth)))
    plain, oracle = (network.state_dict() for network in built)
    assert all(torch.equal(oracle[name], value) for name, value in plain.items())
    (more,) = oracle.keys() - plain.keys()
    assert not oracle[more].any()


# ---- attention


def seen_by_attention(f, f_updated, edit_map):
    """What the entry layer of a fresh network is given beyond the adaptive one's: the update read, the target read."""
    probe = build_fusion_network(FusionSettings("attention", 2, 1.0))
    with torch.no_grad():
        seen = probe.beside_f(FusionInputs(f, f_updated, edit_map, *inputs()[3:]), whole(tuple(f.shape[2:])))
    return seen[0, -3:].numpy()


def test_a_place_reads_what_the_update_did_at_similar_places_of_the_drawn_slice():
    """By hand: every cell of f points along one of two axes; e^12.18 to 1 decides which cells are read."""
    f = torch.zeros(1, 2, 4, 2, 2)
    f[0, 0, :, :, 0] = 1.0
    f[0, 1, :, :, 1] = 1.0
    f_updated = f.clone()
    f_updated[0, :, 1, :, 0] += torch.tensor([0.5, -0.5])[:, None]
    f_updated[0, :, 1, :, 1] += torch.tensor([-2.0, 3.0])[:, None]
    edit_map = torch.zeros(1, MAP_CHANNELS, 4, 2, 2)
    edit_map[0, 0, 1, :, 0] = 1.0
    edit_map[0, 1, 1] = 1.0
    seen = seen_by_attention(f, f_updated, edit_map)
    for d in range(4):
        assert np.allclose(seen[:, d, :, 0], np.array([0.5, -0.5, 1.0])[:, None], atol=1e-4)
        assert np.allclose(seen[:, d, :, 1], np.array([-2.0, 3.0, 0.0])[:, None], atol=1e-4)


def test_a_cell_that_is_half_drawn_on_counts_half():
    f = torch.ones(1, 2, 2, 1, 1)
    f_updated = f.clone()
    f_updated[0, 0, :, 0, 0] += torch.tensor([1.0, 4.0])
    edit_map = torch.zeros(1, MAP_CHANNELS, 2, 1, 1)
    edit_map[0, 1, :, 0, 0] = torch.tensor([1.0, 0.5])
    assert np.allclose(seen_by_attention(f, f_updated, edit_map)[0], (1.0 * 1 + 4.0 * 0.5) / 1.5, atol=1e-5)


def test_in_a_window_without_a_drawn_slice_nothing_is_read():
    f, f_updated, edit_map, *_ = inputs()
    edit_map[:, 1] = 0
    assert not seen_by_attention(f, f_updated, edit_map).any()


# ---- refusals


@pytest.mark.parametrize(
    ("variant", "channels", "width", "said"),
    [
        ("unet", 8, 1.0, "Unknown fusion variant 'unet'; choose paper, adaptive, attention"),
        ("paper", 0, 1.0, "0 feature channels; give at least 1"),
        ("paper", 8, 0.0, "width is 0.0; give a number above 0"),
        ("adaptive", 8, -1.0, "width is -1.0"),
        ("adaptive", 8, math.nan, "width is nan"),
    ],
)
def test_settings_that_make_no_network_are_refused(variant, channels, width, said):
    with pytest.raises(UserInputError, match=said):
        FusionSettings(variant, channels, width)
