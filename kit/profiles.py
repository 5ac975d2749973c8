"""Profiles: which account on which server. Made from what an operator types, kept in a TOML file without secrets."""

from __future__ import annotations

import os
import shlex
import tempfile
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypedDict, Unpack

from kit import fields
from kit.errors import ProfileError, UsageError
from kit.knowledge.providers import find_provider
from kit.model import Profile, Security

# The ports whose security the standards fix: RFC 8314 (465), RFC 6409 with RFC 3207 (587, 25).
_SECURITY_OF_PORT: Final = {465: Security.TLS, 587: Security.STARTTLS, 25: Security.STARTTLS}
_PORT_OF_SECURITY: Final = {Security.TLS: 465, Security.STARTTLS: 587, Security.NONE: 25}

_FIELDS: Final = ("host", "port", "security", "user", "mechanism", "sender", "ca_file", "cert_file", "key_file", "timeout")


# --- making one -------------------------------------------------------------------------------------------------


def build_profile(
    *,
    host: str,
    port: int | None = None,
    security: str | None = None,
    user: str | None = None,
    mechanism: str | None = None,
    sender: str | None = None,
    ca_file: str | None = None,
    cert_file: str | None = None,
    key_file: str | None = None,
    timeout: float | None = None,
    name: str | None = None,
) -> Profile:
    """A profile of checked values. A port or security left out follows from the other; with neither, 587 with STARTTLS.

    Raises:
        UsageError: names the field, its value, and what is allowed.
    """
    secured = None if security is None else fields.check_security(security)
    if port is None:
        port = _PORT_OF_SECURITY[secured or Security.STARTTLS]
    return Profile(
        host=fields.check_host(host),
        port=fields.check_port(port),
        security=secured or _SECURITY_OF_PORT.get(port, Security.STARTTLS),
        user=fields.check_text("user", user),
        mechanism=fields.check_mechanism(mechanism),
        sender=fields.check_address("sender", sender),
        ca_file=fields.check_text("ca_file", ca_file),
        cert_file=fields.check_text("cert_file", cert_file),
        key_file=fields.check_text("key_file", key_file),
        timeout=fields.check_timeout(20.0 if timeout is None else timeout),
        name=None if name is None else fields.check_name(name),
    )


class Options(TypedDict, total=False):
    """What may be said beside a target, and then counts instead of what the target says. None is not said."""

    port: int | None
    security: str | None
    user: str | None
    mechanism: str | None
    sender: str | None
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    timeout: float | None


def resolve_target(target: str, *, path: Path | None = None, **options: Unpack[Options]) -> Profile:
    """What `kit check TARGET` means: a saved profile's name, else a mail address of a known service, else a host.

    Raises:
        UsageError: the target or an option cannot be right; the message says what is allowed.
    """
    for saved in load_profiles(path):
        if saved.name == target:
            return override(saved, options)
    return discover(target, **options)


def names_a_port(target: str, profile: Profile, **options: Unpack[Options]) -> bool:
    """Whether what the user said, and `profile` was made from, means one port; a host alone means any."""
    said = options.get("port") is not None or options.get("security") is not None
    return said or profile.name is not None or "@" in target or fields.split_host_port(target)[1] is not None


def discover(target: str, **options: Unpack[Options]) -> Profile:
    """The profile that a mail address or a host (`host`, `host:port`, `[IPv6]:port`) stands for. Asks nobody.

    Raises:
        UsageError: the address belongs to no known service, or the host cannot be one.
    """
    if "@" not in target:
        host, port = fields.split_host_port(target)
        if port is not None and options.get("port") is None:
            options["port"] = port  # a port that somebody typed is never moved
        return override(build_profile(host=host, port=port), options)
    user = fields.check_address("TARGET", target)
    provider = find_provider(target)
    if provider is None:
        raise UsageError(
            "the kit does not know the mail server of this domain",
            where=fields.shown(target),
            next_step=f"Ask whoever runs it for the server's name, then: kit check HOST --user {shlex.quote(target)}",
        )
    return override(build_profile(host=provider.host, port=provider.port, security=provider.security, user=user), options)


def override(base: Profile, options: Options) -> Profile:
    """The profile with what was said beside it; a port or security that no longer fits follows the other."""
    port, security = _settle(base, options.get("port"), options.get("security"))
    said = {field: value for field, value in options.items() if value is not None}
    return build_profile(**(asdict(base) | said | {"port": port, "security": security}))


def _settle(base: Profile, port: int | None, security: str | None) -> tuple[int, str]:
    """Port and security when options replace one or both: the other follows only where the two would not fit."""
    if port is not None:
        return port, security or _SECURITY_OF_PORT.get(port, base.security)
    wanted = fields.check_security(security or base.security)
    fits = base.port not in _SECURITY_OF_PORT or (wanted is Security.TLS) == (base.port == 465)
    return base.port if fits else _PORT_OF_SECURITY[wanted], wanted


