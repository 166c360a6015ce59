"""Load, predict, edit, propagate, measure, save: what the module, the effect, the console and scripts share."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import slicer

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.device import free_device_memory
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.session.saved_session import SavedSession
from context_propagation.mrml.editing_logic import EditingLogic
from context_propagation.mrml.model_loading import is_loaded_so, loading_operation
from context_propagation.mrml.nodes.segments import segment_name
from context_propagation.mrml.nodes.selection import Selection, require_different, selection_of
from context_propagation.mrml.session.doubt_maps import DoubtMaps
from context_propagation.mrml.session.earlier_edits import Earlier, earlier_of, saved_in_scene, to_replay
from context_propagation.mrml.session.live_session import LiveSession
from context_propagation.mrml.session.operation import Operation, Result
from context_propagation.mrml.session.put_back import Offer, offered, put_back
from context_propagation.mrml.session.session_node import started_segments
from context_propagation.mrml.session.session_start import SessionStart
from context_propagation.mrml.session.start_check import StartCheck, check_operation
from context_propagation.mrml.writing.segment_writer import SegmentWriter, WriteReport

if TYPE_CHECKING:
    from context_propagation.core.session.session_settings import SessionSettings
    from context_propagation.remote.remote_server import RemoteServer


logger = logging.getLogger(__name__)


class ContextPropagationLogic(EditingLogic):
    """One model, one image, and a session with cached features for each segment that was started; one is in use.

    Everything long comes twice: `predict` runs here, `predict_operation` gives an `Operation` whose long part may run
    on another thread. One at a time.

    Args:
        scene: Where the nodes are: `slicer.mrmlScene` in the application.

    Attributes:
        maps: The model's probability and its uncertainty, over the slice views and as volumes.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        super().__init__(scene)
        self.maps = DoubtMaps(self.scene, self._current, self._require_selection)

    # -- model -------------------------------------------------------------------------------------------------------

    def load_model(
        self,
        folder: str | Path,
        label: str | int | None = None,
        device: str = "auto",
        trust: bool = False,
        orientation: str | None = None,
        general_far: bool = True,
        server: RemoteServer | None = None,
    ) -> LoadedModel:
        """`load_operation`, run here."""
        return self.load_operation(folder, label, device, trust, orientation, general_far, server).run()

    def load_operation(
        self,
        folder: str | Path,
        label: str | int | None = None,
        device: str = "auto",
        trust: bool = False,
        orientation: str | None = None,
        general_far: bool = True,
        server: RemoteServer | None = None,
    ) -> Operation[LoadedModel]:
        """Load a bundle or a base model; all sessions with the earlier one are closed.

        Where it is another label of the same nnU-Net, nothing is loaded, and they go on.

        Args:
            folder: A bundle, or a trained model of nnU-Net v2, a PSNN, or a MONAI bundle.
            label: Name or value of the label to refine, where there are several.
            device: "auto", "cpu", "cuda" or "mps".
            trust: Let a MONAI bundle's own expressions run.
            orientation: Letters that the training's arrays ran towards, where the model does not say them; as "LPS".
            general_far: Let the general far network change far slices, where the folder has no fusion network.
            server: Where it is computed; then `folder` is a name in its list, and `device`, `trust` and `orientation`
                are the server's own affair. None for this computer.

        Raises:
            UserInputError: The folder cannot be used, now or when it is loaded.
        """
        self._current.require_idle()
        same = self.loaded is not None and is_loaded_so(self.loaded, folder, device, orientation, general_far, server)
        other = self.loaded.with_label(label) if self.loaded is not None and same and label is not None else None
        loading = (
            loading_operation(folder, label, device, trust, orientation, general_far, server)
            if other is None
            else Operation("Load model", lambda progress, cancelled: other, lambda loaded: loaded)
        )

        def finish(loaded: LoadedModel) -> LoadedModel:
            self._current.require_idle()
            if other is None:
                self.maps.hide()
                self._current.close_all()
            self.loaded = loaded
            if self.selection is not None:
                self._current.choose(self.selection, self._label)
            return loaded

        return replace(loading, finish=finish)

    # -- what is worked on -------------------------------------------------------------------------------------------

    def select(
        self,
        volume_nodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
        segmentation_node: slicer.vtkMRMLSegmentationNode | None = None,
        segment: str | None = None,
    ) -> Selection:
        """Choose volumes and a segment, and go on with its session if it has one for the model's label; those on other
        volumes are closed.

        Args:
            volume_nodes: One per channel, in the model's order.
            segmentation_node: Without it, one is added on the first volume's grid.
            segment: ID or name; without it the only segment, or a new empty one with the name of the model's label.

        Raises:
            UserInputError: No volume or one twice, no such segment, or several and none named; or a run or a preview of
                the earlier selection is not over.
        """
        require_different(volume_nodes)
        if segmentation_node is None or not segmentation_node.GetSegmentation().GetNumberOfSegments():
            self._current.require_idle()  # before anything is added to the scene
        name = self.loaded.model.target_name if self.loaded else "GTV"
        selection = selection_of(self.scene, volume_nodes, segmentation_node, segment, name)
        if selection != self.selection:
            self._current.choose(selection, self._label)
            self.selection = selection
            if self._current.live is None:
                self.maps.hide()
        return selection

    def go_on_with(self, selection: Selection) -> bool:
        """Select what has a session already, and the model's label that it is for.

        Returns:
            Whether it is selected now; False where it has no session, or a run or a preview is not over.
        """
        found = next((live for live in self.sessions if live.selection == selection), None)
        if found is not None and selection != self.selection and not self._current.busy:
            self.loaded = found.loaded
            self.select(selection.volume_nodes, selection.segmentation_node, selection.segment_id)
        return selection == self.selection

    def check(self) -> StartCheck:
        """`check_operation`, run here."""
        return self.check_operation().run()

    def check_operation(self) -> Operation[StartCheck]:
        """Look at the volumes and plan the cache, before anything is given up for it; hand it on to `predict`.

        Raises:
            UserInputError: Nothing is selected, volumes cannot be used, or the cache does not fit into memory, now or
                when it runs.
        """
        loaded, selection = self._require_loaded(), self._require_selection()
        self._current.require_idle()
        free_device_memory()
        segment = self._boxed_segment()
        earlier = self._earlier(segment)
        node = selection.segmentation_node
        started = started_segments(self.scene, node, selection.volume_nodes[0])
        beside = tuple(segment_name(node, one) for one in started if one != selection.segment_id)
        rooms, kept_on = self._current.rooms(), self.journal.found if self.journal.left_behind else None
        operation = check_operation(loaded, selection.volume_nodes, segment, earlier, rooms, beside, kept_on)

        def finish(check: StartCheck) -> StartCheck:
            self._current.foresee(check.memory)
            return replace(check, kept=offered(check.kept, selection, loaded))

        return replace(operation, finish=finish)

    # -- the image ---------------------------------------------------------------------------------------------------

    def predict(
        self,
        writer: SegmentWriter | None = None,
        check: StartCheck | None = None,
        keep_drawn: bool = True,
        fill: bool = True,
    ) -> WriteReport:
        """`predict_operation`, run here; beside other segments' sessions `check` comes first, which makes room."""
        if check is None and any(live.selection != self.selection for live in self.sessions):
            check = self.check()
        return self.predict_operation(writer, check, keep_drawn, fill).run()

    def predict_operation(
        self,
        writer: SegmentWriter | None = None,
        check: StartCheck | None = None,
        keep_drawn: bool = True,
        fill: bool = True,
    ) -> Operation[WriteReport]:
        """Cache the image for edits. A segment that is empty is filled with the model's prediction.

        Args:
            writer: Who writes voxels; without it, a writer with a history of its own that takes nothing from others.
            check: What was found before, if it was looked at; it saves doing it again, and other segments' sessions are
                closed where memory is short beside them.
            keep_drawn: Whether propagation leaves alone the slices that still are as they were drawn before, and those
                redrawn since.
            fill: False leaves an empty segment empty: draw one slice of a lesion that the model missed, and propagate.

        Returns:
            An operation that reports what was written.

        Raises:
            UserInputError: No model, no volumes, or they cannot be used.
        """
        segment = self._boxed_segment()
        settings = self.earlier_cases.settings(self._require_loaded(), segment) if fill else None
        start = self._new_start(writer, settings)
        selection = self._require_selection()
        earlier = self._earlier(segment)
        if earlier.trouble and check is None:
            logger.warning(earlier.trouble)
        ready = check.image_for(self._require_loaded(), selection.volume_nodes) if check else None
        drawn = earlier.drawn if keep_drawn else ()
        operation = start.predict_operation(drawn, earlier.image_sha256, ready, fill)
        return self._begin_anew(start, operation, check)

    # -- saved scenes ------------------------------------------------------------------------------------------------

    def saved_session(self) -> SavedSession | None:
        """What the scene holds of earlier edits of the selected segment; None where there is nothing."""
        return saved_in_scene(self.scene, self._require_selection())

    def restore(self, writer: SegmentWriter | None = None, check: StartCheck | None = None) -> SavedSession:
        """`restore_operation`, run here."""
        return self.restore_operation(writer, check).run()

    def restore_operation(
        self, writer: SegmentWriter | None = None, check: StartCheck | None = None
    ) -> Operation[SavedSession]:
        """Replay the edits that the scene holds; the segment is not written.

        What the segment differs in from what it was after the last propagation counts as drawn since. Propagations made
        before cannot be undone.

        Args:
            writer: As in `predict_operation`.
            check: As in `predict_operation`.

        Raises:
            UserInputError: The scene holds none, or they were made with another model.
        """
        loaded, selection = self._require_loaded(), self._require_selection()
        saved = to_replay(self.scene, loaded, selection)
        from context_propagation.core.session.saved_settings import read_settings

        start = self._new_start(writer, read_settings(saved.settings, Path("the scene's record")))
        ready = check.image_for(loaded, selection.volume_nodes) if check else None
        return self._begin_anew(start, start.replay_operation(saved, ready), check)

    # -- after a crash -----------------------------------------------------------------------------------------------

    def keep_drawn(self) -> None:
        """Keep what is drawn now, for when Slicer dies; each propagation, undo and redo is kept by itself.

        Call it every few seconds. Nothing is kept without a folder in `journal.folder`, and before something is drawn;
        what the user saved or closed is no longer kept.
        """
        live = self._current.live
        if live is not None and self.journal.folder is not None:
            if not live.propagation.busy:
                with suppress(UserInputError):  # moved, changed or gone: then what was kept last is what there is
                    self.follow()
            self.journal.write(live)
        self.journal.tidy()

    def bring_back(self, offer: Offer) -> bool:
        """Make the segment what it was before Slicer stopped, and put the record of its edits into the scene.

        Args:
            offer: One of `StartCheck.kept`; not for another volume or model than it was made for.

        Returns:
            Whether its edits can be replayed: then `restore`. Else `predict`, which leaves alone the slices that were
            drawn.

        Raises:
            UserInputError: The segment is neither empty nor as it once was in that work, or the volume is another one;
                nothing is changed.
        """
        selection = self._require_selection()
        self._current.require_idle()
        self.close_session()
        put_back(self.scene, selection, offer)
        self.journal.take_over(offer, selection)
        return not offer.not_replayed

    # -- end ---------------------------------------------------------------------------------------------------------

    def close_session(self) -> None:
        """Free the cached features of the selected segment; selection, segment and scene stay as they are.

        The image as the model sees it stays, so that another session on it begins at once.
        """
        self.maps.hide()
        if self.selection is not None:
            self._current.close(self.selection)

    def forget_gone(self) -> None:
        """Free the sessions of what is gone from the scene, and what the model made of the image if none is left."""
        self._current.close_gone()
        if self.selection is not None and not self.selection.is_there():
            self.close_session()
            self.selection = None
        if self.loaded is not None and not self.sessions:
            self.loaded.forget_image()

    def close(self) -> None:
        """Free all sessions and the model, forget the selection, and keep nothing for when Slicer dies."""
        self.maps.hide()
        self._current.close_all()
        self.journal.close()
        self.loaded = self.selection = None
        free_device_memory()

    # -- parts -------------------------------------------------------------------------------------------------------

    @property
    def _label(self) -> str | None:
        return None if self.loaded is None else self.loaded.model.target_name

    def _new_start(self, writer: SegmentWriter | None, settings: SessionSettings | None = None) -> SessionStart:
        """A session without an image; the one in use is untouched."""
        loaded, selection = self._require_loaded(), self._require_selection()
        self._current.require_idle()
        return SessionStart(self.scene, loaded, selection, writer, settings)

    def _begin_anew(
        self, start: SessionStart, operation: Operation[tuple[LiveSession, Result]], check: StartCheck | None
    ) -> Operation[Result]:
        """See `CurrentSession.becoming_live`; what is shown of the session in use ends with it."""
        becoming = self._current.becoming_live(start, operation, check.closes if check else ())

        def begin() -> None:
            becoming.begin()
            self.maps.hide()

        return replace(becoming, begin=begin)

    def _earlier(self, segment: BoxedMask) -> Earlier:
        """What is known of earlier edits of a segment: from the session in use, or the scene."""
        return earlier_of(self._current.live, self.scene, self._require_selection(), segment, self.plane)
