"""The panel at 400 pixels, and a picture of it."""

import numpy as np

from as_a_user import screenshot, settle
from panel_user import PanelUser, a_slice

NARROW = 360
"""Pixels: what a panel of 400 leaves beside a scroll bar."""


def narrowest(widget):
    settle()
    widget._qt.layout().activate()
    return widget._qt.minimumSizeHint().width()


def test_the_panel_fits_400_pixels_whatever_its_texts_say(module, pet_model, add_ct, tmp_path):
    import slicer

    folder = tmp_path / "a_folder_with_a_rather_long_name_such_as_nnUNetTrainer__nnUNetResEncUNetLPlans__3d_fullres"
    (folder / "fold_0").mkdir(parents=True)
    user = PanelUser(module, [pet_model])
    import qt

    qt.QSettings().setValue("ContextPropagation/ModelFolders", [str(pet_model), str(folder)])
    user.panel.inputs.models.list_again()
    long = "20260821 CT THORAX ABDOMEN with contrast, reconstructed with an iterative kernel "
    ct, pet = add_ct(long), add_ct(f"{long} PET")
    user.choose_model(pet_model)
    user.ui.firstVolumeSelector.setCurrentNode(ct)
    user.ui.secondVolumeSelector.setCurrentNode(pet)
    for section in ("measureSection", "installSection"):
        getattr(user.ui, section).collapsed = False
    widget = slicer.modules.contextpropagation.widgetRepresentation()
    assert narrowest(widget) <= NARROW

    user.click("predictButton")
    assert narrowest(widget) <= NARROW  # while something runs
    user.wait()
    user.redraw(7, np.roll(user.mask()[7], 2, 0))
    user.click("propagateButton")
    user.wait()
    user.ui.referenceSelector.setCurrentNode(user.selection.segmentation_node)
    user.click("measureButton")
    user.wait()
    assert narrowest(widget) <= NARROW

    user.choose_model(folder)
    assert "choose one that holds" in user.ui.modelDescription.text.replace("\u200b", "")
    user.ui.packagesLabel.text = f"Step 1 of 2, PyTorch: Downloading {folder.name}.whl"
    assert narrowest(widget) <= NARROW


def test_every_text_of_the_panel_can_be_read_at_400_pixels(ready):
    import slicer
    from PySide6 import QtWidgets

    real = slicer.modules.contextpropagation.widgetRepresentation()._qt
    for section in ("measureSection", "installSection"):
        getattr(ready.ui, section).collapsed = False
    settle()
    real.resize(NARROW, real.layout().totalHeightForWidth(NARROW))
    settle()

    buttons = [w for w in real.findChildren(QtWidgets.QPushButton) if w.isVisible()]
    cut = [w.text() for w in buttons if w.width() < w.minimumSizeHint().width()]
    labels = [w for w in real.findChildren(QtWidgets.QLabel) if w.isVisible() and w.text()]
    cut += [w.text() for w in labels if not w.wordWrap() and w.width() < w.sizeHint().width()]
    cut += [w.text() for w in labels if w.wordWrap() and w.height() < w.heightForWidth(w.width())]
    assert real.width() == NARROW
    assert cut == []


def test_a_picture_of_the_panel_is_written_for_people(ready, tmp_path):
    import slicer

    ready.redraw(7, a_slice())
    screenshot(slicer.modules.contextpropagation.widgetRepresentation(), tmp_path / "panel.png")

    assert (tmp_path / "panel.png").stat().st_size > 10_000
