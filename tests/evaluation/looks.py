"""Print tables to a terminal of fixed width, and parse pages as a browser would."""

from html.parser import HTMLParser

from rich.console import Console

VOID = ("meta", "img", "br", "wbr", "hr", "link")


def printed(what: object, width: int = 80) -> str:
    """Return the text that a terminal of this width shows."""
    console = Console(width=width)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


class Page(HTMLParser):
    """Parser that collects what a browser would load and fails on mismatched tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.rows: list[str] = []  # classes of table rows
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.loads += [v for name, v in attrs if v and name in ("src", "href", "xlink:href", "srcset", "data")]
        self.ids += [given["id"] or ""] if "id" in given else []
        self.rows += [given.get("class") or ""] if tag == "tr" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()
