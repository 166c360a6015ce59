"""Slicers on one computer that share the journal's folder, and how they die."""

from context_propagation.mrml.context_propagation_logic import ContextPropagationLogic
from context_propagation.mrml.nodes.segments import own_segment
from loaded_models import quick_model

SHAPE = (16, 16, 16)


class Slicers:
    """Programs on one computer, each with a scene of its own, which share the folder."""

    def __init__(self, make_case, model, folder):
        self.make_case, self.model, self.folder = make_case, model, folder
        self.running = []

    def start(self, model=None, case=None):
        """A logic with an image and a new, empty segment."""
        case = case or self.make_case(shape=SHAPE)
        logic = ContextPropagationLogic(case.scene)
        logic.journal.folder = self.folder
        logic.loaded = quick_model(model or self.model)
        logic.select([case.volume])
        logic.case = case
        self.running.append(logic)
        return logic

    def die(self, logic):
        """As the system ends a process: the lock is let go of, the files stay."""
        self.running.remove(logic)
        logic.journal._folder._lock.close()
        logic.journal._folder = None
        logic.close()


def plane(logic):
    return logic.case.source.plane_of_axis[0]


def own(logic):
    chosen = logic.selection
    return own_segment(chosen.segmentation_node, chosen.segment_id, chosen.volume_nodes[0]).mask


def files(folder):
    return sorted(folder.glob("*.json"))


def only(offers):
    assert len(offers) == 1
    return offers[0]


def bring_back(logic):
    """As the module does after "Yes"."""
    check = logic.check()
    if logic.bring_back(only(check.kept)):
        logic.restore(check=check)
    else:
        logic.predict(check=check)
