"""Preprocessing, output and prediction of a model around any split, against numbers worked out by hand and nnU-Net."""

import numpy as np
import pytest
import torch

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.axis_map import AxisMap
from context_propagation.core.image.grid import GridMap
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.network_model import NetworkModel, Output
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.model.preprocessing import ChannelNormalisation, Preprocessing
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.model.target import Target
from context_propagation.core.network.callable_split import CallableSplit
from nnunet_folders import write_nnunet_folder

PLAIN = ChannelNormalisation("MR", "none")
CPU = torch.device("cpu")


def volume_of(array, spacing_ijk=(1.0, 1.0, 1.0)):
    channels = np.asarray(array, np.float32)
    return SourceVolume(channels if channels.ndim == 4 else channels[None], np.diag([*spacing_ijk, 1.0]))


def threshold_model(preprocessing, patch=(8, 8, 8), threshold=0.5, **options):
    """Above the threshold is the target: what comes out lies where what went in lay."""
    example = torch.zeros(1, len(preprocessing.channels), *patch)
    split = CallableSplit(
        lambda x: (x[:, :1] - threshold, ()), lambda f, skips: torch.cat((-10 * f, 10 * f), 1), example
    )
    return NetworkModel(
        [split],
        preprocessing,
        Output(("background", "GTV"), "GTV"),
        patch_size=patch,
        content_hash="0" * 64,
        device=CPU,
        **options,
    )


# ---- channels


def test_channels_are_normalised_as_said():
    values = torch.tensor([-2000.0, 0.0, 100.0, 4000.0]).reshape(1, 2, 2)

    assert ChannelNormalisation("CT", "none").apply(values).flatten().tolist() == [-2000, 0, 100, 4000]
    clipped = ChannelNormalisation("CT", "clip and scale", low=-1000, high=1000, mean=100, std=200)
    assert clipped.apply(values).flatten().tolist() == [-5.5, -0.5, 0, 4.5]
    ab = torch.tensor([1.0, 3.0, 1.0, 3.0]).reshape(1, 2, 2)  # mean 2, deviation 1
    assert ChannelNormalisation("MR", "z-score").apply(ab).flatten().tolist() == [-1, 1, -1, 1]
    assert ChannelNormalisation("MR", "z-score").apply(torch.full((1, 2, 2), 7.0)).flatten().tolist() == [0] * 4


def test_each_channel_has_its_own_normalisation_and_expectation():
    ct = ChannelNormalisation("CT", "clip and scale", low=-100, high=300, mean=0, std=100)
    preprocessing = Preprocessing(None, (ct, ChannelNormalisation("PET", "none")))
    image = np.stack([np.full((3, 4, 5), 1000.0), np.full((3, 4, 5), 2.0)])

    prepared = preprocessing.prepare(volume_of(image))

    assert prepared.network_input.shape == (2, 3, 4, 5)
    assert prepared.network_input[0].unique().tolist() == [3]
    assert prepared.network_input[1].unique().tolist() == [2]
    assert [(e.name, e.low, e.high) for e in preprocessing.expectations] == [("CT", -100, 300), ("PET", None, None)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "percentile"}, "Unknown normalisation 'percentile'"),
        ({"kind": "clip and scale", "low": 3, "high": 1}, "clipped to 3 .. 1"),
        ({"kind": "clip and scale", "std": 0}, "a deviation above 0"),
    ],
)
def test_a_normalisation_that_makes_no_sense_is_refused(wrong, said):
    with pytest.raises(UserInputError, match=said):
        ChannelNormalisation("CT", **wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"spacing_mm": (1, 0, 1)}, "three numbers above 0"),
        ({"transpose": (0, 1, 1)}, "not 0, 1 and 2 in some order"),
        ({"channels": ()}, "no image channels"),
    ],
)
def test_a_preprocessing_that_makes_no_sense_is_refused(wrong, said):
    with pytest.raises(UserInputError, match=said):
        Preprocessing(**{"spacing_mm": None, "channels": (PLAIN,)} | wrong)


# ---- the network's grid


