"""The server's own page, for those without Slicer: what the browser asks, beside the interface of `server`.

The server keeps a page's history in the session that computes (`history`), reads files that a browser sends in memory
alone (`upload`), and writes what is downloaded (`downloads`). `static_files` gives the page itself, which `make page`
builds from the sources in the repository's folder `page/`.
"""
