"""Times as logs write them → microseconds since the epoch, UTC."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import UsageError
from kit.logs import arrow
from kit.logs.envelope import UNREADABLE
from kit.logs.source import Anchor

Micros = npt.NDArray[np.int64]
# By the low five bits of the three letters, counted from the digit 0 as the stamps are; -1 is no month.
_MONTHS: Final = np.full((32, 32, 32), -1, np.int64)
for _number, _name in enumerate(("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")):
    _MONTHS[tuple((ord(_letter) - 48) & 31 for _letter in _name)] = _number
_DAYS: Final = np.array([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_ZONED: Final = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
_RFC3164: Final = len("Nov  3 08:12:44")
_WEEK: Final = 7 * 86_400
_YEAR: Final = 365 * 86_400
_DISORDER: Final = 60 * 1_000_000
"""Microseconds by which lines may stand in the wrong order."""


class Clock:
    """Reads the stamps of one file, in the order of its lines.

    RFC 3164 has neither year nor zone. From line to line a step back of more than a week is a New Year. The user may give the year
    of the first line; else the last line has the latest year that the file allows, and the New Years before it are counted in a sample
    of its lines. Where there is no sample, as of standard input, the lines are taken to span less than a year.
    A stamp without a zone is in the user's zone, else UTC.

    Args:
        year: of the first line.
        zone: an IANA name (`Europe/Berlin`) or an offset (`+02:00`).
        anchor: what the year follows from, where it is not given.
        sample: of the file's lines, (offset, stamp).
    """

    def __init__(self, *, year: int | None, zone: str | None, anchor: Anchor, sample: Callable[[], Iterable[tuple[int, str]]]) -> None:
        self._given_year = year
        self._zone = zone
        self._tzinfo = zone_info(zone)
        self._latest = anchor
        self._sample = sample
        self._year = 0  # not known yet
        self._last = 0  # seconds into the year of the last RFC 3164 stamp
        self._last_micros = np.iinfo(np.int64).min  # of the last stamp without a zone
        # Offsets of sampled lines that come yet, and their seconds into the year: a New Year may lie where no line was asked for.
        self._ahead: tuple[Micros, Micros] = (np.empty(0, np.int64), np.empty(0, np.int64))
        self._notes: dict[str, None] = {}

    @property
    def anchor(self) -> str:
        """Where year and zone came from, in words."""
        if self._year and self._given_year is None and (self._year, self._last) > _year_and_rough(self._latest.latest):
            self._notes[
                "but then its last line would be later than that, so it spans more than a year: give the year of its first line"
            ] = None
        return "; ".join(self._notes) or "no line with a time was needed"

    def micros(self, stamps: Sequence[str], offsets: Micros) -> Micros:
        """Microseconds since the epoch for each stamp, which stands at that offset; UNREADABLE where there is no such time."""
        if sum(map(len, stamps)) == _RFC3164 * len(stamps):  # ISO 8601 is longer
            return self._rfc3164(stamps, offsets)
        digits = [len(stamp) > _RFC3164 for stamp in stamps]
        if all(digits):
            return self._iso(stamps)
        result = np.empty(len(stamps), np.int64)
        mask = np.array(digits)
        result[mask] = self._iso([s for s, d in zip(stamps, digits, strict=True) if d])
        result[~mask] = self._rfc3164([s for s, d in zip(stamps, digits, strict=True) if not d], offsets[~mask])
        return result

    def _rfc3164(self, stamps: Sequence[str], offsets: Micros) -> Micros:
        month, day, clock, real = _parts(stamps)
        micros = np.full(len(stamps), UNREADABLE)
        # What never was must not count as a step back either: it would move the year of all that follows.
        if real.any():
            micros[real] = self._in_year(month[real], day[real], clock[real], offsets[real])
        return micros

    def _in_year(self, month: Micros, day: Micros, clock: Micros, offsets: Micros) -> Micros:
        """Gives dates their year; `month` counts from 0, `clock` is seconds of the day."""
        rough = _rough(month, day, clock)
        if not self._year:
            self._begin(rough[:1], offsets[:1])
        years = self._years(rough, offsets)
        months = ((years - 1970) * 12 + month).astype("datetime64[M]")
        days = months.astype("datetime64[D]") + (day - 1)
        micros = self._local((days.astype(np.int64) * 86_400 + clock) * 1_000_000)
        micros[days.astype("datetime64[M]") != months] = UNREADABLE  # 29 February of a year that has none
        return micros

    def _years(self, rough: Micros, offsets: Micros) -> Micros:
        """The year of each line; the sampled lines between them are counted with them."""
        known, ahead = self._ahead
        passed = int(known.searchsorted(offsets[-1], "right"))
        self._ahead = known[passed:], ahead[passed:]
        order = np.argsort(np.concatenate((offsets, known[:passed])), kind="stable") if passed else slice(None)
        steps = np.diff(np.concatenate((rough, ahead[:passed]))[order], prepend=self._last)
        years = np.empty(len(steps), np.int64)
        years[order] = self._year + np.cumsum(_new_years(steps))
        self._year, self._last = int(years[len(rough) - 1]), int(rough[-1])
        return years[: len(rough)]

    def _begin(self, first: Micros, at: Micros) -> None:
        """Finds the year of the first line, and what lines ahead may show a New Year."""
        if self._given_year is not None:
            self._year, self._last = self._given_year, int(first[0])
            self._notes[f"year {self._year} as given"] = None
            return
        sample = [(offset, stamp) for offset, stamp in self._sample() if len(stamp) == _RFC3164]
        month, day, clock, real = _parts([stamp for _, stamp in sample])
        offsets = np.concatenate((at, np.array([offset for offset, _ in sample], np.int64)[real]))
        order = np.argsort(offsets, kind="stable")
        rough = np.concatenate((first, _rough(month, day, clock)[real]))[order]
        self._ahead = offsets[order], rough
        latest, why = self._latest
        last = latest.year if rough[-1] <= _year_and_rough(latest)[1] else latest.year - 1
        passed = int(_new_years(np.diff(rough)).sum())
        self._year, self._last = last - passed, int(rough[0])
        self._notes[f"year {last} of the {'last' if sample else 'first'} line from {why}"] = None
        if passed > 0:
            self._notes[f"{passed} New Year{'s' if passed > 1 else ''} before it"] = None

    def _iso(self, stamps: Sequence[str]) -> Micros:
        zones = list(map(_ZONED.search, stamps))
        zoned = all(zones)
        if any(zones):
            self._notes["zone from the lines"] = None
        try:
            kind = pa.timestamp("us", "UTC") if zoned else pa.timestamp("us")
            micros = arrow.micros(arrow.texts(stamps).cast(kind))
            return micros if zoned else self._local(micros)
        except pa.ArrowInvalid:  # a comma before the fraction, nanoseconds, or a time that does not exist
            return np.array([self._one(stamp) for stamp in stamps], np.int64)

    def _one(self, stamp: str) -> int:
        try:
            time = datetime.fromisoformat(stamp)
        except ValueError:
            return UNREADABLE
        if time.tzinfo is None:
            return int(self._local(np.array([(time - datetime(1970, 1, 1)) // timedelta(microseconds=1)]))[0])  # noqa: DTZ001
        return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    def _local(self, micros: Micros) -> Micros:
        """Wall-clock time in the user's zone to UTC. The hour that autumn repeats comes a second time where the lines step back in it."""
        self._notes[self._zone_note()] = None
        if self._zone is None or self._tzinfo is UTC:
            return micros
        if isinstance(self._tzinfo, ZoneInfo):
            naive = arrow.numbers(micros, pa.timestamp("us"))
            first, second = (
                arrow.micros(pc.assume_timezone(naive, self._tzinfo.key, ambiguous=which, nonexistent="earliest"))
                for which in ("earliest", "latest")
            )
            result = first.copy()
            for i in np.flatnonzero(first != second).tolist():
                if first[i] < (result[i - 1] if i else self._last_micros) - _DISORDER:
                    result[i] = second[i]
            self._last_micros = int(result[-1])
            return result
        offset = self._tzinfo.utcoffset(None) or timedelta()
        return micros - offset // timedelta(microseconds=1)

    def _zone_note(self) -> str:
        return f"zone {self._zone} as given" if self._zone else "zone UTC assumed"


