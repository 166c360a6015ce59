"""The nnU-Net model against nnU-Net's own predictor, readers and label rules."""

from math import exp, log

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO, NibabelIOWithReorient
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO, SimpleITKIOWithReorient
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from scipy.ndimage import gaussian_filter

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.axis_map import AxisMap, axes_towards, turned_volume
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from nnunet_folders import write_nnunet_folder

pytestmark = pytest.mark.usefixtures("one_thread")


def smooth_channels(shape, channels=1, seed=0, border=0) -> np.ndarray:
    """Smooth noise of mean 50 and deviation 200, zero within `border` voxels of each face, so that nnU-Net crops."""
    rng = np.random.default_rng(seed)
    noise = [gaussian_filter(rng.normal(size=shape), 1.5) for _ in range(channels)]
    made = np.stack([50 + 200 * n / n.std() for n in noise]).astype(np.float32)
    if border:
        inside = np.zeros(shape, bool)
        inside[border:-border, border + 1 : -border, border : -border - 1] = True
        made *= inside
    return made


def source_volume(channels, spacing_ijk=(1.0, 1.0, 1.0)) -> SourceVolume:
    return SourceVolume(channels, np.diag([*spacing_ijk, 1.0]))


def labels_of_nnunet(folder, channels, spacing_kji, folds) -> np.ndarray:
    predictor = nnUNetPredictor(use_mirroring=False, perform_everything_on_device=False, device=torch.device("cpu"),
                                allow_tqdm=False)  # fmt: skip
    predictor.initialize_from_trained_model_folder(str(folder), folds)
    return predictor.predict_single_npy_array(channels, {"spacing": list(spacing_kji)})


CASES = {
    "smaller than the patch": ({}, (12, 14, 10), (1.0, 1.0, 1.0), 0),
    "several tiles, cropped": ({}, (28, 22, 20), (1.0, 1.0, 1.0), 2),
    "thick slices, resampled": ({"spacing": (2.5, 1.0, 1.0)}, (12, 30, 26), (0.8, 0.7, 4.0), 1),
    "resampled along all axes": ({"spacing": (1.5, 1.2, 1.0)}, (20, 22, 24), (1.4, 1.0, 1.2), 0),
    "transposed": ({"transpose_forward": (2, 0, 1), "spacing": (1.5, 1.0, 1.2)}, (18, 24, 20), (2.0, 1.0, 1.1), 1),
    "two channels, two folds": ({"channels": 2, "folds": (0, 1)}, (20, 18, 22), (1.0, 1.0, 1.0), 1),
    "CT": ({"channel_name": "CT"}, (20, 16, 16), (1.0, 1.0, 1.0), 0),
    "residual encoder": ({"architecture": "ResidualEncoderUNet", "folds": (0, 1)}, (18, 20, 16), (1.0, 1.0, 1.3), 1),
    "three labels": ({"labels": {"background": 0, "GTV": 1, "node": 2}}, (20, 16, 18), (1.0, 1.0, 1.0), 0),
}


@pytest.mark.quick(case=("several tiles, cropped", "thick slices, resampled", "transposed", "two channels, two folds"))
@pytest.mark.parametrize("case", CASES)
def test_the_initial_prediction_is_that_of_nnunet_s_own_predictor(tmp_path, case):
    options, shape, spacing_ijk, border = CASES[case]
    folder = write_nnunet_folder(tmp_path / "m", **options)
    channels = smooth_channels(shape, options.get("channels", 1), border=border)
    volume = source_volume(channels, spacing_ijk)
    expected = labels_of_nnunet(folder, channels, spacing_ijk[::-1], options.get("folds", (0,))) == 1

    model = NnunetModel.load(folder, label="GTV", device="cpu")
    predicted = model.predict(model.prepare(volume))

    assert predicted.dtype == bool
    assert predicted.shape == shape
    assert 0.02 < expected.mean() < 0.98  # both classes are there, so agreement says something
    assert (predicted == expected).mean() >= 0.9999


def test_one_fold_of_two_can_be_chosen(tmp_path):
    folder = write_nnunet_folder(tmp_path / "m", folds=(0, 1))
    channels = smooth_channels((16, 16, 16))

    def predicted(folds):
        model = NnunetModel.load(folder, device="cpu", folds=folds)
        return model.predict(model.prepare(source_volume(channels)))

    assert (predicted([1]) == (labels_of_nnunet(folder, channels, (1, 1, 1), (1,)) == 1)).mean() >= 0.9999
    assert (predicted([0]) != predicted([1])).any()


