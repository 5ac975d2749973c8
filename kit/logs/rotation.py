"""Which files a path names, and in which order: a log and its rotated copies, the oldest first, each once."""

from __future__ import annotations

import codecs
import glob
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from kit.errors import UnreadableInput
from kit.logs.envelope import canonical, stamp_of
from kit.logs.records import REPORT, Header
from kit.logs.source import Source, unreadable

_SPECIAL: Final = {
    stat.S_IFIFO: ("is a pipe", "Give - and let the pipe feed standard input: kit logs - < {path}"),
    stat.S_IFCHR: ("is a device, not a log", "Give the log's own path"),
    stat.S_IFBLK: ("is a device, not a log", "Give the log's own path"),
    stat.S_IFSOCK: ("is a socket, not a log", "Give the file that the syslog daemon writes"),
}
_HEAD: Final = 1 << 16
_FIRST_LINES: Final = 10
"""Of a file in a folder, of which one has a time if it is a log: a script may have one further down."""
_ENDING: Final = re.compile(r"(?:\.(?:gz|xz|zst|bz2|log))+$", re.IGNORECASE)
_PACKED: Final = re.compile(r"\.(?:gz|xz|zst|bz2)$", re.IGNORECASE)
# What rotation adds: a date, perhaps with an hour or a number behind it, the second since 1970, or a number that grows with age.
_TURN: Final = re.compile(
    r"(?:(?<!\d)(?P<year>(?:19|20)\d\d)[-_.]?(?P<month>0[1-9]|1[0-2])(?:[-_.]?(?P<day>0[1-9]|[12]\d|3[01]))?(?P<more>[-_.T\d]{0,24})"
    r"|(?<=-)(?P<epoch>1\d{9})|(?<=\.)(?P<number>\d{1,3}))$",
    re.ASCII,
)


def find_sources(paths: Iterable[str | os.PathLike[str]]) -> list[Source]:
    """What the paths name, oldest first within a series of rotated files: files, folders, glob patterns, `-`.

    A shell puts mail.log before mail.log.1, so files that were named one by one are put in order too. A file that is named twice is
    read once.

    Raises:
        UnreadableInput: a path names nothing that can be read as a log.
    """
    sources: list[Source] = []
    for given in paths:
        name = os.fspath(given)
        if name == "-":
            sources.append(Source(name="-", path=None, modified=datetime.now(UTC), size=None))
        elif not os.path.lexists(name) and glob.has_magic(name) and (found := glob.glob(name)):  # noqa: PTH207 - the pattern may be absolute
            sources += [_file(Path(path)) for path in sorted(found)]
        elif os.path.isdir(name):  # noqa: PTH112 - Path.is_dir raises where a name is too long
            sources += _folder(Path(name))
        else:
            sources.append(_file(Path(name)))
    return _once(in_order(sources))


def in_order(sources: Iterable[Source]) -> list[Source]:
    """Each series of rotated files oldest first, the series as they come."""
    place: dict[str, int] = {}
    by_series = [(_series(source.name), source) for source in sources]
    for (stem, *_), _ in by_series:
        place.setdefault(stem, len(place))
    return [source for _, source in sorted(by_series, key=lambda each: (place[each[0][0]], *each[0][1:]))]


def _file(path: Path) -> Source:
    try:
        about = path.stat()
    except (OSError, ValueError) as fault:
        raise unreadable(str(path), fault) from fault
    if special := _SPECIAL.get(stat.S_IFMT(about.st_mode)):
        raise UnreadableInput(special[0], where=str(path), next_step=special[1].format(path=path))
    try:
        path.open("rb").close()
    except OSError as fault:
        raise unreadable(str(path), fault) from fault
    modified = datetime.fromtimestamp(about.st_mtime, UTC)
    return Source(name=str(path), path=path, modified=modified, size=about.st_size, named=day_of(path.name))


