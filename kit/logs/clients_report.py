"""The SMTP AUTH clients report of the Exchange admin center: senders and how many messages each sent, without times or addresses.

Its columns are those that Microsoft describes: sender address, domain, TLS 1.0, 1.1 and 1.2 as shares, messages sent, and since
October 2024 the authentication protocol.
https://learn.microsoft.com/exchange/monitoring/mail-flow-reports/mfr-smtp-auth-clients-report (checked 2026-11-24)
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kit.errors import UnreadableInput
from kit.logs.device import Device, Habits, judged
from kit.logs.records import REPORT

LONGEST: Final = 320
"""Characters of a sender that are kept."""
MOST_SENDERS: Final = 100_000
_PROTOCOLS: Final = {"oauth": "oauth", "modern": "oauth", "basic": "password"}


@dataclass(frozen=True, slots=True)
class ClientsReport:
    """What one or several reports say.

    Attributes:
        devices: senders with a password, or of whom the report does not tell.
        password, oauth, untold: messages by how they were sent; `untold` by a report without the column for it.
    """

    devices: tuple[Device, ...]
    password: int
    oauth: int
    untold: int


def is_clients_report(path: str) -> bool:
    """Whether a file begins like the report."""
    try:
        with Path(path).open("rb") as stream:
            return bool(REPORT.match(stream.read(256)))
    except OSError:
        return False


def read_clients_reports(paths: Sequence[str]) -> ClientsReport:
    """All of them together.

    Raises:
        UnreadableInput: one of them cannot be read, or counts nothing.
    """
    senders: dict[str, Counter[str]] = {}
    for path in paths:
        try:
            with Path(path).open(encoding="utf-8-sig", errors="replace", newline="") as stream:
                _count(path, csv.reader(stream), senders)
        except UnreadableInput:
            raise
        except (OSError, csv.Error) as fault:
            raise UnreadableInput("the report does not read", where=path, next_step="Export it again as CSV") from fault
    devices = [_device(name, counts) for name, counts in senders.items() if counts["password"] or counts["untold"]]
    return ClientsReport(
        tuple(sorted(devices, key=lambda device: (-device.good, device.user))),
        *(sum(counts[said] for counts in senders.values()) for said in ("password", "oauth", "untold")),
    )


def _count(path: str, rows: Iterator[list[str]], senders: dict[str, Counter[str]]) -> None:
    """Adds to each sender's messages by how they were sent, and to its TLS versions."""
    names = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in next(rows)]
    messages = next((place for place, name in enumerate(names) if name.startswith("message")), None)
    if messages is None:
        raise UnreadableInput("the report has no column for messages", where=path, next_step="Export it with all its columns")
    protocol = next((place for place, name in enumerate(names) if "auth" in name), None)
    tls = {place: f"TLSv{name[3]}.{name[4]}" for place, name in enumerate(names) if re.match(r"tls1\d", name)}
    for row in rows:
        if len(row) != len(names) or not row[0].strip():
            continue
        counts = senders.setdefault(row[0].strip()[:LONGEST].lower(), Counter())
        if len(senders) > MOST_SENDERS:
            raise UnreadableInput(f"names more than {MOST_SENDERS:,} senders", where=path, next_step="Give one report at a time")
        protocol_said = row[protocol].lower() if protocol is not None else ""
        said = next((method for word, method in _PROTOCOLS.items() if word in protocol_said), "untold")
        counts[said] += _number(row[messages])
        counts.update({version: _number(row[place]) for place, version in tls.items()})


def _number(text: str) -> int:
    """A whole number, or a share rounded up: `1,234`, `0.5 %`."""
    digits = re.fullmatch(r"\s*(\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:\.(\d{1,9}))?\s*%?\s*", text, re.ASCII)
    return int(digits[1].replace(",", "")) + bool(int(digits[2] or 0)) if digits else 0


def _device(name: str, counts: Counter[str]) -> Device:
    device = Device(
        user=name,
        servers=("entra",),
        services=("submission",),
        mechanisms=("Basic",) if counts["password"] else (),
        tls=tuple(sorted(each for each in counts if each.startswith("TLS") and counts[each])),
        good=counts["password"] or counts["untold"],
        exchange_online=True,
    )
    return judged(device, Habits(sends=True))
