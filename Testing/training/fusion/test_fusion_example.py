"""Training examples on disk: all or nothing, and the same when read again."""

from dataclasses import fields, replace

import pytest
import torch
from safetensors.torch import save_file

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.grid import GridMap
from context_propagation.core.network.split_network import CachedFeatures
from context_propagation.core.propagation.fusion_inputs import FusionInputs
from context_propagation.training.fusion.fusion_example import FusionExample, load_example, save_example


def example(seed=0, hidden_truth=3):
    """Two edits; every tensor random, every box other than the rest."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(shape, generator=generator)

    decoder = CachedFeatures(
        level=2,
        f=random(1, 4, 2, 3, 3),
        skips=(random(1, 4, 4, 6, 6), random(1, 2, 8, 12, 12)),
        norm_statistics=tuple((random(1, 4, 1, 1, 1), random(1, 4, 1, 1, 1).abs()) for _ in range(3)),
        logits=random(1, 2, 8, 12, 12),
    )
    return FusionExample(
        FusionInputs(
            f=random(1, 4, 3, 4, 5),
            f_updated=random(2, 4, 3, 4, 5),
            edit_maps=random(2, 2, 3, 4, 5),
            descriptions=random(2, 8),
            prototypes=random(2, 2, 4),
        ),
        hidden_truth=random(hidden_truth),
        decoder=decoder,
        f_box=((1, 3), (0, 3), (2, 5)),
        truth=random(6, 7, 8) > 0,
        far=random(2, 6, 7, 8) > 0,
        axes=(2, 0),
        grid=GridMap(((1, 9), (0, 12), (3, 15)), (8, 13, 11)),
        origin=(4, -2, 7),
        image_box=((2, 8), (1, 8), (4, 12)),
    )


def saved(tmp_path, item=None):
    save_example(item or example(), tmp_path / "case.safetensors")
    return tmp_path / "case.safetensors"


def assert_same(one, other):
    for kind, first, second in ((FusionExample, one, other), (FusionInputs, one.inputs, other.inputs)):
        for field in fields(kind):
            a, b = getattr(first, field.name), getattr(second, field.name)
            if isinstance(a, torch.Tensor):
                assert a.dtype == b.dtype, field.name
                assert torch.equal(a, b), field.name
            elif field.name not in ("decoder", "inputs"):
                assert a == b, field.name
    assert one.decoder.level == other.decoder.level
    assert torch.equal(one.decoder.f, other.decoder.f)
    assert torch.equal(one.decoder.logits, other.decoder.logits)
    for a, b in zip(one.decoder.skips, other.decoder.skips, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(one.decoder.norm_statistics, other.decoder.norm_statistics, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])


@pytest.mark.parametrize("hidden_truth", [0, 3])
def test_what_is_saved_is_read_again(tmp_path, hidden_truth):
    assert_same(load_example(saved(tmp_path, example(hidden_truth=hidden_truth))), example(hidden_truth=hidden_truth))


def test_a_map_of_its_own_is_read_again(tmp_path):
    lines = ((-0.25, 1.5), (0.0, 0.7333333333333334), (3.0, 1.0))
    item = replace(example(), grid=replace(example().grid, linear=lines))

    assert load_example(saved(tmp_path, item)).grid == item.grid


def test_an_example_counts_its_edits():
    assert len(example()) == 2


def test_pieces_of_one_large_tensor_are_saved_as_what_they_are(tmp_path):
    """Slabs are cut from the cache: views that share memory, not contiguous."""
    shared = torch.arange(3 * 4 * 5.0 * 8).view(1, 8, 3, 4, 5)
    whole = example()
    views = replace(whole.inputs, f=shared[:, :4], f_updated=shared[:, 4:].expand(2, -1, -1, -1, -1))
    item = replace(whole, inputs=views)
    assert_same(load_example(saved(tmp_path, item)), item)


def test_an_older_example_is_replaced(tmp_path):
    saved(tmp_path, example(seed=1))
    assert_same(load_example(saved(tmp_path, example(seed=2))), example(seed=2))


def test_nothing_but_the_example_is_left_in_its_folder(tmp_path):
    assert [path.name for path in saved(tmp_path).parent.iterdir()] == ["case.safetensors"]


def test_a_copy_on_a_device_is_the_same_example():
    assert_same(example().to(torch.device("cpu")), example())


# ---- what goes wrong


def test_an_example_that_cannot_take_its_place_leaves_nothing_behind(tmp_path):
    (tmp_path / "case.safetensors").mkdir()
    with pytest.raises(UserInputError, match="Cannot write .*case.safetensors.*choose another place"):
        saved(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["case.safetensors"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserInputError, match="Cannot write .*gone.*choose another place"):
        save_example(example(), tmp_path / "gone" / "case.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserInputError, match="is not a cached example .*; delete it and run again"):
        load_example(path)


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "case.safetensors").write_bytes(b"\x80\x04 no tensors at all")
    with pytest.raises(UserInputError, match="is not a cached example"):
        load_example(tmp_path / "case.safetensors")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserInputError, match="gone.safetensors.* is not a cached example"):
        load_example(tmp_path / "gone.safetensors")


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (None, "has format None"),
        ({"example": '{"format": "an older one"}'}, "has format 'an older one'"),
        ({"example": "{"}, "is not a cached example"),
    ],
)
def test_tensors_without_this_version_s_description_are_refused(tmp_path, metadata, said):
    save_file({"f": torch.zeros(1)}, tmp_path / "case.safetensors", metadata=metadata)
    with pytest.raises(UserInputError, match=f"{said}.*; delete it and run again"):
        load_example(tmp_path / "case.safetensors")