def _folder(folder: Path) -> list[Source]:
    """The logs that lie directly in a folder: regular files that begin with a line whose time is one that logs have."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as fault:
        raise unreadable(str(folder), fault) from fault
    found, passed = [], []
    for path in entries:
        try:
            source = _file(path)
            like_a_log = _begins_like_a_log(_head(source).decode("utf-8", "replace"), _FIRST_LINES)
        except UnreadableInput as fault:
            # A log that may not be read, or not as it is, is told; what is no log is passed over.
            if isinstance(fault.__cause__, PermissionError) or _holds_a_log(path):
                problem = f"{fault.what}. {fault.next_step}"
                passed.append(Source(name=str(path), path=None, modified=datetime.now(UTC), size=None, problem=problem))
            continue
        if like_a_log:
            found.append(_file(path))
        elif source.problem:  # packed, and damaged from the beginning
            passed.append(source)
    if not found and passed:
        raise UnreadableInput(passed[0].problem or "cannot be read", where=passed[0].name)
    if not found:
        raise UnreadableInput(
            "no file here begins like a log",
            where=str(folder),
            next_step="Give the folder or file that holds the mail log, often /var/log/mail.log",
        )
    return found + passed


def has_no_times(source: Source) -> bool:
    """Whether none of the lines at its beginning has a time that logs have. Of standard input that is not known, once it was read."""
    if source.path is None or source.problem:
        return False
    return not _begins_like_a_log(_head(replace(source, taken=0)).decode("utf-8", "replace"), None)


def _begins_like_a_log(head: str, most: int | None) -> bool:
    """Whether one of so many lines has a time, or names the columns that follow."""
    header = Header()
    return any(stamp_of(canonical(line, header)) or line.startswith("#Fields:") for line in head.split("\n")[:most])


def _holds_a_log(path: Path) -> bool:
    """Whether what cannot be read as text is a log all the same: in UTF-16, or a report of Exchange."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    in_utf_16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return bool(REPORT.match(head)) or (in_utf_16 and _begins_like_a_log(head.decode("utf-16", "replace"), _FIRST_LINES))


def _head(source: Source) -> bytes:
    return bytes(next(source.blocks(), (0, b""))[1][:_HEAD])


def _once(sources: list[Source]) -> list[Source]:
    """Without a file that is there already: by whatever name, packed beside itself, as rotation leaves it when it is interrupted, or
    as Exim's main log, in which each line of its reject log stands too.
    """
    seen: set[tuple[int, int]] = set()
    kept = []
    for source in sources:
        about = None
        if source.path is not None:
            with suppress(OSError):
                about = source.path.stat()
        if about is None or source.problem or (about.st_dev, about.st_ino) not in seen:
            kept.append(source)
        if about:
            seen.add((about.st_dev, about.st_ino))
    plain = {source.path for source in kept}
    series = {_series(source.name)[0] for source in kept}
    kept = [source for source in kept if not ((main := _main_log(source.name)) and main in series)]
    return [source for source in kept if not ((path := source.path) and _PACKED.search(path.name) and _is_copy(path, plain))]


def _main_log(name: str) -> str | None:
    """What Exim's main log is called, of which that is the reject log, as distributions name the two."""
    stem, found, end = _series(name)[0].rpartition("reject")
    return f"{stem}main{end}" if found and end in ("", "log", ".log", "_log") else None


def _is_copy(packed: Path, plain: set[Path | None]) -> bool:
    """Whether the file of that name unpacked is there too and begins the same: an older file may have been left under its name."""
    if (path := packed.with_suffix("")) not in plain:
        return False
    heads = _head(_file(packed)), _head(_file(path))
    return bool(heads[0]) and heads[1].startswith(heads[0])


def _series(name: str) -> tuple[str, int, tuple[int, ...]]:
    """The name without what rotation adds; then a key that puts numbered files, the highest first, before dated ones, and both before
    the one that is still written.
    """
    stem = _ENDING.sub("", name)
    if not (turn := _TURN.search(stem)):
        return stem, 2, ()
    key = (0, (-int(turn["number"]),)) if turn["number"] else (1, tuple(map(int, re.findall(r"\d+", turn[0]))))
    return _ENDING.sub("", stem[: turn.start()].rstrip("._-")), *key


def day_of(name: str) -> date | None:
    """The day in a rotated file's name; the last one of its month where it names none."""
    turn = _TURN.search(_ENDING.sub("", name))
    if not turn or turn["number"]:
        return None
    try:
        if turn["epoch"]:
            return datetime.fromtimestamp(int(turn["epoch"]), UTC).date()
        return date(int(turn["year"]), int(turn["month"]), int(turn["day"] or 28))
    except ValueError:
        return None
