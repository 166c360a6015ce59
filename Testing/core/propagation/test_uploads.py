"""What goes to the device, and when: f' stays there, and what was drawn is brought there once for each update."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from context_propagation.core.image.boxes import slices_of
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation import slice_update
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.propagation.updated_features import UpdatedFeatures, with_updates
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from fusion_networks import random_fusion
from nnunet_folders import write_nnunet_folder

SHAPE = (24, 22, 20)
FROM_NUMPY, COPIED = "aten.lift_fresh.default", "aten._to_copy.default"


class Uploads(TorchDispatchMode):
    """Lists, in their order, what enters torch from numpy, what is copied to another device or type, and steps."""

    def __init__(self):
        super().__init__()
        self.names, self.given = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if str(func) in (FROM_NUMPY, COPIED):
            self.names.append(str(func))
        return func(*args, **(kwargs or {}))

    def spy(self, monkeypatch, owner, method):
        """List the calls of a method too, and keep what it is given."""
        original = getattr(owner, method)

        def called(*arguments):
            self.names.append(method)
            self.given.append(arguments)
            return original(*arguments)

        monkeypatch.setattr(owner, method, called)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = write_nnunet_folder(tmp_path_factory.mktemp("model"), folds=(0, 1), features=(4, 8, 8))
    model = NnunetModel.load(folder, device="cpu")
    session = Session(model, SessionSettings(update=UpdateSettings(iterations=2)), random_fusion(model))
    ball = sum((g - n // 2) ** 2 for g, n in zip(np.indices(SHAPE), SHAPE, strict=True)) <= 6**2
    channels = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)
    session.set_image(SourceVolume(channels, np.eye(4)), ball)
    return session


@pytest.fixture(scope="module")
def edit(session):
    drawn = ~session.window_prediction
    return session.propagation.network_edit([SliceEdit(0, index, drawn[index]) for index in (9, 14)])


def test_the_drawn_slices_are_uploaded_once_for_each_fold_and_not_at_its_evaluations(session, edit, monkeypatch):
    uploads = Uploads()
    uploads.spy(monkeypatch, slice_update, "segmentation_loss")
    with uploads:
        _, reports = session.propagation.updated_features(edit)

    evaluations = [report.evaluations for report in reports]
    assert min(evaluations) > 1
    of_a_fold = [[FROM_NUMPY, COPIED, *["segmentation_loss"] * n] for n in evaluations]
    assert uploads.names == [name for names in of_a_fold for name in names]


def test_the_fusion_networks_of_all_folds_share_one_upload_of_what_was_drawn(session, edit, monkeypatch):
    features, _ = session.propagation.updated_features(edit)
    uploads = Uploads()
    for network in session.fusion.networks:
        uploads.spy(monkeypatch, network, "on_box")
    with uploads:
        session.propagation.far_margins(edit, features, session.fusion)

    (first, *_), (second, *_) = uploads.given[:2]
    assert first.edit_maps is second.edit_maps
    assert first.descriptions is second.descriptions
    assert not torch.equal(first.f, second.f)
    fused = uploads.names.count("on_box")
    assert fused >= 2
    assert uploads.names[-fused:] == ["on_box"] * fused  # nothing is uploaded between them or after


def test_f_updated_stays_on_its_device():
    """On the device "meta" nothing has values: what asks for them there fails."""
    f = torch.zeros((1, 3, 4, 5, 6), device="meta")
    box = ((1, 3), (0, 5), (2, 4))
    piece = UpdatedFeatures(0, 0, box, torch.ones((3, 2, 5, 2), device="meta"))
    assert with_updates(f, 0, 0, [piece]).device.type == "meta"


def test_a_piece_of_f_updated_is_a_copy_of_its_box_and_put_back_there(session, edit):
    (piece, _), _ = session.propagation.updated_features(edit)
    f = session.cache.windows[0].features[0].f
    updated = with_updates(f, 0, 0, [piece])
    place = (0, slice(None), *slices_of(piece.box))
    assert torch.equal(updated[place], piece.values)
    assert not torch.equal(updated[place], f[place])
    updated[place] = f[place]
    assert torch.equal(updated, f)  # nothing changed outside the box, and the cached f stays as it was
    assert with_updates(f, 0, 1, [piece]).data_ptr() == f.data_ptr()
