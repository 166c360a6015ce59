"""The sample case that the module brings."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def coarse_phantom(monkeypatch):
    """The shipped phantom in voxels of 6 mm, which are made in a tenth of the time."""
    from context_propagation.core.phantom import unseen_phantoms
    from context_propagation.mrml import phantom_scene

    coarse = replace(unseen_phantoms.UNSEEN, spacing_ijk_mm=(6.0, 6.0, 6.0))
    for module in (unseen_phantoms, phantom_scene):  # the second has a name of its own for it
        monkeypatch.setattr(module, "UNSEEN", coarse)


@pytest.mark.usefixtures("coarse_phantom")
def test_the_phantom_is_registered_as_sample_data_once_and_made_when_it_is_asked_for(module):
    sys.modules["ContextPropagation"].register_sample_case()

    (source,) = module.sample_data
    assert sys.modules["SampleData"].SampleDataLogic.sampleDataSourcesByCategory("Context Propagation") == [source]
    assert source.sampleName == "NasopharynxPhantom"
    assert Path(source.thumbnailFileName).is_file()
    volume, truth = source.customDownloader(source)  # as its button does
    assert volume.GetScene() is truth.GetScene() is module.scene
    assert module.status == "'Phantom CT' and 'Phantom truth' were added."


@pytest.mark.usefixtures("coarse_phantom")
def test_a_script_gets_the_same_phantom_by_name_each_time_and_nothing_is_downloaded(module):
    from context_propagation.mrml.nodes.segments import segment_mask, segment_name, segment_named
    from context_propagation.mrml.nodes.volume_nodes import deferred_source_volume

    logic = sys.modules["SampleData"].SampleDataLogic()
    of_button = module.sample_data[0].customDownloader(module.sample_data[0])
    (Path(module.scene.GetCacheManager().GetRemoteCacheDirectory()) / "NasopharynxPhantom.nrrd").write_text("stale")

    for of_script in (logic.downloadSamples("NasopharynxPhantom"), logic.downloadSamples("NasopharynxPhantom")):
        (ct, truth), (other_ct, other_truth) = of_script, of_button
        voxels, other_voxels = (deferred_source_volume([node])() for node in (ct, other_ct))
        assert np.array_equal(voxels.channels, other_voxels.channels)
        assert np.allclose(voxels.ijk_to_lps, other_voxels.ijk_to_lps)
        segment, other = segment_named(truth, None), segment_named(other_truth, None)
        assert segment_name(truth, segment) == segment_name(other_truth, other) == "GTV, truth"
        assert np.array_equal(segment_mask(truth, segment, ct), segment_mask(other_truth, other, other_ct))
    assert logic.downloadSample("NasopharynxPhantom").GetName() == "Phantom CT"
    assert logic.sourceForSampleName("NasopharynxPhantom") is module.sample_data[0]


def test_a_phantom_that_cannot_be_made_leaves_no_word_in_the_status_bar(module, monkeypatch):
    from context_propagation.gui.module import sample_data

    def fail():
        raise MemoryError

    monkeypatch.setattr(sample_data, "_generate", fail)
    with pytest.raises(MemoryError):
        sample_data.add_sample_case()

    assert module.status == ""


@pytest.mark.usefixtures("coarse_phantom")
def test_the_sample_case_is_added_and_chosen_with_one_click(user, module):
    user.click("sampleButton")
    user.wait()

    (ct,) = user.panel.inputs.volume_nodes
    assert ct.GetName() == "Phantom CT"
    assert user.sentence() == "Press Predict."
    assert module.status == "'Phantom CT' and 'Phantom truth' were added."
    assert not user.ui.sampleButton.visible