def test_the_network_sees_voxels_of_its_own_size_where_the_grid_map_says():
    k, j, i = np.meshgrid(np.arange(12), np.arange(10), np.arange(8), indexing="ij")
    image = 5.0 * k + 3.0 * j - 2.0 * i  # linear, so that linear interpolation is exact inside
    volume = volume_of(image, spacing_ijk=(2.0, 1.5, 1.0))  # 16 x 15 x 12 mm along i, j, k

    prepared = Preprocessing((1.0, 2.0, 4.0), (PLAIN,), transpose=(2, 1, 0)).prepare(volume)
    grid = prepared.grid

    # i: 16 mm at 1 mm, j: 15 mm at 2 mm is 7.5, which rounds to the even 8, k: 12 mm at 4 mm
    assert prepared.network_input.shape == (1, 16, 8, 3)
    assert prepared.axes == AxisMap((2, 1, 0))
    assert prepared.image_shape == (8, 10, 12)
    assert grid == GridMap(((0, 8), (0, 10), (0, 12)), (16, 8, 3))
    d, h, w = np.meshgrid(np.arange(16), np.arange(8), np.arange(3), indexing="ij")
    at_i, at_j, at_k = (d + 0.5) * 8 / 16 - 0.5, (h + 0.5) * 10 / 8 - 0.5, (w + 0.5) * 12 / 3 - 0.5
    expected = 5 * at_k + 3 * at_j - 2 * at_i
    np.testing.assert_allclose(prepared.network_input[0, 1:-1].numpy(), expected[1:-1], atol=1e-4)


def test_without_a_voxel_size_the_image_is_seen_as_it_is():
    image = np.random.default_rng(0).normal(size=(5, 6, 7))

    prepared = Preprocessing(None, (PLAIN,)).prepare(volume_of(image, spacing_ijk=(3.0, 1.0, 2.0)))

    np.testing.assert_array_equal(prepared.network_input[0].numpy(), image.astype(np.float32))


# ---- output


def test_the_target_is_found_by_name_or_value():
    labels = ("background", "GTV", "node")

    assert Output(labels, "node").chosen == Target("node", 2, (2,))
    assert Output.of(labels, 1).chosen == Target("GTV", 1, (1,))
    assert Output.of(labels, "2").chosen == Target("node", 2, (2,))
    assert Output.of(("background", "GTV"), None).chosen == Target("GTV", 1, (1,))
    assert Output.of(("tumour", "core"), "core", "sigmoid").chosen == Target("core", 1, (2,))
    assert Output.of(("tumour",), None, "sigmoid").chosen == Target("tumour", 0, (1,))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Output.of(("background", "GTV", "node"), None), r"several labels: GTV \(1\), node \(2\)"),
        (lambda: Output(("background", "GTV"), "background"), "no label 'background'"),
        (lambda: Output(("GTV",), "GTV"), "the background first"),
        (lambda: Output(("a", "a"), "a"), "name each once"),
        (lambda: Output(("a", "b"), "b", "argmax"), "Unknown activation 'argmax'"),
    ],
)
def test_an_output_that_makes_no_sense_is_refused(made, said):
    with pytest.raises(UserInputError, match=said):
        made()


def test_regions_and_labels_decide_by_their_own_rule():
    logits = torch.tensor([1.0, 3.0, 2.0]).reshape(1, 3, 1, 1, 1)
    one, two = Preprocessing(None, (PLAIN,)), {"patch_size": (8, 8, 8), "content_hash": "", "device": CPU}
    split = threshold_model(one).splits
    labels = NetworkModel(split, one, Output(("background", "a", "b"), "b"), **two)
    regions = NetworkModel(split, one, Output(("a", "b", "c"), "c", "sigmoid"), **two)

    # exp(2) against exp(1) + exp(3), and on its own
    assert float(labels.target_logit(logits)) == pytest.approx(2 - np.log(np.exp(1) + np.exp(3)), abs=1e-6)
    assert float(regions.target_logit(logits)) == 2
    assert not bool(labels.is_target([logits]))
    assert bool(regions.is_target([logits]))


# ---- prediction


def a_bright_ellipsoid(shape, centre, radii):
    axes = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    return sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii, strict=True)) <= 1


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_prediction_lies_where_the_image_shows_it(transpose):
    ball = a_bright_ellipsoid((20, 14, 11), (6, 8, 4), (4, 5, 3))

    model = threshold_model(Preprocessing(None, (PLAIN,), transpose))
    predicted = model.predict(model.prepare(volume_of(ball)))

    np.testing.assert_array_equal(predicted, ball)


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 1, 0)])
def test_on_a_coarser_and_anisotropic_grid_the_prediction_keeps_its_place_and_size(transpose):
    ball = a_bright_ellipsoid((24, 30, 36), (9, 12, 20), (6, 8, 12))
    spacing_mm = tuple((2.5, 1.2, 0.7)[axis] for axis in transpose)  # the image's: 2, 1, 0.5 along k, j, i

    model = threshold_model(Preprocessing(spacing_mm, (PLAIN,), transpose))
    predicted = model.predict(model.prepare(volume_of(ball, spacing_ijk=(0.5, 1.0, 2.0))))

    overlap = 2 * (predicted & ball).sum() / (predicted.sum() + ball.sum())
    assert overlap > 0.95
    for axis in range(3):
        rest = tuple(a for a in range(3) if a != axis)
        centre = [(mask.sum(rest) * np.arange(mask.shape[axis])).sum() / mask.sum() for mask in (predicted, ball)]
        assert abs(centre[0] - centre[1]) < 0.1


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR"])
@pytest.mark.parametrize("direction", [(1, 1, 1), (-1, 1, -1)])
def test_a_flipped_or_permuted_anisotropic_volume_is_predicted_in_its_own_axes(orientation, direction):
    """Stored k, j, i run to superior, posterior, left, or backwards; the network sees other axes, in other order."""
    ball = a_bright_ellipsoid((12, 14, 20), (4, 8, 12), (3, 5, 6))
    matrix = np.diag([0.5 * direction[0], 1.0 * direction[1], 2.0 * direction[2], 1.0])
    volume = SourceVolume(ball.astype(np.float32)[None], matrix)
    model = threshold_model(Preprocessing(None, (PLAIN,), (1, 2, 0)), orientation=orientation)

    prepared = model.prepare(volume)

    np.testing.assert_array_equal(prepared.network_input[0].numpy(), prepared.axes.apply(ball).astype(np.float32))
    np.testing.assert_array_equal(model.predict(prepared), ball)


