"""`kit send`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Unpack

import click

from kit.commands.common import conclude, find_secret, find_target, finish, print_json, server_options
from kit.errors import UsageError
from kit.model import Finding, Profile, SendResult, Severity, Step

if TYPE_CHECKING:
    from kit.profiles import Options
    from kit.redact import Secret
    from kit.sending.journal import Entry, Series
    from kit.sending.mail import Mail
    from kit.sending.series import SeriesResult

_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}


class _Size(click.ParamType[int]):
    """Octets: 250000, 250k, 5M."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d{1,9})([kKmM]?)B?", str(value))
        if found is None:
            self.fail(f"{value!r} is no size such as 250k or 5M", param, ctx)
        return int(found[1]) * _UNITS[found[2].lower()]


@click.command("send")
@click.argument("target")
@click.option("--to", "recipients", multiple=True, metavar="ADDRESS", help="Who gets it; may be given several times.")
@click.option("--from", "sender", metavar="ADDRESS", help="The From address. [default: the profile's, else the user]")
@click.option("--subject", metavar="T", help="A trace id is put behind it. [default: says that it is a test]")
@click.option(
    "--kind", metavar="NAME", help="plain, html, attachment, smtputf8, long-lines, other-from, reply-to or gtube. [default: plain]"
)
@click.option("--size", type=_Size(), metavar="OCTETS", help="Of the attachment: 250k, 5M. [default: 100k]")
@click.option("--eml", type=click.Path(path_type=Path), metavar="FILE", help="Send this message instead, if it may go out.")
@click.option(
    "--count", type=click.IntRange(1, 100), default=1, help="A series of so many, at the pace that the service allows. [default: 1]"
)
@click.option("--retry", is_flag=True, help="Where the server says “later” (4xx), wait as long as it asks and try once more.")
@click.option("--resume", metavar="SERIES", help="Go on with a series that was cut short; nothing is sent twice.")
@click.option("--sandbox", is_flag=True, help="Send it to the kit's own server on this machine first.")
@click.option("--dry-run", is_flag=True, help="Ask the server about sender and recipients, and send nothing.")
@click.option("--quiet", is_flag=True, help="For cron: say nothing if all is well, else one paragraph on standard error.")
@server_options
def send_command(
    *,
    target: str,
    recipients: tuple[str, ...],
    subject: str | None,
    kind: str | None,
    size: int | None,
    eml: Path | None,
    count: int,
    retry: bool,
    resume: str | None,
    sandbox: bool,
    dry_run: bool,
    quiet: bool,
    password_stdin: bool,
    gentle: bool,
    attempts: int | None,
    ask_third_parties: bool,
    as_json: bool,
    **options: Unpack[Options],
) -> None:
    """Send a test message, or a series of them, and say what became of it. TARGET: a host, a mail address, or a profile."""
    import asyncio
    from dataclasses import replace

    from kit.auth.budget import ATTEMPTS_AN_HOUR, account_of
    from kit.checks import text
    from kit.sending.journal import Series
    from kit.sending.send import send

    if resume and (recipients or options["sender"] or subject or kind or size or eml or count > 1):
        raise UsageError("a series goes on as it began", where="--resume", next_step="Leave out what says how its messages are")
    if dry_run and (resume or retry or count > 1):
        raise UsageError("a dry run is of one message", where="--dry-run", next_step="Leave out --count, --retry and --resume")
    profile, found = find_target(target, ask_third_parties=ask_third_parties, **options)
    wanted = _series(resume, profile) if resume else None
    if wanted is None:
        wanted = Series(
            target=target,
            account=account_of(profile),
            messages=count,
            sender=profile.sender or profile.user or "",
            recipients=recipients,
            kind=kind,
            subject=subject,
            size=size,
            eml=str(eml) if eml else None,
        )
    mail = _make(wanted)  # what must not go out is said before anything else
    secret = find_secret(profile, password_stdin=password_stdin)
    limit = attempts or ATTEMPTS_AN_HOUR
    in_series = bool(resume or retry or count > 1)
    screen = _Screen(silent=quiet or as_json)
    if found:
        screen.announce(text.discovery_text(found) + "\n")
    if sandbox:
        rehearsed = asyncio.run(_in_sandbox(mail))
        screen.announce(f"In the sandbox first: {'taken' if rehearsed.accepted else 'refused'}\n")
        if not rehearsed.accepted:
            _end(rehearsed, quiet=quiet, as_json=as_json)
    screen.announce(text.plan(profile, gentle=gentle or in_series, secret=secret))
    if in_series:
        _send_series(wanted, resume, profile, secret, screen, limit=limit, quiet=quiet, as_json=as_json)
    result = asyncio.run(
        send(
            profile,
            mail,
            secret,
            target=target,
            dry_run=dry_run,
            on_step=screen.step,
            gentle=gentle,
            attempts_an_hour=limit,
        )
    )
    if found:
        result = replace(result, findings=(*found.findings, *result.findings))
    _end(result, quiet=quiet, as_json=as_json)


