"""Makes a mail log of any size: what a busy Postfix and Dovecot write, about one line in eleven of it about authentication.

Run: python tests/benchmarks/make_big_log.py OUT SIZE_MB [--format rfc3164|iso] [--seed N]

The same seed makes the same log. A gigabyte covers thirty days. Users and hosts are invented, addresses are the documentation's.
"""

from __future__ import annotations

import argparse
import random
import string
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from pathlib import Path

START = datetime(2026, 1, 5, tzinfo=UTC)
SECONDS_PER_BYTE = 30 * 86_400 / 1e9
Story = Iterator[tuple[float, str, str]]
"""(seconds since the story began, program, message) of what one client causes."""

NAMES = [
    "anna",
    "ben",
    "carla",
    "david",
    "eva",
    "frank",
    "greta",
    "hans",
    "ines",
    "jan",
    "karl",
    "lena",
    "max",
    "nina",
    "otto",
    "paul",
    "rosa",
    "sven",
    "tina",
    "uwe",
]
GUESSES = [
    "admin",
    "test",
    "info",
    "root",
    "postmaster",
    "sales",
    "office",
    "contact",
    "support",
    "backup",
    "scan",
    "printer",
    "noreply",
    "hr",
    "web",
]
TLS = (
    "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature ECDSA (prime256v1) server-digest SHA256"
)
REASONS = ["(reason unavailable)"] * 5 + ["UGFzc3dvcmQ6", "authentication failure", "Connection lost to authentication server"]


class World:
    """Who is there: clients, users, and the dice."""

    def __init__(self, seed: int) -> None:
        self.dice = dice = random.Random(seed)
        v4 = [f"{net}.{n}" for net in ("192.0.2", "198.51.100", "203.0.113") for n in range(1, 255)]
        v6 = [f"2001:db8:{dice.randrange(1, 65536):x}:{dice.randrange(65536):x}::{dice.randrange(1, 65536):x}" for _ in range(9_000)]
        addresses = dice.sample(v4 + v6, 9_000)
        self.bots, self.customers, self.relays = addresses[:6_000], addresses[6_000:8_000], addresses[8_000:]
        self.users = [f"{dice.choice(NAMES)}.{dice.choice(NAMES)}{n}@example.test" for n in range(4_000)]

    def guess(self) -> str:
        name = self.dice.choice(GUESSES)
        return name + self.dice.choice(["", "@example.test", "@example.net", str(self.dice.randrange(500))])

    def client(self, address: str, named: float) -> str:
        if self.dice.random() > named:
            return f"unknown[{address}]"
        return f"host-{address.replace('.', '-').replace(':', '-')}.isp{self.dice.randrange(40)}.example.net[{address}]"

    def smtpd(self, *services: str) -> str:
        return f"postfix/{self.dice.choice(services)}smtpd[{self.dice.randrange(300, 900)}]"

    def queue_id(self) -> str:
        return f"{self.dice.getrandbits(44):011X}"

    def session(self) -> str:
        return "".join(self.dice.choices(string.ascii_letters + string.digits + "+/", k=16))


def delivered(world: World, queue_id: str, sender: str) -> Story:
    """What follows a message that was taken: cleanup, queue, one or two deliveries."""
    dice = world.dice
    yield (
        0.05,
        f"postfix/cleanup[{dice.randrange(999)}]",
        f"{queue_id}: message-id=<{dice.getrandbits(64):x}@relay{dice.randrange(99)}.example.com>",
    )
    yield 0.2, "postfix/qmgr[1201]", f"{queue_id}: from=<{sender}>, size={dice.randrange(900, 900_000)}, nrcpt=1 (queue active)"
    for _ in range(dice.choice([1, 1, 1, 2])):
        delay, relay = dice.random() * 4, f"mail-{dice.randrange(99)}.provider{dice.randrange(60)}.example.org[{dice.choice(world.relays)}]"
        good = dice.random() < 0.9
        status = (
            f"sent (250 2.0.0 OK {dice.getrandbits(60):x})"
            if good
            else f"deferred (host {relay} said: 451 4.7.1 Greylisting in action, please come back later (in reply to RCPT TO command))"
        )
        delays = f"delay={delay:.2g}, delays={delay / 4:.2g}/0.01/{delay / 4:.2g}/{delay / 2:.2g}, dsn={'2.0.0' if good else '4.7.1'}"
        yield (
            0.3 + delay,
            f"postfix/smtp[{dice.randrange(300, 900)}]",
            f"{queue_id}: to=<{dice.choice(world.users)}>, relay={relay}:25, {delays}, status={status}",
        )
    yield 4.5, "postfix/qmgr[1201]", f"{queue_id}: removed"


