"""`kit …`: each command calls one public function and prints what a person needs, or with --json one document.

Exit codes: 0 all well; 1 something to look at; 2 wrong use or unreadable input, and then standard output is empty.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, Unpack

import click

import kit
from kit.errors import KitError, UsageError, VaultError
from kit.model import Cause, Explanation, Profile, Security, Step, to_plain
from kit.redact import Secret

if TYPE_CHECKING:
    from kit.profiles import Options

F = TypeVar("F", bound=Callable[..., Any])


class _Door(click.Group):
    """The command group: a fault of ours ends as one clear paragraph on standard error, never as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KitError as fault:
            click.echo(f"kit: {fault}", err=True)
            ctx.exit(2)
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(130)  # Ctrl-C, as shells count it
        except BrokenPipeError:
            sys.stderr.close()  # the reader went away, as `| head` does; nobody is left to tell
            ctx.exit(0)


@click.group(cls=_Door, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(kit.__version__, prog_name="kit")
def main() -> None:
    """For the moment when SMTP authentication fails: check settings, send a test, read who is failing and why."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name in letters that this terminal lacks is no reason to fall over


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    # ASCII: what came from outside may hold characters that a terminal obeys, beyond those that JSON escapes anyway.
    click.echo(json.dumps(to_plain(document), indent=2))


def finish(all_well: bool) -> NoReturn:
    """End with the exit code that says whether there is something to look at."""
    click.get_current_context().exit(0 if all_well else 1)


def password_from_stdin() -> Secret:
    """The first line of standard input. PowerShell's byte order mark and either line end are not part of it.

    Raises:
        UsageError: there is none, or it cannot be a password.
    """
    line = sys.stdin.buffer.readline(4097)
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


def server_options(command: F) -> F:
    """What `check` and `send` can be told beside their target."""
    for option in reversed(
        (
            click.option("--port", type=int, help="TCP port. [default: what the security asks for]"),
            click.option(
                "--security", type=click.Choice([kind.value for kind in Security]), help="[default: what the port asks for, else starttls]"
            ),
            click.option("--user", help="Who signs in. Without a user there is no sign-in."),
            click.option("--mechanism", help="How to sign in: PLAIN or LOGIN. [default: the first that is offered]"),
            click.option(
                "--ca",
                "ca_file",
                type=click.Path(exists=True, dir_okay=False),
                help="A PEM file of authorities to trust instead of the system's.",
            ),
            click.option("--password-stdin", is_flag=True, help="Take the first line of standard input as the password."),
            click.option("--timeout", type=float, help="Seconds that one step may take. [default: 20]"),
            click.option("--gentle", is_flag=True, help="One connection only, to the first address."),
            click.option(
                "--attempts", type=click.IntRange(1, 20), help="Sign-ins of one account that may fail within an hour. [default: 2]"
            ),
            click.option("--json", "as_json", is_flag=True, help="One JSON document."),
        )
    ):
        command = option(command)
    return command


def find_secret(profile: Profile, *, password_stdin: bool) -> Secret | None:
    """The password for this profile: from standard input, the vault, or a prompt on a terminal; None where there is none.

    Raises:
        UsageError: one was promised on standard input, and is not there or belongs to nobody.
    """
    if password_stdin:
        if profile.user is None:
            raise UsageError("a password belongs to a user, and none is named", where="--password-stdin", next_step="Add --user")
        return password_from_stdin()
    if profile.user is None or profile.security is Security.NONE:
        return None  # nobody is asked for what could not be sent
    from kit.auth.vault import get_secret

    secret = get_secret(profile)
    if secret is None and sys.stdin.isatty():
        question = f"Password of {profile.user} (Enter alone: no sign-in)"
        secret = Secret(click.prompt(question, hide_input=True, default="", show_default=False, err=True))
    return secret or None


@main.command("check")
@click.argument("target")
@server_options
def check_command(target: str, password_stdin: bool, gentle: bool, attempts: int | None, as_json: bool, **options: Unpack[Options]) -> None:
    """Take a server's settings apart, step by step; with a user and a password sign in, once. TARGET: a host, a mail address, or a profile."""
    import asyncio

    from kit.auth.budget import ATTEMPTS_AN_HOUR
    from kit.checks import text
    from kit.checks.ladder import MOST_CONNECTIONS, check
    from kit.profiles import resolve_target

    profile = resolve_target(target, **options)
    secret = find_secret(profile, password_stdin=password_stdin)
    announce = [text.plan(profile, connections=1 if gentle else MOST_CONNECTIONS, signs_in=secret is not None)]

    def tell(step: Step) -> None:
        while announce:  # before the first step, and not before what may still be wrong use
            click.echo(announce.pop())
        click.echo(text.step_line(step))

    result = asyncio.run(
        check(
            profile,
            secret,
            target=target,
            on_step=None if as_json else tell,
            gentle=gentle,
            attempts_an_hour=attempts or ATTEMPTS_AN_HOUR,
        )
    )
    if as_json:
        print_json(result)
    else:
        click.echo("\n" + text.findings_text(result.findings))
    finish(all_well=result.ok)


@main.command("send")
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
    as_json: bool,
    **options: Unpack[Options],
) -> None:
    """Send one test message, and say what became of it. TARGET: a host, a mail address, or a profile."""
    import asyncio

    from kit.auth.budget import ATTEMPTS_AN_HOUR
    from kit.checks import text
    from kit.profiles import resolve_target
    from kit.sending.message import build_test_message
    from kit.sending.send import MOST_CONNECTIONS, send

    profile = resolve_target(target, **options)
    sender = profile.sender or profile.user
    if sender is None:
        raise UsageError("nobody is named as sender", where="--from", next_step="Add --from YOU@EXAMPLE.COM, or --user")
    message = build_test_message(sender, recipients, subject=subject)
    secret = find_secret(profile, password_stdin=password_stdin)
    announce = [text.plan(profile, connections=1 if gentle else MOST_CONNECTIONS, signs_in=secret is not None)]

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
    if as_json:
        print_json(result)
    else:
        click.echo("\n" + text.findings_text(result.findings))
        if any(step.name == "data" for step in result.steps):
            click.echo(f"\n  Message-ID {result.message_id}, {result.round_trips} round trips")
    finish(all_well=result.ok)


