"""What is remembered of earlier cases, in a file on this computer; only where the user said so."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.mrml.session.live_session import LiveSession

if TYPE_CHECKING:
    from context_propagation.core.session.session_settings import SessionSettings

logger = logging.getLogger(__name__)


class EarlierCases:
    """Reads and writes the drawing profile; what it needs is imported with a model's loading, not before.

    Attributes:
        file: Where the profile is; None: nothing is remembered, and no contour moved.
    """

    def __init__(self) -> None:
        self.file: Path | None = None

    def settings(self, loaded: LoadedModel, segment: BoxedMask) -> SessionSettings | None:
        """Of a session that begins where earlier cases were drawn; None where it begins as ever.

        Args:
            loaded: The model.
            segment: As it is; one that is not empty is never moved.

        Raises:
            UserInputError: The profile is damaged.
        """
        offset_mm = self.of_model(loaded)[1] if segment.is_empty else 0.0
        if not offset_mm:
            return None
        from context_propagation.core.session.session_settings import SessionSettings

        return loaded.settings(SessionSettings(start_offset_mm=offset_mm))

    def of_model(self, loaded: LoadedModel) -> tuple[int, float]:
        """How many cases of a model are remembered, and by how many mm its next contours are moved outwards.

        Raises:
            UserInputError: The profile is damaged.
        """
        if self.file is None:
            return 0, 0.0
        from context_propagation.core.session.drawing_profile import model_key, read_profile

        profile, key = read_profile(self.file), model_key(loaded.model)
        return profile.cases(key), profile.offset_mm(key)

    def learn(self, live: LiveSession) -> None:
        """Remember what is drawn in a session now; a profile that cannot be written stops no one."""
        if self.file is None:
            return
        from context_propagation.core.session.drawing_profile import read_profile, write_profile

        try:
            write_profile(read_profile(self.file).of_session(live.session, live.image_sha256), self.file)
        except UserInputError as error:
            logger.warning("%s", error)

    def forget(self) -> None:
        """Delete the profile, of all models.

        Raises:
            UserInputError: It cannot be deleted.
        """
        if self.file is not None:
            try:
                self.file.unlink(missing_ok=True)
            except OSError as error:
                raise UserInputError(f"Cannot delete '{self.file}': {error.strerror or error}") from error
