"""Each entry of log_lines.toml against its own examples, against all the others', and against lines made to be slow."""

from __future__ import annotations

import re
import time
import tomllib
from datetime import date
from importlib.resources import files

import pytest
from ahocorasick_rs import BytesAhoCorasick, MatchKind

from kit.logs.authlog import LogReader, collect, read_logs
from kit.logs.classes import ROLES, envelope, line_classes, needles_at_once
from kit.model import Cause, Outcome, Service
from kit.redact import mask

TABLES = [tomllib.loads(path.read_text("utf-8")) for path in (files("kit.knowledge") / "log_lines").iterdir()]
ENTRIES = [{"software": table["software"], "program": table["program"]} | entry for table in TABLES for entry in table.get("class", ())]
CLASSES = {entry["id"]: entry for entry in ENTRIES}
EXAMPLES = [(entry["id"], example["line"], example.get("expect", {})) for entry in ENTRIES for example in entry["example"]]
SUSPICION = next(table["suspicion"]["needles"] for table in TABLES if "suspicion" in table)
# JSON escapes quotes and backslashes, and may escape the slash; what is not printable ASCII stands as \u.
PLAIN = re.compile(r"[ !#-.0-\[\]-~]+")

every_class = pytest.mark.parametrize("entry", CLASSES.values(), ids=list(CLASSES))


def read_line(tmp_path, *lines: str, **options):
    path = tmp_path / "mail.log"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return read_logs(path, year=2026, **options)


def whole_line(entry: dict) -> re.Pattern[str]:
    return re.compile(rf"^{envelope(entry['program'])}(?:{entry['pattern']})$", re.MULTILINE | re.ASCII)


# ------------------------------------------------------------------------------------------------ the table


def test_ids_are_unique():
    assert len(CLASSES) == len(ENTRIES) == len(line_classes())


@every_class
def test_entry_is_whole(entry):
    assert entry["role"] in ROLES
    if entry["role"] != "none":
        Outcome(entry["outcome"]), Cause(entry["cause"])
    for reason in entry.get("reasons", ()):
        assert set(reason) == {"text", "outcome", "cause"}
        Outcome(reason["outcome"]), Cause(reason["cause"])
    assert re.fullmatch(r"https://[\w.-]+/\S*", entry["source"])
    assert isinstance(entry["checked"], date)
    assert entry["verified"] in {"server", "source", "docs"}
    assert entry["example"]


def test_needles_hold_nothing_that_json_escapes():
    for needle in [entry["needle"] for entry in CLASSES.values()] + SUSPICION:
        assert PLAIN.fullmatch(needle), needle


def test_what_is_looked_for_at_once_is_few_and_leaves_no_class_out():
    needles = needles_at_once(line_classes())
    # Up to 64 literals are searched by vector instructions, more at a fifth of the speed (measured); one more is the reader's own.
    assert len(needles) < 64
    for entry in CLASSES.values():
        assert entry["role"] == "none" or any(needle.decode() in entry["needle"] for needle in needles), entry["id"]


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.get("frequent")], ids=lambda e: e["id"])
def test_a_frequent_class_is_found_by_its_own_needle(entry):
    """The search goes from left to right and takes no letter twice: a needle that begins within a suspicious word is never found."""
    needles = needles_at_once(line_classes())
    find = BytesAhoCorasick(needles, matchkind=MatchKind.LeftmostFirst).find_matches_as_indexes
    for example in entry["example"]:
        assert needles[min(number for number, _, _ in find(example["line"].encode()))].decode() == entry["needle"], example["line"]


# Users, hosts and addresses that somebody might have come from the documentation's, or from loopback.
def test_examples_use_documentation_names_only():
    for _, line, _ in EXAMPLES:
        for address in re.findall(r"\d{1,3}(?:\.\d{1,3}){3}", line):
            assert address.startswith(("192.0.2.", "198.51.100.", "203.0.113.", "127.0.0.")), line
        for domain in re.findall(r"@([\w.-]+)", line):
            assert domain.endswith((".test", "example.com", "example.net", "example.org")), line


# ------------------------------------------------------------------------------------------------ examples


@pytest.mark.parametrize(("name", "line", "expect"), EXAMPLES)
def test_example_is_of_its_class_alone(name, line, expect):
    assert CLASSES[name]["needle"] in line
    assert [other for other, entry in CLASSES.items() if whole_line(entry).search(line)] == [name]


@pytest.mark.parametrize(("name", "line", "expect"), [e for e in EXAMPLES if e[2]])
def test_example_gives_what_is_expected(tmp_path, name, line, expect):
    (attempt,) = read_line(tmp_path, line).table.to_pylist()
    assert {field: attempt[field] for field in expect} == expect
    # What the example does not promise is not known, and an enum's value where there is one.
    assert attempt["user"] == expect.get("user")
    assert attempt["server"] == CLASSES[name]["software"]
    Outcome(attempt["outcome"]), Cause(attempt["cause"]), Service(attempt["service"] or "other")


