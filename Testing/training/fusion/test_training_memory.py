"""The memory that a training is said to need: of the largest example, and of the edits in it."""

import torch
from safetensors.torch import save_file

from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.training.fusion.fusion_jobs import NetworkJob
from context_propagation.training.fusion.fusion_training import TrainingSettings
from context_propagation.training.fusion.training_memory import EXAMPLES, memory_of_a_training
from context_propagation.training.job_memory import PROCESS_BYTES
from context_propagation.training.labelled_cases import ModelSource


def test_a_training_needs_more_for_larger_examples_and_for_more_edits_in_one(tmp_path, files):
    def forecast(*edits_and_sides):
        paths = [
            write_example(tmp_path / f"{edits}-{side}.safetensors", edits, side) for edits, side in edits_and_sides
        ]
        base = ModelSource(files.model, device="cpu")
        job = NetworkJob("n", tmp_path, base, 0, FusionSettings("paper", 4, 1.0), TrainingSettings(), tuple(paths), ())
        return memory_of_a_training([job])

    small, larger, of_edits = forecast((1, 8)), forecast((1, 8), (1, 16)), forecast((3, 16))

    assert PROCESS_BYTES < small < larger < of_edits
    assert larger - small == EXAMPLES * (size(tmp_path / "1-16.safetensors") - size(tmp_path / "1-8.safetensors"))
    assert of_edits - small == EXAMPLES * (3 * size(tmp_path / "3-16.safetensors") - size(tmp_path / "1-8.safetensors"))


def size(path):
    return path.stat().st_size


def write_example(path, edits, side):
    """What the forecast looks at."""
    save_file({"edit_maps": torch.zeros(edits, 2, side, side, side)}, path)
    return path
