"""Who still signs in with a password, as text for a terminal, as a document for programs, as rows of a file."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from kit.knowledge.ways_out import Way, deadline
from kit.logs.basic import Basic, Day
from kit.logs.device import Device
from kit.logs.export import Kind
from kit.logs.report import counted, printable

TOP: Final = 15
_WIDTH: Final = 100
_WEEKS: Final = 12
_ROW: Final = "{:>8}  {:>8}  {:>8}  {:<10}  {:<10}  {:<7}"
_TYPES: Final = {
    "tuple[str, ...]": pa.list_(pa.string()),
    "str": pa.string(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "datetime | None": pa.timestamp("us", "UTC"),
    "float | None": pa.float64(),
}
DEVICES: Final = Kind(
    "devices", pa.schema([pa.field(each.name, _TYPES[str(each.type)]) for each in fields(Device)]), {"user", "kind", "move_to"}
)


def to_document(basic: Basic) -> dict[str, Any]:
    """What `kit basic --json` prints of it."""
    users, tries = basic.strangers
    return {
        "deadline": _dated(deadline()),
        "devices": basic.devices,
        "days": list(map(_dated, basic.days)),
        "ways_out": list(map(_dated, basic.ways)),
        "never_succeeded": {"users": users, "tries": tries},
        "not_told": basic.not_told + (basic.report.untold if basic.report else 0),
        "complete": basic.complete,
    }


def _dated(value: Any) -> dict[str, Any]:
    """The fields of a value, dates as ISO 8601 writes them."""
    return {name: each.isoformat() if isinstance(each, date) else each for name, each in asdict(value).items()}


def device_table(devices: Sequence[Device]) -> pa.Table:
    """One device a row, with the fields of `Device`."""
    return pa.Table.from_pylist([asdict(device) for device in devices], DEVICES.schema)


def report(basic: Basic, *, written: Path | None = None) -> str:
    """The text; `written` is the file that has the devices."""
    parts = [headline(basic), _table(basic.devices), "\n".join(map(_paragraph, notes(basic))), _weeks(basic.days)]
    for way in basic.ways:
        takers = Counter(device.kind for device in basic.devices if way.name in device.move_to)
        rest = ". ".join(f"{label}: {text}" for label, text in facts(way).items())
        who = ", ".join(f"{count} {kind}" for kind, count in takers.most_common())
        parts.append(f"{_paragraph(f'{way.name}, for {who}: {way.what}')}\n{_paragraph(rest, indent='  ')}")
    if written:
        parts.append(f"Wrote {counted(len(basic.devices), 'device')} to {printable(str(written), 5 * _WIDTH)}")
    return "\n\n".join(part for part in parts if part)


def headline(basic: Basic) -> str:
    """How many there are, when, and of what kinds."""
    devices, days = basic.devices, basic.days
    period = f", {days[0].day} to {days[-1].day} UTC" if days else ""
    if not devices:
        return f"Nobody is seen to sign in with a password{period}."
    users = len({device.user for device in devices})
    verb = "signs in with a password" if len(devices) == 1 else "sign in with a password"
    kinds = Counter(device.kind for device in devices)
    rest = ", ".join(f"{count} {_likely(kind)}" for kind, count in kinds.most_common())
    return f"{counted(len(devices), 'device')} of {counted(users, 'user')} {verb}{period}: {rest}"


def notes(basic: Basic) -> Iterator[str]:
    """What is to be known beside it: what is left out, what was not told, until when."""
    users, tries = basic.strangers
    if tries:
        yield f"Left out: {tries:,} tries with {counted(users, 'name')} that never were right where they came from: guesses and slips."
    if basic.not_told:
        yield f"{counted(basic.not_told, 'good sign-in')} more: the log does not tell whether with a password or with OAuth."
    if not basic.complete:
        yield "There are more pairs of user and address than are kept: these are those that sign in most."
    if found := basic.report:
        yield (
            f"The report counts messages: {found.password:,} with a password, {found.oauth:,} with OAuth"
            + (f", {found.untold:,} of which it does not tell (it has no column for it)" if found.untold else "")
            + ". It has no times and no addresses: Entra's sign-in log, filtered to the client app Authenticated SMTP, has both."
        )
    online, end = sum(device.exchange_online for device in basic.devices), deadline()
    if online:
        source = f"({end.source}, {end.published}, checked {end.checked})"
        yield f"{counted(online, 'device')} at {end.applies_to}, until {end.day}. {end.text} {source}"
    if online < len(basic.devices):
        yield "At a server of your own no date ends passwords; what can move to OAuth is safer there, too."


def facts(way: Way) -> dict[str, str]:
    """What is to be known of a way out, each with its label."""
    return {
        "Delivers to": "inside and outside" if way.outside else "your own mailboxes alone",
        "Connect to": f"{way.host}, port {' or '.join(map(str, way.ports))}, TLS {way.tls}",
        "Sign-in": way.sign_in + ("; from a static address" if way.address == "static" else ""),
        "Limits": way.limits,
        "Beware": way.beware,
        "Source": f"{way.source} (checked {way.checked}{', second-hand' if way.second_hand else ''})",
    }


def cells(device: Device) -> tuple[str, ...]:
    """For a table: user, what it is likely to be, from where, how, tries a day, good, failed, first, last, and whether it is failing."""
    more = device.networks - 1
    how = [", ".join(each) for each in (device.apps or device.services, device.mechanisms, device.tls) if each]
    return (
        device.user,
        _likely(device.kind) + (f" ({'; '.join(device.why)})" if device.why else ""),
        ", ".join(device.addresses[:2]) + (f" and {counted(more, 'more network')}" if more > 1 else ""),
        "; ".join([*how, *(f"HELO {helo}" for helo in device.helos[:1])]),
        "-" if device.per_day is None else f"{device.per_day:,.1f}",
        f"{device.good:,}",
        f"{device.failed:,}",
        *(f"{time:%Y-%m-%d}" if time else "-" for time in (device.first, device.last)),
        "" if device.working else "failing",
    )


def _likely(kind: str) -> str:
    return "unknown" if kind == "unknown" else f"likely {kind.replace('-', ' ')}"


def _table(devices: Sequence[Device]) -> str:
    if not devices:
        return ""
    lines = [f"{_ROW.format('a day', 'good', 'failed', 'first', 'last', '')}  user"]
    for device in devices[:TOP]:
        user, kind, origin, how, *numbers = cells(device)
        lines.append(f"{_ROW.format(*numbers)}  {printable(user, 36)}")
        details = printable(" | ".join(filter(None, (kind, origin and f"from {origin}", how))), 4 * _WIDTH)
        lines += textwrap.wrap(details, _WIDTH, initial_indent=" " * 10, subsequent_indent=" " * 10)
    if len(devices) > TOP:
        lines.append(f"{'':>8}  ... and {counted(len(devices) - TOP, 'device')} more: -o devices.csv has them all, and --json")
    return "\n".join(lines)


def _weeks(days: Sequence[Day]) -> str:
    weeks: dict[date, list[int]] = {}
    for day in days:
        totals = weeks.setdefault(day.day - timedelta(days=day.day.weekday()), [0, 0, 0])
        for place, number in enumerate((day.password, day.oauth, day.failed)):
            totals[place] += number
    if not weeks:
        return ""
    rows = [f"{monday}  {password:>12,}  {oauth:>8,}  {failed:>20,}" for monday, (password, oauth, failed) in sorted(weeks.items())]
    return "\n".join([f"{'week of':<10}  {'password':>12}  {'OAuth':>8}  {'password, failed':>20}", *rows[-_WEEKS:]])


def _paragraph(text: str, *, indent: str = "") -> str:
    """Wrapped; a link stays whole."""
    return textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
