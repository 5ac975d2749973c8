"""Whatever stands before a message: the same attempt comes out, and nothing makes the reader fall over."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.logs.authlog import read_logs
from kit.logs.envelope import canonical, message_of, stamp_of

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
# RFC 5424 section 6.3.3: "]" in a value is escaped; rsyslog and others escape it always.
ENVELOPES["rfc5424 with structured data"] = (
    rf'<22>1 2026-11-03T08:12:44.5Z mx postfix/smtpd 4711 ID7 [a@1 x="\]\] y"][b@1] {MESSAGE}',
    HALF,
)


@pytest.mark.parametrize(("line", "time"), ENVELOPES.values(), ids=list(ENVELOPES))
def test_every_envelope_gives_the_attempt(tmp_path, line, time):
    path = tmp_path / "mail.log"
    path.write_text(line, "utf-8")
    log = read_logs(path, year=2026)
    (attempt,) = log.table.to_pylist()
    assert str(attempt["time"]) == time
    assert (attempt["host"], attempt["service_raw"], attempt["service"]) == ("mx", "postfix/smtpd", "smtp")
    assert (attempt["user"], attempt["client_ip"], attempt["mechanism"]) == ("frieda@example.test", "192.0.2.17", "LOGIN")
    assert (attempt["line"], attempt["offset"], attempt["file"]) == (1, 0, str(path))
    assert log.coverage.attempt_lines == log.coverage.lines == 1


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
    *('{"auth":1}', '{"auth"', "{auth}", '["auth"]', "{" * 5000 + "auth", '{"a":' * 5000 + "auth", r'{"MESSAGE":"\ud800 auth"}'),
    *("<22>1 auth", "<22>1 - - - - - - auth", "<22>1 x y z - - [auth", "<999>auth", "<22>Nov", "auth", "", " ", "\x00auth"),
]


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
