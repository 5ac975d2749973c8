"""What lines say, in columns: attempts that may still learn from lines to come."""

from __future__ import annotations

import re
import struct
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import count, islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kit.logs.classes import LineClass
from kit.logs.envelope import UNREADABLE
from kit.logs.scan import Batch, Events, Ints
from kit.model import Cause, Outcome

# What the columns hold, and what servers write there for nothing.
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "host": ("-",),
    "server": (),
    "service_raw": (),
    "outcome": (),
    "cause": (),
    "user": (),
    "client_ip": (),
    "client_port": (),
    "client_name": ("unknown", "<unknown>", "NXDOMAIN", "DNSERROR"),
    "helo": (),
    "mechanism": (),
    "tls": (),
    "session": (),
}

# Dovecot's auth lines name the password database for plaintext mechanisms, and the mechanism itself for the others.
_MECHANISMS: Final = (
    "plain",
    "login",
    "cram-md5",
    "digest-md5",
    "scram-sha-1",
    "scram-sha-256",
    "xoauth2",
    "oauthbearer",
    "external",
    "gssapi",
    "ntlm",
    "apop",
)
_UNNAMED: Final = frozenset(("", "(unavailable)", "?"))

Texts = Sequence[str | None]
Numbers = npt.NDArray[np.int32]

# What attempts hold in another form than the line.
_CLEAN: Final[dict[str, Callable[[Sequence[str]], Texts]]] = {
    "user": lambda texts: [None if text in _UNNAMED else text for text in texts],
    "client_ip": lambda texts: [text.removeprefix("::ffff:") if text[:1] == ":" else text for text in texts],
    # Lines with such a group always tell: Dovecot's `TLS`, or `TSL` when that has ended, `secured` for a local or trusted connection, or nothing; Cyrus's
    # 1 or 0.
    "tls": lambda texts: ["TLS" if text in ("TLS", "TSL", "1", "Y") else "none" for text in texts],
}


def say(events: Events) -> dict[str, Texts | str]:
    """What the lines of one class say, by the name of the group or field: a text for each line, or one for all."""
    line_class, found = events.line_class, events.columns
    said: dict[str, Texts | str] = {name: _CLEAN[name](texts) if name in _CLEAN else texts for name, texts in found.items()}
    said |= {"server": line_class.software, "outcome": line_class.outcome.value, "cause": line_class.cause.value}
    if raw := line_class.service or found.get("program") or found.get("service"):
        said["service_raw"] = raw
    if names := found.get("sasl"):
        said["mechanism"] = [name.upper() for name in names]
    elif drivers := found.get("driver"):
        said["mechanism"] = list(map(mechanism_of, drivers))
    if realms := found.get("realm"):
        said["user"] = [
            user and f"{user}@{realm}" if realm and "@" not in (user or "") else user
            for user, realm in zip(said["user"], realms, strict=True)
        ]
    if line_class.vis:
        said["user"] = list(map(_unvis, found["user"]))
    if versions := found.get("tls_version"):
        said["tls"] = list(map(_tls, versions))
    if line_class.reasons:
        verdicts = _Verdicts(line_class)
        said["outcome"], said["cause"] = zip(*[verdicts[reason] for reason in found["reason"]], strict=True)
    return said


@cache
def _tls(version: str) -> str | None:
    """The TLS version as the kit calls it. Exim names the protocol before it: one without TLS, or with."""
    named = version.rpartition(" X=")[2]
    return {"esmtpa": "none", "esmtpsa": "TLS"}.get(named) or named.replace("TLS1", "TLSv1", 1) or None


@cache
def mechanism_of(driver: str) -> str | None:
    """The mechanism that an authenticator or a password database is called after: `plain`, `dovecot_login`, `cram-md5`; none of `passwd-file`."""
    name = driver.lower().replace("_", "-")
    words = {name, *name.split("-")}
    return next((mechanism.upper() for mechanism in _MECHANISMS if mechanism in words), None)


# vis(3) without VIS_CSTYLE: \\^I, \\040, \\M-C for a C with its highest bit set, \\M^I for a tab with it.
_ENCODED: Final = re.compile(rb"\\(?:(M-|M\^|\^)([!-~])|([0-3][0-7][0-7])|(\\))")


