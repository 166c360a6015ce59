"""A case summary as a browser shows it."""

import html.parser
import re


class SummaryPage(html.parser.HTMLParser):
    """Tags, texts, and tables by the words in their first column.

    Attributes:
        tags: All start tags.
        sources: All that is referred to: src and href.
        text: All text.
        rows: The cells of each table row.
    """

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.text, self.rows = [], [], "", []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        self._in_cell = tag in ("th", "td")

    def handle_endtag(self, tag):
        self._in_cell = False

    def handle_data(self, data):
        self.text += data
        if self._in_cell:
            self.rows[-1][-1] += data

    def value(self, name):
        """The second cell of the row that begins with a name."""
        return next(row[1] for row in self.rows if row and row[0] == name)


def without_pictures(text):
    """The page's source without what only pictures hold."""
    return re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", text)
