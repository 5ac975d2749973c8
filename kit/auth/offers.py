"""What servers have offered, so that one which suddenly offers less is noticed. It is kept beside the budget, in the same file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from kit.auth.budget import is_local, open_book
from kit.auth.mechanisms import MECHANISMS
from kit.model import Profile

_LONG_AGO: Final = timedelta(days=30)  # what was not offered for so long is a change that somebody made, and no attack
_MOST_PLACES: Final = 500
_LONGEST: Final = 500  # characters of one offer


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What was offered, and when it was last seen."""

    mechanisms: tuple[str, ...]
    last: datetime


def recall_offer(
    profile: Profile, mechanisms: tuple[str, ...], *, encrypted: bool, now: datetime, path: Path | None = None
) -> Offered | None:
    """The stronger offer of the last 30 days, where there was one; else this one is remembered in its place.

    This machine itself is not remembered: nobody stands in between, and a port of it is today this server and tomorrow that one.

    Raises:
        UnreadableInput: the memory cannot be read or written.
    """
    if is_local(profile.host) or not mechanisms:
        return None
    place = f"{profile.host}:{profile.port} {'encrypted' if encrypted else 'clear'}"
    with open_book(path) as book:
        row = book.execute("SELECT mechanisms, time FROM offer WHERE place = ?", (place,)).fetchone()
        before = Offered(mechanisms=tuple(row[0].split()), last=datetime.fromtimestamp(row[1], UTC)) if row else None
        if before and now - _LONG_AGO <= before.last and _strength(before.mechanisms) > _strength(mechanisms):
            return before
        book.execute("REPLACE INTO offer VALUES (?, ?, ?)", (place, " ".join(mechanisms)[:_LONGEST], now.timestamp()))
        book.execute("DELETE FROM offer WHERE place NOT IN (SELECT place FROM offer ORDER BY time DESC LIMIT ?)", (_MOST_PLACES,))
    return None


def _strength(mechanisms: tuple[str, ...]) -> int:
    """Of the strongest that hides the password; 0 where none does. Of two that show it none is the stronger one."""
    hiding = [mechanism.name for mechanism in MECHANISMS.values() if mechanism.by_itself and not mechanism.reveals_password]
    return max((len(hiding) - hiding.index(name) for name in mechanisms if name in hiding), default=0)