@main.group("profile")
def profile_group() -> None:
    """Keep a server's settings under a name. The password goes into the system's vault, never into the file."""


@profile_group.command("add")
@click.argument("name")
@click.option("--host", help="The server: a host, host:port or [IPv6]:port.")
@click.option("--address", help="A mail address of a known service, whose server is then filled in.")
@click.option("--port", type=int, help="TCP port. [default: what the security asks for]")
@click.option("--security", type=click.Choice([kind.value for kind in Security]), help="[default: what the port asks for, else starttls]")
@click.option("--user", help="Who signs in.")
@click.option("--mechanism", help="How to sign in, such as PLAIN or LOGIN. [default: the best that is offered]")
@click.option(
    "--ca", "ca_file", type=click.Path(exists=True, dir_okay=False), help="A PEM file of authorities to trust instead of the system's."
)
@click.option("--from", "sender", help="The From address, where it is not the user.")
@click.option("--timeout", type=float, help="Seconds that one step may take. [default: 20]")
@click.option("--password-stdin", is_flag=True, help="Keep the first line of standard input as its password.")
def profile_add(name: str, host: str | None, address: str | None, password_stdin: bool, **options: Unpack[Options]) -> None:
    """Save settings under NAME, and on a terminal offer to keep a password for them."""
    from kit.knowledge.providers import find_provider
    from kit.profiles import discover, load_profiles, save_profile

    target = host or address
    if target is None or (host and address):
        raise UsageError("a profile needs a server", next_step="Give --host MAIL.EXAMPLE.COM or --address YOU@EXAMPLE.COM, one of the two")
    if address and "@" not in address:
        raise UsageError("that is no mail address", where="--address", next_step="For a server's name there is --host")
    if any(saved.name == name for saved in load_profiles()):
        raise UsageError("there is a profile of that name already", where=name, next_step=f"Take it out first: kit profile forget {name}")
    if ca_file := options.get("ca_file"):
        options["ca_file"] = str(Path(ca_file).absolute())  # the profile is used from other folders too
    profile = replace(discover(target, **options), name=name)
    if password_stdin and profile.user is None:
        raise UsageError("a password belongs to a user, and none is named", where="--password-stdin", next_step="Add --user")
    secret = password_from_stdin() if password_stdin else None
    path = save_profile(profile)
    click.echo(f"Saved in {path}:")
    _print_profile(profile)
    provider = find_provider(address) if address else None
    if provider:
        click.echo(f"As the password {provider.name} wants {provider.password}.")
    if profile.user is not None:
        _offer_vault(profile, secret)


def _offer_vault(profile: Profile, secret: Secret | None) -> None:
    from kit.auth.vault import store_secret, vault_state

    state = vault_state()
    if state.lasting and secret is None and sys.stdin.isatty() and click.confirm("Keep its password in the system's vault?"):
        secret = Secret(click.prompt("Password", hide_input=True))
    if state.lasting and secret is not None:
        state = store_secret(profile, secret)
    if not state.lasting:
        click.echo(f"Its password is kept nowhere: {state.why}, so it will be asked for each time.")
        finish(all_well=secret is None)
    click.echo(f"Its password is kept in the {state.where}." if secret else "No password is kept, so it will be asked for each time.")