def test_each_class_that_tells_of_attempts_says_what_is_expected():
    with_expectation = {name for name, _, expect in EXAMPLES if expect}
    # These lines are no attempts by themselves; see test_lost_after_auth, test_join and test_sessions.
    assert {
        name for name, entry in CLASSES.items() if entry["role"] not in ("none", "lost", "trouble", "opens", "asked", "closes")
    } == with_expectation


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ("auth=0/1 commands=1/2", [("aborted", "aborted", 1)]),  # one AUTH, no answer: the client left during it
        ("auth=1 commands=2", [("success", "none", 1)]),  # it had its answer, and left after it
        ("auth=0/3 commands=1/4", [("aborted", "aborted", 1), ("refused", "auth-not-offered", 2)]),
    ],
)
def test_lost_after_auth(tmp_path, counts, expected):
    lost = "Nov  3 08:15:10 mx postfix/smtpd[4717]: lost connection after AUTH from unknown[192.0.2.21]"
    end = f"Nov  3 08:15:10 mx postfix/smtpd[4717]: disconnect from unknown[192.0.2.21] ehlo=1 {counts}"
    rows = read_line(tmp_path, lost, end).table.to_pylist()
    assert [(row["outcome"], row["cause"], row["count"]) for row in rows] == expected
    assert {(row["client_ip"], row["service"]) for row in rows} == {("192.0.2.21", "smtp")}
    assert read_line(tmp_path, lost).coverage.attempts == 0


@every_class
def test_class_taken_away_leaves_its_lines_not_understood(tmp_path, entry):
    rest = tuple(c for c in line_classes() if c.id != entry["id"])
    lines = [example["line"] for example in entry["example"]]
    messages = [re.sub("^" + envelope(r"\S+?"), "", line, flags=re.ASCII) for line in lines]
    if entry["role"] in ("none", "opens", "closes", "message"):  # classed as some of them hold a suspicious word, or tell of client or user
        lines = [line for line, message in zip(lines, messages, strict=True) if any(word in message for word in SUSPICION)]
        if not lines:
            return
    path = tmp_path / "mail.log"
    path.write_text("\n".join(lines), "utf-8")
    log = collect(LogReader(path, year=2026, classes=rest))
    assert log.coverage.not_understood == len(lines)
    assert sum(unknown.count for unknown in log.unknown) == len(lines)
    assert log.unknown[0].example in [mask(line) for line in lines]
    assert read_logs(path, year=2026).coverage.not_understood == 0


# ------------------------------------------------------------------------------------------------ hostile lines


@every_class
def test_no_pattern_reaches_over_a_line_end(entry):
    """The engine joins lines and matches them at once. A complement like [^<] would run on into the next line."""
    pattern = entry["pattern"] + entry["program"]
    for negated in re.findall(r"\[\^((?:\\.|[^\]\\])+)\]", pattern):
        assert r"\n" in negated or r"\s" in negated, f"[^{negated}]"
    assert not re.search(r"\\[sDW](?![^\[]*\])", re.sub(r"\[\^?(?:\\.|[^\]\\])+\]", "", pattern)), r"\s, \D and \W match a line end too"


@every_class
def test_a_line_cut_short_leaves_the_next_alone(tmp_path, entry):
    """A full disk cuts a line anywhere; the line after it is still itself."""
    whole = entry["example"][0]["line"]
    alone = read_line(tmp_path, whole)
    for cut in range(40, len(whole), 7):
        log = read_line(tmp_path, whole[:cut], whole)
        assert log.coverage.lines == 2
        assert sum(getattr(log.coverage, n) for n in ("attempt_lines", "other", "not_understood", "undecodable")) == 2
        assert log.coverage.attempt_lines >= alone.coverage.attempt_lines


