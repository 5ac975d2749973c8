"""`kit send`."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, Unpack

import click

from kit.commands.common import conclude, find_secret, find_target, finish, print_json, server_options
from kit.commands.telling import Screen, all_in_all, entry_line, in_doubt, in_words, paragraph, told
from kit.errors import UsageError
from kit.model import Profile, SendResult

if TYPE_CHECKING:
    from kit.checks.discovery import Discovery
    from kit.profiles import Options
    from kit.redact import Secret
    from kit.sending.entries import Series
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
    from kit.sending.entries import series_of
    from kit.sending.pace import MOST_MESSAGES
    from kit.sending.send import send
    from kit.sending.signin import check_mechanism

    described = recipients or options["sender"] or subject or kind or size or eml or count > 1
    most = most or MOST_MESSAGES
    for wrong, where, what, next_step in (
        ("" in (resume, subject, kind), "--resume, --subject or --kind", "nothing stands behind it", "Say what is meant, or leave it out"),
        (resume and described, "--resume", "a series goes on as it began", "Leave out what says how its messages are"),
        (dry_run and (resume or retry or count > 1), "--dry-run", "it is of one message", "Leave out --count, --retry and --resume"),
        (count > most, "--count", f"a series has {most} messages at most, as it is for tests", f"If it is meant: --most {count}"),
        (not (resume or target), "TARGET", "no server is named", "Give a host, a mail address or a profile's name"),
    ):
        if wrong:
            raise UsageError(what, where=where, next_step=next_step)
    if resume:
        series, profile, found = _resumed(resume, target, ask_third_parties=ask_third_parties, **options)
    else:
        target = target or ""
        profile, found = find_target(target, ask_third_parties=ask_third_parties, **options)
        file = str(eml.absolute()) if eml else None
        of = partial(series_of, recipients=recipients, kind=kind, subject=subject, size=size, eml=file)
        series = of(profile, target=target, messages=count)
    mail = _make(series)  # what must not go out is said before anything else
    check_mechanism(profile)
    secret = find_secret(profile, password_stdin=password_stdin, needed=True)
    limit = attempts or ATTEMPTS_AN_HOUR
    screen, silent = Screen(silent=quiet or as_json), quiet and not as_json
    if found:
        screen.announce(text.discovery_text(found) + "\n")
    if sandbox:
        rehearsed = asyncio.run(_in_sandbox(mail))
        screen.announce(f"In the sandbox first: {'taken' if rehearsed.accepted else 'refused'}\n")
        if not rehearsed.accepted:
            _end(rehearsed, partial(conclude, rehearsed, as_json=as_json), target="sandbox", quiet=silent)
    screen.announce(text.plan(profile, gentle=gentle, secret=secret))
    if resume or retry or count > 1:
        again = " --password-stdin" if password_stdin else ""
        sending = partial(_send_series, series, resume, profile, secret, screen, again=again, quiet=silent, as_json=as_json)
        sending(to=len(mail.recipients), gentle=gentle, attempts_an_hour=limit)
    work = partial(send, profile, mail, secret, target=series.target, dry_run=dry_run, on_step=screen.step)
    result, stopped = _run(partial(work, gentle=gentle, attempts_an_hour=limit))
    if found:
        result = replace(result, findings=(*found.findings, *result.findings))
    show = partial(conclude, result, as_json=as_json, stopped=stopped)
    _end(result, show, target=series.target, quiet=silent, stopped=stopped)


def _run(work: Callable[..., Coroutine[Any, Any, R]]) -> tuple[R, bool]:
    """What came of it, and whether it was stopped, by Ctrl-C or another signal. Whatever else ends it, what is in doubt is named."""
    import asyncio

    # asyncio ends its work by SIGINT in good order; but a shell has what it runs behind itself (&) ignore that one.
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    stop = signal.default_int_handler if ignored else lambda *_: signal.raise_signal(signal.SIGINT)
    for end in (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")):
        if end and signal.getsignal(end) is signal.SIG_DFL:  # who ignores it, as nohup does, goes on doing so
            signal.signal(end, stop)
    cut: list[R] = []
    try:
        return asyncio.run(work(on_cut=cut.append)), False
    except KeyboardInterrupt:
        if not cut:
            raise
        return cut[0], True
    except BaseException:
        for finding in filter(in_doubt, cut[0].findings if cut else ()):
            click.echo(f"kit: {told(finding)}", err=True)
        raise


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
    screen: Screen,
    *,
    to: int,
    again: str,
    quiet: bool,
    as_json: bool,
    **limits: Any,
) -> NoReturn:
    from datetime import UTC, datetime

    from kit.model import to_plain
    from kit.sending.journal import Journal
    from kit.sending.pace import Pace
    from kit.sending.samples import message_of
    from kit.sending.series import send_series

    pace = Pace.of(profile)
    with Journal.resume(resume) if resume else Journal.start(series, now=datetime.now(UTC)) as journal:
        if journal.left:
            plan = pace.plan([to] * len(journal.left), most=series.messages)
            screen.announce(f"Series {journal.name}: {plan.text}\n")
        work = partial(send_series, profile, lambda _: message_of(series), secret, pace=pace, journal=journal, on_wait=screen.wait)
        try:
            result, stopped = _run(partial(work, on_entry=lambda entry: screen.say(entry_line(entry, series.messages)), **limits))
            where = {"target": series.target, "host": profile.host, "port": profile.port, "security": profile.security}
            show = partial(print_json, where | to_plain(result)) if as_json else partial(click.echo, in_words(result))
            _end(result, show, target=series.target, quiet=quiet, stopped=stopped, totals=all_in_all(result))
        finally:
            if journal.left:
                click.echo(f"kit: {len(journal.left)} not sent yet. Go on with: kit send --resume {journal.name}{again}", err=True)


def _end(
    result: SendResult | SeriesResult, show: Callable[[], None], *, target: str, quiet: bool, stopped: bool = False, totals: str = ""
) -> NoReturn:
    """What came of it: by `show`, or for cron. Where nobody can read that, the other stream has the gist."""
    gist = paragraph(target, result.findings, totals)
    try:
        if not quiet:
            show()
        elif stopped or not result.ok:
            click.echo(gist, err=True)
    except OSError:
        click.echo(gist, err=True)
        raise
    finish(all_well=result.ok, stopped=stopped)
