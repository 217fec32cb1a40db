"""On which line of a TOML file every key and every element of an array stands.

`tomllib` gives values without their places. This scan walks over text that `tomllib` has
accepted, so it only has to know where things end, not whether they are right.
"""

from __future__ import annotations

import re

__all__ = ["TomlPath", "toml_lines"]

type TomlPath = tuple[str | int, ...]

_KEY = re.compile(r"""\s*("(?:\\.|[^"\\])*"|'[^']*'|[A-Za-z0-9_-]+)\s*""")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""+|' + r"'''(?:.|\n)*?'''+|" + r'"(?:\\.|[^"\\])*"|' + r"'[^']*'",
    re.DOTALL,
)
_SPACE = re.compile(r"(?:\s|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]\}\n#]*")


def toml_lines(text: str) -> dict[TomlPath, int]:
    """Find the line of every key and array element."""
    return _Scan(text).run()


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[TomlPath, int] = {}
        self.tables: dict[TomlPath, int] = {}

    def run(self) -> dict[TomlPath, int]:
        table: TomlPath = ()
        while True:
            self.skip()
            if self.at >= len(self.text):
                return self.lines
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)

    def skip(self) -> None:
        match = _SPACE.match(self.text, self.at)
        assert match is not None
        self.at = match.end()

    def note(self, path: TomlPath) -> None:
        self.lines.setdefault(path, self.text.count("\n", 0, self.at) + 1)

    def key(self) -> list[str]:
        parts = []
        while match := _KEY.match(self.text, self.at):
            parts.append(match[1].strip("\"'"))
            self.at = match.end()
            if self.text[self.at : self.at + 1] != ".":
                break
            self.at += 1
        return parts

    def header(self) -> TomlPath:
        start = self.at
        brackets = 2 if self.text.startswith("[[", self.at) else 1
        self.at += brackets
        parts = self.key()
        path: TomlPath = ()
        for part in parts[:-1]:
            path = (*path, part)
            if path in self.tables:
                path = (*path, self.tables[path])
        path = (*path, parts[-1])
        if brackets == 2:
            self.tables[path] = self.tables.get(path, -1) + 1
            path = (*path, self.tables[path])
        end, self.at = self.at + brackets, start
        self.note(path)
        self.at = end
        return path

    def pair(self, table: TomlPath) -> None:
        line_start = self.at
        path = (*table, *self.key())
        after, self.at = self.at, line_start
        self.note(path)
        self.at = after + 1  # the equals sign
        self.value(path)

    def value(self, path: TomlPath) -> None:
        self.skip()
        if match := _STRING.match(self.text, self.at):
            self.at = match.end()
        elif self.text[self.at] == "[":
            self.inside("]", path)
        elif self.text[self.at] == "{":
            self.inside("}", path)
        else:
            match = _SCALAR.match(self.text, self.at)
            assert match is not None
            self.at = match.end()

    def inside(self, end: str, path: TomlPath) -> None:
        """Walk over an array or an inline table."""
        self.at += 1
        index = 0
        while True:
            self.skip()
            if self.text[self.at] == end:
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
            elif end == "}":
                self.pair(path)
            else:
                self.note((*path, index))
                self.value((*path, index))
                index += 1
