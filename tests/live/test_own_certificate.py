"""A client's own certificate: the files that an operator gives, and what a server makes of what it is shown."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import kit
from kit.checks.survey import survey, together
from kit.errors import BudgetSpent, UsageError
from kit.knowledge.findings import found
from kit.model import Profile, Security, Severity
from kit.redact import Secret
from kit.sending.message import build_test_message
from kit.sending.own_certificate import present_certificate
from kit.sending.transport import tls_context
from tests.live.check_servers import make_pki, serve, smtp
from tests.servers.openssl_server import certify, client_file, s_server

PROFILE = Profile(host="127.0.0.1", port=465, security=Security.TLS, timeout=5)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Every kind of file that somebody may have at hand, made by OpenSSL's own command where it has a hand in it."""
    folder = tmp_path_factory.mktemp("files")
    own, other = certify("alice"), certify("bob")
    for name, content in {
        "cert.pem": own.pem,
        "key.pem": own.key_pem,
        "both.pem": own.pem + own.key_pem,
        "key-first.pem": own.key_pem + own.pem,
        "other-key.pem": other.key_pem,
        "chain-upside-down.pem": other.pem + own.pem + own.key_pem,
        "broken.pem": b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "empty.pem": b"",
        "words.txt": b"no certificate at all",
    }.items():
        (folder / name).write_bytes(content)
    for command in (
        "pkey -in key.pem -aes256 -passout pass:secret-words -out locked.pem",
        "ec -in key.pem -aes256 -passout pass:secret-words -out locked-old.pem",
        "pkcs12 -export -in cert.pem -inkey key.pem -passout pass:secret-words -out me.p12",
        "x509 -in cert.pem -outform DER -out cert.der",
        "genrsa -out rsa.pem 2048",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


def given(files, cert, key):
    return replace(PROFILE, cert_file=cert and str(files / cert), key_file=key and str(files / key))


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(("cert", "key"), [("both.pem", None), ("key-first.pem", None), ("cert.pem", "key.pem"), (None, None)])
def test_what_fits_is_taken(files, cert, key):
    tls_context(given(files, cert, key))


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("cert", "key", "where", "what", "next_step"),
    [
        ("missing.pem", None, "missing.pem", "cannot be read (No such file", "PEM file"),
        ("cert.pem", "missing.pem", "missing.pem", "cannot be read (No such file", "PEM file"),
        (".", None, "", "cannot be read (Is a directory", "PEM file"),
        ("cert.pem", None, "cert.pem", "no private key", "--key FILE"),
        ("key.pem", None, "key.pem", "no certificate", "--cert"),
        ("cert.pem", "other-key.pem", "other-key.pem", "does not belong", "comes first"),
        ("cert.pem", "rsa.pem", "rsa.pem", "does not belong", "comes first"),  # not even of its kind
        ("chain-upside-down.pem", None, "chain-upside-down.pem", "does not belong", "comes first"),
        ("cert.pem", "locked.pem", "locked.pem", "passphrase", "openssl pkey"),
        ("cert.pem", "locked-old.pem", "locked-old.pem", "passphrase", "openssl pkey"),
        ("me.p12", None, "me.p12", "PKCS#12", "openssl pkcs12"),
        ("cert.pem", "me.p12", "me.p12", "PKCS#12", "openssl pkcs12"),
        ("cert.der", "key.pem", "cert.der", "no PEM", "openssl x509 -inform DER"),
        ("empty.pem", None, "empty.pem", "no PEM", "openssl x509"),
        ("words.txt", None, "words.txt", "no PEM", "openssl x509"),
        ("broken.pem", "key.pem", "broken.pem", "does not read", "openssl x509"),
        (None, "key.pem", None, "without its certificate", "--cert"),
    ],
)
def test_what_does_not_fit_is_wrong_use_and_says_what_to_do(files, cert, key, where, what, next_step):
    with pytest.raises(UsageError) as fault:
        tls_context(given(files, cert, key))
    assert what in fault.value.what
    assert next_step in fault.value.next_step
    assert fault.value.where == ("--key" if where is None else str(files / where))


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("given_file", "advice", "made"),
    [
        ("locked.pem", "openssl pkey -in FILE -out key.pem", "key.pem"),
        ("me.p12", "openssl pkcs12 -in FILE -nodes -out me.pem", "me.pem"),
        ("cert.der", "openssl x509 -inform DER -in FILE -out me.pem", "me.pem"),
    ],
)
def test_the_advice_leads_to_a_file_that_is_taken(files, tmp_path, given_file, advice, made):
    cert, key = (given_file, "key.pem") if given_file == "cert.der" else ("cert.pem", given_file)
    with pytest.raises(UsageError) as fault:
        tls_context(given(files, cert, key))
    assert advice in fault.value.next_step
    shutil.copy(files / given_file, tmp_path)
    command = advice.replace("FILE", given_file).split()
    if given_file != "cert.der":
        command += ["-passin", "pass:secret-words"]  # instead of typing it
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    tls_context(given(files, tmp_path / made, "key.pem") if given_file == "cert.der" else given(files, "cert.pem", tmp_path / made))


