"""Makes the sample logs: three weeks of a small company, written by a real Postfix and a real Dovecot.

    python data/make_sample_logs.py FOLDER        in a checkout, as root, with Debian's postfix, dovecot-imapd and dovecot-submissiond

The story is played against the servers in some minutes, one event after the other. Each line is logged with the story's time: the
start of its event, plus the time that has really passed since. Users, addresses and passwords are invented.
"""

from __future__ import annotations

import contextlib
import gzip
import imaplib
import random
import smtplib
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.servers.postfix_dovecot import Servers, postfix_with_dovecot

imaplib.Commands["ID"] = ("NONAUTH", "AUTH", "SELECTED")  # RFC 2971; imaplib does not know it
ZONE = timezone(timedelta(hours=1))
START = datetime(2026, 11, 2, tzinfo=ZONE)
DOMAIN = "example.test"
OFFICE = "198.51.100.20"
NAMES = "anna ben carla david elif frank greta hassan ines jonas lena marek nora paul".split()  # noqa: SIM905 - names read better so
USERS = {name: f"right-{name}" for name in NAMES}
# Where people are when they are not in the office, and their telephones.
HOMES = {name: f"203.0.113.{10 + i}" for i, name in enumerate(NAMES)}
PHONES = {name: f"2001:db8:40:{i + 1:x}::{i + 17:x}" for i, name in enumerate(NAMES)}
SCANNER = "198.51.100.40"
SPRAY = [f"192.0.2.{n}" for n in (61, 62, 64, 67)]
SLOW_SPRAY = [f"192.0.2.{n}" for n in range(130, 142)]
GUESSED = ["admin", "info", "sales", "office", "support", "test", "backup", "scan", "invoice", "hr", "web", "postmaster", "root", "contact"]

Event = tuple[datetime, Callable[["Player"], None]]


class StoryClock:
    """Real time, mapped onto the story: it never goes back."""

    def __init__(self) -> None:
        self._begin, self._real = START, time.monotonic()

    def start(self, moment: datetime) -> None:
        self._begin, self._real = max(moment, self.now()), time.monotonic()

    def now(self) -> datetime:
        return self._begin + timedelta(seconds=time.monotonic() - self._real)

    def stamp(self) -> str:
        return self.now().isoformat(timespec="microseconds")


class Player:
    """Clients of the servers. Postfix takes a client's address by XCLIENT, Dovecot by IMAP's ID, each from a trusted host."""

    def __init__(self, servers: Servers, chance: random.Random) -> None:
        self.servers = servers
        self._chance = chance
        self._tls = ssl.create_default_context(cafile=servers.ca_file)
        self._waiting: list[tuple[contextlib.ExitStack, smtplib.SMTP]] = []

    def submit(self, address: str, user: str, password: str, *, to: str | None = None, tls: bool = False, mechanism: str = "PLAIN") -> None:
        with contextlib.suppress(smtplib.SMTPException, OSError), self._smtp(address, tls=tls) as client:
            client.user, client.password = user, password
            client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
            if to:
                start = self._logged()
                client.sendmail(user, [to], f"From: {user}\r\nTo: {to}\r\nSubject: hello\r\n\r\nSee you.\r\n")
                self.servers.wait_for(": removed", after=start)

    def guess(self, address: str, names: list[str], password: str) -> None:
        """Several names over one connection, as a botnet tries them."""
        with contextlib.suppress(smtplib.SMTPException, OSError), self._smtp(address, tls=False) as client:
            for name in names:
                client.user, client.password = name, password
                with contextlib.suppress(smtplib.SMTPAuthenticationError):
                    client.auth("LOGIN", client.auth_login)

    def connect_and_wait(self, address: str, many: int) -> None:
        """So many clients connect, start TLS, and do not sign in yet."""
        for _ in range(many):
            stack = contextlib.ExitStack()
            self._waiting.append((stack, stack.enter_context(self._smtp(address, tls=False))))

    def sign_in_at_last(self, user: str, password: str) -> None:
        """The next of those who wait signs in and leaves."""
        stack, client = self._waiting.pop(0)
        with stack, contextlib.suppress(smtplib.SMTPException, OSError):
            client.user, client.password = user, password
            client.auth("PLAIN", client.auth_plain)

    def read(self, address: str, user: str, password: str) -> None:
        servers = self.servers
        with contextlib.suppress(imaplib.IMAP4.error, OSError):
            client = imaplib.IMAP4_SSL("localhost", servers.imaps_port, ssl_context=self._tls, timeout=15)
            client._simple_command("ID", f'("x-originating-ip" "{address}" "x-originating-port" "{self._chance.randint(20000, 60000)}")')  # noqa: SLF001
            with contextlib.suppress(imaplib.IMAP4.error):
                client.login(user, password)
            start = self._logged()
            client.logout()
            servers.wait_for("Disconnected: ", after=start)

    @contextlib.contextmanager
    def _smtp(self, address: str, *, tls: bool) -> Iterator[smtplib.SMTP]:
        servers = self.servers
        client: smtplib.SMTP
        if tls:
            client = smtplib.SMTP_SSL("localhost", servers.submissions_port, local_hostname="pc", timeout=15, context=self._tls)
        else:
            client = smtplib.SMTP("localhost", servers.submission_port, local_hostname="pc", timeout=15)
        client.ehlo()
        client.docmd("XCLIENT", f"NAME=[UNAVAILABLE] ADDR={'IPV6:' if ':' in address else ''}{address}")
        client.ehlo()
        if not tls:
            client.starttls(context=self._tls)
            client.ehlo()
        try:
            yield client
        finally:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                start = self._logged()
                client.quit()
                servers.wait_for("disconnect from ", after=start)

    def _logged(self) -> int:
        """How much is in the log by now: what an action causes comes after it, and the action ends when its last line has come."""
        return self.servers.log_file.stat().st_size


