"""Times as logs write them → microseconds since the epoch, UTC."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import UsageError
from kit.logs import arrow

UNREADABLE: Final = np.iinfo(np.int64).min
"""Stands for a time that does not exist, such as the 13th month."""

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


class Clock:
    """Reads the stamps of one file, in the order of its lines.

    RFC 3164 has neither year nor zone. The year of the first line is the user's, else it follows from the time when the
    file was last written, which no line can be later than; from there on a step back of more than a week is a New Year.
    A stamp without a zone is in the user's zone, else UTC.

    Args:
        year: of the first line.
        zone: an IANA name (`Europe/Berlin`) or an offset (`+02:00`).
        modified: when the file was last written.
    """

    def __init__(self, *, year: int | None, zone: str | None, modified: datetime) -> None:
        self._given_year = year
        self._zone = zone
        self._tzinfo = zone_info(zone)
        self._modified = modified
        self._year: int | None = None
        self._last = 0  # seconds into the year of the last RFC 3164 stamp
        self._notes: dict[str, None] = {}

    @property
    def anchor(self) -> str:
        """Where year and zone came from, in words."""
        return "; ".join(self._notes) or "no line with a time was needed"

    def micros(self, stamps: Sequence[str]) -> Micros:
        """Microseconds since the epoch for each stamp; UNREADABLE where there is no such time."""
        if sum(map(len, stamps)) == _RFC3164 * len(stamps):  # ISO 8601 is longer
            return self._rfc3164(stamps)
        digits = [len(stamp) > _RFC3164 for stamp in stamps]
        if all(digits):
            return self._iso(stamps)
        result = np.empty(len(stamps), np.int64)
        mask = np.array(digits)
        result[mask] = self._iso([s for s, d in zip(stamps, digits, strict=True) if d])
        result[~mask] = self._rfc3164([s for s, d in zip(stamps, digits, strict=True) if not d])
        return result

    def _rfc3164(self, stamps: Sequence[str]) -> Micros:
        table = np.frombuffer("".join(stamps).encode("ascii"), np.uint8).reshape(-1, _RFC3164)
        digits = [column.astype(np.int64) - 48 for column in table.T]
        month = _MONTHS[digits[0] & 31, digits[1] & 31, digits[2] & 31]
        day = np.maximum(digits[4], 0) * 10 + digits[5]
        hour, minute, second = (digits[i] * 10 + digits[i + 1] for i in (7, 10, 13))
        # What never was must not count as a step back either: it would move the year of all that follows.
        real = (month >= 0) & (day >= 1) & (day <= _DAYS[month]) & (hour < 24) & (minute < 60) & (second < 61)
        micros = np.full(len(stamps), UNREADABLE)
        if real.any():
            micros[real] = self._in_year(month[real], day[real], ((hour * 60 + minute) * 60 + second)[real])
        return micros

    def _in_year(self, month: Micros, day: Micros, clock: Micros) -> Micros:
        """Gives dates their year; `month` counts from 0, `clock` is seconds of the day."""
        # Seconds into a year of 31-day months: enough to see a New Year.
        rough = (month * 31 + day) * 86_400 + clock
        if self._year is None:
            self._year = self._first_year(int(month[0]), int(day[0]))
            self._last = int(rough[0])
        steps = np.diff(rough, prepend=self._last)
        years = self._year + np.cumsum((steps < -_WEEK).astype(np.int64) - (steps > _YEAR - _WEEK).astype(np.int64))
        self._year, self._last = int(years[-1]), int(rough[-1])
        months = ((years - 1970) * 12 + month).astype("datetime64[M]")
        days = months.astype("datetime64[D]") + (day - 1)
        micros = self._local((days.astype(np.int64) * 86_400 + clock) * 1_000_000)
        micros[days.astype("datetime64[M]") != months] = UNREADABLE  # 29 February of a year that has none
        return micros

    def _first_year(self, month: int, day: int) -> int:
        if self._given_year is not None:
            self._notes[f"year {self._given_year} as given"] = None
            return self._given_year
        latest = self._modified + timedelta(days=1)  # a zone ahead of UTC
        year = latest.year if (month + 1, day) <= (latest.month, latest.day) else latest.year - 1
        self._notes[f"year {year} from the file's modification time ({self._modified:%Y-%m-%d})"] = None
        return year

    def _iso(self, stamps: Sequence[str]) -> Micros:
        zoned = all(map(_ZONED.search, stamps))
        self._notes["zone from the lines" if zoned else self._zone_note()] = None
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
        """Wall-clock time in the user's zone to UTC. Of the hour that autumn repeats, the first is taken."""
        self._notes[self._zone_note()] = None
        if self._zone is None or self._tzinfo is UTC:
            return micros
        if isinstance(self._tzinfo, ZoneInfo):
            naive = arrow.numbers(micros, pa.timestamp("us"))
            aware = pc.assume_timezone(naive, self._tzinfo.key, ambiguous="earliest", nonexistent="earliest")
            return arrow.micros(aware).copy()
        offset = self._tzinfo.utcoffset(None) or timedelta()
        return micros - offset // timedelta(microseconds=1)

    def _zone_note(self) -> str:
        return f"zone {self._zone} as given" if self._zone else "zone UTC assumed"


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
