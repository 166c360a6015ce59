"""What a test changes in modules that all tests share, and how it is taken back."""

import sys


class Changes:
    """Attributes and modules that are set until `undo`."""

    def __init__(self):
        self._undo = []

    def set_attribute(self, holder, name, value):
        missing, before = name not in vars(holder), vars(holder).get(name)
        self._undo.append((lambda: delattr(holder, name)) if missing else (lambda: setattr(holder, name, before)))
        setattr(holder, name, value)

    def set_module(self, name, module):
        """Put a module into `sys.modules`, and into its package."""
        before = sys.modules.get(name)
        self._undo.append(lambda: sys.modules.pop(name) if before is None else sys.modules.update({name: before}))
        sys.modules[name] = module
        package, _, short = name.rpartition(".")
        if package:
            self.set_attribute(sys.modules[package], short, module)

    def undo(self):
        while self._undo:
            self._undo.pop()()


running = []  # the changes of the applications that run: one, but for a test of the application itself
