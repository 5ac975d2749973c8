"""Profiles: what a target means, what a value may be, and a file that reads back as it was written."""

from __future__ import annotations

import stat
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import ProfileError, UsageError
from kit.knowledge.providers import find_provider
from kit.model import Profile, Security
from kit.profiles import _quoted, build_profile, forget_profile, load_profile, load_profiles, profiles_path, resolve_target, save_profile


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KIT_CONFIG_DIR", str(tmp_path / "config"))


# --- what a target means ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "options", "expected"),
    [
        # (host, port, security): RFC 8314 gives 465 implicit TLS; RFC 6409 and 3207 give 587 and 25 STARTTLS
        ("mx.example.com", {}, ("mx.example.com", 587, "starttls")),
        ("MX.Example.com.", {}, ("mx.example.com", 587, "starttls")),
        ("mx.example.com:465", {}, ("mx.example.com", 465, "tls")),
        ("mx.example.com:25", {}, ("mx.example.com", 25, "starttls")),
        ("mx.example.com:2525", {}, ("mx.example.com", 2525, "starttls")),
        ("mx.example.com", {"port": 465}, ("mx.example.com", 465, "tls")),
        ("mx.example.com", {"security": "tls"}, ("mx.example.com", 465, "tls")),
        ("mx.example.com:587", {"security": "tls"}, ("mx.example.com", 587, "tls")),  # a typed port stays: it may be the very mistake
        ("mx.example.com:2525", {"security": "none"}, ("mx.example.com", 2525, "none")),
        ("mx.example.com:465", {"port": 587}, ("mx.example.com", 587, "starttls")),
        ("localhost", {}, ("localhost", 587, "starttls")),
        ("192.0.2.25", {}, ("192.0.2.25", 587, "starttls")),
        ("192.0.2.25:25", {"security": "none"}, ("192.0.2.25", 25, "none")),
        ("2001:db8::25", {}, ("2001:db8::25", 587, "starttls")),
        ("[2001:db8::25]", {}, ("2001:db8::25", 587, "starttls")),
        ("[2001:DB8:0::25]:465", {}, ("2001:db8::25", 465, "tls")),
        ("bücher.example", {}, ("xn--bcher-kva.example", 587, "starttls")),  # RFC 3492 gives this very label
    ],
)
def test_a_host_in_all_its_spellings(target, options, expected):
    profile = resolve_target(target, **options)
    assert (profile.host, profile.port, profile.security) == expected
    assert profile.user is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (465, "tls")),
        ({"port": 587}, (587, "starttls")),
        ({"security": "starttls"}, (587, "starttls")),
        ({"port": 2525, "security": "none"}, (2525, "none")),
    ],
)
def test_the_address_of_a_known_service_stands_for_its_server(options, expected):
    profile = resolve_target("Ann.Example@GMail.com", **options)
    assert (profile.host, profile.user) == ("smtp.gmail.com", "Ann.Example@GMail.com")
    assert (profile.port, profile.security) == expected


def test_subdomains_count_only_where_the_table_says_so():
    assert find_provider("ann@contoso.onmicrosoft.com").host == "smtp.office365.com"
    assert find_provider("ann@mail.gmail.com") is None
    assert find_provider("ann@notgmail.com") is None


def test_the_address_of_an_unknown_service_says_how_to_go_on():
    with pytest.raises(UsageError, match=r"kit check HOST --user 'ann o.@example\.com'"):
        resolve_target("ann o.@example.com")


def test_a_saved_name_comes_first_and_options_override_it():
    save_profile(build_profile(name="mx.example.com", host="submit.example.com", port=465, user="ann", mechanism="plain", timeout=5))
    assert resolve_target("mx.example.com").host == "submit.example.com"
    other = resolve_target("mx.example.com", port=587, user="bob", mechanism="login", sender="b@example.com", ca_file="/ca.pem", timeout=7)
    assert other == Profile(
        host="submit.example.com",
        port=587,
        security=Security.STARTTLS,
        user="bob",
        mechanism="LOGIN",
        sender="b@example.com",
        ca_file="/ca.pem",
        timeout=7.0,
        name="mx.example.com",
    )