def address_of(name: str) -> str:
    return f"{name}@{DOMAIN}"


# ---------------------------------------------------------------------------------------- the story


def story(chance: random.Random) -> list[Event]:
    """Everything that happens, in order of time."""
    events = [*ordinary_life(chance), *spray(chance), *slow_spray(chance), *stale_phone(chance), *scanner(chance), *outage(chance)]
    return sorted(events, key=lambda event: event[0])


def ordinary_life(chance: random.Random) -> Iterator[Event]:
    """Working days with mail from the office, telephones that look now and then, and a password mistyped here and there."""
    for day in range(21):
        date = START + timedelta(days=day)
        working = date.weekday() < 5
        for name in NAMES:
            user, right = address_of(name), USERS[name]
            if working and chance.random() < 0.92:
                at = date + timedelta(hours=chance.gauss(8.4, 0.5))
                if chance.random() < 0.06:
                    yield at - timedelta(minutes=1), lambda p, u=user: p.read(OFFICE, u, "Right-typo")
                for hour in range(4):
                    yield at + timedelta(hours=2.2 * hour, minutes=chance.uniform(0, 50)), lambda p, u=user, w=right: p.read(OFFICE, u, w)
                for _ in range(chance.choice((1, 2, 2, 3, 5))):
                    to, tls = address_of(chance.choice(NAMES)), chance.random() < 0.3
                    moment = at + timedelta(hours=chance.uniform(0.1, 8.5))
                    yield moment, lambda p, u=user, w=right, t=to, s=tls: p.submit(OFFICE, u, w, to=t, tls=s)
            for _ in range(3 if working else 2):
                moment = date + timedelta(hours=chance.uniform(6.5, 23))
                place = chance.choice((PHONES[name], PHONES[name], HOMES[name]))
                yield moment, lambda p, u=user, w=right, a=place: p.read(a, u, w)


def spray(chance: random.Random) -> Iterator[Event]:
    """The night to Wednesday 11 November, from a quarter past two: four addresses try a password on every name they can think of."""
    moment = datetime(2026, 11, 11, 2, 15, tzinfo=ZONE)
    names = [name + end for name in (*GUESSED, *NAMES[:8]) for end in ("", f"@{DOMAIN}")]
    for password in ("Winter2026", "Welcome1"):
        chance.shuffle(names)
        for i in range(0, len(names), 2):
            moment += timedelta(seconds=chance.uniform(8, 40))
            yield moment, lambda p, a=chance.choice(SPRAY), n=names[i : i + 2], w=password: p.guess(a, n, w)


