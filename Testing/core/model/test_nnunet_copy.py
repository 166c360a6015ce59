"""The copy of a model is smaller, is still nnU-Net's, and predicts the same."""

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from context_propagation.core.errors import UserInputError
from context_propagation.core.model.nnunet_copy import copy_for_inference
from context_propagation.core.model.nnunet_folder import load_nnunet_folder
from nnunet_folders import write_nnunet_folder

pytestmark = pytest.mark.usefixtures("one_thread")


def labels_of_nnunet(folder, image: np.ndarray, folds) -> np.ndarray:
    predictor = nnUNetPredictor(use_mirroring=True, perform_everything_on_device=False, device=torch.device("cpu"),
                                allow_tqdm=False)  # fmt: skip
    predictor.initialize_from_trained_model_folder(str(folder), folds)
    return predictor.predict_single_npy_array(image, {"spacing": [1.0, 1.0, 1.0]})


@pytest.mark.quick(architecture="ResidualEncoderUNet", folds=((0, 1),))
@pytest.mark.parametrize("architecture", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("folds", [(0,), (0, 1), ("all",)])
def test_nnunet_s_own_predictor_gives_equal_labels_with_the_copy(tmp_path, architecture, folds):
    folder = write_nnunet_folder(tmp_path / "model", architecture=architecture, folds=folds, convolutions=2)
    copy_for_inference(folder, tmp_path / "copy")
    image = np.random.default_rng(0).normal(size=(1, 20, 18, 16)).astype(np.float32)

    labels = labels_of_nnunet(tmp_path / "copy", image, folds)

    assert 0.02 < labels.mean() < 0.98
    assert np.array_equal(labels, labels_of_nnunet(folder, image, folds))


def test_the_copy_has_the_hash_of_the_original(tmp_path):
    folder = write_nnunet_folder(tmp_path / "model", folds=(0, 1, 2))
    copy_for_inference(folder, tmp_path / "copy", [2, 0])

    copied = load_nnunet_folder(tmp_path / "copy", [2, 0])

    assert copied.content_hash == load_nnunet_folder(folder, [2, 0]).content_hash
    assert copied.mirroring_axes == (0, 1, 2)
    assert sorted(str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*.*")) == [
        "dataset.json",
        "fold_0/checkpoint_final.pth",
        "fold_2/checkpoint_final.pth",
        "plans.json",
    ]


def test_neither_optimizer_state_nor_training_log_is_copied(tmp_path):
    folder = write_nnunet_folder(tmp_path / "model", optimizer=True)
    (folder / "postprocessing.pkl").touch()
    copy_for_inference(folder, tmp_path / "copy")

    checkpoint = "fold_0/checkpoint_final.pth"
    copied = torch.load(tmp_path / "copy" / checkpoint, weights_only=True)

    assert set(copied) == {"network_weights", "init_args", "trainer_name", "inference_allowed_mirroring_axes"}
    assert copied["init_args"] == {"configuration": "3d_fullres"}
    assert (tmp_path / "copy" / checkpoint).stat().st_size < 0.7 * (folder / checkpoint).stat().st_size
    assert not (tmp_path / "copy" / "postprocessing.pkl").exists()


def test_a_fold_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserInputError, match="Fold '3' has no checkpoint_final.pth"):
        copy_for_inference(write_nnunet_folder(tmp_path / "model"), tmp_path / "copy", [3])