def inbound(world: World) -> Story:
    """A message from another server."""
    dice, queue_id, daemon = world.dice, world.queue_id(), world.smtpd("")
    client = world.client(dice.choice(world.relays), named=1)
    yield 0, daemon, f"connect from {client}"
    if dice.random() < 0.8:
        yield 0.1, daemon, f"Anonymous TLS connection established from {client}: {TLS}"
    yield 0.3, daemon, f"{queue_id}: client={client}"
    yield from delivered(world, queue_id, f"bounce-{dice.randrange(10**6)}@relay{dice.randrange(99)}.example.com")
    yield 0.9, daemon, f"disconnect from {client} ehlo=2 starttls=1 mail=1 rcpt=1 data=1 quit=1 commands=7"
    if dice.random() < 0.6:
        where = f"lmtp({dice.choice(world.users)})<{dice.randrange(99_999)}><{world.session()}>"
        yield 2, "dovecot", f"{where}: sieve: msgid=<{dice.getrandbits(64):x}@example.com>: stored mail into mailbox 'INBOX'"


def submission(world: World) -> Story:
    """A user sends."""
    dice, queue_id, daemon, user = world.dice, world.queue_id(), world.smtpd("submission/", "smtps/"), world.dice.choice(world.users)
    client = world.client(dice.choice(world.customers), named=0.6)
    yield 0, daemon, f"connect from {client}"
    yield 0.1, daemon, f"Anonymous TLS connection established from {client}: {TLS}"
    yield 0.3, daemon, f"{queue_id}: client={client}, sasl_method={dice.choice(['PLAIN', 'PLAIN', 'LOGIN'])}, sasl_username={user}"
    yield from delivered(world, queue_id, user)
    yield 0.9, daemon, f"disconnect from {client} ehlo=2 starttls=1 auth=1 mail=1 rcpt=1 data=1 quit=1 commands=8"


def mailbox(world: World) -> Story:
    """A user reads mail."""
    dice, user, session, pid = world.dice, world.dice.choice(world.users), world.session(), world.dice.randrange(999, 3_000_000)
    service = dice.choice(["imap", "imap", "imap", "pop3"])
    where = f"rip={dice.choice(world.customers)}, lip=192.0.2.5, mpid={pid}, TLS, session=<{session}>"
    yield 0, "dovecot", f"{service}-login: Login: user=<{user}>, method=PLAIN, {where}"
    counts = f"in={dice.randrange(999)} out={dice.randrange(99_999)} deleted=0 expunged=0 trashed=0 hdr_count={dice.randrange(20)} hdr_bytes={dice.randrange(9999)}"
    yield 9 * dice.random(), "dovecot", f"{service}({user})<{pid}><{session}>: Disconnected: Logged out {counts} body_count=0 body_bytes=0"


def guesses_by_smtp(world: World) -> Story:
    """A botnet tries names; Dovecot's auth process says why each failed, sometimes."""
    dice, daemon, tries = world.dice, world.smtpd("", "", "submission/", "smtps/"), world.dice.choice([1, 1, 1, 2, 3])
    address = dice.choice(world.bots)
    client = world.client(address, named=0.25)
    yield 0, daemon, f"connect from {client}"
    for n in range(tries):
        user, luck = world.guess(), dice.random()
        if dice.random() < 0.4:
            yield 0.5 + n, "dovecot", f"auth: passwd-file({user},{address}): unknown user"
        failed = f"warning: {client}: SASL {dice.choice(['LOGIN', 'LOGIN', 'PLAIN', 'CRAM-MD5'])} authentication"
        if luck < 0.04:
            yield 0.6 + n, daemon, f"{failed} aborted"
        elif luck < 0.4:
            yield 0.6 + n, daemon, f"{failed} failed: {dice.choice(REASONS)}"
        else:
            yield 0.6 + n, daemon, f"{failed} failed: {dice.choice(REASONS)}, sasl_username={user}"
    if dice.random() < 0.4:
        yield 0.7 + tries, daemon, f"lost connection after AUTH from {client}"
        yield 0.7 + tries, daemon, f"disconnect from {client} ehlo=1 auth=0/{tries} commands=1/{tries + 1}"
    else:
        yield 0.7 + tries, daemon, f"disconnect from {client} ehlo=1 auth=0/{tries} rset=1 quit=1 commands=3/{tries + 3}"


