"""How long each step of a user holds Slicer's main thread; see `main_thread.py`."""
