"""A real, validating name server on loopback: unbound, with zones of the test's own and nobody else to ask."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import dns.dnssec
import dns.rdatatype
import dns.rrset
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

Nameserver = tuple[str, int]


def sign(text: str, origin: str) -> tuple[str, str]:
    """A zone with signatures (ECDSA P-256), and the DNSKEY record that vouches for them."""
    zone = dns.zone.from_text(text, origin=origin, relativize=False)
    key = ec.generate_private_key(ec.SECP256R1())
    dnskey = dns.dnssec.make_dnskey(key.public_key(), dns.dnssec.Algorithm.ECDSAP256SHA256, flags=257)
    dns.dnssec.sign_zone(zone, keys=[(key, dnskey)], lifetime=86400, add_dnskey=True)
    return zone.to_text(relativize=False), str(dns.rrset.from_rdata(dns.name.from_text(origin), 3600, dnskey))


@contextlib.contextmanager
def unbound(zones: Mapping[str, str], *, anchors: tuple[str, ...] = (), also: str = "") -> Iterator[Nameserver]:
    """Serves `zones` (by origin, as zone files) and validates them where `anchors` holds their key.

    Args:
        also: more lines of the `server:` clause.
    """
    with tempfile.TemporaryDirectory(prefix="kit-dns-") as made:
        port = _free_port()
        folder = Path(made)
        config = f"""
server:
    directory: "{folder}"
    chroot: ""
    username: ""
    pidfile: ""
    logfile: "{folder}/log"
    use-syslog: no
    log-queries: yes
    interface: 127.0.0.1@{port}
    num-threads: 1
    do-ip6: no
    ede: yes
    module-config: "validator iterator"
    local-zone: "test." nodefault
    local-zone: "refused.test." refuse
    local-zone: "silent.test." deny
{also}
{"".join(f'    trust-anchor: "{anchor}"{chr(10)}' for anchor in anchors)}
remote-control:
    control-enable: no
"""
        for number, (origin, text) in enumerate(zones.items()):
            (folder / f"{number}.zone").write_text(text)
            config += f'auth-zone:\n    name: "{origin}"\n    zonefile: "{folder}/{number}.zone"\n    for-downstream: no\n    for-upstream: yes\n    fallback-enabled: no\n'
        (folder / "unbound.conf").write_text(config)
        binary = shutil.which("unbound", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        assert binary
        # A copy: Debian's AppArmor profile keeps the one in /usr/sbin from reading other folders than its own.
        binary = shutil.copy(binary, folder / "unbound")
        server = subprocess.Popen([binary, "-d", "-c", str(folder / "unbound.conf")], stderr=subprocess.PIPE)
        try:
            _wait(server, port, folder)
            yield "127.0.0.1", port
        finally:
            server.kill()
            server.communicate()


def _free_port() -> int:
    """One that is free for UDP and TCP alike: a name server needs both."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                return int(tcp.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    log = (folder / "log").read_text() if (folder / "log").exists() else ""
    raise AssertionError(f"unbound does not answer: {server.stderr.read().decode() if server.poll() is not None else ''}\n{log[-1500:]}")
