"""`kit check` and `kit send`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, Unpack

import click

from kit.commands.common import find_secret, find_target, finish, print_json, server_options
from kit.errors import UsageError
from kit.model import CheckResult, Step

if TYPE_CHECKING:
    from kit.checks.discovery import Discovery
    from kit.profiles import Options


@click.command("check")
@click.argument("target")
@server_options
def check_command(
    *,
    target: str,
    password_stdin: bool,
    gentle: bool,
    attempts: int | None,
    ask_third_parties: bool,
    as_json: bool,
    **options: Unpack[Options],
) -> None:
    """Take a server's settings apart, step by step; with a user and a password sign in, once. TARGET: a host, a mail address, or a profile."""
    import asyncio

    from kit.auth.budget import ATTEMPTS_AN_HOUR
    from kit.checks import text
    from kit.checks.ladder import check, check_settings
    from kit.checks.matrix import ways
    from kit.checks.survey import USUAL, Survey, survey, together
    from kit.profiles import names_a_port

    profile, found = find_target(target, ask_third_parties=ask_third_parties, **options)
    secret = find_secret(profile, password_stdin=password_stdin)
    limit = attempts or ATTEMPTS_AN_HOUR
    check_settings(profile, secret, attempts_an_hour=limit)  # what cannot be right is said before anything else
    say: Callable[[str], None] = (lambda _: None) if as_json else click.echo
    if found:
        say(text.discovery_text(found) + "\n")

    async def look() -> tuple[Survey, CheckResult]:
        around = await survey(
            profile,
            others=() if names_a_port(target, profile, **options) else USUAL,
            on_plan=lambda number: say(text.plan_survey(profile, number, gentle=gentle)),
            on_probe=lambda probe: say(text.probe_line(probe)),
            gentle=gentle,
        )
        if known := ways(around.probes, profile):
            say(f"\n{text.ways_text(known)}")
        say("\n" + text.plan(profile, gentle=gentle, secret=secret))
        return around, await check(
            profile, secret, target=target, on_step=lambda step: say(text.step_line(step)), gentle=gentle, attempts_an_hour=limit
        )

    around, result = asyncio.run(look())
    more = {name: getattr(around, name) for name in ("dns", "probes", "versions", "chain")} | {"ways": ways(around.probes, profile)}
    _conclude(together(around, result), found, as_json=as_json, **more)


@click.command("send")
@click.argument("target")
@click.option("--to", "recipients", multiple=True, required=True, metavar="ADDRESS", help="Who gets it; may be given several times.")
@click.option("--from", "sender", metavar="ADDRESS", help="The From address. [default: the profile's, else the user]")
@click.option("--subject", metavar="T", help="A trace id is put behind it. [default: says that it is a test]")
@click.option("--dry-run", is_flag=True, help="Ask the server about sender and recipients, and send nothing.")
@server_options
def send_command(
    *,
    target: str,
    recipients: tuple[str, ...],
    subject: str | None,
    dry_run: bool,
    password_stdin: bool,
    gentle: bool,
    attempts: int | None,
    ask_third_parties: bool,
    as_json: bool,
    **options: Unpack[Options],
) -> None:
    """Send one test message, and say what became of it. TARGET: a host, a mail address, or a profile."""
    import asyncio

    from kit.auth.budget import ATTEMPTS_AN_HOUR
    from kit.checks import text
    from kit.sending.message import build_test_message
    from kit.sending.send import send

    profile, found = find_target(target, ask_third_parties=ask_third_parties, **options)
    sender = profile.sender or profile.user
    if sender is None:
        raise UsageError("nobody is named as sender", where="--from", next_step="Add --from YOU@EXAMPLE.COM, or --user")
    message = build_test_message(sender, recipients, subject=subject)
    secret = find_secret(profile, password_stdin=password_stdin)
    announce = [text.plan(profile, gentle=gentle, secret=secret)]
    if found:
        announce.append(text.discovery_text(found) + "\n")

    def tell(step: Step) -> None:
        while announce:  # before the first step, and not before what may still be wrong use
            click.echo(announce.pop())
        click.echo(text.step_line(step))

    result = asyncio.run(
        send(
            profile,
            message,
            secret,
            target=target,
            dry_run=dry_run,
            on_step=None if as_json else tell,
            gentle=gentle,
            attempts_an_hour=attempts or ATTEMPTS_AN_HOUR,
        )
    )
    _conclude(result, found, as_json=as_json)


def _conclude(result: CheckResult, found: Discovery | None, *, as_json: bool, **more: object) -> NoReturn:
    """What came of it, with what the way to the target had to say, as one document or in words; and the exit code."""
    from dataclasses import replace

    from kit.checks.text import findings_text
    from kit.model import SendResult, to_plain

    if found:
        result = replace(result, findings=(*found.findings, *result.findings))
    if as_json:
        print_json(to_plain(result) | more)
    else:
        click.echo("\n" + findings_text(result.findings))
        if isinstance(result, SendResult) and any(step.name == "data" for step in result.steps):
            click.echo(f"\n  Message-ID {result.message_id}, {result.round_trips} round trips")
    finish(all_well=result.ok)
