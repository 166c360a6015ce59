"""The stand-ins for Slicer's and CTK's widgets follow the scene, and have what the real ones have."""

import pytest


@pytest.fixture
def slicer(application):
    import slicer

    return slicer


@pytest.fixture
def combo(slicer, application):
    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.setMRMLScene(application.scene)
    return combo


def add_volume(application, name="CT"):
    return application.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)


def test_a_combo_box_follows_the_scene(application, combo):
    heard = []
    combo.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    combo.connect("currentNodeChanged(bool)", heard.append)

    volume = add_volume(application)
    assert combo.currentNode() is volume
    assert combo.currentNodeID == volume.GetID()
    application.scene.RemoveNode(volume)

    assert combo.currentNode() is None
    assert combo.currentNodeID == ""
    assert heard == [volume, True, None, False]


def test_a_combo_box_shows_only_its_node_types(application, combo):
    application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")

    assert combo.nodeCount() == 0


def test_with_none_enabled_nothing_is_chosen_by_itself(application, combo):
    combo.noneEnabled = True
    volume = add_volume(application)
    assert combo.currentNode() is None

    combo.setCurrentNode(volume)
    assert combo.currentNode() is volume


def test_blocked_signals_are_not_heard(application, combo):
    heard = []
    combo.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    combo.blockSignals(True)

    add_volume(application)

    assert heard == []


def test_an_unknown_signal_of_a_slicer_widget_fails(combo):
    with pytest.raises(ValueError, match="no signal"):
        combo.connect("currentNodeChanged(vtkMRMLScalarVolumeNode*)", print)


def test_a_plain_method_of_a_slicer_widget_is_not_callable(combo):
    with pytest.raises(AttributeError, match="qMRMLNodeComboBox has no attribute 'setNodeTypes'"):
        combo.setNodeTypes(["vtkMRMLScalarVolumeNode"])


def test_an_unknown_property_of_a_slicer_widget_fails(combo):
    with pytest.raises(AttributeError, match="qMRMLNodeComboBox has no property 'nodeType'"):
        combo.nodeType = "vtkMRMLScalarVolumeNode"


def test_what_the_stand_in_leaves_out_says_so(combo):
    with pytest.raises(NotImplementedError, match=r"the real qMRMLNodeComboBox has addNode\(\)"):
        combo.addNode()


def test_a_class_that_is_not_described_fails(slicer):
    import ctk

    with pytest.raises(LookupError, match="ctkRangeWidget is not in"):
        _ = ctk.ctkRangeWidget
    with pytest.raises(AttributeError):
        _ = slicer.qMRMLTreeView


def test_a_segment_selector_follows_the_segmentation(application, slicer):
    selector, heard = slicer.qMRMLSegmentSelectorWidget(), []
    selector.connect("currentSegmentChanged(QString)", heard.append)
    selector.setMRMLScene(application.scene)
    node = application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")

    first, second = (node.GetSegmentation().AddEmptySegment("", name) for name in ("GTV", "CTV"))
    selector.setCurrentSegmentID(second)
    node.GetSegmentation().RemoveSegment(second)

    assert selector.currentNode() is node
    assert selector.currentSegmentID() == first
    assert heard == [first, second, first]


def test_checked_nodes_are_told(application, slicer):
    combo, heard = slicer.qMRMLCheckableNodeComboBox(), []
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.setMRMLScene(application.scene)
    combo.connect("checkedNodesChanged()", lambda: heard.append(len(combo.checkedNodes())))
    volume = add_volume(application)

    combo.check(volume)

    assert combo.checkedNodes() == [volume]
    assert heard == [1]


def test_a_collapsed_button_hides_what_is_in_it(application):
    import ctk
    import qt

    section, heard, label = ctk.ctkCollapsibleButton(), [], qt.QLabel("inside")
    section.text = "Advanced"
    section.connect("contentsCollapsed(bool)", heard.append)
    qt.QVBoxLayout(section).addWidget(label)
    section.show()

    section.collapsed = True
    assert not label.visible
    section.collapsed = False
    assert label.visible
    assert heard == [True, False]


def test_a_path_is_told_with_its_validity(application, tmp_path):
    import ctk

    edit, heard = ctk.ctkPathLineEdit(), []
    edit.connect("currentPathChanged(QString)", heard.append)
    edit.connect("validInputChanged(bool)", heard.append)

    edit.currentPath = str(tmp_path)

    assert heard == [str(tmp_path), True]