# --- what a value may be ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("port", 0, "1 to 65535"),
        ("port", 65536, "1 to 65535"),
        ("port", True, "1 to 65535"),
        ("port", "587", "1 to 65535"),
        ("security", "ssl", "tls, starttls or none"),
        ("security", "TLS ", "tls, starttls or none"),
        ("mechanism", "PLAIN LOGIN", "PLAIN or LOGIN"),
        ("mechanism", "", "PLAIN or LOGIN"),
        ("mechanism", "ﬁne", "PLAIN or LOGIN"),
        ("timeout", 0, "above 0"),
        ("timeout", float("nan"), "above 0"),
        ("timeout", float("inf"), "above 0"),
        ("user", "", "printable"),
        ("user", "ann\r\nMAIL FROM:<x>", "printable"),
        ("user", "a" * 513, "printable"),
        ("sender", "scanner", "scanner@example.com"),
        ("sender", "@example.com", "scanner@example.com"),
        ("ca_file", "\0", "printable"),
        ("name", "a:587", "letters"),
        ("name", "ann@example.com", "letters"),
        ("name", "-x", "letters"),
        ("name", "x ", "letters"),
        ("host", "", "mail.example.com"),
        ("host", "mx..example.com", "mail.example.com"),
        ("host", "mx.example.com\n", "mail.example.com"),
        ("host", "mx\x00.example.com", "mail.example.com"),
        ("host", "-mx.example.com", "mail.example.com"),
        ("host", "mx example.com", "mail.example.com"),
        ("host", "a" * 64 + ".example.com", "mail.example.com"),
        ("host", "a." * 126 + "example", "mail.example.com"),
        ("host", "192.0.2.256", "mail.example.com"),
        ("host", "587", "mail.example.com"),
        ("host", "fe80::1%\x1b[31m", "mail.example.com"),
    ],
)
def test_a_wrong_value_is_refused_with_its_field_and_what_is_allowed(field, value, allowed):
    with pytest.raises(UsageError) as caught:
        build_profile(**{"host": "mx.example.com"} | {field: value})
    assert caught.value.where == field
    assert allowed in caught.value.next_step
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "target", ["", ":587", "mx.example.com:", "mx.example.com:smtp", "smtp://mx.example.com", "[2001:db8::25]x", "[mx]:5:5", "::g", "mx/25"]
)
def test_a_target_that_cannot_be_one(target):
    with pytest.raises(UsageError, match=r"mail\.example\.com"):
        resolve_target(target)


def test_a_port_out_of_range_is_said_as_such():
    with pytest.raises(UsageError, match="1 to 65535"):
        resolve_target("mx.example.com:70000")


# --- the file --------------------------------------------------------------------------------------------------

SCANNER = build_profile(
    name="Büro scanner", host="mx.example.com", user='corp\\scanner "2"', sender="scan@example.com", ca_file="/etc/ca.pem"
)
PLAIN = build_profile(name="a.b", host="2001:db8::25", port=25, security="none", timeout=0.5)


def test_profiles_read_back_as_they_were_saved():
    assert load_profiles() == ()
    path = save_profile(SCANNER)
    save_profile(PLAIN)
    assert path == profiles_path()
    assert load_profiles() == (SCANNER, PLAIN)  # by name: capitals stand before small letters
    assert load_profile("Büro scanner") == SCANNER
    save_profile(build_profile(name="a.b", host="other.example.com"))
    assert [profile.host for profile in load_profiles()] == ["mx.example.com", "other.example.com"]  # replaced; sorted by name
    assert forget_profile("a.b").host == "other.example.com"
    assert load_profiles() == (SCANNER,)


@pytest.mark.needs("linux")
def test_the_file_is_for_its_owner_only_and_nothing_is_left_beside_it():
    path = save_profile(SCANNER)
    path.chmod(0o644)
    save_profile(PLAIN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.needs("linux")
def test_a_linked_file_stays_linked(tmp_path):
    real = tmp_path / "dotfiles.toml"
    real.write_text("")
    path = profiles_path()
    path.parent.mkdir()
    path.symlink_to(real)
    save_profile(PLAIN)
    assert path.is_symlink()
    assert load_profiles(real) == (PLAIN,)


def test_there_is_no_such_profile():
    with pytest.raises(ProfileError, match="kit profile add"):
        load_profile("nobody")
    save_profile(PLAIN)
    with pytest.raises(ProfileError, match=r"There are: a\.b"):
        forget_profile("nobody")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[x\n", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        (b'host = "mx.example.com"\n', "Begin each profile with"),
        (b"[x]\nport = 587\n", "host is missing"),
        (b'[x]\nhost = "mx.example.com"\nport = 99999\n', "[“x”], port: “99999” is no TCP port"),
        (b'[x]\nhost = ["mx"]\n', "host: “['mx']” is no host"),
        (b'[x]\nhost = "mx.example.com"\nprot = 587\n', "Its fields are: host, port"),
        (b'[x]\nhost = "mx.example.com"\npassword = "hunter2"\n', "no field “password”"),
        (b'["ann@example.com"]\nhost = "mx.example.com"\n', "no name for a profile"),
    ],
)
def test_a_file_that_is_wrong_says_where(text, said):
    path = profiles_path()
    path.parent.mkdir()
    path.write_bytes(text)
    with pytest.raises(ProfileError) as caught:
        load_profiles()
    assert str(path) in caught.value.where
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ProfileError):
        save_profile(PLAIN)
    assert path.read_bytes() == text  # what does not read is never overwritten


def test_a_folder_where_the_file_should_be():
    profiles_path().mkdir(parents=True)
    with pytest.raises(ProfileError, match="readable"):
        load_profiles()


@pytest.mark.needs("linux")
def test_a_folder_that_cannot_be_made():
    with pytest.raises(ProfileError, match="writable"):
        save_profile(PLAIN, Path("/proc/no-such-folder/profiles.toml"))  # not even root may


def test_a_profile_without_a_name_is_not_saved():
    with pytest.raises(UsageError, match="name"):
        save_profile(build_profile(host="mx.example.com"))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_the_writer(text):
    assert tomllib.loads(f"{_quoted(text)} = {_quoted(text)}") == {text: text}


@given(st.floats(min_value=sys.float_info.min, max_value=3600))
def test_any_timeout_survives_the_writer(seconds):
    assert tomllib.loads(f"x = {_quoted(seconds)}") == {"x": seconds}