@pytest.mark.needs("openssl")
def test_a_file_that_nobody_may_read(files, monkeypatch):
    def refuse(*_args, **_how):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)  # who runs the tests may be root, who may read all
    context = ssl.create_default_context()
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", refuse)
    with pytest.raises(UsageError, match="Permission denied"):
        present_certificate(context, given(files, "both.pem", None))


# --- what a server makes of it -----------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path):
    """Three certificates of a client; `clients.pem` is the authority whose own the servers here take."""
    clients = certify("the clients' authority", authority=True)
    (tmp_path / "clients.pem").write_bytes(clients.pem)
    for name, issuer, days in (("good", clients, (-1, 9)), ("stranger", None, (-1, 9)), ("expired", clients, (-9, -1))):
        Path(client_file(tmp_path, "alice", issuer, days=days)).rename(tmp_path / f"{name}.pem")
    return tmp_path


def bad(result):
    """The titles of the errors that were found."""
    return [finding.title for finding in result.findings if finding.severity is Severity.ERROR]


def title(name):
    return found(name, PROFILE).title


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])  # there it is said within the handshake, here after it
@pytest.mark.parametrize(
    ("shown", "name", "words"),
    [
        (None, "client-certificate-required", ("HANDSHAKE_FAILURE", "CERTIFICATE_REQUIRED")),
        ("stranger", "client-certificate-refused", ("UNKNOWN_CA", "UNKNOWN_CA")),
        ("expired", "client-certificate-refused", ("CERTIFICATE_EXPIRED", "CERTIFICATE_EXPIRED")),
    ],
)
async def test_a_certificate_that_is_refused_or_missing_is_named(made, version, shown, name, words):
    server = certify("127.0.0.1", names=["127.0.0.1"])
    (made / "ca.pem").write_bytes(server.pem)
    with s_server(made, server, options=(version, "-Verify", "1", "-verify_return_error", "-CAfile", "clients.pem")) as port:
        profile = replace(PROFILE, port=port, ca_file=str(made / "ca.pem"), cert_file=shown and str(made / f"{shown}.pem"))
        result = await kit.check(profile)
        around = await survey(profile)
        sent = await kit.send(profile, build_test_message("a@example.com", ["b@example.com"]))
    word = words[version == "-tls1_3"]
    if word != "HANDSHAKE_FAILURE":  # which may mean the ciphers as well
        assert bad(result) == bad(sent) == [title(name)]
    assert word in result.findings[-1].evidence[0]
    assert bad(together(around, result)) == [title(name)]  # the look at the chain knows what was asked for


def offering(mechanisms):
    return {b"EHLO": f"250-mail.example.test\r\n250 AUTH {mechanisms}\r\n".encode()}


@pytest.fixture
def account(made):
    """(the profile with a good certificate, its server's TLS, which asks for one)."""
    pki = make_pki(made)
    tls = pki.server()
    tls.load_verify_locations(made / "clients.pem")
    tls.verify_mode = ssl.CERT_REQUIRED
    return replace(PROFILE, ca_file=pki.ca_file, cert_file=str(made / "good.pem"), user="alice@example.com"), tls


