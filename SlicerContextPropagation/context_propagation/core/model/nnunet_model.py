"""A frozen nnU-Net v2 as a `SegmentationModel`; pre- and postprocessing are nnU-Net's own."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.device import select_device
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.axis_map import AxisMap
from context_propagation.core.image.boxes import box_of
from context_propagation.core.image.grid import GridMap
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.filled_holes import nnunet_fills_holes_so
from context_propagation.core.model.intensity_check import ChannelExpectation, channel_expectations
from context_propagation.core.model.nnunet_folder import NnunetFolder, load_nnunet_folder
from context_propagation.core.model.segmentation_model import Loss, PreparedImage, prepared_as_trained
from context_propagation.core.model.target import Target, TargetRule, chosen_label
from context_propagation.core.network.direct_convolution import DirectConvolution
from context_propagation.core.network.split_network import SplitNetwork
from context_propagation.core.network.unet_split import UNetSplit

REORIENTING_READERS = {"NibabelIOWithReorient": "RAS", "SimpleITKIOWithReorient": "RAS"}
"""Reader classes that reorient before the network sees the image; all others feed the array as stored."""


class NnunetModel:
    """See `SegmentationModel`. Build it with `load`.

    Attributes:
        splits: One split network per fold.
        patch_size: (D, H, W) that the network was trained on.
        total_stride: (D, H, W) that divides every window.
        content_hash: SHA-256 of plans, dataset description and the folds' weights.
        orientation: Letters that i, j, k are reoriented to before the network sees the image, or None.
        channels: Number of image channels.
        channel_names: Their names.
        channel_expectations: What each channel should hold, as far as the training says.
        target: The label that is refined.
        target_name: Its name.
        folds: Names of the folds in use, "0", "1", ... or "all".
        loss: nnU-Net's own.
    """

    loss: Loss = "dice and cross-entropy"

    def __init__(
        self, folder: NnunetFolder, target: Target, device: torch.device, orientation: str | None = None
    ) -> None:
        self._folder = folder
        self.target = target
        self.target_name = target.name
        self.device = device
        splits = tuple(UNetSplit(network.to(device)) for network in folder.networks)
        self.splits: tuple[SplitNetwork, ...] = splits
        d, h, w = (int(n) for n in folder.configuration_manager.patch_size)
        self.patch_size = (d, h, w)
        self.total_stride = splits[0].total_stride
        self.content_hash = folder.content_hash
        self.folds = folder.folds
        self.channel_expectations: Sequence[ChannelExpectation] = channel_expectations(
            folder.dataset_json, folder.plans_manager.plans, folder.configuration_manager.normalization_schemes
        )
        self.channel_names: Sequence[str] = [expected.name for expected in self.channel_expectations]
        self.channels = len(self.channel_names)
        reader = folder.plans_manager.plans.get("image_reader_writer", "")
        self.orientation = orientation or REORIENTING_READERS.get(reader)
        self._rule = TargetRule(target.channel, bool(folder.label_manager.has_regions))

    @classmethod
    def load(
        cls,
        folder: str | Path,
        label: str | int | None = None,
        device: str = "auto",
        folds: Sequence[str | int] | None = None,
        orientation: str | None = None,
    ) -> NnunetModel:
        """Load a trained-model folder as nnU-Net v2 writes it; no code in it is run.

        Args:
            folder: Holds plans.json, dataset.json and fold_*/checkpoint_*.pth.
            label: Name or value of the label to refine; not needed where there is only one.
            device: "auto", "cpu" or "cuda".
            folds: Folds to average; all by default.
            orientation: Orientation of the training arrays, e.g. "LPS", where it is known and all cases had it: images
                are then reoriented first, so that a stored flip or permutation does not change the result.

        Raises:
            UserInputError: The folder cannot be used, the label is unknown, or the device is missing.
        """
        chosen = select_device(device)
        loaded = load_nnunet_folder(Path(folder), folds)
        return cls(loaded, _target(loaded, label), chosen, orientation)

    def prepare(self, volume: SourceVolume) -> PreparedImage:
        """Turn to the training's orientation; then the plans' preprocessor transposes, crops, normalises, resamples."""
        return prepared_as_trained(volume, self.orientation, self._prepare)

    def _prepare(self, volume: SourceVolume) -> PreparedImage:
        plans, configuration = self._folder.plans_manager, self._folder.configuration_manager
        preprocessor = configuration.preprocessor_class(verbose=False)
        properties: dict[str, Any] = {"spacing": list(volume.spacing_kji_mm)}
        with nnunet_fills_holes_so():
            data, _, properties = preprocessor.run_case_npy(
                volume.channels, None, properties, plans, configuration, self._folder.dataset_json
            )
        axes = self._transposed
        d, h, w = (int(n) for n in data.shape[1:])
        crop = box_of([(int(start), int(stop)) for start, stop in properties["bbox_used_for_cropping"]])
        network_input = torch.as_tensor(data, dtype=torch.float32)
        return PreparedImage(network_input, axes, axes.per_axis(volume.shape_kji), GridMap(crop, (d, h, w)), properties)

    @property
    def _transposed(self) -> AxisMap:
        """What nnU-Net's preprocessor does to the axes, and its export undoes."""
        first, second, third = (int(axis) for axis in self._folder.plans_manager.transpose_forward)
        return AxisMap((first, second, third))

    def predict(
        self,
        prepared: PreparedImage,
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
    ) -> np.ndarray:
        """The initial prediction (Eq. 1): nnU-Net's own sliding window, mirroring off.

        Returns:
            bool `[K, J, I]` in the volume's own axes, the target.

        Raises:
            Cancelled: The user cancelled between two tiles.
        """
        from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape

        logits = self._sliding_window_logits(prepared, progress, cancelled)
        labels = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits,
            self._folder.plans_manager,
            self._folder.configuration_manager,
            self._folder.label_manager,
            prepared.properties,
            num_threads_torch=torch.get_num_threads(),
        )
        return prepared.axes.undo(self._transposed.apply(np.isin(labels, self.target.label)))

    def _sliding_window_logits(
        self, prepared: PreparedImage, progress: Progress, cancelled: CancelCheck
    ) -> torch.Tensor:
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        folder = self._folder
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a notice on every CPU
            predictor = nnUNetPredictor(
                use_mirroring=False,
                perform_everything_on_device=self.device.type == "cuda",
                device=self.device,
                allow_tqdm=False,
            )
        total = len(folder.networks)
        summed: torch.Tensor | None = None
        for fold, network in enumerate(folder.networks):
            predictor.manual_initialization(
                network,
                folder.plans_manager,
                folder.configuration_manager,
                None,
                folder.dataset_json,
                folder.trainer_name,
                folder.mirroring_axes,
            )

            def tile_done(*_: object, fold: int = fold) -> None:
                if cancelled():
                    raise Cancelled
                progress("predict", fold / total)

            hook = network.register_forward_pre_hook(tile_done)
            try:
                with DirectConvolution():
                    logits = predictor.predict_sliding_window_return_logits(prepared.network_input).cpu()
            finally:
                hook.remove()
            summed = logits if summed is None else summed + logits
        progress("predict", 1.0)
        if summed is None:
            raise UserInputError("The model has no folds; check its folder")
        return summed / total if total > 1 else summed

    def prediction_bytes(self, grid: GridMap) -> int:
        """See `SegmentationModel`. Logits and probabilities of all labels on the image's grid, and the label map."""
        heads = self._folder.label_manager.num_segmentation_heads
        image_voxels = math.prod(stop - start for start, stop in grid.crop)
        return int(image_voxels * (8 * heads + 2))

    def target_logit(self, logits: torch.Tensor) -> torch.Tensor:
        """See `SegmentationModel`."""
        return self._rule.logit(logits)

    def target_margin(self, fold_logits: list[torch.Tensor]) -> torch.Tensor:
        """See `SegmentationModel`."""
        return self._rule.margin(fold_logits)

    def is_target(self, fold_logits: list[torch.Tensor]) -> torch.Tensor:
        """See `SegmentationModel`."""
        return self.target_margin(fold_logits) > 0


def _target(folder: NnunetFolder, label: str | int | None) -> Target:
    """Resolve a label by name or value.

    Raises:
        UserInputError: Unknown, background, or not given where there are several.
    """
    labels: dict[str, Any] = folder.dataset_json["labels"]
    foreground = {name: value for name, value in labels.items() if name not in ("background", "ignore")}
    name = list(foreground)[chosen_label(list(foreground), list(foreground.values()), label)]
    value = foreground[name]
    manager = folder.label_manager
    if manager.has_regions:
        members = tuple(int(v) for v in value) if isinstance(value, (list, tuple)) else (int(value),)
        regions = [tuple(r) if isinstance(r, (list, tuple)) else (r,) for r in manager.foreground_regions]
        return Target(name, regions.index(members), members)
    return Target(name, int(value), (int(value),))
