"""What several commands share: JSON, exit codes, where a password comes from, the options beside a target."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, Unpack

import click

from kit.errors import UsageError
from kit.model import CheckResult, Profile, Security, to_plain
from kit.redact import Secret

if TYPE_CHECKING:
    from kit.checks.discovery import Discovery
    from kit.profiles import Options

F = TypeVar("F", bound=Callable[..., Any])


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    # ASCII: what came from outside may hold characters that a terminal obeys, beyond those that JSON escapes anyway.
    click.echo(json.dumps(to_plain(document), indent=2))


def finish(all_well: bool, *, stopped: bool = False) -> NoReturn:
    """End with the exit code that says whether there is something to look at, or that it was stopped."""
    click.get_current_context().exit(130 if stopped else 0 if all_well else 1)


def number(count: int, what: str) -> str:
    """`1 message`, `2 messages`."""
    return f"{count} {what}{'s' * (count != 1)}"


def conclude(result: CheckResult, *, as_json: bool, stopped: bool = False, **more: object) -> NoReturn:
    """What came of it, as one document or in words; and the exit code."""
    from kit.checks.text import findings_text
    from kit.model import SendResult
    from kit.sending.story import went_out

    if as_json:
        print_json(to_plain(result) | more)
    else:
        click.echo("\n" + findings_text(result.findings))
        if isinstance(result, SendResult) and went_out(result.steps):
            click.echo(f"\n  Message-ID {result.message_id}, {number(result.round_trips, 'round trip')}")
    finish(all_well=result.ok, stopped=stopped)


def password_from_stdin() -> Secret:
    """The first line of standard input. PowerShell's byte order mark and either line end are not part of it.

    Raises:
        UsageError: there is none, or it cannot be a password.
    """
    line = sys.stdin.buffer.readline(4097) if sys.stdin else b""
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        text = ""
    if not text or len(line) > 4096:
        raise UsageError(
            "standard input begins with no password",
            where="--password-stdin",
            next_step="Write it there as one line of UTF-8, such as: pass show mail/scanner | kit …",
        )
    return Secret(text)


def profile_options(command: F) -> F:
    """The settings that a profile can keep, but for the host."""
    ca_type = click.Path(exists=True, dir_okay=False)
    for option in reversed(
        (
            click.option("--port", type=int, help="TCP port. [default: what the security asks for]"),
            click.option(
                "--security", type=click.Choice([kind.value for kind in Security]), help="[default: what the port asks for, else starttls]"
            ),
            click.option("--user", help="Who signs in. Without a user or a certificate there is no sign-in."),
            click.option(
                "--mechanism", help="How to sign in, such as PLAIN or XOAUTH2. [default: the strongest offered that takes a password]"
            ),
            click.option("--ca", "ca_file", type=ca_type, help="A PEM file of authorities to trust instead of the system's."),
            click.option(
                "--cert",
                "cert_file",
                metavar="FILE",
                help="Your own certificate (PEM) for a server that asks for one. Without a password it signs in too, where that is offered (EXTERNAL).",
            ),
            click.option("--key", "key_file", metavar="FILE", help="Its key (PEM), where that is not in the same file."),
            click.option(
                "--timeout",
                type=float,
                help="Seconds that one step may take, the answer to the content thirty times as long. [default: 20]",
            ),
        )
    ):
        command = option(command)
    return command


def server_options(command: F) -> F:
    """What `check` and `send` can be told beside their target."""
    for option in reversed(
        (
            profile_options,
            click.option("--password-stdin", is_flag=True, help="Take the first line of standard input as the password."),
            click.option("--gentle", is_flag=True, help="Never more than one connection at a time; sign in at the first address only."),
            click.option(
                "--attempts", type=click.IntRange(1, 20), help="Sign-ins of one account that may fail within an hour. [default: 2]"
            ),
            click.option(
                "--ask-third-parties",
                is_flag=True,
                help="For the address of an unknown domain, ask Thunderbird's database too; its keeper learns the domain.",
            ),
            click.option("--json", "as_json", is_flag=True, help="One JSON document."),
        )
    ):
        command = option(command)
    return command


def find_target(target: str, *, ask_third_parties: bool, **options: Unpack[Options]) -> tuple[Profile, Discovery | None]:
    """What TARGET means. Where nothing on this machine knows an address's domain, the domain itself is asked, and what came of it told.

    Args:
        target: a host, a mail address, or a profile's name.
        ask_third_parties: ask a stranger's database too.
        options: what was said beside it.

    Raises:
        UsageError: nobody knows it, or an option cannot be right.
    """
    from kit.knowledge.providers import find_provider
    from kit.profiles import load_profiles, resolve_target

    if "@" not in target or find_provider(target) or any(saved.name == target for saved in load_profiles()):
        return resolve_target(target, **options), None
    import asyncio

    from kit.checks.discovery import discover

    found = asyncio.run(discover(target, ask_third_parties=ask_third_parties))
    return found.profile(**options), found


def find_secret(profile: Profile, *, password_stdin: bool, needed: bool = False) -> Secret | None:
    """The password for this profile: from standard input, the vault, or a prompt on a terminal; None where there is none.

    Args:
        profile: whose it is.
        password_stdin: it was promised on standard input.
        needed: where the profile names who signs in, there is one, or somebody at a terminal has said that there is none.

    Raises:
        UsageError: one was promised on standard input, and is not there or belongs to nobody; or it is needed.
    """
    if password_stdin:
        if profile.user is None:
            raise UsageError("a password belongs to a user, and none is named", where="--password-stdin", next_step="Add --user")
        return password_from_stdin()
    if profile.user is None or profile.mechanism == "EXTERNAL":
        return None
    # Whoever shows a certificate and has a password beside it names the mechanism for it.
    by_password = profile.cert_file is None or profile.mechanism is not None
    if profile.security is not Security.NONE:  # nobody is asked for what could not be sent
        from kit.auth.vault import get_secret

        secret = get_secret(profile)
        if secret is None and by_password and sys.stdin and sys.stdin.isatty():
            question = f"Password of {profile.user} (Enter alone: no sign-in)"
            return Secret(click.prompt(question, hide_input=True, default="", show_default=False, err=True)) or None
        if secret:
            return secret
    if needed and by_password:
        raise UsageError(
            "there is no password for this user",
            where=profile.user,
            next_step="Give it with --password-stdin, at a terminal, or once to the vault (kit profile add). "
            "For mail without a sign-in name the host and --from, and no user",
        )
    return None
