"""Saving and loading scenes, and the log of errors: with MRML's own functions."""

import logging
from pathlib import Path

import slicer
import vtk


class CoreIOManager:
    """`slicer.app.coreIOManager()`, for scenes alone: what Slicer's scene reader and writer call."""

    def __init__(self, folder):
        self._data, cache = slicer.vtkDataIOManager(), slicer.vtkCacheManager()  # a bundle is unpacked into the cache
        cache.SetRemoteCacheDirectory(str(folder))
        self._data.SetCacheManager(cache)
        slicer.mrmlScene.SetCacheManager(cache)
        slicer.mrmlScene.SetDataIOManager(self._data)

    def saveNodes(self, file_type, properties, messages=None):
        self._require_scene(file_type)
        path = Path(properties["fileName"])
        scene = slicer.mrmlScene
        scene.SetURL(str(path))
        scene.SetRootDirectory(str(path.parent))
        if path.suffix == ".mrb":
            return scene.WriteToMRB(str(path), None, messages)
        if path.suffix == ".mrml":
            return bool(scene.Commit())
        raise NotImplementedError(f"scenes are saved as .mrb or .mrml here, not as {path.name!r}")

    def loadNodes(self, file_type, properties, nodes=None, messages=None):
        self._require_scene(file_type)
        path = Path(properties["fileName"])
        scene, clear = slicer.mrmlScene, bool(properties.get("clear", False))
        scene.SetURL(str(path))
        if path.suffix == ".mrb":
            return scene.ReadFromMRB(str(path), clear, messages)
        return bool(scene.Connect(messages) if clear else scene.Import(messages))

    @staticmethod
    def _require_scene(file_type):
        if file_type != "SceneFile":
            raise NotImplementedError(f"{file_type!r} is not read or written here; scenes are")


class ErrorLogModel(logging.Handler):
    """`slicer.app.errorLogModel()`: Python's log and VTK's messages, in a file written as Slicer's is."""

    fileLoggingEnabled = True

    def __init__(self, folder):
        super().__init__(logging.DEBUG)
        self._path = Path(folder) / "Slicer.log"
        self._path.write_text("", "utf-8")
        logging.getLogger().addHandler(self)
        self._window, self._tags = vtk.vtkOutputWindow.GetInstance(), []
        for event, level in (("ErrorEvent", "ERROR"), ("WarningEvent", "WARNING")):
            self._tags.append(self._window.AddObserver(event, self._vtk_says(level)))

    @property
    def filePath(self):
        return str(self._path)

    def emit(self, record):
        self._write(record.levelname, "Python", record.getMessage())

    def close(self):
        logging.getLogger().removeHandler(self)
        for tag in self._tags:
            self._window.RemoveObserver(tag)
        self._tags.clear()
        super().close()

    def _vtk_says(self, level):
        def write(window, event, text=""):
            self._write(level, "VTK", text)

        write.CallDataType = vtk.VTK_STRING
        return write

    def _write(self, level, origin, text):
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"[{level}][{origin}] - {text}\n")