@profile_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def profile_list(as_json: bool) -> None:
    """All saved profiles."""
    from kit.profiles import load_profiles

    profiles = load_profiles()
    if as_json:
        print_json(profiles)
        return
    if not profiles:
        click.echo("There are no profiles yet. Make one: kit profile add NAME --address YOU@EXAMPLE.COM")
    width = max((len(profile.name or "") for profile in profiles), default=0)
    for profile in profiles:
        click.echo(f"{profile.name:<{width}}  {_place(profile)} {profile.security}  {profile.user or ''}".rstrip())


@profile_group.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def profile_show(name: str, as_json: bool) -> None:
    """One profile, and whether a password is kept for it."""
    from kit.auth.vault import get_secret, vault_state
    from kit.profiles import load_profile

    profile = load_profile(name)
    kept = get_secret(profile) is not None
    if as_json:
        print_json(to_plain(profile) | {"password_kept": kept})
        return
    _print_profile(profile)
    click.echo(f"  password   {'kept in the ' + vault_state().where if kept else 'not kept; it will be asked for each time'}")


@profile_group.command("forget")
@click.argument("name")
def profile_forget(name: str) -> None:
    """Take a profile out of the file, and its password out of the vault."""
    from kit.auth.vault import forget_secret
    from kit.profiles import forget_profile, load_profiles

    gone = forget_profile(name)
    click.echo(f"Forgot {gone.name}.")
    if any((other.user, other.host, other.port) == (gone.user, gone.host, gone.port) for other in load_profiles()):
        click.echo("Its password stays: another profile signs in with it.")
        return
    try:
        if forget_secret(gone):
            click.echo("Its password is out of the vault too.")
    except VaultError as fault:
        click.echo(f"kit: {fault}", err=True)
        finish(all_well=False)


