"""A frozen nnU-Net v2 as a `SegmentationModel`; pre- and postprocessing are nnU-Net's own."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.device import out_of_memory_reported, refuse_without_memory, select_device
from context_propagation.core.errors import Cancelled, UserInputError, _line
from context_propagation.core.image.axis_map import AxisMap
from context_propagation.core.image.boxes import box_of, slices_of
from context_propagation.core.image.grid import GridMap
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.filled_holes import nnunet_fills_holes_so
from context_propagation.core.model.intensity_check import ChannelExpectation, channel_expectations
from context_propagation.core.model.loss import Loss
from context_propagation.core.model.nnunet_checkpoint import FINAL
from context_propagation.core.model.nnunet_folder import NnunetFolder, load_nnunet_folder
from context_propagation.core.model.nnunet_values import members_of
from context_propagation.core.model.segmentation_model import (
    NOT_FINITE,
    Padding,
    PreparedImage,
    prepared_as_trained,
    refuse_not_finite,
)
from context_propagation.core.model.target import Target, chosen_label
from context_propagation.core.model.target_rule import DecidesByRule, TargetRule
from context_propagation.core.network.direct_convolution import DirectConvolution
from context_propagation.core.network.split_network import SplitNetwork
from context_propagation.core.network.traced_split import TracedSplit

logger = logging.getLogger(__name__)


REORIENTING_READERS = {"NibabelIOWithReorient": "RAS", "SimpleITKIOWithReorient": "RAS"}
"""Reader classes that reorient before the network sees the image; all others feed the array as stored."""


class NnunetModel(DecidesByRule):
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
        padding: nnU-Net's own: zeros.
        loss: nnU-Net's own.
    """

    padding = Padding()
    loss: Loss = "dice and cross-entropy"

    def __init__(
        self, folder: NnunetFolder, target: Target, device: torch.device, orientation: str | None = None
    ) -> None:
        self._folder = folder
        self.target = target
        self.target_name = target.name
        self.device = device
        self.content_hash = folder.content_hash
        self.folds = folder.folds
        self.channel_expectations: Sequence[ChannelExpectation] = channel_expectations(
            folder.dataset_json, folder.plans_manager.plans, folder.configuration_manager.normalization_schemes
        )
        self.channel_names: Sequence[str] = [expected.name for expected in self.channel_expectations]
        self.channels = len(self.channel_names)
        d, h, w = (int(n) for n in folder.configuration_manager.patch_size)
        self.patch_size = (d, h, w)
        example = torch.empty((1, self.channels, d, h, w), device=device)
        splits = tuple(TracedSplit(network.to(device), example, known=True) for network in folder.networks)
        self.splits: tuple[SplitNetwork, ...] = splits
        self.total_stride = splits[0].total_stride
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
        checkpoint: str = FINAL,
    ) -> NnunetModel:
        """Load a trained-model folder as nnU-Net v2 writes it; no code in it is run.

        Args:
            folder: Holds plans.json, dataset.json and fold_*/checkpoint_*.pth.
            label: Name or value of the label to refine; not needed where there is only one.
            device: "auto", "cpu", "cuda" or "mps".
            folds: Folds to average; all by default.
            orientation: Orientation of the training arrays, e.g. "LPS", where it is known and all cases had it: images
                are then reoriented first, so that a stored flip or permutation does not change the result.
            checkpoint: File name in each fold; see `load_nnunet_folder`.

        Raises:
            UserInputError: The folder cannot be used, the label is unknown, or the device is missing.
        """
        chosen = select_device(device)
        loaded = load_nnunet_folder(Path(folder), folds, checkpoint)
        return cls(loaded, _target(loaded, label), chosen, orientation)

    def with_label(self, label: str | int) -> NnunetModel:
        """See `SegmentationModel`; nothing is loaded or copied.

        Raises:
            UserInputError: The label is unknown.
        """
        other = copy.copy(self)
        other.target = _target(self._folder, label)
        other.target_name = other.target.name
        other._rule = TargetRule(other.target.channel, self._rule.regions)
        return other

    def prepare(self, volume: SourceVolume) -> PreparedImage:
        """Turn to the training's orientation; then the plans' preprocessor transposes, crops, normalises, resamples."""
        return prepared_as_trained(volume, self.orientation, self._prepare)

    def _prepare(self, volume: SourceVolume) -> PreparedImage:
        plans, configuration = self._folder.plans_manager, self._folder.configuration_manager
        preprocessor = configuration.preprocessor_class(verbose=False)
        self._check_grid(volume)
        properties: dict[str, Any] = {"spacing": list(volume.spacing_kji_mm)}
        try:
            with nnunet_fills_holes_so(), out_of_memory_reported("Preparing the image"):
                data, _, properties = preprocessor.run_case_npy(
                    volume.channels, None, properties, plans, configuration, self._folder.dataset_json
                )
        except (TypeError, KeyError, IndexError, ZeroDivisionError, AssertionError, NotImplementedError) as error:
            raise UserInputError(
                f"nnU-Net cannot prepare the image as plans.json says ({_line(error)}); copy plans.json again"
            ) from error
        axes = self._transposed
        d, h, w = (int(n) for n in data.shape[1:])
        crop = box_of([(int(start), int(stop)) for start, stop in properties["bbox_used_for_cropping"]])
        network_input = torch.as_tensor(data, dtype=torch.float32)
        return PreparedImage(network_input, axes, axes.per_axis(volume.shape_kji), GridMap(crop, (d, h, w)), properties)

    def _check_grid(self, volume: SourceVolume) -> None:
        """What resampling would allocate is asked for before it begins; a voxel size may be wrong by powers of ten."""
        spacing_mm = self._folder.configuration_manager.spacing
        shape = [
            round(n * mm / wanted)
            for n, mm, wanted in zip(
                self._transposed.per_axis(volume.shape_kji),
                self._transposed.per_axis(volume.spacing_kji_mm),
                spacing_mm,
                strict=True,
            )
        ]
        resampled = f"Resampling the image to the network's voxels of {' x '.join(f'{mm:g}' for mm in spacing_mm)} mm"
        if 0 in shape:
            raise UserInputError(f"{resampled} leaves no voxel of it; check the voxel sizes of image and model")
        bytes_per_voxel = 8 * self.channels + 4 * self._folder.label_manager.num_segmentation_heads
        refuse_without_memory(
            math.prod(shape) * bytes_per_voxel,
            f"{resampled}, {' x '.join(map(str, shape))} of them,",
            "check the voxel sizes of image and model",
        )

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
        """The initial prediction (Eq. 1): nnU-Net's own sliding window, mirroring off, and its own resampling.

        A region has the voxels where its own channel exceeds one half: in nnU-Net's labelmap, which holds one value per
        voxel, a region that another one was written over would not be whole.

        Returns:
            bool `[K, J, I]` in the volume's own axes, the target.

        Raises:
            Cancelled: The user cancelled between two tiles.
            UserInputError: The networks compute NaN or infinite logits.
        """
        logits = self._sliding_window_logits(prepared, progress, cancelled)
        configuration, properties = self._folder.configuration_manager, prepared.properties
        resampled = configuration.resampling_fn_probabilities(
            logits,
            properties["shape_after_cropping_and_before_resampling"],
            configuration.spacing,
            self._transposed.per_axis(properties["spacing"]),
        )
        target = np.zeros(prepared.image_shape, bool)
        target[slices_of(prepared.grid.crop)] = self._rule.won(torch.as_tensor(resampled)).numpy()
        return prepared.axes.undo(target)

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
                with DirectConvolution(), out_of_memory_reported("Predicting"):
                    logits = predictor.predict_sliding_window_return_logits(prepared.network_input).cpu()
            except (RuntimeError, TypeError, ValueError, AssertionError, IndexError) as error:
                if isinstance(error, UserInputError):
                    raise
                if "Encountered inf" in str(error):
                    raise UserInputError(NOT_FINITE) from error
                raise UserInputError(
                    f"The network in plans.json cannot compute on patches of {self.patch_size} ({_line(error)}); copy "
                    "plans.json again from the training"
                ) from error
            finally:
                hook.remove()
            refuse_not_finite(logits)
            summed = logits if summed is None else summed + logits
        progress("predict", 1.0)
        if summed is None:
            raise UserInputError("The model has no folds; check its folder")
        return summed / total if total > 1 else summed

    def prediction_bytes(self, grid: GridMap) -> int:
        """See `SegmentationModel`. Logits and probabilities of all labels on the image's grid, and the label map."""
        heads = self._folder.label_manager.num_segmentation_heads
        image_voxels = math.prod(stop - start for start, stop in grid.crop)
        return int(image_voxels * ((12 if self._rule.regions else 8) * heads + 2))


