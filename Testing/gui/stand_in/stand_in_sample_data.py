"""Slicer's module Sample Data: sources are registered in `slicer.modules.sampleDataSources`, and downloaded by name.

As in Slicer, a source's own downloader is called by its button alone; `downloadSample` fetches the source's files into
the scene's cache, where a file of that name is taken as downloaded already, and loads them.
"""

import os
import urllib.parse
import urllib.request

import slicer

LISTS = ("uris", "fileNames", "nodeNames", "loadFiles", "loadFileTypes", "checksums")


class SampleDataSource:
    def __init__(
        self,
        sampleName=None,
        sampleDescription=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        checksums=None,
        loadFiles=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFileProperties=None,
        loadFileType=None,
    ):
        self.sampleName, self.sampleDescription = sampleName, sampleDescription or sampleName
        given = {"uris": uris, "fileNames": fileNames, "nodeNames": nodeNames, "loadFiles": loadFiles}
        given |= {"loadFileTypes": loadFileTypes or loadFileType, "checksums": checksums}
        count = None if isinstance(uris, str) else len(uris)
        lists = {n: [v] if count is None else [None] * count if v is None else v for n, v in given.items()}
        if len({len(values) for values in lists.values()}) > 1:
            raise ValueError("All fields of sample data source must have the same length")
        for name, values in lists.items():
            setattr(self, name, values)
        self.customDownloader, self.thumbnailFileName = customDownloader, thumbnailFileName
        self.loadFileProperties = loadFileProperties or {}

    def __eq__(self, other):
        return str(self) == str(other)

    __hash__ = None

    def __str__(self):
        files = list(zip(*(getattr(self, name) for name in LISTS), strict=True))
        return f"{self.sampleName} {self.sampleDescription} {self.thumbnailFileName} {self.customDownloader} {files}"


class SampleDataLogic:
    @staticmethod
    def sampleDataSourcesByCategory(category=None):
        sources = vars(slicer.modules).setdefault("sampleDataSources", {})
        return sources if category is None else sources.get(category, [])

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        **others,
    ):
        sources = SampleDataLogic.sampleDataSourcesByCategory().setdefault(category, [])
        files = {"uris": uris, "fileNames": fileNames, "nodeNames": nodeNames}
        pictures = {"customDownloader": customDownloader, "thumbnailFileName": thumbnailFileName}
        source = SampleDataSource(sampleName, **files, **pictures, **others)
        if source not in sources:
            sources.append(source)

    def sourceForSampleName(self, name):
        found = [s for sources in self.sampleDataSourcesByCategory().values() for s in sources if s.sampleName == name]
        return found[0] if found else None

    def downloadSample(self, name):
        return self.downloadSamples(name)[0]

    def downloadSamples(self, name):
        source = self.sourceForSampleName(name)
        return self.downloadFromSource(source) if source else []

    def downloadFromSource(self, source):
        fields = zip(source.uris, source.fileNames, source.nodeNames, source.loadFileTypes, strict=False)
        return [self._load(self._in_cache(uri, file), name, kind) for uri, file, name, kind in fields]

    def _in_cache(self, uri, name):
        path = f"{slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()}/{name}"
        if not os.path.exists(path) or os.stat(path).st_size == 0:
            if urllib.parse.urlparse(uri).scheme != "file":
                raise ValueError(f"Failed to download {uri} to {path}")  # there is no network here
            urllib.request.urlretrieve(uri, path)
        return path

    def _load(self, path, name, kind):
        classes = {
            "VolumeFile": ("vtkMRMLScalarVolumeNode", slicer.vtkMRMLVolumeArchetypeStorageNode),
            "SegmentationFile": ("vtkMRMLSegmentationNode", slicer.vtkMRMLSegmentationStorageNode),
        }
        node_class, storage_class = classes[kind]
        node = slicer.mrmlScene.AddNewNodeByClass(node_class, name)
        storage = storage_class()
        storage.SetFileName(path)
        if not storage.ReadData(node):
            raise ValueError(f"{path} could not be read")
        node.CreateDefaultDisplayNodes()
        return node


def download_samples(name):
    """`SampleData.downloadSamples`."""
    return SampleDataLogic().downloadSamples(name)


def download_sample(name):
    """`SampleData.downloadSample`."""
    return SampleDataLogic().downloadSample(name)
