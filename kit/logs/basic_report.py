"""Who still signs in with a password, as text for a terminal and as a document for programs."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from kit.knowledge.ways_out import Way, deadline, ways_out
from kit.logs.basic import Basic, Day, Device
from kit.logs.clients_report import ClientsReport
from kit.logs.report import counted, printable

TOP: Final = 15
_WIDTH: Final = 100
_WEEKS: Final = 12


@dataclass(frozen=True, slots=True)
class Answer:
    """All that was read: logs, reports of Exchange Online, or both.

    Attributes:
        basic: of the logs; None where there were none.
        report: of the reports; None where there were none.
    """

    basic: Basic | None
    report: ClientsReport | None

    @property
    def devices(self) -> list[Device]:
        """Who signs in with a password: of the logs first."""
        return [*(self.basic.devices if self.basic else ()), *(self.report.devices if self.report else ())]

    @property
    def days(self) -> list[Day]:
        """Sign-ins by day, of the logs."""
        return self.basic.days if self.basic else []

    @property
    def ways(self) -> list[Way]:
        """Those that one of the devices can take."""
        wanted = {name for device in self.devices for name in device.move_to}
        return [way for way in ways_out() if way.name in wanted]


def to_document(answer: Answer) -> dict[str, Any]:
    """What `kit basic --json` prints of it."""
    users, tries = answer.basic.strangers if answer.basic else (0, 0)
    return {
        "deadline": _dated(deadline()),
        "devices": answer.devices,
        "days": [_dated(day) for day in answer.days],
        "ways_out": [_dated(way) for way in answer.ways],
        "never_succeeded": {"users": users, "tries": tries},
        "not_told": (answer.basic.not_told if answer.basic else 0) + (answer.report.untold if answer.report else 0),
        "complete": answer.basic.complete if answer.basic else True,
    }


def _dated(value: Any) -> dict[str, Any]:
    """The fields of a value, dates as ISO 8601 writes them."""
    fields = ((name, getattr(value, name)) for name in value.__dataclass_fields__)
    return {name: each.isoformat() if isinstance(each, date) else each for name, each in fields}


def report(answer: Answer, *, written: Path | None = None) -> str:
    """The text; `written` is the file that has the devices."""
    parts = [_head(answer), _table(answer.devices), _notes(answer), _weeks(answer.days), *_ways(answer)]
    if written:
        parts.append(f"Wrote {counted(len(answer.devices), 'device')} to {printable(str(written), 5 * _WIDTH)}")
    return "\n\n".join(part for part in parts if part)


def _head(answer: Answer) -> str:
    devices, days = answer.devices, answer.days
    period = f", {days[0].day} to {days[-1].day} UTC" if days else ""
    if not devices:
        return f"Nobody is seen to sign in with a password{period}."
    users = len({device.user for device in devices})
    verb = "signs in with a password" if len(devices) == 1 else "sign in with a password"
    kinds = Counter(device.kind for device in devices)
    rest = ", ".join(f"{count} {_likely(kind)}" for kind, count in kinds.most_common())
    return f"{counted(len(devices), 'device')} of {counted(users, 'user')} {verb}{period}: {rest}"


def _likely(kind: str) -> str:
    return "unknown" if kind == "unknown" else f"likely {kind.replace('-', ' ')}"


def _table(devices: Sequence[Device]) -> str:
    if not devices:
        return ""
    head = f"{'a day':>8}  {'good':>8}  {'failed':>8}  {'first':<10}  {'last':<10}  {'':<7}  user"
    lines = [head]
    for device in devices[:TOP]:
        first, last = (f"{time:%Y-%m-%d}" if time else "-" for time in (device.first, device.last))
        per_day = "-" if device.per_day is None else f"{device.per_day:,.1f}"
        state = "" if device.working else "failing"
        numbers = f"{per_day:>8}  {device.good:>8,}  {device.failed:>8,}  {first:<10}  {last:<10}  {state:<7}"
        lines.append(f"{numbers}  {printable(device.user, 36)}")
        lines += textwrap.wrap(_details(device), _WIDTH, initial_indent=" " * 10, subsequent_indent=" " * 10)
    if len(devices) > TOP:
        lines.append(f"{'':>8}  ... and {counted(len(devices) - TOP, 'device')} more: -o devices.csv has them all, and --json")
    return "\n".join(lines)


def _details(device: Device) -> str:
    more = device.networks - 1
    parts = [
        f"{_likely(device.kind)}" + (f" ({'; '.join(device.why)})" if device.why else ""),
        f"from {', '.join(device.addresses[:2])}" + (f" and {counted(more, 'more network')}" if more > 1 else "")
        if device.addresses
        else "",
        f"HELO {', '.join(device.helos[:2])}" if device.helos else "",
        ", ".join(device.apps or device.services),
        ", ".join(device.mechanisms),
        ", ".join(device.tls),
    ]
    return printable(" | ".join(part for part in parts if part), 4 * _WIDTH)


def _notes(answer: Answer) -> str:
    return "\n".join(line for note in _noted(answer) for line in textwrap.wrap(note, _WIDTH))


def _noted(answer: Answer) -> Iterator[str]:
    if basic := answer.basic:
        users, tries = basic.strangers
        if tries:
            yield (
                f"Left out: {tries:,} tries with {counted(users, 'name')} that never were right where they came from: guesses and slips."
            )
        if basic.not_told:
            yield f"{counted(basic.not_told, 'good sign-in')} more: the log does not tell whether with a password or with OAuth."
        if not basic.complete:
            yield "There are more pairs of user and address than are kept: these are those that sign in most."
    if found := answer.report:
        yield (
            f"The report counts messages: {found.password:,} with a password, {found.oauth:,} with OAuth"
            + (f", {found.untold:,} of which it does not tell (it has no column for it)" if found.untold else "")
            + ". It has no times and no addresses: Entra's sign-in log, filtered to the client app Authenticated SMTP, has both."
        )


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


def _ways(answer: Answer) -> Iterator[str]:
    online = [device for device in answer.devices if device.exchange_online]
    if online:
        end = deadline()
        yield _paragraph(
            f"{counted(len(online), 'device')} at {end.applies_to}: until {end.day}. {end.text} ({end.source}, {end.published}, checked {end.checked})"
        )
    if len(online) < len(answer.devices):
        yield _paragraph("At a server of your own no date ends passwords; what can move to OAuth is safer there, too.")
    for way in answer.ways:
        takers = Counter(device.kind for device in answer.devices if way.name in device.move_to)
        yield _way(way, ", ".join(f"{count} {kind}" for kind, count in takers.most_common()))


def _way(way: Way, takers: str) -> str:
    reach = "inside and outside" if way.outside else "your own mailboxes alone"
    address = "static address needed" if way.address == "static" else "any address"
    source = f"{way.source} (checked {way.checked}{', second-hand' if way.second_hand else ''})"
    lines = [
        f"{way.name}, for {takers}: {way.what}",
        f"To: {reach}. {way.host}, port {' or '.join(map(str, way.ports))}, TLS {way.tls}, {address}. Sign-in: {way.sign_in}",
        f"Limits: {way.limits}. Beware: {way.beware}",
        source,
    ]
    return "\n".join([_paragraph(lines[0]), *(_paragraph(line, indent=2) for line in lines[1:])])


def _paragraph(text: str, *, indent: int = 0) -> str:
    return textwrap.fill(
        text, _WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