# --- keeping them -----------------------------------------------------------------------------------------------


def profiles_path() -> Path:
    """Where profiles are kept: in KIT_CONFIG_DIR where it is set, else where this system keeps such files."""
    folder = os.environ.get("KIT_CONFIG_DIR")
    if not folder:
        from platformdirs import user_config_dir  # noqa: PLC0415 - only those who look for the file pay for it

        folder = user_config_dir("smtp-auth-kit", appauthor=False)
    return Path(folder) / "profiles.toml"


def load_profiles(path: Path | None = None) -> tuple[Profile, ...]:
    """All saved profiles, by name; empty where there is no file yet.

    Raises:
        ProfileError: the file does not read, or one of its values cannot be right.
    """
    path = path or profiles_path()
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return ()
    except OSError as fault:
        raise ProfileError(fault.strerror or "it does not read", where=str(path), next_step="Make it readable for you") from fault
    except ValueError as fault:  # TOML that does not parse, or bytes that are not UTF-8
        raise ProfileError(f"it is not TOML ({fault})", where=str(path), next_step="Mend the file, or move it away") from fault
    return tuple(sorted((_read(name, table, path) for name, table in document.items()), key=lambda profile: profile.name or ""))


def load_profile(name: str, path: Path | None = None) -> Profile:
    """The saved profile of that name.

    Raises:
        ProfileError: there is none, or the file does not read.
    """
    profiles = load_profiles(path)
    for profile in profiles:
        if profile.name == name:
            return profile
    names = ", ".join(profile.name or "" for profile in profiles)
    raise ProfileError(
        "there is no profile of that name",
        where=fields.shown(name),
        next_step=f"There are: {names}" if names else "Make one: kit profile add NAME --address YOU@EXAMPLE.COM",
    )


def save_profile(profile: Profile, path: Path | None = None) -> Path:
    """Write a named profile, in place of one of the same name, and say where. The file never holds a secret.

    Raises:
        UsageError: the profile has no name, or a value that cannot be right.
        ProfileError: the file does not read or cannot be written.
    """
    checked = build_profile(**asdict(profile))
    if checked.name is None:
        raise UsageError("a profile needs a name to be saved", where="name", next_step=fields.NAME_RULE)
    path = path or profiles_path()
    _write([other for other in load_profiles(path) if other.name != checked.name] + [checked], path)
    return path


def forget_profile(name: str, path: Path | None = None) -> Profile:
    """Take a profile out of the file and hand it back. Its password is the vault's business.

    Raises:
        ProfileError: there is none of that name, or the file cannot be written.
    """
    path = path or profiles_path()
    profile = load_profile(name, path)
    _write([other for other in load_profiles(path) if other.name != name], path)
    return profile


def _read(name: str, table: Any, path: Path) -> Profile:
    where = f"{path}, [{fields.shown(name)}]"
    if not isinstance(table, dict):
        raise ProfileError("it stands outside of a profile", where=where, next_step="Begin each profile with [its name]")
    unknown = sorted(set(table) - set(_FIELDS))
    if unknown:
        # Only the key is named: somebody may have written a password beside it.
        raise ProfileError(
            f"a profile has no field {fields.shown(unknown[0])}", where=where, next_step=f"Its fields are: {', '.join(_FIELDS)}"
        )
    if "host" not in table:
        raise ProfileError("the field host is missing", where=where, next_step='Add: host = "mail.example.com"')
    try:
        return build_profile(name=name, **table)
    except UsageError as fault:
        raise ProfileError(fault.what, where=f"{where}, {fault.where}", next_step=fault.next_step) from fault


def _write(profiles: list[Profile], path: Path) -> None:
    text = "# Written by `kit profile`. No passwords here: they are in the system's vault.\n"
    for profile in sorted(profiles, key=lambda each: each.name or ""):
        text += f"\n[{_quoted(profile.name or '')}]\n"
        text += "".join(f"{key} = {_quoted(value)}\n" for key in _FIELDS if (value := getattr(profile, key)) is not None)
    path = Path(os.path.realpath(path))  # where a link to a file elsewhere is kept, the file is replaced, not the link
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="\n", dir=path.parent, prefix=".profiles-", delete=False) as new:
            new.write(text)  # the file is made with mode 0600
            new.flush()
            os.fsync(new.fileno())
        Path(new.name).replace(path)
    except OSError as fault:
        raise ProfileError(
            f"it cannot be written ({fault.strerror or fault})", where=str(path), next_step="Make its folder writable for you"
        ) from fault


def _quoted(value: str | float) -> str:
    """A TOML value: numbers as they are, strings basic (TOML 1.0, "String")."""
    if isinstance(value, (int, float)):
        return repr(value)
    text = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + fields.CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + '"'