def _unvis(text: str) -> str:
    return _ENCODED.sub(_octet, text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace") if "\\" in text else text


def _octet(found: re.Match[bytes]) -> bytes:
    mark, character, octal, backslash = found.groups()
    if not mark:
        return backslash or bytes((int(octal, 8),))
    return bytes(((ord(character) ^ 0x40 if b"^" in mark else ord(character)) | (0x80 if b"M" in mark else 0),))


class _Verdicts(dict[str, tuple[str, str]]):
    """Outcome and cause by the server's words, each looked up once."""

    def __init__(self, line_class: LineClass) -> None:
        super().__init__()
        self._class = line_class

    def __missing__(self, reason: str) -> tuple[str, str]:
        outcome, cause = self._class.verdict(reason)
        self[reason] = found = (outcome.value, cause.value)
        return found


class Words:
    """The texts of a field, each kept once: numbered from 1, and 0 is None.

    Args:
        nothing: what stands for None, beside an empty text.
    """

    __slots__ = ("_names", "_nothing", "_numbers", "_skip")

    def __init__(self, nothing: Iterable[str] = ()) -> None:
        self._nothing = tuple(nothing)
        empty = dict.fromkeys((None, "", *self._nothing), 0)
        self._skip = len(empty)
        self._numbers: defaultdict[str | None, int] = defaultdict(count(1).__next__, empty)
        self._names: list[str | None] = [None]

    def __reduce__(self) -> tuple[type[Words], tuple[tuple[str, ...]], list[str | None]]:
        """To another process go the texts."""
        return Words, (self._nothing,), self.names()

    def __setstate__(self, names: list[str | None]) -> None:
        self.numbers(names)

    def number(self, text: str | None) -> int:
        """Its number; a new one where it is new."""
        return self._numbers[text]

    def numbers(self, texts: Texts) -> Numbers:
        """The numbers of many."""
        return np.frombuffer(struct.pack(f"{len(texts)}i", *map(self._numbers.__getitem__, texts)), np.int32)

    def name(self, number: int) -> str | None:
        """The text of a number."""
        return self._names[number] if number < len(self._names) else self.names()[number]

    def names(self) -> list[str | None]:
        """The texts by number."""
        if len(self._names) + self._skip <= len(self._numbers):
            self._names = [None, *islice(self._numbers, self._skip, None)]
        return self._names


class Column:
    """A field of a batch's attempts, by the place of the line; None where no line has told."""

    __slots__ = ("_view", "_which", "words")

    def __init__(self, words: Words, size: int) -> None:
        self.words = words
        self._which = array("i", bytes(4 * size))  # one number of it is read faster than one of numpy's
        self._view = np.frombuffer(self._which, np.int32)

    def __reduce__(self) -> tuple[type[Column], tuple[Words, int], array[int]]:
        """To another process go the words and their numbers; the view is of this process's memory."""
        return Column, (self.words, len(self._which)), self._which

    def __setstate__(self, which: array[int]) -> None:
        self._view[:] = which

    def __getitem__(self, place: int) -> str | None:
        return self.words.name(self._which[place])

    def __setitem__(self, place: int, text: str | None) -> None:
        self._which[place] = self.words.number(text)

    def learn(self, place: int, text: str | None) -> None:
        """Writes what was not known."""
        if not self._which[place]:
            self._which[place] = self.words.number(text)

    def fill(self, places: Ints, texts: Texts | str) -> None:
        """Writes a text to each place, or one to all."""
        self._view[places] = self.words.number(texts) if isinstance(texts, str) else self.words.numbers(texts)

    def numbers(self, places: Ints, more: Texts) -> Numbers:
        """The numbers of the words at those places, and of more behind them."""
        return np.concatenate((self._view[places], self.words.numbers(more))) if more else self._view[places]


class Attempts:
    """The tries that the lines of one batch tell of, in columns by the place of the line in the batch.

    What later lines tell is written into the columns until a table is made of them.

    Attributes:
        seconds: of the lines, since the epoch; 0 where a line is no event.
        newest: of the seconds.
        alive: 1 where the line stands for an attempt.
        count: of tries, where it is not 1.
        behind: lines of programs behind a mail server: place, and which program or module it was.
        extra: attempts beside the one that the line stands for: its place, and its fields.
    """

    def __init__(self, batch: Batch) -> None:
        size = len(batch.lines)
        self.batch = batch
        self.seconds: list[int] = []
        self.newest = 0
        self.alive = bytearray(size)
        self.count: dict[int, int] = {}
        self.behind: dict[int, str] = {}
        self.extra: list[tuple[int, dict[str, Any]]] = []
        self.columns = {field: Column(Words(nothing), size) for field, nothing in FIELDS.items()}

    def set_times(self) -> Ints:
        """Takes the times over from the batch, once its events are taken; returns the places of times that do not exist."""
        micros = self.batch.micros
        untimely = np.flatnonzero(micros == UNREADABLE)
        micros[untimely] = 0
        self.seconds = (micros // 1_000_000).tolist()
        self.newest = max(self.seconds)
        return untimely

    def fill(self, places: Ints, said: Mapping[str, Texts | str]) -> None:
        """Writes what the lines of one class say."""
        for field, column in self.columns.items():
            if field in said:
                column.fill(places, said[field])

    def add(self, place: int, known: Mapping[str, str | None], outcome: Outcome, cause: Cause, number: int = 1) -> None:
        """Attempts beside the one that the line stands for."""
        self.extra.append((place, {**known, "outcome": outcome.value, "cause": cause.value, "count": number}))
