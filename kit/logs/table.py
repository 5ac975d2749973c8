"""Attempts in columns, and as an Arrow table with one column a field of `kit.model.Attempt`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kit.logs import arrow
from kit.logs.classes import LineClass
from kit.logs.scan import Batch, Events
from kit.model import Service
from kit.redact import mask_lines

_WORD: Final = pa.dictionary(pa.int32(), pa.string())

SCHEMA: Final = pa.schema(
    [
        pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("host", _WORD),
        pa.field("server", _WORD),
        pa.field("service", _WORD),
        pa.field("service_raw", _WORD),
        pa.field("outcome", _WORD, nullable=False),
        pa.field("cause", _WORD, nullable=False),
        pa.field("user", _WORD),
        pa.field("client_ip", _WORD),
        pa.field("client_port", pa.int32()),
        pa.field("client_name", _WORD),
        pa.field("helo", _WORD),
        pa.field("mechanism", _WORD),
        pa.field("tls", _WORD),
        pa.field("session", pa.string()),
        pa.field("count", pa.int32(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("file", _WORD),
        pa.field("line", pa.int64()),
        pa.field("offset", pa.int64()),
    ]
)

# What servers call a service. Postfix's name is the syslog_name of its master.cf entry; "postfix" alone, as syslog in
# RFC 5424 form cuts it, does not tell.
_SERVICES: Final[dict[str | None, str | None]] = {
    None: None,
    "postfix": None,
    "postfix/smtpd": Service.SMTP.value,
    "postfix/submission/smtpd": Service.SUBMISSION.value,
    "postfix/submissions/smtpd": Service.SUBMISSIONS.value,
    "postfix/smtps/smtpd": Service.SUBMISSIONS.value,
    "imap": Service.IMAP.value,
    "pop3": Service.POP3.value,
    "submission": Service.SUBMISSION.value,
    "managesieve": Service.SIEVE.value,
    "sieve": Service.SIEVE.value,
}

# Dovecot's auth lines name the password database for plaintext mechanisms, and the mechanism itself for the others.
_MECHANISMS: Final = frozenset(
    (
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
)
_UNNAMED: Final = frozenset(("", "(unavailable)", "?"))

# How what a pattern found becomes a column of attempts: the field, and the values from the texts.
Texts = Sequence[str]
_FILL: Final[dict[str, tuple[str, Callable[[Texts], Sequence[str | None]]]]] = {
    "host": ("host", lambda texts: texts),
    "program": ("service_raw", lambda texts: texts),
    "service": ("service_raw", lambda texts: texts),
    "user": ("user", lambda texts: [None if text in _UNNAMED else text for text in texts]),
    "client_ip": ("client_ip", lambda texts: [text.removeprefix("::ffff:") if text[0] == ":" else text for text in texts]),
    "client_name": ("client_name", lambda texts: [None if text == "unknown" else text for text in texts]),
    "client_port": ("client_port", lambda texts: [text or None for text in texts]),
    "mechanism": ("mechanism", lambda texts: [text or None for text in texts]),
    "session": ("session", lambda texts: [text or None for text in texts]),
    # Dovecot's login lines always tell: `TLS`, `secured` for a local or trusted connection, or nothing.
    "tls": ("tls", lambda texts: ["TLS" if text == "TLS" else "none" for text in texts]),
    "driver": ("mechanism", lambda texts: [text.upper() if text in _MECHANISMS else None for text in texts]),
}
_TEXTS: Final = (
    "host",
    "server",
    "service_raw",
    "outcome",
    "cause",
    "user",
    "client_ip",
    "client_port",
    "client_name",
    "mechanism",
    "tls",
    "session",
)

Column = npt.NDArray[np.object_]


class Attempts:
    """The tries that the lines of one batch tell of, in columns by the place of the line in the batch.

    A field that no class has filled is None. What later lines tell is written into the columns until `table` is taken.

    Attributes:
        seconds: of the lines, since the epoch; 0 where a line is no event.
        alive: 1 where the line stands for an attempt.
        count: of tries, where it is not 1.
        extra: attempts beside the one that the line stands for: its place, and its fields.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.seconds: list[int] = (batch.micros // 1_000_000).tolist()
        self.newest = max(self.seconds)
        self.alive = bytearray(len(batch.lines))
        self.count: dict[int, int] = {}
        self.extra: list[tuple[int, dict[str, Any]]] = []
        self.columns: dict[str, Column] = {name: np.full(len(batch.lines), None, object) for name in _TEXTS}

    def fill(self, events: Events) -> None:
        """Writes what the pattern of one class found."""
        line_class, columns = events.line_class, self.columns
        columns["server"][events.index] = line_class.software
        for name, texts in events.columns.items():
            if name in _FILL:
                field, values = _FILL[name]
                columns[field][events.index] = _objects(values(texts))
        if line_class.reasons:
            verdicts = _Verdicts(line_class)
            outcomes, causes = zip(*[verdicts[reason] for reason in events.columns["reason"]], strict=True)
            columns["outcome"][events.index], columns["cause"][events.index] = _objects(outcomes), _objects(causes)
        else:
            columns["outcome"][events.index], columns["cause"][events.index] = line_class.outcome.value, line_class.cause.value

    def table(self) -> pa.Table:
        """The attempts as a table of SCHEMA, in the order of their lines; the lines' texts are masked."""
        batch = self.batch
        places = np.flatnonzero(np.frombuffer(self.alive, np.uint8))
        fields = {name: column[places].tolist() for name, column in self.columns.items()}
        counts = [self.count.get(i, 1) for i in places.tolist()] if self.count else [1] * len(places)
        if self.extra:
            where = np.array([i for i, _ in self.extra])
            for name, column in fields.items():
                column += [fields_.get(name) for _, fields_ in self.extra]
            counts += [fields_.get("count", 1) for _, fields_ in self.extra]
            places = np.concatenate((places, where))
        fields["service"] = [_SERVICES.get(raw, Service.OTHER.value) for raw in fields["service_raw"]]
        fields["file"] = [batch.file] * len(places)
        fields["helo"] = [None] * len(places)
        fields["text"] = mask_lines([batch.lines[i] for i in places.tolist()])
        numbers: dict[str, npt.NDArray[Any]] = {
            "time": batch.micros[places],
            "line": batch.numbers[places],
            "offset": batch.offsets[places],
            "count": np.array(counts, np.int32),
            "client_port": np.array([int(port or -1) for port in fields["client_port"]], np.int32),
        }
        arrays = []
        for field in SCHEMA:
            if field.name in numbers:
                arrays.append(arrow.numbers(numbers[field.name], field.type))
            else:
                arrays.append(arrow.words(fields[field.name]) if field.type == _WORD else arrow.texts(fields[field.name]))
        table = pa.Table.from_arrays(arrays, schema=SCHEMA)
        return table.take(arrow.numbers(np.argsort(places, kind="stable"), pa.int64())) if self.extra else table


class _Verdicts(dict[str, tuple[str, str]]):
    """Outcome and cause by the server's words, each looked up once."""

    def __init__(self, line_class: LineClass) -> None:
        super().__init__()
        self._class = line_class

    def __missing__(self, reason: str) -> tuple[str, str]:
        outcome, cause = self._class.verdict(reason)
        self[reason] = found = (outcome.value, cause.value)
        return found


def _objects(values: Sequence[Any]) -> Column:
    return np.fromiter(values, object, len(values))
