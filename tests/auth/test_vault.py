"""The vault: a real Secret Service where there is one, this session's memory where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit.auth import vault
from kit.errors import UsageError, VaultError
from kit.model import Profile, Security
from kit.redact import Secret

PROFILE = Profile(host="mx.example.com", port=587, security=Security.STARTTLS, user="ann@example.com")
# What `dbus-run-session` starts; the first argument is the shell line that starts the vault, the rest what runs beside it.
IN_A_BUS = ["dbus-run-session", "--", "bash", "-c"]
UNLOCKED = 'printf "only for this test" | gnome-keyring-daemon --unlock --components=secrets >/dev/null; "$@"'
LOCKED = 'gnome-keyring-daemon --start --components=secrets >/dev/null; "$@"'

PRELUDE = """
import sys
from kit.auth import vault
from kit.errors import VaultError
from kit.model import Profile, Security
from kit.redact import Secret
profile = Profile(host="mx.example.com", port=587, security=Security.STARTTLS, user="ann@example.com")
other = Profile(host="mx.example.com", port=465, security=Security.TLS, user="ann@example.com")
"""


def _private_environment(home: Path) -> dict[str, str]:
    """No desktop, no bus, no keyring configuration but what the test starts itself."""
    home.mkdir(exist_ok=True)
    home.chmod(0o700)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "DBUS_", "PYTHON_KEYRING"))}
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        clean.pop(name, None)
    return clean | {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "XDG_DATA_HOME": str(home / "data")}


def _python(code: str, home: Path, *, inside: list[str] | None = None) -> str:
    command = [*(inside or []), sys.executable, "-c", PRELUDE + code]
    done = subprocess.run(command, env=_private_environment(home), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.needs("secret-service")
def test_a_real_vault_keeps_a_password_across_processes_and_forgets_it(tmp_path):
    code = """
import subprocess
print(vault.vault_state())
print(vault.store_secret(profile, Secret("correct hörse")).lasting)
print(vault._session)
again = subprocess.run([sys.executable, "-c", sys.argv[1]], capture_output=True, text=True, check=True)
print(again.stdout.strip())
print(vault.get_secret(other))
print(vault.forget_secret(profile), vault.get_secret(profile), vault.forget_secret(profile))
"""
    second = PRELUDE + 'print(vault.get_secret(profile).reveal() == "correct hörse")'
    command = [*IN_A_BUS, UNLOCKED, "_", sys.executable, "-c", PRELUDE + code, second]
    done = subprocess.run(command, env=_private_environment(tmp_path / "home"), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "system vault (Secret Service, such as GNOME Keyring)",
        "True",
        "{}",  # what lasts is not also kept in memory
        "True",  # the second process found it
        "None",  # the same user on another port is another account
        "True None False",
    ]


@pytest.mark.needs("secret-service")
def test_a_vault_that_does_not_open_is_said_and_never_waited_for(tmp_path):
    code = """
print(vault.vault_state())
print(vault.store_secret(profile, Secret("hunter2")).lasting, vault.get_secret(profile).reveal())
try:
    vault.forget_secret(profile)
except VaultError as fault:
    print("may still be in it" in str(fault), vault.get_secret(profile))
"""
    assert _python(code, tmp_path / "home", inside=[*IN_A_BUS, LOCKED, "_"]).splitlines() == [
        "this session only (the system's vault is locked or does not answer)",
        "False hunter2",
        "True None",
    ]


@pytest.mark.needs("linux")
def test_without_a_bus_a_password_lives_in_memory_and_touches_no_disk(tmp_path):
    code = """
print(vault.vault_state())
print(vault.store_secret(profile, Secret("hunter2")))
print(vault.get_secret(profile).reveal(), vault.get_secret(other), vault.forget_secret(profile), vault.get_secret(profile))
"""
    home = tmp_path / "home"
    assert _python(code, home).splitlines() == [
        "this session only (this machine has no vault)",
        "this session only (this machine has no vault)",
        "hunter2 None True None",
    ]
    assert [path for path in home.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()] == []


@pytest.mark.parametrize("backend", ["keyring.backends.null.Keyring", "keyring.backends.fail.Keyring", "no.such.Backend", "nodots"])
def test_a_backend_that_is_no_vault_is_not_used(tmp_path, backend):
    code = f"""
import os
os.environ["PYTHON_KEYRING_BACKEND"] = {backend!r}
print(vault.store_secret(profile, Secret("hunter2")).lasting, vault.get_secret(profile).reveal())
"""
    assert _python(code, tmp_path / "home") == "False hunter2"


class _Stubborn:
    """A vault that has the password and will not part with it."""

    def get_password(self, service: str, account: str) -> str:
        return f"{service} {account}"

    def delete_password(self, service: str, account: str) -> None:
        raise OSError("the system's own error, not keyring's")


def test_the_account_key_names_user_host_and_port_and_an_undeleted_password_is_no_success(monkeypatch):
    _Stubborn.__module__ = "keyring.backends.SecretService"
    monkeypatch.setattr(vault, "_vault", _Stubborn)
    monkeypatch.setattr(vault, "_session", {})
    v6 = Profile(host="2001:db8::25", port=25, security=Security.NONE, user="bob")
    assert vault.get_secret(PROFILE).reveal() == "smtp-auth-kit ann@example.com@mx.example.com:587"
    assert vault.get_secret(v6).reveal() == "smtp-auth-kit bob@[2001:db8::25]:25"
    with pytest.raises(VaultError):
        vault.forget_secret(PROFILE)


def test_a_password_needs_a_user():
    nobody = Profile(host="mx.example.com", port=25, security=Security.NONE)
    assert vault.get_secret(nobody) is None
    assert vault.forget_secret(nobody) is False
    with pytest.raises(UsageError, match="--user"):
        vault.store_secret(nobody, Secret("hunter2"))
