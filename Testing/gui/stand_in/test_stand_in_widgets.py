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


def test_where_the_chosen_node_goes_its_neighbour_is_chosen_also_where_none_could_be(application, combo):
    combo.noneEnabled = True
    first, second, third = (add_volume(application, name) for name in ("CT", "PET", "MR"))
    combo.setCurrentNode(second)
    scenes = []
    combo.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: scenes.append(second.GetScene()))

    application.scene.RemoveNode(second)
    assert combo.currentNode() is third
    assert scenes == [application.scene]  # it is told while the node is still in the scene
    application.scene.RemoveNode(third)
    assert combo.currentNode() is first
    application.scene.RemoveNode(first)
    assert combo.currentNode() is None


def test_a_closed_scene_is_told_once_it_is_closed(application, combo):
    states = []
    add_volume(application)
    combo.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: states.append((node, application.scene.IsClosing())))

    application.scene.Clear(0)

    assert states == [(None, False)]


def test_a_combo_box_without_a_scene_is_disabled(application):
    import slicer

    combo = slicer.qMRMLNodeComboBox()
    assert not combo.enabled
    combo.setMRMLScene(application.scene)
    assert combo.enabled


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
    with pytest.raises(AttributeError, match="qMRMLNodeComboBox has no attribute named 'setNodeTypes'"):
        combo.setNodeTypes(["vtkMRMLScalarVolumeNode"])


def test_an_unknown_property_of_a_slicer_widget_fails(combo):
    with pytest.raises(AttributeError, match="'nodeType' does not exist on qMRMLNodeComboBox"):
        combo.nodeType = "vtkMRMLScalarVolumeNode"


def test_what_the_stand_in_leaves_out_says_so(combo):
    with pytest.raises(NotImplementedError, match=r"the real qMRMLNodeComboBox has addNode\(\)"):
        combo.addNode()


def test_a_class_that_only_one_list_has_is_not_there(slicer):
    import ctk

    with pytest.raises(AttributeError, match="not in both lists"):
        _ = ctk.ctkVTKSliceView  # in the headers alone
    with pytest.raises(AttributeError):
        _ = slicer.qSlicerTerminologyNavigatorWidget  # in the running application alone


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
