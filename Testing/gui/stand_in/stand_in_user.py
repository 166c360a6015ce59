"""The user of a test: what was said to them, and what they answer.

What `slicer.util` does by itself is left to do it; only what waits for a user or changes the installation is replaced.
"""

from dataclasses import dataclass

from PySide6 import QtWidgets

from stand_in_wrapped import unwrap, wrap


@dataclass(frozen=True)
class Message:
    """What the user was told or asked."""

    kind: str
    text: str
    details: str = ""


def user_functions(application):
    """Functions of `slicer.util` that would wait for a user, or change more than the scene."""
    box = QtWidgets.QMessageBox

    def message_box(text, parent=None, **kwargs):
        kinds = {box.Icon.Warning: "warning", box.Icon.Critical: "error", box.Icon.Question: "question"}
        kind = kinds.get(unwrap(kwargs.get("icon")), "information")
        application.messages.append(Message(kind, text, kwargs.get("detailedText") or ""))
        buttons = box.StandardButton(int(kwargs.get("standardButtons") or box.StandardButton.Ok))
        if buttons == box.StandardButton.Ok:
            return wrap(buttons)
        if not application.answers:
            raise AssertionError(f"the user is asked {text!r}: put the answer into application.answers before")
        answer = application.answers.pop(0)
        ways = {True: ("Ok", "Yes", "Retry"), False: ("Cancel", "No", "Close")}
        chosen = [getattr(box.StandardButton, n) for n in ways.get(answer, ())]
        return wrap(next((b for b in chosen if b in buttons), answer))

    def select_module(module):
        application.selected_module = module if isinstance(module, str) else module.name

    def show_status(message, duration=0):
        application.status = message

    return {
        "messageBox": message_box,
        "delayDisplay": lambda text, *args, **kwargs: application.messages.append(Message("delay", text)),
        "selectModule": select_module,
        "showStatusMessage": show_status,
        "pip_install": lambda requirements, **kwargs: application.installed.append(requirements),
        "pip_uninstall": lambda requirements, **kwargs: application.uninstalled.append(requirements),
        "mainWindow": lambda: application.main_window,
    }
