"""Scenes of our own beside one another."""

import slicer

from context_propagation.mrml.nodes.scenes import new_scene, prepare_scene


def test_scenes_share_one_set_of_conversion_rules_however_many_there_are():
    factory = slicer.vtkSegmentationConverterFactory.GetInstance()
    new_scene()
    rules = factory.GetConverterRules()

    scene = new_scene()
    prepare_scene(scene)

    names = [rule.GetClassName() for rule in factory.GetConverterRules()]
    assert len(names) == len(set(names)) > 0
    assert factory.GetConverterRules() == rules
    assert scene.CreateNodeByClass("vtkMRMLSegmentationNode").GetClassName() == "vtkMRMLSegmentationNode"
