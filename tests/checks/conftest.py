"""A name server and a web server of the tests' own.

The kit trusts the web server's authority as it trusts any: through OpenSSL's SSL_CERT_FILE. That 127.0.0.1 counts as public, and that
HTTPS is at another port than 443, is put into the kit from here and nowhere else.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from kit.checks import web as web_module
from tests.live.check_servers import make_pki
from tests.servers.unbound import Nameserver, sign, unbound
from tests.servers.web import Page, page, web

HEAD = "$TTL 60\n@ IN SOA ns.example.test. root.example.test. 1 3600 600 86400 60\n@ IN NS ns.example.test.\n"
ZONES = Path(__file__).parent / "zones"


@pytest.fixture(scope="session")
def nameserver() -> Iterator[Nameserver]:
    """Serves `zones/*.zone`: `signed.test` with signatures that it validates, `broken.test` with a key that does not fit them."""
    zones = {f"{path.stem}.": HEAD + path.read_text() for path in sorted(ZONES.glob("*.zone"))}
    zones["signed.test."], anchor = sign(zones["signed.test."], "signed.test.")
    zones["unchecked.test."], _ = sign(zones["unchecked.test."], "unchecked.test.")
    zones["broken.test."], _ = sign(zones["broken.test."], "broken.test.")
    _, wrong = sign(HEAD, "broken.test.")
    with unbound(zones, anchors=(anchor, wrong)) as address:
        yield address


# --- the web ------------------------------------------------------------------------------------------------------------

AUTOCONFIG = """<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1"><emailProvider id="x">
  <domain>x</domain>
  <incomingServer type="imap"><hostname>imap.%EMAILDOMAIN%</hostname><port>993</port><socketType>SSL</socketType></incomingServer>
  {servers}
</emailProvider></clientConfig>"""


def server(host: str, port: object, security: str, *authentication: str, user: str = "%EMAILADDRESS%", kind: str = "smtp") -> str:
    """An `outgoingServer` of Thunderbird's format."""
    return (
        f'<outgoingServer type="{kind}"><hostname>{host}</hostname><port>{port}</port><socketType>{security}</socketType>'
        f"<username>{user}</username>{''.join(f'<authentication>{each}</authentication>' for each in authentication)}</outgoingServer>"
    )


def _document(*servers: str) -> bytes:
    return AUTOCONFIG.format(servers="".join(servers)).encode()


_BOMB = (
    '<!DOCTYPE x [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    + "]><clientConfig>&a11;</clientConfig>"
)
_OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><clientConfig>&a;</clientConfig>'
_POLICY = b"version: STSv1\nmode: testing\nmx: sts.web.test\nmax_age: 86400\n"
_BELOW = b"version: STSv1\nmode: enforce\nmx: mx.below.web.test\nmax_age: 86400\n"


def _endless(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"<" * 65536)


