"""The phantom case in the module Sample Data; it is generated, not downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import slicer
from slicer.i18n import tr as _

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.gui.work.meanwhile import computed
from context_propagation.mrml.session.operation import Operation

if TYPE_CHECKING:
    from context_propagation.core.phantom.phantom import Phantom


CATEGORY, SAMPLE = "Context Propagation", "NasopharynxPhantom"


ICON = Path(__file__).resolve().parents[3] / "Resources" / "Icons" / "ContextPropagation.png"


FILES = (f"{SAMPLE}.nrrd", f"{SAMPLE}.seg.nrrd")


STATUS_MS = 5000
"""How long the status bar says what was done."""


Nodes = tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]


def register_sample_data() -> None:
    """Offer the phantom in Sample Data, where that module is there."""
    try:
        import SampleData
    except ModuleNotFoundError:
        return

    class PhantomSource(SampleData.SampleDataSource):  # type: ignore[misc]  # Slicer's, known at run time alone
        """A source that Slicer's `downloadSample` takes as well: its files are written when their addresses are asked
        for, at the place where Slicer looks before it would download them.
        """

        def __str__(self) -> str:
            """By this Slicer tells sources apart; its own version asks for the addresses."""
            return f"{CATEGORY}: {SAMPLE}"

        @property
        def uris(self) -> list[str]:
            return [file.as_uri() for file in _write_files()]

        @uris.setter
        def uris(self, value: list[str]) -> None:
            pass  # Slicer's constructor sets what it was given

    source = PhantomSource(
        sampleName=SAMPLE,
        sampleDescription=_("Nasopharynx phantom"),
        uris=["generated", "generated"],
        fileNames=list(FILES),
        nodeNames=["Phantom CT", "Phantom truth"],
        loadFileTypes=["VolumeFile", "SegmentationFile"],
        thumbnailFileName=str(ICON),
        customDownloader=lambda source: list(add_sample_case()),
    )
    sources = SampleData.SampleDataLogic.sampleDataSourcesByCategory().setdefault(CATEGORY, [])
    if source not in sources:
        sources.append(source)


def add_sample_case() -> Nodes:
    """Generate the phantom while the application goes on living, and show it."""
    slicer.util.showStatusMessage(_("Generating the phantom..."))
    try:
        nodes = _add(computed(_generate))
    except BaseException:
        slicer.util.showStatusMessage("")
        raise
    say_added(nodes)
    return nodes


def sample_case_operation() -> Operation[Nodes]:
    """The same as an operation for the worker."""

    def compute(progress: Progress, cancelled: CancelCheck) -> Phantom:
        progress("generate", 0.0)
        return _generate()

    return Operation("Sample case", compute, _add)


def say_added(nodes: Nodes) -> None:
    """Say what is there now, in the status bar."""
    volume, truth = nodes
    text = _("'{volume}' and '{truth}' were added.").format(volume=volume.GetName(), truth=truth.GetName())
    slicer.util.showStatusMessage(text, STATUS_MS)


def _generate() -> Phantom:
    from context_propagation.core.phantom.phantom import make_phantom
    from context_propagation.core.phantom.unseen_phantoms import UNSEEN

    return make_phantom(UNSEEN)


def _add(phantom: Phantom) -> Nodes:
    from context_propagation.mrml.phantom_scene import add_generated

    volume, truth = add_generated(slicer.mrmlScene, phantom)
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    return volume, truth


def _write_files() -> list[Path]:
    """Volume and segmentation, in Slicer's cache of downloaded files; older ones are replaced."""
    import SimpleITK as sitk

    from context_propagation.mrml.nodes.scenes import new_scene
    from context_propagation.mrml.nodes.segmentation_storage import save_segmentation
    from context_propagation.mrml.phantom_scene import add_generated

    folder = Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory())
    folder.mkdir(parents=True, exist_ok=True)
    volume_file, truth_file = (folder / name for name in FILES)
    phantom = computed(_generate)
    sitk.WriteImage(phantom.image(phantom.ct), str(volume_file))
    _, truth = add_generated(new_scene(), phantom)
    save_segmentation(truth_file, truth)
    return [volume_file, truth_file]