@pytest.mark.parametrize(
    ("user", "mechanism", "secret", "offered", "line"),
    [
        ("alice@example.com", None, None, "PLAIN EXTERNAL", b"AUTH EXTERNAL YWxpY2VAZXhhbXBsZS5jb20="),  # base64 -d
        (None, None, None, "PLAIN EXTERNAL", b"AUTH EXTERNAL ="),  # whoever the certificate says: an empty response (RFC 4954 section 4)
        ("alice@example.com", "EXTERNAL", Secret("pencil-case"), "PLAIN EXTERNAL", b"AUTH EXTERNAL YWxpY2VAZXhhbXBsZS5jb20="),
        (
            "alice@example.com",
            None,
            Secret("pencil-case"),
            "LOGIN EXTERNAL",
            b"AUTH LOGIN",
        ),  # a password is at hand, and nothing names another
        ("alice@example.com", None, None, "PLAIN LOGIN", None),
        ("alice@example.com", "PLAIN", None, "PLAIN EXTERNAL", None),
        ("alice@example.com", "EXTERNAL", None, "PLAIN LOGIN", None),
    ],
)
async def test_when_the_certificate_signs_in(account, tmp_path, user, mechanism, secret, offered, line):
    profile, tls = account
    said = offering(offered) | {
        b"AUTH": [b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", b"235 ok\r\n"] if line == b"AUTH LOGIN" else b"235 ok\r\n"
    }
    async with serve(smtp(said), tls=tls) as server:
        profile = replace(profile, port=server.port, user=user, mechanism=mechanism)
        result = await kit.check(profile, secret, budget=tmp_path / "attempts")
        assert [heard for heard in server.heard if heard.startswith(b"AUTH")] == [line] * bool(line)
        assert (result.attempt is not None) == bool(line)
        if line:
            assert (result.attempt.user, result.attempt.outcome) == (user, "success")
        assert result.ok == (mechanism != "EXTERNAL" or bool(line))  # a mechanism that is named and not offered is an error
        assert (title("external-not-offered") in [finding.title for finding in result.findings]) == (mechanism is None and not line)
        server.heard.clear()
        sent = await kit.send(
            profile, build_test_message("a@example.com", ["b@example.com"]), secret, dry_run=True, budget=tmp_path / "attempts"
        )
        assert [heard for heard in server.heard if heard.startswith(b"AUTH")] == [line] * bool(line)
        assert sent.ok == result.ok  # a server may know the certificate and want no sign-in


async def test_a_refusal_speaks_of_the_certificate_and_counts(account, tmp_path):
    profile, tls = account
    said = offering("EXTERNAL") | {b"AUTH": b"535 5.7.8 Error: authentication failed\r\n"}
    async with serve(smtp(said), tls=tls) as server:
        profile = replace(profile, port=server.port, user=None)
        for _ in range(2):
            result = await kit.check(profile, budget=tmp_path / "attempts")
            assert bad(result) == [title("external-refused")]
            assert (result.attempt.outcome, result.attempt.cause, result.attempt.user) == ("failure", "certificate", None)
        connections = server.connections
        with pytest.raises(BudgetSpent):
            await kit.check(profile, budget=tmp_path / "attempts")
        assert server.connections == connections


@pytest.mark.parametrize(("settings", "said"), [({"cert_file": None}, "--cert"), ({"security": Security.NONE}, "--security tls")])
async def test_external_without_what_it_needs_is_wrong_use(account, settings, said):
    profile = replace(account[0], mechanism="EXTERNAL", **settings)
    for work in (kit.check(profile), kit.send(profile, build_test_message("a@example.com", ["b@example.com"]))):
        with pytest.raises(UsageError) as fault:
            await work
        assert said in fault.value.next_step


@pytest.mark.parametrize(("asks", "name"), [(True, "client-certificate-taken"), (False, "client-certificate-unasked")])
async def test_the_look_around_tells_what_was_done_with_the_certificate(account, asks, name):
    profile, tls = account
    tls.verify_mode = ssl.CERT_OPTIONAL if asks else ssl.CERT_NONE
    async with serve(smtp(offering("PLAIN EXTERNAL")), tls=tls) as server:
        around = await survey(replace(profile, port=server.port))
    found_there = [finding.title for finding in around.findings]
    assert title(name) in found_there
    assert (title("external-without-certificate") in found_there) is not asks
