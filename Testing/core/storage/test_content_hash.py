"""The hash says whether two things compute the same, not how they are stored."""

import pytest
import torch

from context_propagation.core.storage.content_hash import content_hash

TENSORS = {"weight": torch.arange(6, dtype=torch.float32).view(2, 3), "count": torch.tensor(3)}
TEXTS = {"plans": b"ab", "dataset": b"c"}
USUAL = content_hash(TEXTS, [TENSORS])


def test_names_in_another_order_have_the_same_hash():
    assert content_hash(dict(reversed(TEXTS.items())), [dict(reversed(TENSORS.items()))]) == USUAL


def test_a_tensor_stored_in_another_layout_has_the_same_hash():
    turned = TENSORS["weight"].t().contiguous().t()

    assert not turned.is_contiguous()
    assert content_hash(TEXTS, [{**TENSORS, "weight": turned}]) == USUAL


def test_hashing_needs_no_memory_of_gradients():
    assert content_hash(TEXTS, [{**TENSORS, "weight": TENSORS["weight"].clone().requires_grad_()}]) == USUAL


def test_a_tensor_of_two_names_counts_as_two_equal_tensors():
    twin = TENSORS["weight"].clone()

    shared = content_hash(TEXTS, [{**TENSORS, "again": TENSORS["weight"]}])

    assert shared == content_hash(TEXTS, [{**TENSORS, "again": twin}])
    assert shared != content_hash(TEXTS, [{**TENSORS, "again": twin + 1}])


def test_parts_of_one_memory_are_told_apart():
    memory = torch.arange(4.0)

    assert content_hash({}, [{"a": memory[:2], "b": memory[:4:2]}]) == content_hash(
        {}, [{"a": torch.tensor([0.0, 1.0]), "b": torch.tensor([0.0, 2.0])}]
    )


@pytest.mark.parametrize(
    ("texts", "networks"),
    [
        ({"plans": b"a", "dataset": b"bc"}, [TENSORS]),
        ({"plans": b"ab", "data": b"c"}, [TENSORS]),
        (TEXTS, [{**TENSORS, "weight": TENSORS["weight"].view(3, 2)}]),
        (TEXTS, [{**TENSORS, "weight": TENSORS["weight"].view(torch.int32)}]),
        (TEXTS, [{**TENSORS, "weight": TENSORS["weight"] + 1e-7}]),
        (TEXTS, [{**TENSORS, "count": torch.tensor(4)}]),
        (TEXTS, [{"weights": TENSORS["weight"], "count": TENSORS["count"]}]),
        (TEXTS, [{"weight": TENSORS["weight"]}, {"count": TENSORS["count"]}]),
        (TEXTS, [TENSORS, TENSORS]),
        (TEXTS, []),
    ],
)
def test_other_content_has_another_hash(texts, networks):
    assert content_hash(texts, networks) != USUAL