def slow_lines(entry: dict, size: int):
    """Lines of about so many characters that come near to matching: each piece of the example, and each separator, over and over."""
    for example in entry["example"]:
        line = example["line"]
        head = re.match(envelope(r"[^\s\[\]:]+"), line, re.ASCII).end()
        message = line[head:]
        pieces = [message, *re.split(r"(?<=[ ,:=<>()\[\]])", message), *{c for c in message if not c.isalnum()}, ", ", "> ", "a", "a ", "1"]
        for piece in dict.fromkeys(filter(None, pieces)):
            for start in (0, message.find(piece) if piece in message else 0):
                yield line[: head + start] + piece * (size // len(piece)) + "\x01"


@every_class
def test_time_grows_with_the_line_and_no_faster(entry):
    """A quadratic pattern takes seconds for 100 kB, and four times as long for twice that."""
    match = next(c.match for c in line_classes() if c.id == entry["id"])
    for line in slow_lines(entry, 100_000):
        started = time.process_time()
        assert len(match(line)) == 1
        assert time.process_time() - started < 1, line[:200]


# A client chooses the user's name; what else is in the line it must not choose. Expected: what the server wrote around the name.
HOSTILE = [
    (
        "Nov  3 08:12:44 mx postfix/smtpd[1]: warning: unknown[192.0.2.17]: SASL LOGIN authentication failed: (reason unavailable), sasl_username={}",
        [
            "a, sasl_username=b",
            "x: Connection lost to authentication server",
            "warning: unknown[203.0.113.9]: SASL PLAIN authentication aborted",
        ],
    ),
    (
        "Nov  3 09:01:02 mx dovecot: auth: passwd-file({},192.0.2.17): unknown user",
        ["a,203.0.113.9", "a,203.0.113.9,<s>): Password mismatch", "a): b", "a(b"],
    ),
    (
        "Nov  3 09:03:00 mx dovecot: imap-login: Login: user=<{}>, method=LOGIN, rip=192.0.2.17, lip=192.0.2.1, mpid=4242, TLS, session=<pQz9>",
        [
            "a>, method=PLAIN, rip=203.0.113.9, lip=192.0.2.1, session=<x",
            "a>, method=PLAIN, rip=203.0.113.9, lip=192.0.2.1, TLS",
            "a> b <c",
            "Disconnected (auth failed, 9 attempts in 2 secs): user=<b",
        ],
    ),
    (
        "Nov  3 09:04:00 mx dovecot: imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<{}>, method=LOGIN, rip=192.0.2.17, lip=192.0.2.1, session=<qQz9>",
        ["a>, method=PLAIN, rip=203.0.113.9, lip=192.0.2.1, TLS, session=<x", "b (auth failed, 7 attempts in 2 secs): user=<c"],
    ),
    (
        "Nov  3 09:01:02 mx dovecot: auth({},192.0.2.17,sasl:plain)<pQz9>: passwd-file: unknown user",
        ["a,203.0.113.9,sasl:login)<s>: passwd-file: Password mismatch", "a,203.0.113.9", "a): b", "a)<b"],
    ),
    (
        "Nov  3 09:04:00 mx dovecot: imap-login: Login aborted: Logged out (auth failed, 1 attempts in 2 secs) (auth_failed): user=<{}>, method=LOGIN, rip=192.0.2.17, lip=192.0.2.1, session=<qQz9>",
        ["a>, method=PLAIN, rip=203.0.113.9, lip=192.0.2.1, TLS, session=<x", "b (auth failed, 7 attempts in 2 secs) (temp_fail): user=<c"],
    ),
    (
        "2026-11-03 09:04:00 mx exim[9]: plain_server authenticator failed for (pc) [192.0.2.17]: 535 Incorrect authentication data (set_id={})",
        [
            "a) [203.0.113.9]: 535 Incorrect authentication data (set_id=b",
            "login authenticator failed for (x) [203.0.113.9]: 501 Authentication cancelled",
            "a): b",
            "a) [203.0.113.9]: 435 b",
        ],
    ),
    (
        "2026-11-03 09:04:00 mx exim[9]: plain_server authenticator failed for (pc) [192.0.2.17]: 435 Unable to authenticate at present (set_id={}): no answer",
        ["a) [203.0.113.9]: 535 b (set_id=c", "a: b"],
    ),
    (
        "2026-11-03 09:04:00 mx exim[9]: 1xVvta-0007lC-2P <= c@example.test H=(pc) [192.0.2.17] P=esmtpa A=login:{} S=251",
        ["a P=esmtpa A=plain:b", "a H=(x) [203.0.113.9] P=esmtpa"],
    ),
    (
        "Nov  3 08:14:00 mx postfix/submission/smtpd[1]: 4Zx8Qk1vWz: client=unknown[192.0.2.17], sasl_method=LOGIN, sasl_username={}",
        ["a, sasl_method=PLAIN, sasl_username=b", "a, b", "client=unknown[203.0.113.9]"],
    ),
]


@pytest.mark.parametrize(("line", "user"), [(line, user) for line, users in HOSTILE for user in users])
def test_a_user_cannot_speak_for_the_server(tmp_path, line, user):
    honest = read_line(tmp_path, line.format("honest")).table.to_pylist()
    hostile = read_line(tmp_path, line.format(user)).table.to_pylist()
    assert [row["client_ip"] for row in honest] == ["192.0.2.17"]
    assert [row | {"text": None, "user": "honest"} for row in hostile] == [row | {"text": None} for row in honest]
    assert [row["user"] for row in hostile] == [user]