@pytest.mark.quick(case=("thick slices, resampled", "three labels"))
@pytest.mark.parametrize("case", ["smaller than the patch", "thick slices, resampled", "transposed", "three labels"])
def test_labels_decoded_from_the_cache_are_the_predicted_ones_where_one_tile_sees_the_image(tmp_path, case):
    options, _, _, _ = CASES[case]
    spacing = options.get("spacing", (1.0, 1.0, 1.0))
    folder = write_nnunet_folder(tmp_path / "m", **options, patch_size=(24, 24, 24))
    backward = np.argsort(options.get("transpose_forward", (0, 1, 2)))
    spacing_kji = [spacing[axis] for axis in backward]  # the network's own: no resampling
    channels = smooth_channels((22, 20, 23), border=1)
    session = Session(NnunetModel.load(folder, label="GTV", device="cpu"), SessionSettings(level=1))

    session.set_image(source_volume(channels, spacing_kji[::-1]))

    # nnU-Net crops to the non-zero voxels; outside it writes background
    inside = channels[0] != 0
    assert 0.02 < session.initial.mean() < 0.98
    # nnU-Net keeps logits in float16
    assert (session.window_prediction == session.initial)[inside].mean() >= 0.999
    assert not session.window_prediction[~inside].any()


def test_preprocessing_leaves_the_volume_as_it_was(tmp_path):
    model = NnunetModel.load(write_nnunet_folder(tmp_path / "m"), device="cpu")
    volume = source_volume(smooth_channels((16, 16, 16)))
    before = volume.channels.copy()

    model.predict(model.prepare(volume))

    assert np.array_equal(volume.channels, before)


def test_an_image_of_which_resampling_leaves_no_voxel_is_refused_with_the_voxel_size(tmp_path):
    model = NnunetModel.load(write_nnunet_folder(tmp_path / "m", spacing=(1.0, 1.0, 1000.0)), device="cpu")

    with pytest.raises(UserInputError, match="voxels of 1 x 1 x 1000 mm leaves no voxel of it; check the voxel sizes"):
        model.prepare(source_volume(smooth_channels((16, 16, 16))))


def test_the_grid_of_a_prepared_image_is_in_network_order(tmp_path):
    folder = write_nnunet_folder(tmp_path / "m", transpose_forward=(2, 0, 1), spacing=(2.0, 1.0, 1.0))
    channels = np.zeros((1, 12, 14, 20), np.float32)
    channels[0, 2:10, 3:13, 4:20] = 1 + np.random.default_rng(0).random((8, 10, 16))

    prepared = NnunetModel.load(folder, device="cpu").prepare(source_volume(channels))

    assert prepared.axes == AxisMap((2, 0, 1))
    assert prepared.image_shape == (20, 12, 14)
    assert prepared.grid.crop == ((4, 20), (2, 10), (3, 13))
    assert prepared.grid.network_shape == (8, 8, 10)  # 16 voxels of 1 mm at 2 mm
    assert prepared.network_input.shape == (1, 8, 8, 10)


def test_a_prediction_can_be_cancelled_between_tiles(tmp_path):
    model = NnunetModel.load(write_nnunet_folder(tmp_path / "m"), device="cpu")
    prepared = model.prepare(source_volume(smooth_channels((16, 16, 40))))
    asked = []

    with pytest.raises(Cancelled):
        model.predict(prepared, cancelled=lambda: asked.append(1) or len(asked) == 3)

    assert len(asked) == 3
    assert model.predict(prepared).any()  # nothing stays hooked


# ---- target and labels


def labelled(tmp_path, label, folds=(0,), **options):
    return NnunetModel.load(write_nnunet_folder(tmp_path / "m", folds=folds, **options), label=label, device="cpu")


THREE = {"background": 0, "GTV": 1, "node": 2}
REGIONS = {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]}


def logits(*channels):
    """`[1, C, 1, 1, 1]`."""
    return torch.tensor(channels, dtype=torch.float64).view(1, -1, 1, 1, 1)


def test_the_target_logit_is_its_logit_against_all_others_together(tmp_path):
    z = labelled(tmp_path, "node", labels=THREE).target_logit(logits(1.0, 2.0, 4.0))

    assert z.shape == (1, 1, 1, 1)
    assert z.item() == pytest.approx(4 - log(exp(1) + exp(2)))
    assert torch.sigmoid(z).item() == pytest.approx(exp(4) / (exp(1) + exp(2) + exp(4)))  # the softmax


def test_the_target_logit_of_a_middle_channel_leaves_only_itself_out(tmp_path):
    z = labelled(tmp_path, "GTV", labels=THREE).target_logit(logits(1.0, 2.0, 4.0))

    assert z.item() == pytest.approx(2 - log(exp(1) + exp(4)))


def test_the_target_logit_of_two_labels_is_their_difference(tmp_path):
    assert labelled(tmp_path, None).target_logit(logits(-1.5, 2.0)).item() == pytest.approx(3.5)


