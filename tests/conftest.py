"""What a test needs from the machine is said with `@pytest.mark.needs(…)`, and what is missing is never passed over in silence.

On a developer's laptop a test whose need is missing is left out, and the run ends by saying which and how to get it. Where
KIT_TEST_REQUIRE_ALL=1 is set (as `.ci/run` does), the same test fails.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from tests.servers.chroot import find_root
from tests.servers.exim import find_exim
from tests.servers.haraka import find_haraka
from tests.servers.opensmtpd import find_opensmtpd
from tests.servers.postfix_dovecot import Servers, postfix_with_dovecot
from tests.servers.syslog import syslog_is_possible

# How long an example takes says more of the machine than of the code.
settings.register_profile("kit", deadline=None)
settings.load_profile("kit")

REQUIRE_ALL = os.environ.get("KIT_TEST_REQUIRE_ALL") == "1"

# need → (how to tell that it is here, how to get it)
NEEDS = {
    "postfix": (lambda: bool(_which("postfix")) and os.geteuid() == 0, "as root: apt-get install postfix"),
    "dovecot": (lambda: bool(_which("dovecot")) and os.geteuid() == 0, "as root: apt-get install dovecot-imapd dovecot-submissiond"),
    "syslog": (syslog_is_possible, "run the tests where no syslog daemon listens at /dev/log, or where root may make mount namespaces"),
    "nft": (lambda: bool(_which("nft")) and os.geteuid() == 0, "as root: apt-get install nftables"),
    "unbound": (lambda: bool(_which("unbound")), "apt-get install unbound"),
    "openssl": (lambda: bool(_which("openssl")), "apt-get install openssl"),
    "exim": (
        lambda: bool(find_exim()),
        "as root: .ci/unpack FOLDER, and KIT_TEST_UNPACKED=FOLDER",
    ),
    "opensmtpd": (
        lambda: all(map(find_opensmtpd, ("bookworm", "trixie"))),
        "as root: .ci/unpack FOLDER, and KIT_TEST_UNPACKED=FOLDER",
    ),
    "dovecot24": (lambda: bool(find_root("dovecot-trixie")), "as root: .ci/unpack FOLDER, and KIT_TEST_UNPACKED=FOLDER"),
    "exim-logs": (
        lambda: bool(find_root("exim-bookworm") and find_root("exim-trixie")),
        "as root: .ci/unpack FOLDER, and KIT_TEST_UNPACKED=FOLDER",
    ),
    "cyrus": (lambda: bool(find_root("cyrus")), "as root: .ci/unpack FOLDER, and KIT_TEST_UNPACKED=FOLDER"),
    "courier": (lambda: bool(find_root("courier")), "as root: .ci/unpack FOLDER, and KIT_TEST_UNPACKED=FOLDER"),
    "sendmail": (lambda: bool(find_root("sendmail")), "as root: .ci/unpack FOLDER, and KIT_TEST_UNPACKED=FOLDER"),
    "haraka": (find_haraka, "with Node.js and npm: .ci/unpack FOLDER, and KIT_TEST_UNPACKED=FOLDER"),
    "swaks": (lambda: bool(_which("swaks")), "apt-get install swaks libnet-ssleay-perl libauthen-sasl-perl"),
    "curl": (lambda: bool(_which("curl")), "apt-get install curl"),
    "msmtp": (lambda: bool(_which("msmtp")), "apt-get install msmtp"),
    "chromium": (lambda: bool(_which("chromium")), "apt-get install chromium"),
    "secret-service": (lambda: bool(_which("dbus-run-session") and _which("gnome-keyring-daemon")), "apt-get install dbus gnome-keyring"),
    "linux": (lambda: sys.platform.startswith("linux"), "run the tests on Linux; other systems always have a vault"),
    "root": (lambda: hasattr(os, "geteuid") and os.geteuid() == 0, "run the tests as root"),
}
_left_out: dict[str, list[str]] = defaultdict(list)
_sign_ins: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
_round_trips: dict[tuple[str, ...], tuple[int, int]] = {}


def _which(name: str) -> str | None:
    # Servers live in /usr/sbin, which is not on everybody's PATH.
    return shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for need in mark.args:
            present, remedy = NEEDS[need]
            if not present():
                if REQUIRE_ALL:
                    pytest.fail(f"this machine has no {need}, and KIT_TEST_REQUIRE_ALL=1 asks for it: {remedy}", pytrace=False)
                _left_out[need].append(item.nodeid)
                pytest.skip(f"needs {need}: {remedy}")


@pytest.fixture(scope="module")
def postfix_dovecot() -> Iterator[Servers]:
    """A real Postfix with Dovecot; mark its users with `needs("postfix", "dovecot", "syslog")`.

    One a module: it has the machine's log device, which another module's servers want too.
    """
    with postfix_with_dovecot() as servers:
        yield servers


@pytest.fixture
def signed_in(request: pytest.FixtureRequest) -> Callable[[str, str, str], None]:
    """Tells who signed in where, with which mechanism, and what came of it, for the table at the end of the run."""

    def tell(between: str, mechanism: str, outcome: str) -> None:
        _sign_ins[between][mechanism].add(outcome)

    return tell


@pytest.fixture
def round_trips() -> Callable[..., None]:
    """Tells how often a server was waited for in one test send, and the least that the protocol allows, for the table at the end."""

    def tell(*what: str, counted: int, least: int) -> None:
        _round_trips[what] = counted, least

    return tell


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _sign_ins:
        terminalreporter.section("sign-ins of this run, with the right secret and with a wrong one", sep="-")
        for between, mechanisms in sorted(_sign_ins.items()):
            for mechanism, outcomes in sorted(mechanisms.items()):
                terminalreporter.write_line(f"  {between:<34} {mechanism:<14} {', '.join(sorted(outcomes))}")
    if _round_trips:
        terminalreporter.section("round trips of one test send, and the least that the protocol allows (TLS handshakes aside)", sep="-")
        for what, (counted, least) in sorted(_round_trips.items()):
            terminalreporter.write_line("  " + "".join(f"{word:<15}" for word in what) + f"{counted:>3}{least:>5}")
    for need, tests in sorted(_left_out.items()):
        terminalreporter.section(f"left out for want of {need}: {len(tests)}", sep="-")
        terminalreporter.write_line(f"to run them: {NEEDS[need][1]}")
        for test in tests:
            terminalreporter.write_line(f"  {test}")