def _endless_headers(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.flush_headers()
    while True:
        request.wfile.write(b"X-More: " + b"x" * 1000 + b"\r\n")


def _slow(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    for _ in range(20):
        request.wfile.write(b".")
        time.sleep(0.1)


def _to(url: str) -> Page:
    return page(b"", code=302, Location=url)


_DOCS = "https://docs.web.test"
_PAGES = {
    **{
        f"docs.web.test/{name}": answer
        for name, answer in {
            "good": page(b"good"),
            "once": _to("/good"),
            "twice": _to(f"{_DOCS}/once"),
            "thrice": _to("twice"),
            "four-times": _to("thrice"),
            "for-ever": _to("for-ever"),
            "to-http": _to("http://docs.web.test/good"),
            "to-port": _to("https://docs.web.test:8443/good"),
            "to-user": _to("https://docs.web.test@inside.web.test/"),
            "to-file": _to("file:///etc/passwd"),
            "to-metadata": _to("https://169.254.169.254/latest/"),
            "to-loopback": _to("https://127.0.0.2/"),
            "to-v6": _to("https://[::1]/"),
            "to-inside": _to("https://inside.web.test/"),
            "to-mixed": _to("https://mixed.web.test/"),
            "to-number": _to("https://2130706434/"),
            "endless": _endless,
            "endless-headers": _endless_headers,
            "slow": _slow,
            "packed": page(gzip.compress(bytes(1_000_000)), **{"Content-Encoding": "gzip"}),
            "no-http": lambda request: request.wfile.write(b"535 5.7.8 \x1b[31mno\r\n" * 10),
        }.items()
    },
    "wrong.web.test/good": page(b"good"),
    "mta-sts.sts.web.test/.well-known/mta-sts.txt": page(_POLICY),
    "mta-sts.below.web.test/.well-known/mta-sts.txt": page(_BELOW),
    "mta-sts.sts-redirects.web.test/.well-known/mta-sts.txt": _to("https://mta-sts.sts.web.test/.well-known/mta-sts.txt"),
    "autoconfig.thunderbird.net/v1.1/listed.found.test": page(_document(server("smtp.listed.test", 465, "SSL", "password-cleartext"))),
    "known.found.test/.well-known/autoconfig/mail/config-v1.1.xml": page(
        _document(server("smtp.%EMAILDOMAIN%", 587, "STARTTLS", "OAuth2", "password-cleartext", user="%EMAILLOCALPART%"))
    ),
    **{
        f"autoconfig.{name}.found.test/mail/config-v1.1.xml": answer
        for name, answer in {
            "auto": page(
                _document(server("smtp.auto.found.test", 587, "STARTTLS"), server("smtp.auto.found.test", 465, "SSL", "password-encrypted"))
            ),
            "closed-but": page(_document(server("smtp.closed-but.found.test", 465, "SSL"))),
            "disagree": page(_document(server("new.disagree.found.test", 465, "SSL"))),
            "clear": page(_document(server("smtp.clear.found.test", 25, "plain", "password-cleartext"))),
            "bomb": page(_BOMB.encode()),
            "outside": page(_OUTSIDE.encode()),
            "deep": page(b"<a>" * 60_000),
            "html": page(b"<html><p>Welcome<br></html>"),
            "endless": _endless,
            "evil": page(
                _document(
                    server("smtp.evil.test/../&#x202e;", 465, "SSL"),
                    server("smtp.evil.test\x7f", 465, "SSL"),
                    server("-oProxyCommand=x", 465, "SSL"),
                    server("smtp.evil.test", 0, "SSL"),
                    server("smtp.evil.test", "٤٦٥", "SSL"),
                    server("smtp.evil.test", 465, "Rot13"),
                    server("imap.evil.test", 465, "SSL", kind="imap"),
                    *(
                        server(f"good{n}.evil.found.test", 465, "SSL", "password-cleartext", "<b>x</b>", user="a\x85b" * (n == 0))
                        for n in range(50)
                    ),
                )
            ),
        }.items()
    },
}


@dataclass(frozen=True)
class WebSite:
    """What the web server was asked for, by name, path and query."""

    asked: list[str]


@pytest.fixture(scope="session")
def _web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, list[str], str]]:
    pki = make_pki(tmp_path_factory.mktemp("web"))
    names = {where.partition("/")[0] for where in _PAGES}
    contexts = {name: pki.server("docs.web.test" if name.startswith("wrong") else name) for name in names}
    with web(contexts, _PAGES) as (port, asked):
        yield port, asked, pki.ca_file


@pytest.fixture
def site(_web: tuple[int, list[str], str], monkeypatch: pytest.MonkeyPatch) -> WebSite:
    port, asked, ca_file = _web
    asked.clear()
    really = web_module.is_public
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    monkeypatch.setattr(web_module, "PORT", port)
    monkeypatch.setattr(web_module, "is_public", lambda address: address == "127.0.0.1" or really(address))
    return WebSite(asked)