def test_by_hand_a_volume_that_runs_to_the_right_is_flipped_for_a_network_that_was_trained_in_lps():
    volume = SourceVolume(np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4), np.diag([-1.0, 1.0, 1.0, 1.0]))
    model = threshold_model(Preprocessing(None, (PLAIN,), (2, 1, 0)), orientation="LPS")

    prepared = model.prepare(volume)

    # network axes are i, j, k; stored i runs to the right, so that it is turned round
    assert prepared.axes == AxisMap((2, 1, 0), (True, False, False))
    assert prepared.network_input[0, :, 0, 0].tolist() == [3, 2, 1, 0]
    assert prepared.image_shape == (4, 3, 2)


def test_a_prediction_can_be_cancelled_between_windows():
    model = threshold_model(Preprocessing(None, (PLAIN,)))
    prepared = model.prepare(volume_of(np.zeros((16, 16, 16))))
    asked, told = [], []

    with pytest.raises(Cancelled):
        model.predict(
            prepared, lambda stage, done: told.append((stage, done)), lambda: len(asked.append(1) or asked) > 3
        )

    assert [stage for stage, _ in told] == ["predict"] * 3
    assert told[0][1] == 0 < told[1][1] < told[2][1] < 1


def test_of_one_window_it_predicts_what_nnunet_predicts(tmp_path):
    folder = write_nnunet_folder(tmp_path, labels={"background": 0, "GTV": 1, "node": 2})
    theirs: SegmentationModel = NnunetModel.load(folder, label="node", device="cpu")
    mine = NetworkModel(
        theirs.splits,
        Preprocessing((1.0, 1.0, 1.0), (ChannelNormalisation("MRI", "z-score"),)),
        Output(("background", "GTV", "node"), "node"),
        patch_size=(16, 16, 16),
        content_hash=theirs.content_hash,
        device=CPU,
    )
    volume = volume_of(np.random.default_rng(1).normal(size=(16, 16, 16)))

    expected = theirs.predict(theirs.prepare(volume))

    assert 0 < expected.sum() < expected.size
    torch.testing.assert_close(mine.prepare(volume).network_input, theirs.prepare(volume).network_input)
    logits = mine.splits[0].encode(mine.prepare(volume).network_input[None], 1).logits
    margin = mine.target_margin([logits])[0].numpy()
    predicted = mine.predict(mine.prepare(volume))
    np.testing.assert_array_equal(predicted, margin > 0)
    middle = (slice(4, 12),) * 3  # nnU-Net keeps weighted logits in half precision, of which little is left in corners
    assert np.abs(margin[middle][(predicted != expected)[middle]]).max(initial=0) < 0.01
    assert (predicted != expected).mean() < 0.01
    assert (mine.folds, mine.total_stride, mine.target) == (theirs.folds, theirs.total_stride, theirs.target)


def test_a_patch_that_the_strides_do_not_divide_is_refused():
    split = CallableSplit(
        lambda x: (x[:, :, ::4, ::4, ::4], ()),
        lambda f, skips: f.repeat_interleave(4, 2).repeat_interleave(4, 3).repeat_interleave(4, 4),
        torch.zeros(1, 1, 8, 8, 8),
    )

    with pytest.raises(UserInputError, match=r"\(8, 10, 8\) is not a multiple of the network's strides \(4, 4, 4\)"):
        NetworkModel(
            [split],
            Preprocessing(None, (PLAIN,)),
            Output(("a",), "a", "sigmoid"),
            patch_size=(8, 10, 8),
            content_hash="",
            device=CPU,
        )
