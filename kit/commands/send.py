"""`kit send`."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, Unpack

import click

from kit.commands.common import conclude, find_secret, find_target, finish, number, print_json, server_options
from kit.errors import UsageError
from kit.model import Cause, Finding, Profile, SendResult, Severity, Step

if TYPE_CHECKING:
    from kit.checks.discovery import Discovery
    from kit.profiles import Options
    from kit.redact import Secret
    from kit.sending.journal import Entry, Series
    from kit.sending.mail import Mail
    from kit.sending.series import SeriesResult

R = TypeVar("R", "SendResult", "SeriesResult")

_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}


class _Size(click.ParamType[int]):
    """Octets: 250000, 250k, 5M."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d{1,9})([kKmM]?)B?", str(value))
        if found is None or not int(found[1]):
            self.fail(f"{value!r} is no size such as 250k or 5M", param, ctx)
        return int(found[1]) * _UNITS[found[2].lower()]


@click.command("send")
@click.argument("target", required=False)
@click.option("--to", "recipients", multiple=True, metavar="ADDRESS", help="Who gets it; may be given several times.")
@click.option("--from", "sender", metavar="ADDRESS", help="The From address. [default: the profile's, else the user]")
@click.option("--subject", metavar="T", help="A trace id is put behind it. [default: says that it is a test]")
@click.option(
    "--kind", metavar="NAME", help="plain, html, attachment, smtputf8, long-lines, other-from, reply-to or gtube. [default: plain]"
)
@click.option("--size", type=_Size(), metavar="OCTETS", help="Of the attachment: 250k, 5M. [default: 100k]")
@click.option("--eml", type=click.Path(path_type=Path), metavar="FILE", help="Send this message instead, if it may go out.")
@click.option(
    "--count", type=click.IntRange(min=1), default=1, help="A series of so many, at the pace that the service allows. [default: 1]"
)
@click.option("--most", type=click.IntRange(min=1), metavar="N", help="How many a series may have. [default: 100]")
@click.option("--retry", is_flag=True, help="Where the server says “later” (4xx), wait as long as it asks and try once more.")
@click.option("--resume", metavar="SERIES", help="Go on with a series that was cut short, with the settings it has; nothing is sent twice.")
@click.option("--sandbox", is_flag=True, help="Send it to the kit's own server on this machine first.")
@click.option("--dry-run", is_flag=True, help="Ask the server about sender and recipients, and send nothing.")
@click.option("--quiet", is_flag=True, help="For cron: say nothing if all is well, else one paragraph on standard error.")
@server_options
def send_command(
    *,
    target: str | None,
    recipients: tuple[str, ...],
    subject: str | None,
    kind: str | None,
    size: int | None,
    eml: Path | None,
    count: int,
    most: int | None,
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

    from kit.auth.budget import ATTEMPTS_AN_HOUR
    from kit.checks import text
    from kit.sending.send import send
    from kit.sending.signin import check_mechanism

    for name, value in (("--resume", resume), ("--subject", subject), ("--kind", kind)):
        if value == "":
            raise UsageError("nothing stands behind it", where=name, next_step="Say what is meant, or leave it out")
    _check_together(resume, described=bool(recipients or options["sender"] or subject or kind or size or eml), dry_run=dry_run, retry=retry)
    _check_count(count, most, alone=bool(resume or dry_run))
    if resume:
        series, profile, found = _resumed(resume, target, ask_third_parties=ask_third_parties, **options)
    elif target:
        profile, found = find_target(target, ask_third_parties=ask_third_parties, **options)
        series = _begun(target, profile, recipients=recipients, kind=kind, subject=subject, size=size, eml=eml, messages=count)
    else:
        raise UsageError("no server is named", where="TARGET", next_step="Give a host, a mail address or a profile's name")
    mail = _make(series)  # what must not go out is said before anything else
    check_mechanism(profile)
    secret = find_secret(profile, password_stdin=password_stdin, needed=True)
    limit = attempts or ATTEMPTS_AN_HOUR
    screen = _Screen(silent=quiet or as_json)
    if found:
        screen.announce(text.discovery_text(found) + "\n")
    if sandbox:
        rehearsed = asyncio.run(_in_sandbox(mail))
        screen.announce(f"In the sandbox first: {'taken' if rehearsed.accepted else 'refused'}\n")
        if not rehearsed.accepted:
            _end(rehearsed, quiet=quiet, as_json=as_json)
    screen.announce(text.plan(profile, gentle=gentle, secret=secret))
    if resume or retry or count > 1:
        again = " --password-stdin" if password_stdin else ""
        sending = partial(_send_series, series, resume, profile, secret, screen, again=again, quiet=quiet, as_json=as_json)
        sending(gentle=gentle, attempts_an_hour=limit)
    work = partial(send, profile, mail, secret, target=series.target, dry_run=dry_run, on_step=screen.step)
    result, stopped = _run(partial(work, gentle=gentle, attempts_an_hour=limit))
    if found:
        result = replace(result, findings=(*found.findings, *result.findings))
    _end(result, quiet=quiet, as_json=as_json, stopped=stopped)


def _check_together(resume: str | None, *, described: bool, dry_run: bool, retry: bool) -> None:
    if resume and described:
        raise UsageError("a series goes on as it began", where="--resume", next_step="Leave out what says how its messages are")
    if dry_run and (resume or retry):
        raise UsageError("a dry run is of one message", where="--dry-run", next_step="Leave out --retry and --resume")


def _check_count(count: int, most: int | None, *, alone: bool) -> None:
    from kit.sending.pace import MOST_MESSAGES

    if alone and count > 1:
        raise UsageError("a dry run is of one message, and a series goes on as it began", where="--count", next_step="Leave it out")
    if count > (most or MOST_MESSAGES):
        next_step = f"It is for tests, and mail for many people is the business of a mailing service. If it is meant: --most {count}"
        raise UsageError(f"a series has {most or MOST_MESSAGES} messages at most", where="--count", next_step=next_step)


def _run(work: Callable[..., Coroutine[Any, Any, R]]) -> tuple[R, bool]:
    """What came of it, and whether it was stopped, by Ctrl-C or another signal. Whatever else ends it, what is in doubt is named."""
    import asyncio

    for end in (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")):
        if end and signal.getsignal(end) is signal.SIG_DFL:  # who ignores it, as nohup does, goes on doing so
            signal.signal(end, lambda *_: signal.raise_signal(signal.SIGINT))
    cut: list[R] = []
    try:
        return asyncio.run(work(on_cut=cut.append)), False
    except KeyboardInterrupt:
        if not cut:
            raise
        return cut[0], True
    except BaseException:
        for finding in filter(_in_doubt, cut[0].findings if cut else ()):
            click.echo(f"kit: {_told(finding)}", err=True)
        raise


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
        """Now. Where nobody reads any more, the mail goes on."""
        if not self._silent:
            try:
                for each in (*self._before, line):
                    click.echo(each)
            except OSError:
                self._silent = True
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


def _begun(target: str, profile: Profile, *, eml: Path | None, **what: Any) -> Series:
    """A new one, with its settings; they are used from other folders too."""
    from dataclasses import replace

    from kit.auth.budget import account_of
    from kit.sending.journal import Series

    files = {name: str(Path(path).absolute()) for name in ("ca_file", "cert_file", "key_file") if (path := getattr(profile, name))}
    return Series(
        target=target,
        account=account_of(profile),
        profile=replace(profile, **files),  # type: ignore[arg-type]
        sender=profile.sender or profile.user or "",
        eml=str(eml.absolute()) if eml else None,
        **what,
    )


def _resumed(
    name: str, target: str | None, *, ask_third_parties: bool, **options: Unpack[Options]
) -> tuple[Series, Profile, Discovery | None]:
    """One that was cut short, and where it goes.

    Raises:
        UsageError: there is none of that name, or what is said beside it leads to another account.
    """
    from kit.auth.budget import account_of
    from kit.profiles import override
    from kit.sending.journal import unfinished

    open_ = unfinished()
    if name not in open_:
        names = ", ".join(open_) or "none"
        raise UsageError(f"no series {name[:30]!r} is unfinished", where="--resume", next_step=f"Those that are: {names}")
    series = open_[name]
    kept = series.profile
    profile, found = (
        (override(kept, options), None) if kept else find_target(target or series.target, ask_third_parties=ask_third_parties, **options)
    )
    if account_of(profile) != series.account or target not in (None, series.target):
        next_step = (
            f"Its settings are kept: kit send --resume {name}" if kept else f"Name the target {series.target} with its options, as then"
        )
        raise UsageError(
            f"that series is of {series.account}, and what stands beside it is another account", where="--resume", next_step=next_step
        )
    return series, profile, found


async def _in_sandbox(mail: Mail) -> SendResult:
    from kit.sandbox.server import open_sandbox
    from kit.sending.send import send

    async with open_sandbox() as server:
        return await send(server.profile(), mail, server.password, target="sandbox")


def _send_series(
    series: Series,
    resume: str | None,
    profile: Profile,
    secret: Secret | None,
    screen: _Screen,
    *,
    again: str,
    quiet: bool,
    as_json: bool,
    **limits: Any,
) -> NoReturn:
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
            plan = pace.plan([len(series.recipients)] * len(journal.left), most=series.messages)
            screen.announce(f"Series {journal.name}: {plan.text}\n")
        work = partial(send_series, profile, lambda _: message_of(series), secret, pace=pace, journal=journal)
        try:
            result, stopped = _run(partial(work, on_entry=lambda entry: screen.say(_entry_line(entry, series.messages)), **limits))
            if as_json:
                print_json(
                    {"target": series.target, "host": profile.host, "port": profile.port, "security": profile.security} | to_plain(result)
                )
            elif not quiet:
                trips = number(result.round_trips, "round trip")
                click.echo(f"\n{findings_text(result.findings)}\n\n  {_totals(result)}, {trips}".lstrip("\n"))
            elif stopped or not result.ok:
                click.echo(_paragraph(series.target, result.findings, _totals(result)), err=True)
        finally:
            if journal.left:
                click.echo(f"kit: {len(journal.left)} not sent yet. Go on with: kit send --resume {journal.name}{again}", err=True)
    finish(all_well=result.ok, stopped=stopped)


_WORDS = {"accepted": "taken", "refused": "refused", "handed-over": "in doubt", "later": "put off", "planned": "not sent"}


def _entry_line(entry: Entry, of: int) -> str:
    from datetime import datetime

    more = ""
    if entry.state == "accepted":
        more = (f", {entry.queue_id}" if entry.queue_id else "") + (f"; not for {', '.join(entry.rejected)}" if entry.rejected else "")
    elif entry.state == "refused":
        more = f", {entry.code or 'not sent'}"
    elif entry.until:
        more = f" until {datetime.fromtimestamp(entry.until).astimezone():%Y-%m-%d %H:%M:%S}"
    return f"  {entry.number}/{of} {_WORDS[entry.state]}{more}"


def _totals(result: SeriesResult) -> str:
    from collections import Counter

    states = Counter(entry.state.value for entry in result.entries)
    return f"{number(len(result.entries), 'message')}: " + ", ".join(
        f"{states[state]} {word}" for state, word in _WORDS.items() if states[state]
    )


def _in_doubt(finding: Finding) -> bool:
    return any(text.startswith("Message-ID: ") for text in finding.evidence)


def _told(finding: Finding) -> str:
    """One finding in a paragraph."""
    from kit.checks.text import shorten

    evidence = finding.evidence[0] if finding.evidence else ""
    because = f" ({evidence})" if _in_doubt(finding) else f" (because: {shorten(evidence)})" if evidence else ""
    return f"{finding.title}. {finding.next_step}{because}"


def _paragraph(target: str, findings: tuple[Finding, ...], totals: str = "") -> str:
    """What cron mails to whoever reads it: what is in doubt, else what failed; why, and what to do. Never to send it once more."""
    worst = sorted(
        (each for each in findings if each.severity in (Severity.ERROR, Severity.WARNING) or each.cause is Cause.ABORTED),
        key=lambda each: (not _in_doubt(each), each.cause is not Cause.ABORTED, each.severity is not Severity.ERROR),
    )
    doubts = len(list(filter(_in_doubt, worst)))
    first = max(1, doubts)
    said = [_told(finding) for finding in (worst or list(findings[-1:]))[:first]]
    also = "; ".join(finding.title for finding in worst[first:])
    return " ".join((f"kit send {target}:", *([totals + "."] if totals else []), *said, *([f"Also: {also}."] if also else [])))


def _end(result: SendResult, *, quiet: bool, as_json: bool, stopped: bool = False) -> NoReturn:
    """What came of it; and the exit code."""
    if quiet and not as_json:
        if stopped or not result.ok:
            click.echo(_paragraph(result.target, result.findings), err=True)
        finish(all_well=result.ok, stopped=stopped)
    try:
        conclude(result, as_json=as_json, stopped=stopped)
    except OSError:
        click.echo(_paragraph(result.target, result.findings), err=True)
        raise