def slow_spray(chance: random.Random) -> Iterator[Event]:
    """From Monday 16 to Thursday 19 November: a dozen addresses, each now and then a single try."""
    names = [*GUESSED, *(address_of(name) for name in NAMES)]
    for _ in range(150):
        moment = datetime(2026, 11, 16, tzinfo=ZONE) + timedelta(hours=chance.uniform(0, 96))
        yield moment, lambda p, a=chance.choice(SLOW_SPRAY), n=chance.choice(names): p.guess(a, [n], "123456")


def stale_phone(chance: random.Random) -> Iterator[Event]:
    """Greta changes her password on Thursday 12 November at 10:20; her telephone is told on Monday the 16th at 9:05."""
    moment, told = datetime(2026, 11, 12, 10, 31, tzinfo=ZONE), datetime(2026, 11, 16, 9, 5, tzinfo=ZONE)
    while moment < told:
        yield moment, lambda p: p.read(PHONES["greta"], address_of("greta"), "before-the-change")
        moment += timedelta(minutes=15, seconds=chance.uniform(-3, 3))


def scanner(chance: random.Random) -> Iterator[Event]:
    """A scanner that was set up with the name of a mailbox that does not exist, from Tuesday 10 November on."""
    for day in range(8, 19):
        date = START + timedelta(days=day)
        for _ in range(chance.randint(2, 5) if date.weekday() < 5 else 0):
            yield date + timedelta(hours=chance.uniform(8, 17)), lambda p: p.submit(SCANNER, "scanner", "scan", mechanism="LOGIN")


def outage(chance: random.Random) -> Iterator[Event]:
    """Wednesday 18 November, 13:40 to 14:35: Dovecot's authentication service is down, and nobody can send.

    Who is connected already is told so at the sign-in; who comes later is turned away before, for Postfix's processes give up.
    """
    begin, end = datetime(2026, 11, 18, 13, 40, tzinfo=ZONE), datetime(2026, 11, 18, 14, 35, tzinfo=ZONE)
    people = [chance.choice(NAMES) for _ in range(18)]
    yield begin - timedelta(minutes=1), lambda p: p.connect_and_wait(OFFICE, len(people))
    yield begin, lambda p: p.servers.stop_auth()
    for i, name in enumerate(people):
        yield begin + timedelta(seconds=9 * (i + 1)), lambda p, n=name: p.sign_in_at_last(address_of(n), USERS[n])
    for i in range(30):
        name, moment = chance.choice(NAMES), begin + timedelta(minutes=5) + (end - begin - timedelta(minutes=5)) * (i / 31)
        yield moment, lambda p, n=name: p.submit(OFFICE, address_of(n), USERS[n], to=address_of("anna"))
    yield end, lambda p: p.servers.start_auth()


# ---------------------------------------------------------------------------------------- playing it


def play(log_file: Path, seed: int = 1) -> None:
    """Plays the whole story and copies the log."""
    chance, clock = random.Random(seed), StoryClock()
    events = story(chance)
    with postfix_with_dovecot(USERS, stamp=clock.stamp) as servers:
        player = Player(servers, random.Random(seed))
        for i, (moment, act) in enumerate(events):
            clock.start(moment)
            act(player)
            wait_until_quiet(servers.log_file)
            if i % 100 == 0:
                print(f"\r{i} of {len(events)} events, {moment:%d %b}", end="", file=sys.stderr, flush=True)
        log_file.write_bytes(servers.log_file.read_bytes())
    print(f"\r{len(events)} events played          ", file=sys.stderr)


def wait_until_quiet(log_file: Path, seconds: float = 0.03) -> None:
    """Waits until a moment has passed without a line, so that none is given the time of the next event."""
    size = -1
    while size != (size := log_file.stat().st_size):
        time.sleep(seconds)


def rotate(log_file: Path, folder: Path) -> None:
    """A file a week, the oldest compressed, as Debian's logrotate leaves them."""
    weeks: list[list[bytes]] = [[], [], []]
    for line in log_file.read_bytes().splitlines(keepends=True):
        day = datetime.fromisoformat(line.split(b" ", 1)[0].decode()) - START
        weeks[min(max(day.days // 7, 0), 2)].append(line)
    for name, lines in zip(("mail.log.2.gz", "mail.log.1", "mail.log"), weeks, strict=True):
        content = b"".join(lines)
        (folder / name).write_bytes(gzip.compress(content, 9, mtime=0) if name.endswith(".gz") else content)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    play(out / "whole.log")
    rotate(out / "whole.log", out)
    (out / "whole.log").unlink()
