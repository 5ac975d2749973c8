"""`kit profile …` as an operator types it: a real process each time."""

from __future__ import annotations

import json
import os
import select
import shlex
import subprocess
import sys
import time

import pytest

from tests.servers.openssl_server import certify

PASSWORD = "Tr0ub4dor &3"


@pytest.fixture
def kit(tmp_path):
    """Runs `kit …` with a home of its own and no vault. Answers (exit code, standard output, standard error).

    Its `environment` has no vault set aside, for tests that start one.
    """
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "DBUS_", "PYTHON_KEYRING"))}
    environment |= {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "KIT_CONFIG_DIR": str(tmp_path / "config")}

    def run(*arguments, stdin=""):
        done = subprocess.run(
            [sys.executable, "-m", "kit", *arguments],
            input=stdin.encode(),
            env=environment | {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"},
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    run.environment = environment
    return run


def test_add_list_show_forget(kit, tmp_path):
    code, out, err = kit("profile", "list")
    assert (code, err) == (0, "")
    assert "kit profile add" in out
    assert kit("profile", "list", "--json")[:2] == (0, "[]\n")

    code, out, err = kit("profile", "add", "scanner", "--host", "mx.example.com", "--user", "scan@example.com", "--mechanism", "login")
    assert (code, err) == (0, "")
    assert str(tmp_path / "config" / "profiles.toml") in out
    assert "kept nowhere: this machine has no vault, so it will be asked for each time" in out

    code, out, err = kit("profile", "list")
    assert (code, out, err) == (0, "scanner  mx.example.com:587 starttls  scan@example.com\n", "")
    expected = {
        "host": "mx.example.com",
        "port": 587,
        "security": "starttls",
        "user": "scan@example.com",
        "mechanism": "LOGIN",
        "sender": None,
        "ca_file": None,
        "cert_file": None,
        "key_file": None,
        "timeout": 20.0,
        "name": "scanner",
    }
    assert json.loads(kit("profile", "list", "--json")[1]) == [expected]
    assert json.loads(kit("profile", "show", "scanner", "--json")[1]) == expected | {"password_kept": False}
    assert "not kept" in kit("profile", "show", "scanner")[1]

    assert kit("profile", "forget", "scanner") == (0, "Forgot scanner.\n", "")
    code, out, err = kit("profile", "show", "scanner")
    assert (code, out) == (2, "")
    assert "no profile of that name" in err


def test_every_option_reaches_the_file(kit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = certify("bob")
    for name, content in (("ca.pem", own.pem), ("me.pem", own.pem), ("key.pem", own.key_pem)):
        (tmp_path / name).write_bytes(content)
    options = shlex.split(
        "--port 2525 --security none --user bob --mechanism plain --ca ca.pem --cert me.pem --from s@example.com --timeout 3"
    )
    code, out, err = kit("profile", "add", "all", "--host", "[2001:db8::25]", *options)
    assert (code, out) == (2, "")
    assert "no private key" in err
    assert kit("profile", "add", "all", "--host", "[2001:db8::25]", *options, "--key", "key.pem")[0] == 0
    shown = json.loads(kit("profile", "show", "all", "--json")[1])
    assert shown == {
        "host": "2001:db8::25",
        "port": 2525,
        "security": "none",
        "user": "bob",
        "mechanism": "PLAIN",
        "sender": "s@example.com",
        "ca_file": str(tmp_path / "ca.pem"),  # as seen from any folder
        "cert_file": str(tmp_path / "me.pem"),
        "key_file": str(tmp_path / "key.pem"),
        "timeout": 3.0,
        "name": "all",
        "password_kept": False,
    }
    assert "[2001:db8::25]:2525 none  bob" in kit("profile", "list")[1]


def test_an_address_brings_its_server_and_says_what_the_password_is(kit):
    code, out, _ = kit("profile", "add", "me", "--address", "ann.example@gmail.com")
    assert code == 0
    assert "smtp.gmail.com" in out
    assert "an app password" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "x"], "--host"),
        (["add", "x", "--host", "a.example.com", "--address", "a@gmail.com"], "one of the two"),
        (["add", "x", "--address", "gmail.com"], "--host"),
        (["add", "x", "--address", "a@example.com"], "kit check HOST --user a@example.com"),
        (["add", "x", "--host", "mx/25"], "mail.example.com"),
        (["add", "x", "--host", "mx.example.com", "--port", "0"], "1 to 65535"),
        (["add", "x", "--host", "mx.example.com", "--port", "smtp"], "--port"),
        (["add", "x", "--host", "mx.example.com", "--security", "ssl"], "starttls"),
        (["add", "x", "--host", "mx.example.com", "--ca", "no-such-file"], "no-such-file"),
        (["add", "x", "--host", "mx.example.com", "--password-stdin"], "Add --user"),
        (["add", "x", "--host", "mx.example.com", "--user", "u", "--password-stdin"], "begins with no password"),
        (["add", "a@b", "--host", "mx.example.com"], "A name is"),
        (["forget", "x"], "no profile of that name"),
        (["show", "\x1b[31mx"], "?[31mx"),
    ],
)
def test_wrong_use_is_said_on_standard_error_and_nothing_is_saved(kit, tmp_path, arguments, said):
    code, out, err = kit("profile", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "config").exists()