def test_the_target_logit_of_a_region_is_its_own_channel(tmp_path):
    model = labelled(tmp_path, "core", **REGIONS)

    assert model.target_logit(logits(7.0, -0.25)).item() == -0.25


def test_a_label_needs_the_largest_probability_not_the_majority(tmp_path):
    model = labelled(tmp_path, "node", labels=THREE)
    p = logits(log(0.35), log(0.25), log(0.4))

    assert model.is_target([p]).tolist() == [[[[True]]]]
    assert model.target_logit(p).item() < 0


def test_folds_average_probabilities_not_logits(tmp_path):
    model = labelled(tmp_path, None, folds=(0, 1, 2))
    # target probabilities 0.99995, 0.119, 0.119: mean 0.413; the mean logit would be +2
    folds = [logits(0.0, 10.0), logits(0.0, -2.0), logits(0.0, -2.0)]

    assert model.is_target(folds).item() is False
    assert model.is_target(folds[:1]).item() is True


def test_a_region_is_the_target_above_one_half_whatever_the_other_regions_say(tmp_path):
    model = labelled(tmp_path, "whole", folds=(0, 1), **REGIONS)

    assert model.is_target([logits(0.1, 5.0)]).item() is True
    assert model.is_target([logits(-0.1, -5.0)]).item() is False
    # 0.9933 and 0.0067 average to one half exactly, the second pair to a little less
    assert model.is_target([logits(5.0, 0.0), logits(-5.1, 0.0)]).item() is False
    assert model.is_target([logits(5.1, 0.0), logits(-5.0, 0.0)]).item() is True


@pytest.mark.parametrize("label", ["node", "2", 2])
def test_a_label_goes_by_name_or_value(tmp_path, label):
    target = labelled(tmp_path, label, labels=THREE).target

    assert (target.name, target.channel, target.label) == ("node", 2, (2,))


def test_a_region_has_the_channel_of_its_place_and_the_values_of_its_members(tmp_path):
    target = labelled(tmp_path, "core", **REGIONS).target

    assert (target.channel, target.label) == (1, (2,))


def test_the_only_label_needs_no_name(tmp_path):
    assert labelled(tmp_path, None).target.name == "GTV"


def test_with_several_labels_one_must_be_named(tmp_path):
    with pytest.raises(UserInputError, match=r"several labels: GTV \(1\), node \(2\); name the one to refine"):
        labelled(tmp_path, None, labels=THREE)


@pytest.mark.parametrize("label", ["gtv", "background", 0, 3, ""])
def test_an_unknown_label_is_named_with_those_there_are(tmp_path, label):
    with pytest.raises(UserInputError, match=rf"no label '{label}'; it has GTV \(1\), node \(2\)"):
        labelled(tmp_path, label, labels=THREE)


@pytest.mark.parametrize("device", ["gpu", "CPU", ""])
def test_an_unknown_device_is_named(tmp_path, device):
    folder = write_nnunet_folder(tmp_path / "m")
    with pytest.raises(UserInputError, match=f"device '{device}'; choose auto, cpu, cuda or mps"):
        NnunetModel.load(folder, device=device)


def test_a_dataset_file_of_the_older_kind_names_its_channels_modality(tmp_path):
    folder = write_nnunet_folder(tmp_path / "m", channels=2)
    content = (folder / "dataset.json").read_text()
    (folder / "dataset.json").write_text(content.replace("channel_names", "modality"))

    model = NnunetModel.load(folder, device="cpu")

    assert model.channels == 2
    assert model.channel_names == ["MRI", "MRI"]


# ---- orientation

READERS = {
    "SimpleITKIO": SimpleITKIO,
    "SimpleITKIOWithReorient": SimpleITKIOWithReorient,
    "NibabelIO": NibabelIO,
    "NibabelIOWithReorient": NibabelIOWithReorient,
}
DIRECTIONS = {
    "LPS": np.eye(3),
    "flipped": np.diag([-1.0, 1.0, -1.0]),
    "sagittal": np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]], float),
    "coronal, flipped": np.array([[-1, 0, 0], [0, 0, 1], [0, -1, 0]], float),
}


@pytest.fixture(scope="module")
def orientations(tmp_path_factory):
    """What a model of each reader says."""
    folder = tmp_path_factory.mktemp("readers")
    made = {reader: write_nnunet_folder(folder / reader, image_reader=reader) for reader in READERS}
    return {reader: NnunetModel.load(model, device="cpu").orientation for reader, model in made.items()}


def tilted(direction, degrees=12):
    a = np.deg2rad(degrees)
    about_s = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_l = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    return about_l @ about_s @ direction