class _Screen:
    """What is told while it is under way; nothing of it before the first step, as until then it may be wrong use."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._before: list[str] = []

    def announce(self, line: str) -> None:
        """Before the first step."""
        self._before.append(line)

    def step(self, step: Step) -> None:
        """A step has ended."""
        from kit.checks.text import step_line

        self.say(step_line(step))

    def say(self, line: str) -> None:
        """Now."""
        if not self._silent:
            for each in (*self._before, line):
                click.echo(each)
        self._before.clear()


def _make(series: Series) -> Mail:
    """One message of it.

    Raises:
        UsageError: nobody is named to send or to get it, or two ways to make it at once.
        InvalidMessage: it must not go out.
    """
    from kit.sending.samples import message_of

    if series.eml:
        if series.kind or series.subject or series.size or series.messages > 1:
            raise UsageError("a file is sent once, as it is", where="--eml", next_step="Leave out --kind, --subject, --size and --count")
    elif not series.recipients:
        raise UsageError("nobody is named to get it", where="--to", next_step="Add --to SOMEBODY@EXAMPLE.COM")
    elif not series.sender:
        raise UsageError("nobody is named as sender", where="--from", next_step="Add --from YOU@EXAMPLE.COM, or --user")
    elif series.size and series.kind not in (None, "attachment"):
        raise UsageError("only an attachment has a size to choose", where="--size", next_step="Leave it out, or say --kind attachment")
    return message_of(series)


def _series(name: str, profile: Profile) -> Series:
    """One that was cut short.

    Raises:
        UsageError: there is none of that name, or it is another account's.
    """
    from kit.auth.budget import account_of
    from kit.sending.journal import unfinished

    open_ = unfinished()
    if name not in open_:
        names = ", ".join(open_) or "none"
        raise UsageError(f"no series {name[:30]!r} is unfinished", where="--resume", next_step=f"Those that are: {names}")
    if open_[name].account != account_of(profile):
        raise UsageError("that series is another account's", where="--resume", next_step=f"Name the target {open_[name].target}, as then")
    return open_[name]


async def _in_sandbox(mail: Mail) -> SendResult:
    from kit.sandbox.server import open_sandbox
    from kit.sending.send import send

    async with open_sandbox() as server:
        return await send(server.profile(), mail, server.password, target="sandbox")


def _send_series(
    series: Series, resume: str | None, profile: Profile, secret: Secret | None, screen: _Screen, *, limit: int, quiet: bool, as_json: bool
) -> NoReturn:
    import asyncio
    from datetime import UTC, datetime

    from kit.checks.text import findings_text
    from kit.model import to_plain
    from kit.sending.journal import Journal
    from kit.sending.pace import Pace
    from kit.sending.samples import message_of
    from kit.sending.series import send_series

    pace = Pace.of(profile)
    with Journal.resume(resume) if resume else Journal.start(series, now=datetime.now(UTC)) as journal:
        if journal.left:
            screen.announce(f"Series {journal.name}: {pace.plan([len(series.recipients)] * len(journal.left)).text}\n")
        try:
            result = asyncio.run(
                send_series(
                    profile,
                    lambda _: message_of(series),
                    secret,
                    pace=pace,
                    journal=journal,
                    on_entry=lambda entry: screen.say(_entry_line(entry, series.messages)),
                    attempts_an_hour=limit,
                )
            )
        finally:
            if journal.left and not quiet:
                click.echo(f"kit: {len(journal.left)} not sent yet. Go on with: kit send {series.target} --resume {journal.name}", err=True)
    if as_json:
        print_json({"target": series.target, "host": profile.host, "port": profile.port, "security": profile.security} | to_plain(result))
    elif quiet and not result.ok:
        click.echo(_paragraph(series.target, result.findings, _totals(result)), err=True)
    elif not quiet:
        click.echo(f"\n{findings_text(result.findings)}\n\n  {_totals(result)}, {result.round_trips} round trips".lstrip("\n"))
    finish(all_well=result.ok)


def _entry_line(entry: Entry, of: int) -> str:
    from datetime import datetime

    told = {"accepted": f"taken, {entry.queue_id}" if entry.queue_id else "taken", "refused": f"refused, {entry.code or 'not sent'}"}
    if entry.until:
        told["later"] = f"later, at {datetime.fromtimestamp(entry.until).astimezone():%H:%M:%S}"
    rejected = f"; not for {', '.join(entry.rejected)}" if entry.rejected and entry.state == "accepted" else ""
    return f"  {entry.number}/{of} {told.get(entry.state, entry.state)}{rejected}"


def _totals(result: SeriesResult) -> str:
    from collections import Counter

    told = {"accepted": "taken", "refused": "refused", "handed-over": "in doubt", "later": "put off", "planned": "not sent"}
    states = Counter(entry.state.value for entry in result.entries)
    number = f"{len(result.entries)} message{'s' * (len(result.entries) != 1)}"
    return f"{number}: " + ", ".join(f"{states[state]} {word}" for state, word in told.items() if states[state])


def _paragraph(target: str, findings: tuple[Finding, ...], totals: str = "") -> str:
    """What cron mails to whoever reads it: what failed, why, and what to do."""
    from kit.checks.text import shorten

    worst = [f for severity in (Severity.ERROR, Severity.WARNING) for f in findings if f.severity is severity]
    said = [f"{f.title}. {f.next_step}" + (f" (because: {shorten(f.evidence[0])})" if f.evidence else "") for f in worst[:1]]
    more = (
        [f"There {'is one more thing' if len(worst) == 2 else f'are {len(worst) - 1} more things'} to look at: run it without --quiet."]
        if len(worst) > 1
        else []
    )
    return " ".join((f"kit send {target}:", *([totals + "."] if totals else []), *said, *more))


def _end(result: SendResult, *, quiet: bool, as_json: bool) -> NoReturn:
    """What came of it; and the exit code."""
    if quiet and not as_json:
        if not result.ok:
            click.echo(_paragraph(result.target, result.findings), err=True)
        finish(all_well=result.ok)
    conclude(result, as_json=as_json)
