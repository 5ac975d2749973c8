"""`kit trace`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from kit.commands.common import finish, number, print_json
from kit.errors import UsageError
from kit.model import Severity

if TYPE_CHECKING:
    from kit.logs.events import Event, Story
    from kit.logs.trace import Trace
    from kit.model import Finding

MOST: Final = 10
"""Stories that are shown in a terminal, the last ones."""
_WIDTH: Final = 160
_PLACE: Final = re.compile(r"(.+):(\d{1,12})")


@click.command("trace")
@click.argument("what", metavar="ID|ADDRESS")
@click.argument("paths", metavar="PATH...|-", nargs=-1)
@click.option("--since", metavar="T", help="Only what ends at or after this ISO 8601 date or time (in --tz, if it names no zone).")
@click.option("--until", metavar="T", help="Only what begins before this date or time.")
@click.option(
    "--year", type=click.IntRange(1970, 9998), help="Year of the first line, where lines have none. [default: by the file's date]"
)
@click.option("--tz", "zone", metavar="ZONE", help="Zone of times without one: Europe/Berlin, +02:00. [default: UTC]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def trace_command(
    *,
    what: str,
    paths: tuple[str, ...],
    since: str | None,
    until: str | None,
    year: int | None,
    zone: str | None,
    as_json: bool,
) -> None:
    """What became of a message, or of a sign-in, by the server's log.

    ID: the trace id in a test message's subject, a Message-ID, the id that the server gave, or a file in which kit send --json was kept.
    ADDRESS: a sender's or recipient's mail address, a user, or the client's IP address. Or FILE:LINE, one line of a log.

    PATH: a log (plain or packed), a folder, or - for standard input.
    """
    # Each of numpy's threads for matrices, of which there are none here, would spin for a tenth of a second at its start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    from kit.logs.around import offset_of
    from kit.logs.ends import ends_of, found_missing
    from kit.logs.options import parse_time
    from kit.logs.progress import Progress
    from kit.logs.report import printable
    from kit.logs.rotation import find_sources
    from kit.logs.trace import trace
    from kit.sending.sent import find_sent, read_sent

    at = sent = None
    if (place := _PLACE.fullmatch(what)) and Path(place[1]).is_file():
        at = place[1], offset_of(find_sources([place[1]])[0], int(place[2]))
        paths = paths or (place[1],)
    elif what.endswith(".json") and Path(what).is_file():
        sent = read_sent(Path(what))
    else:
        sent = find_sent(what)
    if not paths:
        raise UsageError(
            "no log is named", where="PATH", next_step="Give the server's log, often /var/log/mail.log, or - for standard input"
        )
    begin, end = parse_time(since, option="--since", zone=zone), parse_time(until, option="--until", zone=zone)
    terms = () if at or (what.endswith(".json") and sent) else (what,)
    with Progress(sys.stderr) as progress:
        found = trace(terms, paths, sent=sent, at=at, year=year, zone=zone, since=begin, until=end, progress=progress)
    for problem in found.problems:
        click.echo(f"kit: {printable(problem, 400)}", err=True)
    ends = [ends_of(story) for story in found.stories]
    missing = found_missing(found, sent)
    if as_json:
        from kit.model import to_plain

        stories = [to_plain(story) | {"findings": to_plain(end)} for story, end in zip(found.stories, ends, strict=True)]
        print_json(to_plain(found) | {"stories": stories, "findings": to_plain(missing)})
    else:
        click.echo(_text(found, ends, missing))
    bad = any(finding.severity in (Severity.WARNING, Severity.ERROR) for end in (*ends, missing) for finding in end)
    finish(all_well=not (bad or found.problems))


def _text(found: Trace, ends: Sequence[tuple[Finding, ...]], missing: tuple[Finding, ...]) -> str:
    """Story by story: its time line, and what it comes to."""
    from kit.checks.text import findings_text
    from kit.logs.report import printable

    def told(findings: Iterable[Finding]) -> str:
        safe = (
            replace(
                f,
                title=printable(f.title, 400),
                next_step=printable(f.next_step, 800),
                evidence=tuple(printable(e, 400) for e in f.evidence),
            )
            for f in findings
        )
        return findings_text(tuple(safe))

    parts = []
    if len(found.stories) > MOST:
        parts.append(f"{len(found.stories):,} messages and connections; the last {MOST} are shown, --json has all\n")
    for story, end in list(zip(found.stories, ends, strict=True))[-MOST:]:
        parts += [_head(story), *map(_line, story.events), "", told(end), ""]
    if found.client:
        parts += ["What the client knows", *map(_line, found.client), ""]
    if missing:
        parts += [told(missing), ""]
    parts.append(f"{number(found.lines, 'line')} looked through for {printable(', '.join(found.sought), 300) or 'one of them'}")
    if any("assumed" in anchor for anchor in found.time_anchor):
        parts.append("Times without a zone are taken for UTC: --tz Europe/Berlin, or whatever the server's zone is")
    return "\n".join(parts)


def _head(story: Story) -> str:
    from kit.logs.report import printable

    names = {"message": "Message", "connection": "Connection", "lines": "Lines"}
    day = f"{story.begin:%Y-%m-%d}, UTC" if story.begin else "time not known"
    what = (", ".join(story.ids), f"<{story.message_id}>" if story.message_id else "", f"from {story.sender}" if story.sender else "")
    return printable("  ".join(part for part in (names[story.kind], *what, day) if part), _WIDTH)


def _line(event: Event) -> str:
    """Time, side, program and id, and what happened; a mark where the line holds what was looked for."""
    from kit.logs.report import printable

    time = f"{event.time:%m-%d %H:%M:%S.%f}"[:-3] if event.time else f"{'-':>18}"
    who = " ".join(part for part in (event.side if event.side == "client" else event.program, event.id) if part)
    return f"{'>' if event.sought else ' '} {time}  {printable(who, 40):<40}  {printable(event.says or event.text or '', _WIDTH)}"
