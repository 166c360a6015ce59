"""The test answers what the user is asked, with and without `--testing`; any other dialog is closed and told.

Without `--testing` the real boxes open, and a timer presses their buttons. With it Slicer's functions answer by
themselves, always the same: there the test's answers are given in their place.
"""

import time
from dataclasses import dataclass

import qt
import slicer

from app_holds import holds

LOOK_MS = 50
PATIENCE = 6.0
"""Seconds that a window which is no message box may stay, such as a notice that closes itself."""

ASKING = {
    "confirmYesNoDisplay": lambda button: button == "Yes",
    "confirmOkCancelDisplay": lambda button: button == "OK",
    "confirmRetryCloseDisplay": lambda button: button == "Retry",
    "messageBox": lambda button: getattr(qt.QMessageBox, {"OK": "Ok"}.get(button, button)),
    "errorDisplay": lambda button: None,
    "warningDisplay": lambda button: None,
    "infoDisplay": lambda button: None,
    "delayDisplay": lambda button: None,
}
"""Functions of `slicer.util`, and what each gives back for a button."""

PROGRESS = ("QProgressDialog", "ctkProgressDialog")


@dataclass
class Answer:
    """What the test says to a text, once."""

    part: str
    button: str
    must_be_asked: bool = True


class Dialogs:
    """Answers, and what else was shown.

    Attributes:
        texts: All that was shown or asked, first to last.
        unexpected: What nobody had an answer to.
        clicks: How many buttons were pressed.
    """

    def __init__(self):
        self.texts, self.unexpected, self.clicks = [], [], 0
        self._answers, self._seen, self._real = [], None, {}
        self._timer = qt.QTimer()
        self._timer.setInterval(LOOK_MS)
        self._timer.connect("timeout()", self._look)

    def start(self):
        """Answer from now on."""
        for name, as_given in ASKING.items():
            self._real[name] = getattr(slicer.util, name)
            setattr(slicer.util, name, self._instead_of(name, as_given))
        self._timer.start()

    def stop(self):
        """Let the user be asked again."""
        self._timer.stop()
        self._timer.disconnect("timeout()", self._look)  # a connection keeps what it calls alive
        for name, function in self._real.items():
            setattr(slicer.util, name, function)
        self._real.clear()

    def answer(self, part, button="OK", must_be_asked=True):
        """Press a button ("Yes", "No", "OK", "Cancel", "Retry", "Close") when a text with this part is shown, once."""
        self._answers.append(Answer(part, button, must_be_asked))

    def never_shown(self):
        """The parts of those answers that should have been asked for and were not; forgets all of them."""
        left, self._answers = [a.part for a in self._answers if a.must_be_asked], []
        return left

    # with --testing

    def _instead_of(self, name, as_given):
        def say(text, *args, **kwargs):
            if name == "delayDisplay":
                slicer.app.processEvents()  # a notice asks nothing, and would stay for a second
                return None
            if slicer.app.testingEnabled():
                return as_given(self._take(text))
            return self._real[name](text, *args, **kwargs)

        return say

    def _take(self, text):
        self.texts.append(text)
        answer = next((a for a in self._answers if a.part in text), None)
        if answer is None:
            self.unexpected.append(text)
            return "Cancel"
        self._answers.remove(answer)
        self.clicks += 1
        return answer.button

    # without

    def _look(self):
        menu = slicer.app.activePopupWidget()
        if menu is not None and menu.inherits("QMenu"):
            self.unexpected.append("a menu")
            menu.close()
        window = slicer.app.activeModalWidget()
        if window is None or window.className() in PROGRESS:
            self._seen = None
            return
        holds.waited_for_an_answer()
        if window.inherits("QMessageBox"):
            self._press(window, self._take(window.text))
        elif self._seen is None or self._seen[0] != window:
            self._seen = (window, time.monotonic())
        elif time.monotonic() - self._seen[1] > PATIENCE:
            labels = slicer.util.findChildren(window, className="QLabel")
            self.unexpected.append(f"{window.className()} {window.windowTitle!r}: {[label.text for label in labels]}")
            window.close()

    @staticmethod
    def _press(box, name):
        button = box.button(getattr(qt.QMessageBox, {"OK": "Ok"}.get(name, name)))
        if button is not None:
            button.click()
        else:
            box.close()
