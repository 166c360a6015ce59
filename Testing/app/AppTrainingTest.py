"""Training a fusion network from the module: by Slicer's own Python, in a process of its own; cancelled, gone on with.

Model and cases are small and of noise: what is tested is that the process runs, ends and leaves its bundle.
"""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from app_panel import PanelTestCase, small_model
from app_user import click, process_events
from app_volumes import SHAPE, SPACING_MM, ball

DATASET = "Dataset001_GTV"
CASES = 4
MINUTES = 15


def write_nnunet_folders(root):
    """A small model, its cases and its split, as nnU-Net lays them; gives the model's folder."""
    import SimpleITK as sitk

    model = root / "nnUNet_results" / DATASET / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    shutil.copytree(small_model(), model)
    raw, preprocessed = root / "nnUNet_raw" / DATASET, root / "nnUNet_preprocessed" / DATASET
    for folder in (raw / "imagesTr", raw / "labelsTr", preprocessed):
        folder.mkdir(parents=True)
    for number in range(CASES):
        truth = ball((8, 8, 7 + number % 3))
        voxels = (truth + np.random.default_rng(number).normal(0, 0.3, SHAPE)).astype(np.float32)
        files = ((voxels, f"imagesTr/case_{number}_0000"), (truth.astype(np.uint8), f"labelsTr/case_{number}"))
        for array, name in files:
            image = sitk.GetImageFromArray(array)
            image.SetSpacing(SPACING_MM)
            sitk.WriteImage(image, str(raw / f"{name}.nii.gz"))
    split = [{"train": ["case_0"], "val": [f"case_{number}" for number in range(1, CASES)]}]
    (preprocessed / "splits_final.json").write_text(json.dumps(split), "utf-8")
    return model


class AppTrainingTest(PanelTestCase):
    def setUp(self):
        super().setUp()
        self.needs_packages("torch", "nnunetv2", "monai", "safetensors", "joblib", "nibabel", "pandas", "matplotlib")
        root = Path(tempfile.mkdtemp(prefix="context propagation "))
        self.addCleanup(shutil.rmtree, root, ignore_errors=True)
        self.folder = write_nnunet_folders(root)
        self.bundle = self.folder.with_name(f"{self.folder.name}-bundle")
        self.addCleanup(self._forget_model, self.folder)
        self.widget.panel.inputs.models.add(self.folder)  # as the button "Add..." does
        self.ui.trainingSection.collapsed = False
        process_events(0.1)

    @property
    def said(self):
        return self.ui.trainingLabel.text.replace("\u200b", "")

    def train(self):
        self.dialogs.answer("Train the fusion network of", "Yes")
        click(self.ui.trainButton)

    def test_a_training_is_cancelled_and_goes_on_and_its_bundle_is_chosen(self):
        with self.step("train"):
            self.train()
            self.eventually_in("Training: networks", lambda: self.said, at_most=60 * MINUTES)
        with self.step("cancel the training"):
            click(self.ui.stopTrainingButton)
            self.eventually_in("The training was stopped", lambda: self.said, at_most=60)
            self.assertFalse(self.bundle.exists())
        with self.step("train again, to the end"):
            self.train()
            self.eventually_in("It is in the list of models", lambda: self.said, at_most=60 * MINUTES)
            self.addCleanup(self._forget_model, self.bundle)
            self.assertIn("trained on 2 cases, validated on 1", self.said)
            self.eventually_in("whole volume (trained for this model)", lambda: self.ui.modelDescription.text)
