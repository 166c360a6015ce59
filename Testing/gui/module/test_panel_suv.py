"""A PET in activity, chosen in the panel."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from panel_user import PanelUser

SHAPE = (16, 16, 16)


@pytest.fixture
def pet_in_activity(module, tmp_path, monkeypatch):
    """A PET as Slicer's DICOM module loads it in Bq/ml, and the database that knows its files."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import PositronEmissionTomographyImageStorage

    from context_propagation.files.image_files import read_source_volume
    from context_propagation.mrml.nodes.volume_nodes import add_volume
    from dicom_files import made, write_ct_series

    voxels = np.random.default_rng(5).integers(0, 20_000, SHAPE).astype(np.int16)
    about = {"SOPClassUID": PositronEmissionTomographyImageStorage, "Modality": "PT", "Units": "BQML"}
    about |= {"CorrectedImage": ["DECY"], "DecayCorrection": "ADMIN", "PatientWeight": "80"}
    dose = made(RadionuclideTotalDose="400000000")
    series = write_ct_series(tmp_path / "pet", voxels, RadiopharmaceuticalInformationSequence=[dose], **about)
    files = {pydicom.dcmread(file).SOPInstanceUID: str(file) for file in series.folder.iterdir()}
    values = {"0008,0060": "PT", "0054,1001": "BQML"}
    database = SimpleNamespace(
        fileForInstance=lambda uid: files.get(uid, ""), fileValue=lambda file, tag: values[tag] if file else ""
    )
    monkeypatch.setattr(sys.modules["slicer"], "dicomDatabase", database, raising=False)
    node = add_volume(module.scene, read_source_volume([series.folder]), "PET")
    node.SetAttribute("DICOM.instanceUIDs", " ".join(files))
    return node, voxels


def test_suv_of_a_pet_in_activity_is_offered_and_made_from_its_files(module, pet_model, pet_in_activity, add_ct):
    from context_propagation.mrml.nodes.volume_nodes import volume_array

    user, (pet, voxels) = PanelUser(module, [pet_model]), pet_in_activity
    user.choose_model(pet_model)
    user.ui.firstVolumeSelector.setCurrentNode(add_ct())
    assert not user.ui.suvButton.isVisible()
    user.ui.secondVolumeSelector.setCurrentNode(pet)
    assert user.ui.suvButton.text == "Make SUV of 'PET'"

    user.click("suvButton")
    user.wait()

    made = user.ui.secondVolumeSelector.currentNode()
    assert made.GetName() == "PET SUV"
    assert np.allclose(volume_array(made), voxels * (80_000 / 400e6), rtol=1e-6)
    assert np.array_equal(volume_array(pet), voxels)
    assert made.GetVoxelValueUnits().GetCodeValue() == "{SUVbw}g/ml"
    assert not user.ui.suvButton.isVisible()  # nothing more to convert


def test_a_pet_without_what_suv_is_made_of_is_refused_in_words_and_stays_chosen(
    module, pet_model, pet_in_activity, add_ct
):
    import pydicom

    user, (pet, _) = PanelUser(module, [pet_model]), pet_in_activity
    for uid in pet.GetAttribute("DICOM.instanceUIDs").split():
        file = sys.modules["slicer"].dicomDatabase.fileForInstance(uid)
        dataset = pydicom.dcmread(file)
        del dataset.PatientWeight
        dataset.save_as(file)
    user.choose_model(pet_model)
    user.ui.secondVolumeSelector.setCurrentNode(pet)

    user.click("suvButton")
    user.wait()

    assert "Volume 'PET' cannot become SUV: it has no PatientWeight" in user.application.messages[-1].text
    assert user.ui.secondVolumeSelector.currentNode() is pet


def test_where_the_pet_is_deleted_the_ct_is_not_read_in_its_place(module, pet_model, add_ct):
    user = PanelUser(module, [pet_model])
    user.choose_model(pet_model)
    ct, pet = add_ct(), add_ct("PET")
    user.ui.firstVolumeSelector.setCurrentNode(ct)
    user.ui.secondVolumeSelector.setCurrentNode(pet)

    module.scene.RemoveNode(pet)
    assert user.ui.secondVolumeSelector.currentNode() is ct  # as Slicer's selector does
    user.click("predictButton")
    user.wait()

    assert "'CT' is selected twice" in module.texts("error")[0]