@pytest.mark.quick(oblique=True)
@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("reader", READERS)
def test_the_network_is_fed_what_nnunet_s_reader_feeds(tmp_path, orientations, reader, direction, oblique):
    rng = np.random.default_rng(0)
    image = sitk.GetImageFromArray(rng.normal(size=(5, 6, 7)).astype(np.float32))
    image.SetSpacing((0.5, 1.25, 3.0))
    image.SetOrigin((10, -20, 30))
    matrix = DIRECTIONS[direction]
    image.SetDirection((tilted(matrix) if oblique else matrix).ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "image.nii.gz"))
    expected, properties = READERS[reader]().read_images([str(tmp_path / "image.nii.gz")])

    volume = SourceVolume.from_sitk([sitk.ReadImage(str(tmp_path / "image.nii.gz"))])
    volume = turned_volume(volume, axes_towards(volume, orientations[reader]))

    assert np.array_equal(volume.channels, expected)
    assert volume.spacing_kji_mm == pytest.approx(properties["spacing"], rel=1e-5)


def test_only_reorienting_readers_say_how_arrays_must_lie(orientations):
    assert orientations == {
        "SimpleITKIO": None,
        "SimpleITKIOWithReorient": "RAS",
        "NibabelIO": None,
        "NibabelIOWithReorient": "RAS",
    }


def stored_as(volume: SourceVolume, orientation: str) -> SourceVolume:
    """The same voxels at the same places, stored in another orientation; by SimpleITK."""
    image = sitk.GetImageFromArray(volume.channels[0])
    image.SetSpacing(volume.spacing_kji_mm[::-1])
    return SourceVolume.from_sitk([sitk.DICOMOrient(image, orientation)])


def in_lps(mask: np.ndarray, volume: SourceVolume) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.DICOMOrient(volume.mask_to_sitk(mask), "LPS")).astype(bool)


STORED = ["LPS", "RAS", "LAI", "PSL", "IRA"]


def refined(folder, volume, orientation=None):
    """Initial labels, window labels, and labels after one axial slice is redrawn, each in LPS."""
    model = NnunetModel.load(folder, device="cpu", orientation=orientation)
    session = Session(model, SessionSettings(level=1))
    session.set_image(volume)
    axis = volume.axis_of_plane("axial")
    upward = volume.ijk_to_lps[2, 2 - axis] > 0
    index = 7 if upward else volume.shape_kji[axis] - 1 - 7
    box = np.zeros(volume.shape_kji, bool)
    i_j_k = np.linalg.inv(volume.ijk_to_lps) @ [8, 6, 7, 1]  # a voxel of the drawn square, in LPS mm
    around = tuple(slice(max(0, round(n) - 3), round(n) + 4) for n in i_j_k[2::-1])
    box[around] = True
    session.propagate([SliceEdit(axis, index, box.take(index, axis))])
    return [in_lps(mask, volume) for mask in (session.initial, session.window_prediction, session.segmentation)]


@pytest.mark.quick(stored="PSL")
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("how", ["reader", "argument"])
def test_stored_flips_and_permutations_do_not_matter_where_the_orientation_is_known(tmp_path, stored, how):
    reader, orientation = ("SimpleITKIOWithReorient", None) if how == "reader" else ("SimpleITKIO", "PSR")
    folder = write_nnunet_folder(tmp_path / "m", image_reader=reader)
    volume = source_volume(smooth_channels((14, 15, 18)))

    results = refined(folder, stored_as(volume, stored), orientation)

    for result, expected in zip(results, refined(folder, volume, orientation), strict=True):
        assert 0.02 < expected.mean() < 0.98
        assert np.array_equal(result, expected)
    assert (results[2] != results[0])[5:7].any()  # neighbours of the drawn slice changed, so the update was mapped too


def test_where_the_orientation_is_unknown_the_array_is_fed_as_stored(tmp_path):
    folder = write_nnunet_folder(tmp_path / "m", image_reader="SimpleITKIO")
    volume = source_volume(smooth_channels((14, 15, 18)))
    flipped = stored_as(volume, "RAS")
    session = Session(NnunetModel.load(folder, device="cpu"), SessionSettings(level=1))

    session.set_image(flipped)

    expected = labels_of_nnunet(folder, flipped.channels, (1, 1, 1), (0,)) == 1
    assert (session.initial == expected).mean() >= 0.9999


@pytest.mark.parametrize("shift", [0.0, 250.0])
def test_where_the_patient_lies_does_not_matter(tmp_path, shift):
    folder = write_nnunet_folder(tmp_path / "m", image_reader="SimpleITKIO")
    channels = smooth_channels((14, 15, 18))
    moved = np.array([[0, -1, 0, shift], [1, 0, 0, -shift], [0, 0, 1, 3.0], [0, 0, 0, 1]])
    model = NnunetModel.load(folder, device="cpu")

    here = model.predict(model.prepare(source_volume(channels)))
    there = model.predict(model.prepare(SourceVolume(channels, moved)))

    assert np.array_equal(here, there)
