"""The report of a problem that the panel copies."""

from panel_user import a_slice


def copied(user):
    import qt

    qt.QApplication.clipboard().setText("")
    user.click("problemReportButton")
    return qt.QApplication.clipboard().text()


def test_a_problem_report_says_what_a_helper_asks_before_a_model_is_loaded(user):
    report = copied(user)
    assert "python 3." in report
    assert "memory: " in report
    assert "model: none is loaded" in report
    assert "image: none is cached" in report


def test_a_problem_report_has_the_last_messages_and_no_names_or_paths(user, ct, bundle, monkeypatch):
    ct.SetName("Roe_Jane_1950")
    user.predict(ct)
    node = user.selection.segmentation_node
    node.SetName("Plan of Roe")
    node.GetSegmentation().GetSegment(user.selection.segment_id).SetName("GTV Roe left")
    user.redraw(7, a_slice())
    user.click("propagateButton")
    user.wait()
    user.redraw(7, a_slice()[::-1].T ^ a_slice())
    user.click("undoButton")  # refused, and the sentence names the segmentation

    report = copied(user)

    assert "model: nnU-Net, " in report
    assert "whole volume (trained for this model)" in report
    assert "image: 16 x 16 x " in report
    assert "edits: 1 propagated" in report
    assert "voxels changed" in report
    assert "'…' was edited since the last propagation" in report
    for name in ("Roe", "Jane", "GTV", bundle.name, "/", "\\"):
        assert name not in report.replace("nnU-Net", ""), name
