"""Attempts as an Arrow table, one column a field of `kit.model.Attempt`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from kit.logs.join import Draft
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
_SERVICES: Final[dict[str | None, Service | None]] = {
    None: None,
    "postfix": None,
    "postfix/smtpd": Service.SMTP,
    "postfix/submission/smtpd": Service.SUBMISSION,
    "postfix/submissions/smtpd": Service.SUBMISSIONS,
    "postfix/smtps/smtpd": Service.SUBMISSIONS,
    "imap": Service.IMAP,
    "pop3": Service.POP3,
    "submission": Service.SUBMISSION,
    "managesieve": Service.SIEVE,
    "sieve": Service.SIEVE,
}


def table_of(drafts: Sequence[Draft]) -> pa.Table:
    """The attempts as a table of SCHEMA, in the order given; the lines' texts are masked."""
    columns = {
        "time": pa.array([d.micros for d in drafts], pa.int64()).cast(pa.timestamp("us", "UTC")),
        "host": [d.host for d in drafts],
        "server": [d.software for d in drafts],
        "service": [_SERVICES.get(d.service_raw, Service.OTHER) for d in drafts],
        "service_raw": [d.service_raw for d in drafts],
        "outcome": [d.outcome for d in drafts],
        "cause": [d.cause for d in drafts],
        "user": [d.user for d in drafts],
        "client_ip": [d.client_ip for d in drafts],
        "client_port": [int(d.client_port) if d.client_port else None for d in drafts],
        "client_name": [d.client_name for d in drafts],
        "helo": pa.nulls(len(drafts), _WORD),
        "mechanism": [d.mechanism for d in drafts],
        "tls": [d.tls for d in drafts],
        "session": [d.session for d in drafts],
        "count": [d.count for d in drafts],
        "text": mask_lines([d.line for d in drafts]),
        "file": [d.file for d in drafts],
        "line": [d.number for d in drafts],
        "offset": [d.offset for d in drafts],
    }
    return pa.table([c if isinstance(c, pa.Array) else pa.array(c, SCHEMA.field(n).type) for n, c in columns.items()], schema=SCHEMA)