@main.command("logs")
@click.argument("paths", metavar="PATH...|-", nargs=-1, required=True)
@click.option(
    "--year", type=click.IntRange(1970, 9998), help="Year of the first line, where lines have none. [default: by the file's date]"
)
@click.option("--tz", "zone", metavar="ZONE", help="Zone of times without one: Europe/Berlin, +02:00. [default: UTC]")
@click.option("--since", metavar="T", help="Only attempts at or after this ISO 8601 date or time (in --tz, if it names no zone).")
@click.option("--until", metavar="T", help="Only attempts before this date or time.")
@click.option("--user", metavar="U", help="Only attempts of this user.")
@click.option("--ip", metavar="A", help="Only attempts from this address.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("-o", "output", type=click.Path(path_type=Path), metavar="FILE", help="Every attempt into FILE: .parquet, .csv or .jsonl.")
def logs_command(
    *,
    paths: tuple[str, ...],
    year: int | None,
    zone: str | None,
    since: str | None,
    until: str | None,
    user: str | None,
    ip: str | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Who signs in, who fails and why, from mail logs. PATH: a file (plain or gz), a folder, or - for standard input."""
    from contextlib import nullcontext

    from kit.logs.authlog import LogReader
    from kit.logs.export import in_portions, open_export
    from kit.logs.options import parse_address, parse_time
    from kit.logs.progress import Progress
    from kit.logs.report import printable, report, to_document
    from kit.logs.summary import Summary

    begin, end = parse_time(since, option="--since", zone=zone), parse_time(until, option="--until", zone=zone)
    summary = Summary()
    with open_export(output) if output else nullcontext() as export, Progress(sys.stderr) as progress:
        reader = LogReader(paths, year=year, zone=zone, since=begin, until=end, user=user, ip=parse_address(ip), progress=progress)
        for table in in_portions(reader.tables()):
            summary.add(table)
            if export:
                export(table)
    for problem in reader.problems:
        click.echo(f"kit: {printable(problem, 400)}", err=True)
    if as_json:
        print_json(to_document(reader, summary))
    else:
        click.echo(report(reader, summary))
    coverage = reader.coverage
    finish(all_well=not (reader.problems or coverage.not_understood or coverage.undecodable))


@main.command("sandbox")
@click.option("--scenario", default="good", show_default=True, metavar="NAME", help="What it plays; see --list.")
@click.option("--list", "only_list", is_flag=True, help="Say what it can play, and end.")
def sandbox_command(scenario: str, only_list: bool) -> None:
    """A mail server on this machine to practise on: it plays faults, shows what is said, and never relays. Ctrl-C ends it."""
    import asyncio

    from kit.sandbox.scenarios import find_scenario, scenarios

    if only_list:
        for each in scenarios():
            click.echo(f"{each.name:<20} {each.title}\n{'':<20} {each.teaches}")
        return
    find_scenario(scenario)
    with suppress(KeyboardInterrupt):
        asyncio.run(_play(scenario))


async def _play(scenario: str) -> None:
    """Runs a sandbox until somebody presses Ctrl-C. Its password is made for this run and good for nothing else."""
    import asyncio
    import shlex
    import signal

    from kit.sandbox.record import Said
    from kit.sandbox.server import open_sandbox

    said: asyncio.Queue[Said | None] = asyncio.Queue()
    with suppress(NotImplementedError):  # Windows has no such signal
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, said.put_nowait, None)
    async with open_sandbox(scenario, listener=said.put_nowait) as sandbox:
        password, ca_file = shlex.quote(sandbox.password.reveal()), shlex.quote(sandbox.ca_file)
        options = f"--port {sandbox.port} --user {sandbox.user} --ca {ca_file} --password-stdin"
        click.echo(f"{sandbox.scenario.title}: {sandbox.scenario.teaches}")
        click.echo(f"  host       {sandbox.host}, port {sandbox.port} (STARTTLS) and {sandbox.tls_port} (TLS)")
        click.echo(f"  user       {sandbox.user}")
        click.echo(f"  password   {sandbox.password.reveal()} (made for this run)")
        click.echo(f"  authority  {sandbox.ca_file}")
        click.echo("Try, in another terminal:")
        click.echo(f"  echo {password} | kit check {sandbox.host} {options}")
        click.echo(f"  echo {password} | kit send {sandbox.host} {options} --to colleague@example.test")
        click.echo(f"  openssl s_client -connect {sandbox.host}:{sandbox.tls_port} -CAfile {ca_file} -quiet -crlf")
        click.echo(f"{sandbox.scenario.next}\nCtrl-C ends it. What is said (UTC; C is the client, S the sandbox):\n")
        while (line := await said.get()) is not None:
            click.echo(str(line))


@main.command("lab")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port to listen on; else Lab finds one.")
def lab_command(folder: Path | None, no_browser: bool, port: int | None) -> None:
    """The guided notebooks in JupyterLab, from DIR (an installed kit writes them there first)."""
    from kit.lab.launch import find_home, run_lab

    home, kept = find_home(folder)
    for name in kept:
        click.echo(f"kit: {name} has been edited here; it stays as it is", err=True)
    click.get_current_context().exit(run_lab(home, browser=not no_browser, port=port))


@main.command("explain")
@click.argument("words", metavar="TEXT|-", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def explain_command(words: tuple[str, ...], as_json: bool) -> None:
    """What a server's reply, or a line that holds one, means, and what to do. With - it is read from standard input."""
    from kit.explain import LIMIT, explain

    text = " ".join(words)
    if text == "-":
        text = sys.stdin.buffer.read(4 * LIMIT).decode("utf-8", "replace")
    if not text.strip():
        raise UsageError(
            "there is nothing to explain",
            where="TEXT",
            next_step='Give the server\'s words: kit explain "535 5.7.8 …", or pipe them to kit explain -',
        )
    answer = explain(text)
    if as_json:
        print_json(answer)
    else:
        _print_explanation(answer)
    finish(all_well=answer.cause is not Cause.UNKNOWN)


def _print_explanation(answer: Explanation) -> None:
    """Prose is wrapped, though not within a word such as Set-CASMailbox; a command to copy is not."""
    import textwrap

    def say(label: str, text: str) -> None:
        wrapped = textwrap.TextWrapper(
            100, initial_indent=f"  {label:<10} ", subsequent_indent=" " * 13, break_long_words=False, break_on_hyphens=False
        )
        click.echo(wrapped.fill(text))

    click.echo(answer.title + (f" ({answer.provider})" if answer.provider else ""))
    say("cause", answer.cause)
    say("do", answer.next_step)
    if answer.verify:
        click.echo(f"  {'tell apart':<10} {answer.verify}".rstrip())
    for other in answer.alternatives:
        say("or", f"{other.title} ({other.cause}). {other.next_step}")
    for source in answer.sources:
        say("source", source)


def _place(profile: Profile) -> str:
    return f"[{profile.host}]:{profile.port}" if ":" in profile.host else f"{profile.host}:{profile.port}"


def _print_profile(profile: Profile) -> None:
    click.echo(f"{profile.name}")
    for field, value in to_plain(profile).items():
        if value is not None and field != "name":
            click.echo(f"  {field:<10} {value}")