def guesses_by_imap(world: World) -> Story:
    """The same over IMAP and POP3, where lines share a session."""
    dice, session, address = world.dice, world.session(), world.dice.choice(world.bots)
    user = dice.choice(world.users) if dice.random() < 0.4 else world.guess()
    tries = dice.choice([1, 1, 2, 3])
    for n in range(tries):
        reason = dice.choice(["unknown user", "Password mismatch", "Password mismatch"])
        yield (
            n,
            "dovecot",
            f"auth: {dice.choice(['passwd-file', 'passwd-file', 'pam', 'cram-md5'])}({user},{address},<{session}>): {reason}",
        )
    how = dice.choice(["Connection closed", "Aborted login by logging out", "Inactivity"])
    where = f"user=<{user}>, method={dice.choice(['PLAIN', 'LOGIN'])}, rip={address}, lip=192.0.2.5, {dice.choice(['', 'TLS, '])}session=<{session}>"
    yield (
        tries,
        "dovecot",
        f"{dice.choice(['imap', 'pop3'])}-login: Disconnected: {how} (auth failed, {tries} attempts in {tries + 2} secs): {where}",
    )


def scan(world: World) -> Story:
    """Somebody knocks and leaves."""
    dice, daemon, client = world.dice, world.smtpd(""), world.client(world.dice.choice(world.bots), named=0.25)
    yield 0, daemon, f"connect from {client}"
    yield 0.5, daemon, f"lost connection after {dice.choice(['CONNECT', 'EHLO', 'UNKNOWN', 'STARTTLS'])} from {client}"
    yield 0.5, daemon, f"disconnect from {client} ehlo=1 commands=1"
    if dice.random() < 0.3:
        where = f"user=<>, rip={dice.choice(world.bots)}, lip=192.0.2.5, TLS: Connection closed, session=<{world.session()}>"
        yield 0.6, "dovecot", f"imap-login: Disconnected: Connection closed (no auth attempts in {dice.randrange(60)} secs): {where}"


def rejected(world: World) -> Story:
    """Spam, refused at the door."""
    dice, daemon, address = world.dice, world.smtpd(""), world.dice.choice(world.bots)
    client = world.client(address, named=0.25)
    why = f"554 5.7.1 Service unavailable; Client host [{address}] blocked using blocklist.example.org; https://blocklist.example.org/{address}"
    yield 0, daemon, f"connect from {client}"
    mail = f"from=<x{dice.randrange(99_999)}@spam{dice.randrange(999)}.example> to=<{dice.choice(world.users)}> proto=ESMTP helo=<win-{dice.randrange(99_999)}>"
    yield 0.4, daemon, f"NOQUEUE: reject: RCPT from {client}: {why}; {mail}"
    yield 0.8, daemon, f"disconnect from {client} ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4"


STORIES: dict[Callable[[World], Story], int] = {
    inbound: 42,
    scan: 18,
    rejected: 12,
    mailbox: 8,
    guesses_by_smtp: 7,
    submission: 6,
    guesses_by_imap: 2,
}  # fmt: skip


def make_log(path: Path, size: int, *, kind: str, seed: int) -> int:
    """Writes about `size` bytes; returns how many lines."""
    world = World(seed)
    choose, weights = list(STORIES), list(STORIES.values())
    between = 850 * SECONDS_PER_BYTE  # a story is some 850 bytes
    waiting: list[tuple[float, int, str]] = []
    now, written, number, lines = 0.0, 0, 0, 0
    with path.open("w", encoding="ascii", buffering=1 << 20) as out:
        while written < size:
            for story in world.dice.choices(choose, weights, k=1_000):
                now += world.dice.expovariate(1) * between
                host = ("mx1", "mx2", "mail.example.test")[int(world.dice.random() ** 2 * 3)]
                for later, program, message in story(world):
                    number += 1  # lines of one moment stay in the order in which they came
                    heappush(waiting, (now + later, number, f"{host} {program}: {message}\n"))
            while waiting and waiting[0][0] < now:
                at, _, rest = heappop(waiting)
                written += out.write(stamp(at, kind) + rest)
                lines += 1
    return lines


def stamp(seconds: float, kind: str) -> str:
    time = START + timedelta(seconds=seconds)
    return f"{time:%b} {time.day:2d} {time:%H:%M:%S} " if kind == "rfc3164" else time.isoformat(timespec="microseconds") + " "


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("size_mb", type=float)
    parser.add_argument("--format", choices=("rfc3164", "iso"), default="rfc3164")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    print(f"{given.out}: {make_log(given.out, int(given.size_mb * 1e6), kind=given.format, seed=given.seed):,} lines")