def _target(folder: NnunetFolder, label: str | int | None) -> Target:
    """Resolve a label by name or value.

    Raises:
        UserInputError: Unknown, background, or not given where there are several.
    """
    labels: dict[str, Any] = folder.dataset_json["labels"]
    members = {name: members_of(v) for name, v in labels.items() if name not in ("background", "ignore")}
    names, manager = list(members), folder.label_manager
    known = [value[0] if len(value) == 1 else value for value in members.values()]
    number = chosen_label(names, known, label)
    own = members[names[number]]
    if not manager.has_regions:
        return Target(names[number], own[0], own)
    order = manager.regions_class_order
    _tell_of_region_order(names[number], own, list(members.values())[number + 1 :])
    inside = [order[n] for n, other in enumerate(members.values()) if n != number and set(other) < set(own)]
    written = (order[number], *inside)
    larger = sorted((len(other), order[n]) for n, other in enumerate(members.values()) if set(other) > set(own))
    outer = tuple(value for _, value in larger)
    if set(written) == set(own):
        return Target(names[number], number, written, outer=outer)
    logger.info(
        "in labelmaps %s is read as nnU-Net writes it, where the values are %s; the training's were %s",
        names[number],
        ", ".join(map(str, written)),
        ", ".join(map(str, own)),
    )
    return Target(names[number], number, written, own, outer)


def _tell_of_region_order(name: str, own: tuple[int, ...], later: Sequence[tuple[int, ...]]) -> None:
    """A labelmap holds one value per voxel, and nnU-Net writes regions in their order."""
    if any(set(other) > set(own) for other in later):
        logger.warning(
            "nnU-Net writes a larger region over %s (regions_class_order in dataset.json), so that its labelmaps do "
            "not show it: use this program's segmentations",
            name,
        )
