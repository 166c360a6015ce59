"""The controls: what each blindfold lets through, against the bare network given that by hand."""

import pytest
import torch

from bundles import random_network
from context_propagation.core.errors import UserInputError
from context_propagation.core.propagation.edit_description import DESCRIPTION_SIZE
from context_propagation.core.propagation.edit_fusion import MAP_CHANNELS, PROTOTYPES
from context_propagation.core.propagation.fusion_inputs import FusionInputs
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.training.fusion.fusion_controls import BlindfoldedFusion, build_blindfolded

SHAPE = (4, 5, 6)
SETTINGS = FusionSettings("adaptive", 2, 4.0)
ORACLE = FusionSettings("adaptive", 2, 4.0, hidden_truth=3)
F, F_UPDATED, EDIT_MAP, DESCRIPTION, PROTOTYPE = range(5)


def inputs(edits=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = [(2, *SHAPE), (2, *SHAPE), (MAP_CHANNELS, *SHAPE), (DESCRIPTION_SIZE,), (PROTOTYPES, 2)]
    return [torch.randn(edits, *size, generator=generator) for size in sizes]


def network(settings=SETTINGS):
    return random_network(settings, 1)


def test_one_that_sees_the_edit_is_given_all_of_it():
    given = inputs()
    assert torch.equal(BlindfoldedFusion(network(), "edit")(FusionInputs(*given)), network()(FusionInputs(*given)))


def test_without_the_edit_it_is_given_f_twice_and_nothing_else():
    f, _, edit_map, description, prototypes = inputs()
    zeros = (torch.zeros_like(tensor) for tensor in (edit_map, description, prototypes))
    expected = network()(FusionInputs(f, f, *zeros))
    assert torch.equal(BlindfoldedFusion(network(), "no edit")(FusionInputs(*inputs())), expected)


def test_with_the_drawn_slice_only_it_is_given_f_twice_the_map_and_what_f_is_there():
    f, _, edit_map, description, prototypes = inputs()
    expected = network()(FusionInputs(f, f, edit_map, torch.zeros_like(description), prototypes))
    assert torch.equal(BlindfoldedFusion(network(), "drawn slice only")(FusionInputs(*inputs())), expected)


def test_an_oracle_is_given_the_edit_and_what_it_is_told():
    f, f_updated, edit_map, description, prototypes = inputs()
    oracle = BlindfoldedFusion(network(ORACLE), "hidden truth")
    oracle.set_hidden_truth(torch.tensor([0.0, 1.0, 0.5]))
    said = torch.cat((description, torch.tensor([[0.0, 1.0, 0.5]])), 1)
    expected = network(ORACLE)(FusionInputs(f, f_updated, edit_map, said, prototypes))
    assert torch.equal(oracle(FusionInputs(f, f_updated, edit_map, description, prototypes)), expected)


def test_an_oracle_that_was_told_nothing_yet_is_given_zeros():
    f, f_updated, edit_map, description, prototypes = inputs()
    said = torch.cat((description, torch.zeros(1, 3)), 1)
    expected = network(ORACLE)(FusionInputs(f, f_updated, edit_map, said, prototypes))
    assert torch.equal(BlindfoldedFusion(network(ORACLE), "hidden truth")(FusionInputs(*inputs())), expected)


def test_an_oracle_forgets_the_last_case_when_it_is_told_the_next():
    oracle, fresh = (
        BlindfoldedFusion(network(ORACLE), "hidden truth"),
        BlindfoldedFusion(network(ORACLE), "hidden truth"),
    )
    oracle.set_hidden_truth(torch.tensor([1.0, 0.0, 0.0]))
    before = oracle(FusionInputs(*inputs()))
    oracle.set_hidden_truth(torch.tensor([0.0, 0.0, 1.0]))
    fresh.set_hidden_truth(torch.tensor([0.0, 0.0, 1.0]))
    assert torch.equal(oracle(FusionInputs(*inputs())), fresh(FusionInputs(*inputs())))
    assert not torch.allclose(oracle(FusionInputs(*inputs())), before)


def test_an_oracle_is_told_the_same_for_all_edits_of_a_case():
    oracle = BlindfoldedFusion(network(ORACLE), "hidden truth")
    oracle.set_hidden_truth(torch.tensor([0.0, 1.0, 0.5]))
    given = inputs(edits=3)
    together = oracle(FusionInputs(*given))
    for number in range(3):
        alone = oracle(FusionInputs(*(piece[number : number + 1] for piece in given)))
        assert torch.allclose(together[number : number + 1], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("inputs_shown", "hidden"),
    [
        ("edit", []),
        ("no edit", [F_UPDATED, EDIT_MAP, DESCRIPTION, PROTOTYPE]),
        ("drawn slice only", [F_UPDATED, DESCRIPTION]),
        ("hidden truth", []),
    ],
)
def test_what_is_hidden_moves_nothing_and_what_is_seen_moves_the_output(inputs_shown, hidden):
    shown, given, others = BlindfoldedFusion(network(), inputs_shown), inputs(), inputs(seed=5)
    for position in (F_UPDATED, EDIT_MAP, DESCRIPTION, PROTOTYPE):
        changed = [*given[:position], others[position], *given[position + 1 :]]
        assert torch.equal(shown(FusionInputs(*given)), shown(FusionInputs(*changed))) == (position in hidden), position


def test_blindfolds_differ_only_in_what_they_show():
    with torch.random.fork_rng(devices=[]):
        built = []
        for inputs_shown in ("edit", "no edit"):
            torch.manual_seed(0)
            built.append(build_blindfolded(SETTINGS, inputs_shown).state_dict())
    assert built[0].keys() == built[1].keys()
    assert all(torch.equal(built[0][name], built[1][name]) for name in built[0])


def test_weights_hold_nothing_of_the_last_case():
    oracle = BlindfoldedFusion(network(ORACLE), "hidden truth")
    oracle.set_hidden_truth(torch.ones(3))
    assert oracle.network.state_dict().keys() == {name.removeprefix("network.") for name in oracle.state_dict()}


def test_an_oracle_refuses_another_number_of_values_than_it_was_trained_with():
    with pytest.raises(UserInputError, match="2 numbers of hidden truth; this network takes 3"):
        BlindfoldedFusion(network(ORACLE), "hidden truth").set_hidden_truth(torch.ones(2))


def test_an_unknown_blindfold_is_refused_with_the_known_ones():
    with pytest.raises(
        UserInputError, match="cannot be shown 'all'; choose edit, no edit, drawn slice only, hidden truth"
    ):
        BlindfoldedFusion(network(), "all")
