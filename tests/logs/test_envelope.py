"""Whatever stands before a message: the same attempt comes out, and nothing makes the reader fall over."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.logs.authlog import read_logs
from kit.logs.envelope import canonical, message_of, stamp_of
from tests.logs.slow_lines import unwrap

MESSAGE = "warning: unknown[192.0.2.17]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=frieda@example.test"
# 2026-11-03 08:12:44.5 UTC in microseconds since the epoch: `date -ud '2026-11-03 08:12:44' +%s` gives 1793693564.
MICROS = "1793693564500000"
JOURNAL = {"__REALTIME_TIMESTAMP": MICROS, "_HOSTNAME": "mx", "SYSLOG_IDENTIFIER": "postfix/smtpd", "_PID": "4711", "MESSAGE": MESSAGE}
RSYSLOG = {"msg": f" {MESSAGE}", "timereported": "2026-11-03T08:12:44.5+00:00", "hostname": "mx", "syslogtag": "postfix/smtpd[4711]:"}

WHOLE, HALF = "2026-11-03 08:12:44+00:00", "2026-11-03 08:12:44.500000+00:00"
ENVELOPES = {
    "rfc3164": (f"Nov  3 08:12:44 mx postfix/smtpd[4711]: {MESSAGE}", WHOLE),
    "rfc3164 with priority": (f"<22>Nov  3 08:12:44 mx postfix/smtpd[4711]: {MESSAGE}", WHOLE),
    "one-digit day": (f"Nov 3 08:12:44 mx postfix/smtpd[4711]: {MESSAGE}", WHOLE),
    "day with a zero": (f"Nov 03 08:12:44 mx postfix/smtpd[4711]: {MESSAGE}", WHOLE),
    "iso": (f"2026-11-03T08:12:44.500000+00:00 mx postfix/smtpd[4711]: {MESSAGE}", HALF),
    "iso Z": (f"2026-11-03T08:12:44.500Z mx postfix/smtpd[4711]: {MESSAGE}", HALF),
    "iso, offset without colon": (f"2026-11-03T10:12:44+0200 mx postfix/smtpd[4711]: {MESSAGE}", WHOLE),
    "iso, comma": (f"2026-11-03T08:12:44,500 mx postfix/smtpd[4711]: {MESSAGE}", HALF),
    "iso, nanoseconds": (f"2026-11-03T08:12:44.500000999Z mx postfix/smtpd[4711]: {MESSAGE}", HALF),
    "iso, blank for T": (f"2026-11-03 08:12:44 mx postfix/smtpd[4711]: {MESSAGE}", WHOLE),
    "rfc5424": (f"<22>1 2026-11-03T08:12:44.5Z mx postfix/smtpd 4711 - - {MESSAGE}", HALF),
    "rfc5424 with structured data": (rf'<22>1 2026-11-03T08:12:44.5Z mx postfix/smtpd 4711 ID7 [a@1 x="]\] y"][b@1] {MESSAGE}', HALF),
    "rfc5424 with a byte order mark": (f"<22>1 2026-11-03T08:12:44.5Z mx postfix/smtpd 4711 - - \ufeff{MESSAGE}", HALF),
    "journald": (json.dumps(JOURNAL), HALF),
    "journald, bytes": (json.dumps(JOURNAL | {"MESSAGE": list(MESSAGE.encode())}, separators=(",", ":")), HALF),
    "journald, the sender's clock": (json.dumps(JOURNAL | {"_SOURCE_REALTIME_TIMESTAMP": MICROS, "__REALTIME_TIMESTAMP": "1"}), HALF),
    "rsyslog": (json.dumps(RSYSLOG), HALF),
    "rsyslog, slash escaped": (json.dumps(RSYSLOG).replace("/", r"\/"), HALF),
}
# One format within another: what collects the lines of a container puts its own time before theirs, which has no say where they have one.
LINE = f"Nov  3 08:12:44 mx postfix/smtpd[4711]: {MESSAGE}"
OUTER = "2026-11-03T09:00:00.123456789Z"
ENVELOPES |= {
    "docker json-file": (json.dumps({"log": LINE + "\n", "stream": "stdout", "time": OUTER}), WHOLE),
    "docker json-file, CRLF": (json.dumps({"log": LINE + "\r\n", "stream": "stdout", "time": OUTER}), WHOLE),
    "CRI": (f"{OUTER} stdout F {LINE}", WHOLE),
    "CRI with an offset": (f"2026-11-03T10:00:00.123456789+01:00 stderr F {LINE}", WHOLE),
    "docker logs -t": (f"{OUTER} {LINE}", WHOLE),
    "compose": (f"postfix-mailcow-1  | {LINE}", WHOLE),
    "compose, coloured": (f"\x1b[36mpostfix-mailcow-1  |\x1b[0m {LINE}", WHOLE),
    "compose, coloured otherwise": (f"\x1b[38;5;4mpostfix-1  | \x1b[0m{LINE}", WHOLE),
    "compose -t": (f"postfix-mailcow-1  | {OUTER} {LINE}", WHOLE),
    "compose -t, one-digit day": (f"postfix-mailcow-1  | {OUTER} {LINE.replace('  ', ' ', 1)}", WHOLE),
    "BSD verbose": (LINE.replace(" mx ", " <mail.notice> mx "), WHOLE),
    "BSD verbose in numbers": (LINE.replace(" mx ", " <2.5> mx "), WHOLE),
    "journalctl short-iso": (f"2026-11-03T09:12:44+0100 mx postfix/smtpd[4711]: {MESSAGE}", WHOLE),
    "journalctl short-full": (f"Tue 2026-11-03 09:12:44 CET mx postfix/smtpd[4711]: {MESSAGE}", WHOLE),
    "journalctl short-full --utc": (f"Tue 2026-11-03 08:12:44 UTC mx postfix/smtpd[4711]: {MESSAGE}", WHOLE),
    "journalctl short-full, a zone without a name": (f"Tue 2026-11-03 11:12:44 +03 mx postfix/smtpd[4711]: {MESSAGE}", WHOLE),
    # Four zones are called CST: the option decides, and without one UTC.
    "journalctl short-full, an ambiguous zone": (f"Tue 2026-11-03 08:12:44 CST mx postfix/smtpd[4711]: {MESSAGE}", WHOLE),
    "journalctl short-precise": (f"Nov 03 08:12:44.500000 mx postfix/smtpd[4711]: {MESSAGE}", WHOLE),
    "a byte order mark": (f"\ufeff{LINE}", WHOLE),
    "CRLF": (f"{LINE}\r\n", WHOLE),
}
# 2^62 + 10 seconds lie between TAI64's beginning and 1970, and 1793693564 from there on: 400000006ae9a4c6 in hexadecimal is
# 4611686018427387904 + 10 + 1793693564. 0x1dcd6500 nanoseconds are half a second.
TAI = "@" + format(2**62 + 10 + 1793693564, "016x") + "1dcd6500"
HOSTLESS = {
    "rfc3164": (f"Nov  3 08:12:44 postfix/smtpd[4711]: {MESSAGE}", WHOLE),
    "iso": (f"2026-11-03T08:12:44Z postfix/smtpd[4711]: {MESSAGE}", WHOLE),
    "docker json-file, no time within": (json.dumps({"log": f"postfix/smtpd[4711]: {MESSAGE}\n", "time": "2026-11-03T08:12:44.5Z"}), HALF),
    "CRI, no time within": (f"2026-11-03T08:12:44.5Z stdout F postfix/smtpd[4711]: {MESSAGE}", HALF),
    "TAI64N": (f"{TAI} postfix/smtpd[4711]: {MESSAGE}", HALF),
}
# RFC 5424 section 6.3.3: "]" in a value is escaped; rsyslog and others escape it always.
ENVELOPES["rfc5424 with structured data"] = (
    rf'<22>1 2026-11-03T08:12:44.5Z mx postfix/smtpd 4711 ID7 [a@1 x="\]\] y"][b@1] {MESSAGE}',
    HALF,
)


CASES = [(*case, "mx") for case in ENVELOPES.values()] + [(*case, None) for case in HOSTLESS.values()]


@pytest.mark.parametrize(("line", "time", "host"), CASES, ids=[*ENVELOPES, *(f"no host: {name}" for name in HOSTLESS)])
def test_every_envelope_gives_the_attempt(tmp_path, line, time, host):
    path = tmp_path / "mail.log"
    path.write_bytes(line.encode())
    log = read_logs(path, year=2026)
    (attempt,) = log.table.to_pylist()
    assert str(attempt["time"]) == time
    assert (attempt["host"], attempt["service_raw"], attempt["service"]) == (host, "postfix/smtpd", "smtp")
    assert (attempt["user"], attempt["client_ip"], attempt["mechanism"]) == ("frieda@example.test", "192.0.2.17", "LOGIN")
    assert (attempt["line"], attempt["offset"], attempt["file"]) == (1, 0, str(path))
    assert log.coverage.attempt_lines == log.coverage.lines == 1


def test_all_envelopes_in_one_file(tmp_path):
    """The format is recognised line by line, so a file may change it."""
    path = tmp_path / "mail.log"
    path.write_bytes(b"".join(line.strip().encode() + b"\n" for line, _, _ in CASES))
    log = read_logs(path, year=2026)
    assert [(str(row["time"]), row["host"]) for row in log.table.to_pylist()] == [(time, host) for _, time, host in CASES]


DOVECOT = "imap-login: Login: user=<martha@example.test>, method=PLAIN, rip=198.51.100.7, lip=192.0.2.1, mpid=4242, TLS, session=<pQz9Xv1g>"
ONLY_DOVECOT = DOVECOT.replace("imap-login: ", "imap-login: Info: ")


@pytest.mark.parametrize(
    ("line", "time"),
    [
        (f"Nov  3 08:12:44 mx dovecot: {DOVECOT}", WHOLE),
        (f"Nov 03 08:12:44 {ONLY_DOVECOT}", WHOLE),  # log_timestamp is "%b %d %H:%M:%S " unless it is set
        (f"2026-11-03 08:12:44 {ONLY_DOVECOT}", WHOLE),
        (f"2026-11-03T08:12:44.500+00:00 {ONLY_DOVECOT}", HALF),
        (f"{TAI} {ONLY_DOVECOT}", HALF),
        (f"2026-11-03T09:00:00.123456789Z stdout F Nov 03 08:12:44 {ONLY_DOVECOT}", WHOLE),
        (f"2026-11-03T08:12:44.5Z stderr F {ONLY_DOVECOT}", HALF),  # log_timestamp = "" in a container
        (f"dovecot-1  | Nov 03 08:12:44 {ONLY_DOVECOT}", WHOLE),
    ],
)
def test_dovecots_own_file_says_the_same(tmp_path, line, time):
    path = tmp_path / "dovecot.log"
    path.write_text(line)
    log = read_logs(path, year=2026)
    (attempt,) = log.table.to_pylist()
    assert str(attempt["time"]) == time
    assert attempt["host"] == ("mx" if " mx " in line else None)
    assert (attempt["server"], attempt["service_raw"], attempt["user"], attempt["outcome"]) == (
        *("dovecot", "imap", "martha@example.test", "success"),
    )


CUT = f"{LINE}{'x' * 20_000}"
PLAIN = {
    # Dovecot, lib/failures.c: over syslog all levels but Info are told.
    "Nov  3 08:12:44 auth: Error: out of memory": "Nov  3 08:12:44 - dovecot: auth: Error: out of memory",
    "Nov  3 08:12:44 auth-worker(22401): Info: sql(a,192.0.2.1): x": "Nov  3 08:12:44 - dovecot: auth-worker(22401): sql(a,192.0.2.1): x",
    # The prefix of 2.4 holds the user, who may be called anything.
    "Nov  3 08:12:44 auth(a: Info: b,192.0.2.1,sasl:plain)<Zm9v>: Info: sql: no": (
        "Nov  3 08:12:44 - dovecot: auth(a: Info: b,192.0.2.1,sasl:plain)<Zm9v>: sql: no"
    ),
    # Exim, log_selector = +pid +millisec, log_timezone.
    "2026-11-03 08:12:44 login authenticator failed for x": "2026-11-03 08:12:44 - exim: login authenticator failed for x",
    "2026-11-03 08:12:44 [71] login authenticator failed for x": "2026-11-03 08:12:44 - exim[71]: login authenticator failed for x",
    "2026-11-03 08:12:44 +0100 [71] SMTP error: x": "2026-11-03 08:12:44+0100 - exim[71]: SMTP error: x",
    "2026-11-03 08:12:44.123 login authenticator failed": "2026-11-03 08:12:44.123 - exim: login authenticator failed",
    # Exim over syslog, without and with syslog_timestamp.
    "Nov  3 08:12:44 mx exim[7]: login failed": "Nov  3 08:12:44 mx exim[7]: login failed",
    "Nov  3 08:12:44 mx exim[7]: 2026-11-03 08:12:44 login failed": "Nov  3 08:12:44 mx exim[7]: login failed",
    "Nov  3 08:12:44 mx exim4[7]: 2026-11-03 08:12:44.123 +0100 [7] login failed": "Nov  3 08:12:44 mx exim4[7]: login failed",
    # What another program writes behind a time stays.
    "Nov  3 08:12:44 mx app: 2026-11-03 08:12:44 x": "Nov  3 08:12:44 mx app: 2026-11-03 08:12:44 x",
    # A part of a line: what it tells of may be cut, so it is not read; nor does what follows have a time to begin with.
    f"2026-11-03T09:00:00Z stdout P {LINE}": f"2026-11-03T09:00:00Z stdout P {LINE}",
    json.dumps({"log": CUT, "time": OUTER}): json.dumps({"log": CUT, "time": OUTER}),
    # Hosts that look like something else.
    "Nov  3 08:12:44 2001:db8::1 postfix/smtpd[1]: x": "Nov  3 08:12:44 2001:db8::1 postfix/smtpd[1]: x",
    "Nov  3 08:12:44 auth-1 dovecot: x": "Nov  3 08:12:44 auth-1 dovecot: x",
}


@pytest.mark.parametrize(("line", "plain"), PLAIN.items())
def test_canonical(line, plain):
    assert canonical(line) == plain
    assert unwrap(line) == plain


@pytest.mark.parametrize(
    "line", ["Nov  3 08:12:44 a(" + ")<" * 50_000, "a" + " " * 100_000, "\x1b[m" * 30_000, "Nov  3 08:12:44 a(" + "): " * 40_000]
)
def test_canonical_takes_linear_time(line):
    """A second for what takes milliseconds, and would take minutes if each bracket were tried with each."""
    started = time.process_time()
    canonical(line)
    assert time.process_time() - started < 1


def test_a_cut_line_is_counted_as_not_understood(tmp_path):
    path = tmp_path / "mail-json.log"
    records = [{"log": CUT, "time": OUTER}, {"log": "the rest\n", "time": OUTER}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + f"{OUTER} stdout P {LINE}\n")
    coverage = read_logs(path).coverage
    assert (coverage.lines, coverage.attempt_lines, coverage.not_understood, coverage.other) == (3, 0, 2, 1)


def test_journald_bytes_that_are_no_utf8(tmp_path):
    path = tmp_path / "journal.json"
    message = MESSAGE.encode().replace(b"frieda", b"fr\xffda")
    path.write_text(json.dumps(JOURNAL | {"MESSAGE": list(message)}, separators=(",", ":")), "utf-8")
    (attempt,) = read_logs(path).table.to_pylist()
    assert attempt["user"] == "fr\ufffdda@example.test"


# Each holds the word "auth", so that it is looked at; none is a log line that a journal or a daemon could have meant.
STRANGE = [
    *(json.dumps(JOURNAL | {"MESSAGE": value, "auth": 1}) for value in (None, 5, True, {"a": 1}, ["x"], [256], [[1]], "", 1.5)),
    *(json.dumps(JOURNAL | {"__REALTIME_TIMESTAMP": value, "auth": 1}) for value in (None, "x", "9" * 30, "-1", [], 1e300, "1" * 19)),
    *(json.dumps({key: value for key, value in JOURNAL.items() if key != gone} | {"auth": 1}) for gone in JOURNAL),
    *(json.dumps(JOURNAL | {key: ["a", "b"], "auth": 1}) for key in JOURNAL),
    *(json.dumps(RSYSLOG | {key: value, "auth": 1}) for key in RSYSLOG for value in (None, 5, [], {})),
    *(json.dumps({"log": "auth\n", "time": "x"} | {key: value}) for key in ("log", "time") for value in (None, 5, [], {}, "")),
    *("@4000000000000000", "@" + "f" * 24 + " auth", "@" + "0" * 24 + " auth", "|auth", "a | auth", "2026-11-03T08:12:44Z stdout F "),
    *('{"auth":1}', '{"auth"', "{auth}", '["auth"]', "{" * 5000 + "auth", '{"a":' * 5000 + "auth", r'{"MESSAGE":"\ud800 auth"}'),
    *("<22>1 auth", "<22>1 - - - - - - auth", "<22>1 x y z - - [auth", "<999>auth", "<22>Nov", "auth", "", " ", "\x00auth"),
]


PIECES = [
    *("Nov  3 08:12:44 ", "2026-11-03 08:12:44 ", "2026-11-03T08:12:44.5Z ", "@4000000", "ffffffffffffffff", "Tue ", "CET ", "+0100 ")
]
PIECES += [
    "stdout F ",
    "name  | ",
    "\x1b[36m",
    "<mail.notice> ",
    "<22>",
    "<22>1 ",
    "mx ",
    "exim[7]: ",
    "dovecot: ",
    "auth(",
    ")<x>",
    ": Info: ",
]
PIECES += ["[7] ", '{"log":"', "\\n", '","time":"', '"}', "\ufeff"]


@pytest.mark.parametrize("line", STRANGE)
def test_strange_lines_are_counted(tmp_path, line):
    path = tmp_path / "mail.log"
    path.write_text(f"{ENVELOPES['iso'][0]}\n{line}\n", "utf-8")
    coverage = read_logs(path).coverage
    assert coverage.lines == 2
    assert coverage.attempt_lines + coverage.not_understood + coverage.undecodable + coverage.other == 2


@given(
    st.one_of(
        st.text(),
        st.text().map(lambda text: "<22>1 " + text),
        st.dictionaries(st.sampled_from([*JOURNAL, *RSYSLOG]), st.text() | st.lists(st.integers()) | st.integers()).map(json.dumps),
    )
)
def test_canonical_never_raises_and_stays_one_line(line):
    line = line.replace("\n", " ")
    plain = canonical(line)
    assert "\n" not in plain
    message_of(plain), stamp_of(plain)


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8).map("".join))
def test_pieces_of_all_formats_in_any_order_are_read_as_word_by_word(line):
    line = line.replace("\n", " ")
    assert canonical(line) == unwrap(line)
