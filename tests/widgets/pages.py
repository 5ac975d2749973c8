"""What a panel shows, taken apart as a browser would: for tests without one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser

import ipywidgets as w

# What the panels are made of. Anything else has come from outside.
TAGS = {*"style div span b ul li a label details summary pre table thead tbody tr th td".split()}  # noqa: SIM905 - seventeen pairs of quotes say no more
ATTRIBUTES = {"class", "style", "role", "aria-live", "scope", "href"}


class Page(HTMLParser):
    """Tags, attributes and text of a piece of HTML."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def widgets(root: w.Widget) -> Iterator[w.Widget]:
    yield root
    for child in getattr(root, "children", ()):
        yield from widgets(child)


def pages(root: w.Widget) -> list[Page]:
    """Every piece of HTML in a panel."""
    return [Page(each.value) for each in widgets(root) if isinstance(each, w.HTML)]


def shown(root: w.Widget) -> str:
    """All text that a panel shows as HTML."""
    return "\n".join(page.text for page in pages(root))


def state(root: w.Widget) -> str:
    """Everything of a panel that goes to the page, to a saved notebook or to a second participant."""
    return json.dumps([each.get_state() for each in widgets(root)], default=repr)


def assert_harmless(root: w.Widget) -> None:
    """Nothing but our own tags, and no character that cannot be seen or that turns the direction."""
    for page in pages(root):
        assert page.tags <= TAGS
        assert {name for name, _ in page.attributes} <= ATTRIBUTES
        assert all(character.isprintable() or character in "\n\t" for character in page.text), repr(page.text)
