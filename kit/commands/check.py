"""`kit check`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Unpack

import click

from kit.commands.common import conclude, find_secret, find_target, server_options
from kit.model import CheckResult

if TYPE_CHECKING:
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
    from dataclasses import replace

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
    result = together(around, result)
    if found:
        result = replace(result, findings=(*found.findings, *result.findings))
    conclude(result, as_json=as_json, **more)
