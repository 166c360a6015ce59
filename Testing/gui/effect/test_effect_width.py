"""The options of "Propagate Edit" in a module panel of 400 pixels."""

import numpy as np

from as_a_user import click, process_events, settle
from effect_bench import DRAWN, EFFECT, EffectBench, write_models

NARROW = 340
"""Pixels: what the Segment Editor's frame leaves of 400."""


def test_the_effect_s_options_fit_400_pixels_whatever_their_texts_say(application, tmp_path):
    name = "a model with a rather long name such as nnUNetTrainer plans for the third resolution"
    folder = write_models(tmp_path, channels=2)
    folder = folder.rename(folder.with_name(name))
    bench = EffectBench(application, folder)
    try:
        bench.ct.SetName("20260821 CT THORAX ABDOMEN with contrast, reconstructed with an iterative kernel")
        second = bench.add_volume("20260821 PET, whole body, attenuation corrected, ordered subsets", seed=4)
        bench.open_segment(name="A target volume with a name that says where it came from and for which plan it is")
        bench.editor.setActiveEffect(EFFECT)
        bench.editor.options.show()
        effect = bench.editor.effects[EFFECT].self().panel
        effect.widgets.second.setCurrentNode(second)
        bench.editor.effects[EFFECT].setNodeReference("SecondVolume", second)
        narrow = [_narrowest(bench)]
        assert effect.widgets.second.visible
        click(effect.widgets.start)
        narrow.append(_narrowest(bench))
        process_events(until=lambda: not effect._runner.busy, at_most=60)
        bench.editor.paint(np.asarray(DRAWN))
        bench.editor.setActiveEffect(EFFECT)
        narrow.append(_narrowest(bench))
        assert max(narrow) <= NARROW
    finally:
        bench.close()


def _narrowest(bench):
    settle()
    return bench.editor.options.minimumSizeHint().width()
