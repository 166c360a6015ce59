"""The phantom case in the module Sample Data; it is generated, not downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

ICON = Path(__file__).resolve().parents[3] / "Resources" / "Icons" / "ContextPropagation.png"


def register_sample_data() -> None:
    """Offer the phantom in Sample Data, where that module is there."""
    try:
        import SampleData
    except ModuleNotFoundError:
        return
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="Context Propagation",
        sampleName="NasopharynxPhantom",
        uris=[],
        fileNames=[],
        thumbnailFileName=str(ICON),
        customDownloader=_generate,
    )


def _generate(source: Any) -> list[Any]:
    from context_propagation.mrml.phantom_scene import add_phantom

    slicer.util.showStatusMessage(_("Generating the phantom..."))
    volume, truth = add_phantom(slicer.mrmlScene)
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    return [volume, truth]
