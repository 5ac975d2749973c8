"""Where passwords are kept: the system's own vault, or else the memory of this process, said plainly. Never a file.

The vault may ask its user to unlock it, so every function here may block. Code that runs in an event loop calls them
with `asyncio.to_thread`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from kit.errors import UsageError, VaultError
from kit.model import Profile
from kit.redact import Secret

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")

SERVICE: Final = "smtp-auth-kit"
SESSION_ONLY: Final = "this session only"

# The backends of keyring that are a vault of the system. Whatever else is configured (one that throws secrets away,
# one that writes them to a file) counts as none.
_VAULTS: Final = {
    "keyring.backends.SecretService": "system vault (Secret Service, such as GNOME Keyring)",
    "keyring.backends.libsecret": "system vault (Secret Service, such as GNOME Keyring)",
    "keyring.backends.kwallet": "system vault (KWallet)",
    "keyring.backends.macOS": "system vault (macOS Keychain)",
    "keyring.backends.Windows": "system vault (Windows Credential Manager)",
}
_NO_VAULT: Final = "this machine has no vault"
_CLOSED: Final = "the system's vault is locked or does not answer"

_session: dict[str, Secret] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where a password is, or would be, kept.

    Attributes:
        where: in plain words: `system vault (…)` or `this session only`.
        lasting: it is still there when this process has ended.
        why: why it does not last; None where it does.
    """

    where: str
    lasting: bool
    why: str | None = None

    def __str__(self) -> str:
        return f"{self.where} ({self.why})" if self.why else self.where


def vault_state() -> Kept:
    """Where `store_secret` would keep a password now. Opens the vault to find out."""
    return _try_vault(lambda vault: vault.get_password(SERVICE, "is the vault open?"))[0]


def get_secret(profile: Profile) -> Secret | None:
    """The password kept for this profile's account; None where there is none, or where the vault does not open."""
    if profile.user is None:
        return None
    account = _account(profile)
    if account in _session:
        return _session[account]
    _, text = _try_vault(lambda vault: vault.get_password(SERVICE, account))
    return Secret(text) if text else None


def store_secret(profile: Profile, secret: Secret) -> Kept:
    """Keep a password for this profile's account, in the vault if it will, else for this session. Says where it went.

    Raises:
        UsageError: the profile names no user.
    """
    account = _account(profile)
    kept, _ = _try_vault(lambda vault: vault.set_password(SERVICE, account, secret.reveal()))
    if kept.lasting:
        _session.pop(account, None)
    else:
        _session[account] = secret
    return kept


def forget_secret(profile: Profile) -> bool:
    """Remove this profile's password from session and vault. Says whether there was one.

    Raises:
        VaultError: the vault does not open, so that a password may still be in it.
    """
    if profile.user is None:
        return False
    account = _account(profile)
    was_here = _session.pop(account, None) is not None

    def remove(vault: KeyringBackend) -> bool:
        if vault.get_password(SERVICE, account) is None:
            return False
        vault.delete_password(SERVICE, account)
        return True

    kept, was_there = _try_vault(remove)
    if kept.why == _CLOSED:
        raise VaultError(
            "the vault does not open, so a password may still be in it",
            where=account,
            next_step=f"Unlock it and try again, or remove the entry “{SERVICE}” in its own settings",
        )
    return was_here or bool(was_there)


def _account(profile: Profile) -> str:
    if profile.user is None:
        raise UsageError("a password belongs to a user, and none is named", where="user", next_step="Add --user")
    host = f"[{profile.host}]" if ":" in profile.host else profile.host.lower()
    return f"{profile.user}@{host}:{profile.port}"


def _try_vault(action: Callable[[KeyringBackend], T]) -> tuple[Kept, T | None]:
    """Do one thing with the vault, if there is one and it opens."""
    vault = _vault()
    if vault is None:
        return Kept(where=SESSION_ONLY, lasting=False, why=_NO_VAULT), None
    try:
        answer = action(vault)
    except Exception:  # noqa: BLE001 - besides KeyringError the backends let D-Bus's and Windows' own errors through
        return Kept(where=SESSION_ONLY, lasting=False, why=_CLOSED), None
    return Kept(where=_VAULTS[type(vault).__module__], lasting=True), answer


def _vault() -> KeyringBackend | None:
    import keyring  # noqa: PLC0415 - costs 50 ms that only the users of a vault should pay

    try:
        chosen = keyring.get_keyring()
    except (ImportError, AttributeError, ValueError, RuntimeError):
        return None  # keyring's own configuration names a backend that is not there, or that does not work here
    # Where two vaults are found (KWallet beside GNOME's), keyring chains them; the first is the preferred one.
    for backend in getattr(chosen, "backends", (chosen,)):
        if type(backend).__module__ in _VAULTS:
            return backend
    return None
