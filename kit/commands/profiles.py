"""`kit profile …`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from kit.commands.common import finish, password_from_stdin, print_json, profile_options
from kit.errors import UsageError, VaultError
from kit.model import Profile, to_plain
from kit.redact import Secret

if TYPE_CHECKING:
    from kit.profiles import Options


@click.group("profile")
def profile_group() -> None:
    """Keep a server's settings under a name. The password goes into the system's vault, never into the file."""


@profile_group.command("add")
@click.argument("name")
@click.option("--host", help="The server: a host, host:port or [IPv6]:port.")
@click.option("--address", help="A mail address of a known service, whose server is then filled in.")
@profile_options
@click.option("--from", "sender", help="The From address, where it is not the user.")
@click.option("--password-stdin", is_flag=True, help="Keep the first line of standard input as its password.")
def profile_add(name: str, host: str | None, address: str | None, password_stdin: bool, **options: Unpack[Options]) -> None:
    """Save settings under NAME, and on a terminal offer to keep a password for them."""
    from kit.knowledge.providers import find_provider
    from kit.profiles import discover, load_profiles, save_profile
    from kit.sending.transport import tls_context

    target = host or address
    if target is None or (host and address):
        raise UsageError("a profile needs a server", next_step="Give --host MAIL.EXAMPLE.COM or --address YOU@EXAMPLE.COM, one of the two")
    if address and "@" not in address:
        raise UsageError("that is no mail address", where="--address", next_step="For a server's name there is --host")
    if any(saved.name == name for saved in load_profiles()):
        raise UsageError("there is a profile of that name already", where=name, next_step=f"Take it out first: kit profile forget {name}")
    for field in ("ca_file", "cert_file", "key_file"):
        if path := options.get(field):
            options[field] = str(Path(str(path)).absolute())  # the profile is used from other folders too
    profile = replace(discover(target, **options), name=name)
    tls_context(profile)  # what its files do not hold is said now, and not when mail has to flow
    if password_stdin and profile.user is None:
        raise UsageError("a password belongs to a user, and none is named", where="--password-stdin", next_step="Add --user")
    secret = password_from_stdin() if password_stdin else None
    click.echo(f"Saved in {save_profile(profile)}:")
    _print_profile(profile)
    provider = find_provider(address) if address else None
    if provider:
        click.echo(f"As the password {provider.name} wants {provider.password} ({provider.evidence}).")
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


def _place(profile: Profile) -> str:
    return f"[{profile.host}]:{profile.port}" if ":" in profile.host else f"{profile.host}:{profile.port}"


def _print_profile(profile: Profile) -> None:
    click.echo(f"{profile.name}")
    for field, value in to_plain(profile).items():
        if value is not None and field != "name":
            click.echo(f"  {field:<10} {value}")