def test_a_second_profile_of_that_name_is_refused(kit):
    kit("profile", "add", "x", "--host", "one.example.com")
    code, out, err = kit("profile", "add", "x", "--host", "two.example.com")
    assert (code, out) == (2, "")
    assert "kit profile forget x" in err
    assert "one.example.com" in kit("profile", "list")[1]


def test_without_a_vault_a_password_on_standard_input_goes_nowhere_and_the_exit_code_says_so(kit, tmp_path):
    code, out, err = kit("profile", "add", "x", "--host", "mx.example.com", "--user", "u", "--password-stdin", stdin=PASSWORD)
    assert code == 1
    assert "kept nowhere: this machine has no vault" in out
    assert PASSWORD not in out + err
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]


VAULT = [
    "dbus-run-session",
    "--",
    "bash",
    "-c",
    'printf "only for this test" | gnome-keyring-daemon --unlock --components=secrets >/dev/null; "$@"',
]


@pytest.mark.needs("secret-service")
def test_with_a_vault_a_password_on_standard_input_is_kept_shown_as_kept_and_forgotten(kit):
    script = """
import subprocess, sys
def kit(*arguments, stdin=b""):
    done = subprocess.run([sys.executable, "-m", "kit", "profile", *arguments], input=stdin, capture_output=True)
    print(done.returncode, (done.stdout + done.stderr).decode().splitlines()[-1])
# as PowerShell writes it: byte order mark, CRLF
kit("add", "x", "--host", "mx.example.com", "--user", "u", "--password-stdin", stdin="\\ufeffTr0ub4dor &3\\r\\nnot this".encode())
kit("show", "x")
kit("add", "same", "--host", "mx.example.com", "--user", "u")
kit("forget", "x")
kit("show", "same")
from kit.auth.vault import get_secret
from kit.profiles import load_profile
print(get_secret(load_profile("same")).reveal() == "Tr0ub4dor &3")
kit("forget", "same")
kit("add", "x", "--host", "mx.example.com", "--user", "u")
kit("show", "x")
"""
    command = [*VAULT, "_", sys.executable, "-c", script]
    done = subprocess.run(command, env=kit.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == [
        "0 Its password is kept in the system vault (Secret Service, such as GNOME Keyring).",
        "0   password   kept in the system vault (Secret Service, such as GNOME Keyring)",
        "0 No password is kept, so it will be asked for each time.",
        "0 Its password stays: another profile signs in with it.",
        "0   password   kept in the system vault (Secret Service, such as GNOME Keyring)",
        "True",
        "0 Its password is out of the vault too.",
        "0 No password is kept, so it will be asked for each time.",
        "0   password   not kept; it will be asked for each time",
    ], done.stderr


@pytest.mark.needs("secret-service")
def test_with_a_locked_vault_a_profile_is_forgotten_but_not_called_all_well(kit):
    locked = VAULT[-1].replace("--unlock", "--start")
    script = """
import subprocess, sys
subprocess.run([sys.executable, "-m", "kit", "profile", "add", "x", "--host", "mx.example.com", "--user", "u"])
done = subprocess.run([sys.executable, "-m", "kit", "profile", "forget", "x"], capture_output=True, text=True)
print(done.returncode, done.stdout, done.stderr)
"""
    command = [*VAULT[:-1], locked, "_", sys.executable, "-c", script]
    done = subprocess.run(command, env=kit.environment, capture_output=True, text=True, timeout=60, check=True)
    assert "kept nowhere: the system's vault is locked or does not answer" in done.stdout
    assert "1 Forgot x.\n" in done.stdout
    assert "u@mx.example.com:587: the vault does not open, so a password may still be in it. Unlock it" in done.stdout


@pytest.mark.needs("secret-service")
def test_on_a_terminal_it_offers_to_keep_the_password_and_never_echoes_it(kit):
    add = [sys.executable, "-m", "kit", "profile", "add", "x", "--host", "mx.example.com", "--user", "u"]
    show = [sys.executable, "-m", "kit", "profile", "show", "x"]
    import pty  # not on Windows

    master, slave = pty.openpty()
    both = '"$@"; ' + " ".join(show)
    command = [*VAULT[:-1], VAULT[-1].replace('"$@"', both), "_", *add]
    with subprocess.Popen(command, env=kit.environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True):
        os.close(slave)
        seen = b""
        answers = [(b"vault? [y/N]", b"y\n"), (b"Password:", PASSWORD.encode() + b"\n")]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 1)[0]:
                continue
            try:
                piece = os.read(master, 4096)
            except OSError:  # Linux says EIO when the last writer is gone
                break
            seen += piece
            if answers and answers[0][0] in seen:
                os.write(master, answers.pop(0)[1])
    os.close(master)
    text = seen.decode()
    assert not answers
    assert text.count("kept in the system vault") == 2  # said by add, found again by show
    assert PASSWORD not in text
