"""What a hub answers, as dicts and lists that show themselves well in a terminal and in a notebook."""

import html

from . import tensors


def _table(head, rows):
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [head, *rows])


def _html_table(head, rows):
    cells = lambda tag, row: "".join(f"<{tag} style='text-align:left'>{html.escape(str(cell))}</{tag}>" for cell in row)
    return f"<table><tr>{cells('th', head)}</tr>" + "".join(f"<tr>{cells('td', row)}</tr>" for row in rows) + "</table>"


class Found(list):
    """What a search found: a list of dicts, and `total`, how many there are in all."""

    HEAD = ("name", "version", "type", "title")

    def __init__(self, document):
        super().__init__(document["items"])
        self.total = document["total"]

    def _rows(self):
        return [[item.get(key) or "" for key in self.HEAD] for item in self]

    def _rest(self):
        return "nothing found" if not self else "" if self.total <= len(self) else f"{len(self)} of {self.total}"

    def __repr__(self):
        return "\n".join(filter(None, [_table(self.HEAD, self._rows()) if self else "", self._rest()]))

    def _repr_html_(self):
        return (_html_table(self.HEAD, self._rows()) if self else "") + self._rest()


class Description(dict):
    """All that a hub says of one version; shown as its title and methods."""

    @property
    def title(self):
        titles = (self.get("datacite") or {}).get("titles") or [{}]
        return titles[0].get("title", "")

    def _lines(self):
        servable = self.get("servable") or {}
        yield f"{self.get('name')} version {self.get('version')}", self.title
        yield "type", servable.get("type", "")
        for name, method in sorted((servable.get("methods") or {}).items()):
            takes = ", ".join(map(repr, tensors.arguments(method.get("input") or {}, "input")))
            gives = ", ".join(map(repr, tensors.arguments(method.get("output") or {}, "output")))
            yield f"{name}()", f"{takes}  ->  {gives}"
            for key, value in (method.get("parameters") or {}).items():
                yield f"  parameter {key}", repr(value)
        yield "published", f"{self.get('published', '')} by {self.get('publisher', '')}"
        yield "digest", self.get("digest", "")

    def __repr__(self):
        lines = list(self._lines())
        return "\n".join([f"{lines[0][0]}: {lines[0][1]}", _table(*[lines[1], lines[2:]])])

    def _repr_html_(self):
        lines = list(self._lines())
        return f"<b>{html.escape(lines[0][0])}</b>: {html.escape(lines[0][1])}" + \
            "<table>" + "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in lines[1:]) + \
            "</table>"


class Version(dict):
    """What a publish made: {"name", "version", "digest", "golden", …}."""

    name = property(lambda self: self["name"])
    version = property(lambda self: self["version"])
    digest = property(lambda self: self.get("digest"))

    def __repr__(self):
        golden = self.get("golden") or {}
        tested = f", golden test passed ({golden['source']})" if golden.get("source") else ""
        return f"{self['name']} version {self['version']}{tested}"


class Blob(dict):
    """Bytes that the hub keeps: {"ref", "bytes", "created", "expires"}; in a run it stands for a file or an array (.npy)."""

    ref = property(lambda self: self["ref"])

    def __repr__(self):
        return f"{self.ref}, {self.get('bytes')} bytes, until {self.get('expires', '')}"


class Task(dict):
    """One publish or asynchronous run, as the hub last told of it."""

    id = property(lambda self: self["task_id"])
    status = property(lambda self: self.get("status"))
    is_over = property(lambda self: self.get("status") in ("succeeded", "failed", "cancelled", "expired"))

    def __repr__(self):
        stage = f", {self['stage']}" if self.get("stage") and not self.is_over else ""
        return f"task {self.id}: {self.get('servable', '')} {self.status}{stage}"
