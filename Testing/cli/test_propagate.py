"""The propagate command on good input."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import SimpleITK as sitk

from ball_images import EDITED_SLICE, ORIGIN, SPACING, ball_mask, edited_mask, sitk_image
from context_propagation.cli.main import main
from context_propagation.core.image.source_volume import SourceVolume, same_grid
from summary_pages import SummaryPage

pytestmark = pytest.mark.usefixtures("models_loaded_once")


def voxels(path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.fixture
def source_volume(files) -> SourceVolume:
    return SourceVolume.from_sitk([sitk.ReadImage(str(files.image), sitk.sitkFloat32)])


@pytest.fixture(scope="module")
def usual_result(files, tmp_path_factory):
    """A folder with all outputs of one propagation."""
    folder = tmp_path_factory.mktemp("usual")
    arguments = ["propagate", "--model", files.model, "--image", files.image, "--initial", files.initial]
    arguments += ["--edited", files.edited, "--output", folder / "out.nii.gz"]
    arguments += ["--report", folder / "report.json", "--figure", folder / "figure.png"]
    arguments += ["--summary", folder / "case.html"]
    assert main([str(argument) for argument in arguments]) == 0
    return folder


def test_all_outputs_tell_of_one_propagation(files, usual_result):
    written = sitk.ReadImage(str(usual_result / "out.nii.gz"))
    result = sitk.GetArrayFromImage(written).astype(bool)
    report = json.loads((usual_result / "report.json").read_text())
    assert same_grid(written, sitk.ReadImage(str(files.image)))
    assert np.array_equal(result[EDITED_SLICE], edited_mask()[EDITED_SLICE])
    changed = {str(k): int(n) for k, n in enumerate((result ^ edited_mask()).sum(axis=(1, 2))) if n}
    assert report["voxels_changed_per_slice"] == changed
    assert set(map(int, changed)) <= {EDITED_SLICE + step for step in (-2, -1, 1, 2)}
    assert (report["plane"], report["edited_slices"], report["refused_voxels"]) == ("axial", [EDITED_SLICE], 0)
    (update,) = report["updates"]
    assert update["loss_after"] < update["loss_before"]
    assert update["stop_reason"]
    stages = {stage["name"]: stage for stage in report["stages"]}
    assert list(stages) == [
        "load model",
        "read files",
        "set image",
        "propagate",
        "write segmentation",
        "draw figure",
        "write summary",
    ]
    assert all(stage["seconds"] >= 0 and stage["peak_memory_mib"] > 10 for stage in stages.values())
    assert {"python", "torch", "numpy", "SimpleITK", "nnunetv2"} <= set(report["versions"])
    assert len(report["model_sha256"]) == 64
    assert "predicted to need" in report["messages"][0]
    assert (usual_result / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in usual_result.iterdir()) == [
        "case.html",
        "figure.png",
        "out.nii.gz",
        "report.json",
    ]


def test_the_summary_tells_the_same_as_the_report_and_no_path(files, usual_result):
    text = (usual_result / "case.html").read_text(encoding="utf-8")
    shown, report = SummaryPage(text), json.loads((usual_result / "report.json").read_text())
    changed = report["voxels_changed_per_slice"]
    result = voxels(usual_result / "out.nii.gz").astype(bool)

    (edit,) = [row for row in shown.rows if len(row) == 8 and row[0] == "1"]
    assert edit[2:] == [
        *("axial", str(EDITED_SLICE), report["scope"], str(sum(changed.values()))),
        *(str(len(changed)), "0"),
    ]
    assert edit[1].endswith(" UTC")
    assert {row[0]: row[5] for row in shown.rows if len(row) == 6 and row[5] not in ("0", "By edit 1")} == {
        index: str(count) for index, count in changed.items()
    }
    assert shown.value("Voxels added, removed") == f"{(result & ~ball_mask()).sum()}, {(ball_mask() & ~result).sum()}"
    assert shown.value("Model, SHA-256") == report["model_sha256"]
    assert shown.value("Model") == "nnU-Net"
    assert not [part for part in (str(files.folder), files.image.name, "edited.nii") if part in text]


def test_seg_nrrd_in_and_out_keeps_other_segments_names_and_colours(
    run, propagate_arguments, source_volume, usual_result, tmp_path
):
    slicer_files = pytest.importorskip("context_propagation.mrml.nodes.segmentation_storage")
    from context_propagation.mrml.nodes.scenes import new_scene
    from seg_nrrd import read_seg_nrrd

    heart = np.roll(ball_mask(), 5, axis=0)
    edited = tmp_path / "edited.seg.nrrd"
    segments = [
        slicer_files.NamedMask(heart, "Heart", (0.1, 0.2, 0.9)),
        slicer_files.NamedMask(edited_mask(), "GTV", (0.0, 1.0, 0.0)),
    ]
    slicer_files.write_seg_nrrd(edited, segments, source_volume)
    output, report = tmp_path / "out.seg.nrrd", tmp_path / "report.json"

    outcome = run(*propagate_arguments(edited=edited, output=output, report=report))

    assert (outcome.code, outcome.err) == (0, "")
    node = slicer_files.load_segmentation(new_scene(), output)
    segmentation = node.GetSegmentation()
    found = {s.GetName(): s.GetColor() for s in map(segmentation.GetSegment, segmentation.GetSegmentIDs())}
    assert found["Heart"] == pytest.approx((0.1, 0.2, 0.9))
    assert found["GTV"] == pytest.approx((0.0, 1.0, 0.0))
    assert np.array_equal(read_seg_nrrd(output, "Heart", source_volume), heart)
    assert np.array_equal(read_seg_nrrd(output, "GTV", source_volume), voxels(usual_result / "out.nii.gz"))
    assert json.loads(report.read_text())["refused_voxels"] == 0


def test_of_a_seg_nrrd_of_another_program_nothing_but_the_command_s_own_line_appears(
    run, propagate_arguments, tmp_path
):
    pytest.importorskip("context_propagation.mrml.nodes.segmentation_storage")
    plain = tmp_path / "plain.seg.nrrd"
    sitk.WriteImage(sitk_image(edited_mask().astype(np.uint8)), str(plain))

    outcome = run(*propagate_arguments(edited=plain, optimizer="adam", level=1))

    assert (outcome.code, outcome.err) == (0, "")
    assert len(outcome.out.splitlines()) == 1


def test_a_labelmap_edit_becomes_a_seg_nrrd_with_the_label_s_name(run, propagate_arguments, source_volume, tmp_path):
    pytest.importorskip("context_propagation.mrml.nodes.segmentation_storage")
    from seg_nrrd import read_seg_nrrd

    output = tmp_path / "out.seg.nrrd"

    assert run(*propagate_arguments(output=output, optimizer="adam", level=1)).code == 0

    mask = read_seg_nrrd(output, "GTV", source_volume)
    assert np.array_equal(mask[EDITED_SLICE], edited_mask()[EDITED_SLICE])


@pytest.fixture
def two_organs(tmp_path):
    """Labelmaps before and after the edit, and where another organ (2) lies: beside the target, touching it."""
    organ = np.zeros(ball_mask().shape, bool)
    organ[:, :, 16:] = True
    organ &= ~(ball_mask() | edited_mask())
    for name, mask in (("initial", ball_mask()), ("edited", edited_mask())):
        labels = mask.astype(np.uint8) + 2 * organ.astype(np.uint8)
        sitk.WriteImage(sitk_image(labels), str(tmp_path / f"{name}.nrrd"))
    return {"initial": tmp_path / "initial.nrrd", "edited": tmp_path / "edited.nrrd"}, organ


def test_another_organ_in_the_labelmap_is_neither_read_nor_lost(
    run, propagate_arguments, usual_result, two_organs, tmp_path
):
    paths, organ = two_organs
    usual = voxels(usual_result / "out.nii.gz").astype(bool)

    outcome = run(*propagate_arguments(**paths, report=tmp_path / "report.json"))

    written, refused = voxels(tmp_path / "out.nii.gz"), int((usual & organ).sum())
    assert outcome.code == 0
    assert np.array_equal(written == 2, organ)
    assert np.array_equal(written == 1, usual & ~organ)
    assert json.loads((tmp_path / "report.json").read_text())["refused_voxels"] == refused
    assert refused
    assert f"{refused} voxels are not given to GTV: the labels 2 of " in outcome.err


def test_a_seg_nrrd_from_a_labelmap_of_two_organs_is_refused_unless_the_loss_of_the_other_is_allowed(
    run, refused, propagate_arguments, usual_result, source_volume, two_organs, tmp_path
):
    pytest.importorskip("context_propagation.mrml.nodes.segmentation_storage")
    from seg_nrrd import read_seg_nrrd

    paths, organ = two_organs
    arguments = propagate_arguments(**paths, output=tmp_path / "out.seg.nrrd")
    lost = f"the label 2 ({organ.sum()} voxels, {organ.sum() * 1.0 * 1.25 * 1.5:.5g} mm3)"

    error = refused(*arguments)
    outcome = run(*arguments, "--allow-loss")

    assert f"would lose of '{paths['edited']}': {lost}; end its name in .nii.gz or .nrrd, or give --allow-loss" in error
    mask = read_seg_nrrd(tmp_path / "out.seg.nrrd", "GTV", source_volume)
    assert np.array_equal(mask, voxels(usual_result / "out.nii.gz"))
    (message,) = outcome.err.splitlines()
    assert f"loses of '{paths['edited']}': {lost}" in message


def test_named_slices_alone_are_propagated_and_other_changes_are_kept_as_drawn(run, propagate_arguments, tmp_path):
    mask = edited_mask()
    mask[8] = np.roll(mask[8], -2, axis=1)
    sitk.WriteImage(sitk_image(mask.astype(np.uint8)), str(tmp_path / "edited.nii.gz"))

    outcome = run(
        *propagate_arguments(
            edited=tmp_path / "edited.nii.gz", slices="12", plane="axial", report=tmp_path / "report.json", level=1
        )
    )

    assert outcome.code == 0
    assert "warning: changes on slices 8 are kept and not propagated" in outcome.err
    assert json.loads((tmp_path / "report.json").read_text())["edited_slices"] == [12]
    assert np.array_equal(voxels(tmp_path / "out.nii.gz")[8], mask[8])


def test_a_sagittal_edit_is_found(run, propagate_arguments, tmp_path):
    mask = ball_mask()
    mask[:, :, 14] = np.roll(mask[:, :, 14], 2, axis=0)
    sitk.WriteImage(sitk_image(mask.astype(np.uint8)), str(tmp_path / "edited.nii.gz"))

    outcome = run(*propagate_arguments(edited=tmp_path / "edited.nii.gz", report=tmp_path / "report.json"))

    report = json.loads((tmp_path / "report.json").read_text())
    assert outcome.code == 0
    assert (report["plane"], report["edited_slices"]) == ("sagittal", [14])
    assert np.array_equal(voxels(tmp_path / "out.nii.gz")[:, :, 14], mask[:, :, 14])


def test_segmentations_on_a_larger_grid_give_the_same_result_there(run, propagate_arguments, usual_result, tmp_path):
    pad = ((2, 3), (4, 1), (0, 5))
    shifted = [o - s * before for o, s, (before, _) in zip(ORIGIN, SPACING, pad[::-1], strict=True)]
    for name, mask in (("initial", ball_mask()), ("edited", edited_mask())):
        padded = np.pad(mask.astype(np.uint8), pad)
        sitk.WriteImage(sitk_image(padded, origin=shifted), str(tmp_path / f"{name}.nrrd"))

    outcome = run(*propagate_arguments(initial=tmp_path / "initial.nrrd", edited=tmp_path / "edited.nrrd"))

    assert outcome.code == 0
    assert np.array_equal(voxels(tmp_path / "out.nii.gz"), np.pad(voxels(usual_result / "out.nii.gz"), pad))


@pytest.mark.long
def test_ctrl_c_leaves_no_output_and_no_temporary_file(propagate_arguments, tmp_path):
    older = tmp_path / "report.json"
    content = json.dumps({"plane": "axial", "stages": [], "versions": {}, "settings": {}})
    older.write_text(content)
    arguments = map(str, propagate_arguments(report=older, output=tmp_path / "out.nii.gz"))
    command = [sys.executable, "-m", "context_propagation.cli.main", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job's children ignore it
    )

    deadline = time.monotonic() + 60
    while not any(path.name.startswith(".context-propagation-") for path in tmp_path.iterdir()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert err.splitlines() == ["context-propagation: interrupted; nothing was written"]
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert older.read_text() == content


def test_ctrl_c_while_a_text_is_executed_gives_130_too(tmp_path):
    """As where a dataclass is made during an import: Python keeps in mind that an interrupt came out of it."""
    script = tmp_path / "interrupted.py"
    script.write_text(
        "import sys\n"
        "from context_propagation.cli import main as command\n"
        "command.parsed = lambda argv: exec('raise KeyboardInterrupt')\n"
        "sys.exit(command.main([]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}

    done = subprocess.run(
        [sys.executable, "-m", "interrupted"], capture_output=True, text=True, env=environment, check=False
    )

    assert done.returncode == 130
    assert done.stderr.splitlines() == ["context-propagation: interrupted; nothing was written"]


@pytest.mark.long
def test_a_real_ct_is_read_from_its_dicom_folder(run, propagate_arguments, ct_dicom, tmp_path):
    from context_propagation.files.image_files import read_image
    from nnunet_folders import write_nnunet_folder

    ct = read_image(ct_dicom)
    model = write_nnunet_folder(tmp_path / "ct", channel_name="CT", patch_size=(16, 32, 32), spacing=(2.0, 8.0, 8.0))
    mask = np.zeros(ct.GetSize()[::-1], np.uint8)
    mask[6:14, 200:260, 220:280] = 1
    for name in ("initial", "edited"):
        image = sitk.GetImageFromArray(mask)
        image.CopyInformation(ct)
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii"))
        mask[10, 200:270, 230:290] = 1

    outcome = run(
        *propagate_arguments(
            model=model,
            image=ct_dicom,
            initial=tmp_path / "initial.nii",
            edited=tmp_path / "edited.nii",
            output=tmp_path / "out.nii",
            figure=tmp_path / "figure.png",
            report=tmp_path / "report.json",
            level=1,
        )
    )

    written = sitk.ReadImage(str(tmp_path / "out.nii"))
    assert (outcome.code, outcome.err) == (0, "")
    assert same_grid(written, ct)
    assert json.loads((tmp_path / "report.json").read_text())["edited_slices"] == [10]
    assert sitk.GetArrayFromImage(written)[10, 200:270, 230:280].all()