def _parts(stamps: Sequence[str]) -> tuple[Micros, Micros, Micros, npt.NDArray[np.bool_]]:
    """Month from 0, day, second of the day, and whether there is such a time, of RFC 3164 stamps."""
    table = np.frombuffer("".join(stamps).encode("ascii"), np.uint8).reshape(-1, _RFC3164)
    digits = [column.astype(np.int64) - 48 for column in table.T]
    month = _MONTHS[digits[0] & 31, digits[1] & 31, digits[2] & 31]
    day = np.maximum(digits[4], 0) * 10 + digits[5]
    hour, minute, second = (digits[i] * 10 + digits[i + 1] for i in (7, 10, 13))
    real = (month >= 0) & (day >= 1) & (day <= _DAYS[month]) & (hour < 24) & (minute < 60) & (second < 61)
    return month, day, (hour * 60 + minute) * 60 + second, real


def _rough(month: Micros, day: Micros, clock: Micros) -> Micros:
    """Seconds into a year of 31-day months: enough to see a New Year."""
    return (month * 31 + day) * 86_400 + clock


def _year_and_rough(time: datetime) -> tuple[int, int]:
    return time.year, ((time.month - 1) * 31 + time.day) * 86_400 + 86_399


def _new_years(steps: Micros) -> Micros:
    """1 where a step leads into a new year, -1 where it leads back into the old one, as disorder at midnight does."""
    return (steps < -_WEEK).astype(np.int64) - (steps > _YEAR - _WEEK).astype(np.int64)


def zone_info(zone: str | None) -> tzinfo:
    """The zone of that name or offset.

    Raises:
        UsageError: there is none.
    """
    if zone is None or zone.upper() in ("UTC", "Z"):
        return UTC
    try:
        if zone[:1] in ("+", "-"):
            return datetime.fromisoformat(f"2000-01-01T00:00:00{zone}").tzinfo or UTC
        return ZoneInfo(zone)
    except (ValueError, ZoneInfoNotFoundError, OSError) as fault:
        raise UsageError(
            f"there is no time zone {zone!r}", where="--tz", next_step="Give a name like Europe/Berlin or an offset like +02:00"
        ) from fault
