"""A problem report can be given to anybody: it names no computer."""

from types import SimpleNamespace

from context_propagation.core.model.model_listing import ModelDescription
from context_propagation.remote.connection import Connection
from context_propagation.remote.consent import Consents
from context_propagation.remote.place import Place
from context_propagation.remote.remote_loaded_model import loaded_of

URL = "https://gpu-7.clinic.example:8765"

TARGET = {"name": "GTV", "channel": 1, "label": [1], "trained": [], "outer": []}
PLAIN = {
    "content_hash": "c" * 64, "device": "cuda:0", "orientation": None, "channel_names": ["CT"], "target": TARGET,
    "expectations": [], "far": None, "fusion": None, "most_level": 3, "versions": {},
}  # fmt: skip


def test_of_a_server_its_kind_of_device_is_said_and_not_its_address(application):
    from context_propagation.gui.work.problem_report import _model

    place = Place(Connection(URL, "t" * 32), Consents(URL, lambda upload: True), {})
    fields = dict.fromkeys(ModelDescription.__dataclass_fields__, "")
    loaded = loaded_of(PLAIN, ModelDescription(**fields), place)

    said = _model(SimpleNamespace(loaded=loaded))

    assert "; on cuda of a server; " in said
    assert "clinic" not in said
