"""The engine and the slow reader of these tests say the same: of real logs, and of whatever Hypothesis makes up."""

from __future__ import annotations

import gzip
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.logs.authlog import AuthLog, read_logs
from tests.logs.slow_reader import read_slowly

HERE = Path(__file__).parent
SAMPLES = ["rfc3164", "iso", "5424", "json"]
STORY = sorted((HERE.parents[1] / "data").glob("*.log*"))


def sample(name: str) -> Path:
    return HERE / "samples" / f"mail.{name}.log.gz"


def assert_agree(path: Path, *, year: int) -> AuthLog:
    attempts, coverage = read_slowly(path, year=year)
    log = read_logs(path, year=year)
    assert {name: getattr(log.coverage, name) for name in coverage} == coverage
    rows = log.table.to_pylist()
    for mine, its in zip(attempts, rows, strict=False):
        assert mine == its
    assert len(rows) == len(attempts)
    assert coverage["lines"] == sum(coverage[name] for name in ("attempt_lines", "other", "not_understood", "undecodable"))
    return log


# ------------------------------------------------------------------------------------------------ real logs


@pytest.mark.parametrize("name", SAMPLES)
def test_agree_on_a_real_log(name):
    log = assert_agree(sample(name), year=2026)
    plain = gzip.decompress(sample(name).read_bytes())
    assert log.coverage.lines == plain.count(b"\n") + (not plain.endswith(b"\n"))
    # Both servers are of the versions that the classes were written for, so nothing may be left over.
    assert log.coverage.not_understood == 0


def test_four_envelopes_tell_the_same():
    logs = {name: read_logs(sample(name), year=2026).table for name in SAMPLES}
    # What differs by nature: where a line stands and how it reads. rsyslog's RFC 5424 form cuts "postfix/smtps/smtpd" to "postfix".
    table = {name: log.drop_columns(["text", "file", "offset"]).to_pylist() for name, log in logs.items()}
    for row in table["5424"]:
        if row["server"] == "postfix":
            assert (row["service"], row["service_raw"]) == (None, "postfix")
    assert table["iso"] == table["json"]
    assert [row | {"time": row["time"].replace(microsecond=0)} for row in table["iso"]] == table["rfc3164"]
    for rows in (table["iso"], table["5424"]):
        for row in rows:
            if row["server"] == "postfix":
                row |= {"service": None, "service_raw": "postfix"}
    assert table["iso"] == table["5424"]


def test_agree_on_the_sample_data():
    for path in STORY:
        assert_agree(path, year=2026)


# ------------------------------------------------------------------------------------------------ logs made up

# (program, message). Few hosts, processes, addresses, users and sessions, so that lines meet in every combination.
TEMPLATES = [
    ("{postfix}[{pid}]", "warning: {name}[{ip}]: SASL {mech} authentication failed: {reason}, sasl_username={user}"),
    ("{postfix}[{pid}]", "warning: {name}[{ip}]:40123: SASL {mech} authentication failed: {reason}"),
    ("{postfix}[{pid}]", "warning: {name}[{ip}]: SASL {mech} authentication aborted"),
    ("{postfix}[{pid}]", "4Zx8Qk1vWz: client={name}[{ip}], sasl_method={mech}, sasl_username={user}"),
    ("{postfix}[{pid}]", "lost connection after AUTH from {name}[{ip}]"),
    ("{postfix}[{pid}]", "disconnect from {name}[{ip}] ehlo=1 auth={n} quit=1 commands=3"),
    ("{postfix}[{pid}]", "disconnect from {name}[{ip}] ehlo=1 auth={n}/{m} quit=1 commands=3/4"),
    ("{postfix}[{pid}]", "warning: AUTH command rate limit exceeded: 11 from {name}[{ip}] for service smtp"),
    ("{postfix}[{pid}]", "connect from {name}[{ip}]"),
    ("{postfix}[{pid}]", "warning: SASL sings a song of {user}"),
    ("dovecot", "auth: {driver}({user},{ip}): {verdict}"),
    ("dovecot", "auth: {driver}({user},{ip},<{session}>): {verdict}"),
    ("dovecot", "auth-worker(7): {driver}({user},{ip},<{session}>): {verdict}"),
    ("dovecot", "imap-login: Login: user=<{user}>, method={mech}, rip={ip}, lip=192.0.2.1, mpid=42, TLS, session=<{session}>"),
    (
        "dovecot",
        "pop3-login: Disconnected: Connection closed (auth failed, {m} attempts in 2 secs): user=<{user}>, method={mech}, rip={ip}, lip=192.0.2.1, session=<{session}>",
    ),
    (
        "dovecot",
        "submission-login: Authenticate XOAUTH2 failed: Unsupported authentication mechanism.: user=<>, method=XOAUTH2, rip={ip}, lip=192.0.2.1, session=<{session}>",
    ),
    (
        "dovecot",
        "submission-login: Disconnected: Aborted login by logging out (tried to use unsupported auth mechanism): user=<>, method=XOAUTH2, rip={ip}, lip=192.0.2.1, TLS, session=<{session}>",
    ),
    (
        "dovecot",
        "imap-login: Aborted login (tried to use disallowed plaintext auth): user=<>, rip={ip}, lip=192.0.2.1, session=<{session}>",
    ),
    ("dovecot", "imap-login: Disconnected (client didn't finish SASL auth, waited 0 secs): user=<>, method=PLAIN, rip={ip}, lip=192.0.2.1"),
    ("dovecot", "imap-login: Disconnected: Connection closed (no auth attempts in 0 secs): user=<>, rip={ip}, lip=192.0.2.1"),
    ("dovecot", "auth: a new way of saying no to {user}"),
    ("smtpd[3]", "{id} smtp connected address={ip} host={name}"),
    ("smtpd[3]", "{id} smtp tls ciphers=TLSv1.{m}:TLS_AES_256_GCM_SHA384:256"),
    ("smtpd[3]", "{id} smtp authentication user={token} result={result}"),
    ("smtpd[3]", "{id} smtp event=authentication user={token} address={ip} host={name} result={result}"),
    ("smtpd[3]", '{id} smtp failed-command command="AUTH {mech} (...)" result="{code} x"'),
    ("smtpd[3]", '{id} smtp failed-command command="MAIL FROM:<{user}>" result="530 Must issue an AUTH command first"'),
    ("haraka[6]", "[NOTICE] [{uuid}] [core] connect ip={ip} port=5025{m} local_ip=192.0.2.1 local_port=465"),
    (
        "haraka[6]",
        '[INFO] [{uuid}] [core]  hook=unrecognized_command plugin=auth/flat_file function=hook_unrecognized_command params={asked} retval=OK msg=""',
    ),
    ("haraka[6]", "[NOTICE] [{uuid}.{m}] [auth/flat_file] delaying for {m} seconds"),
    (
        "haraka[6]",
        '[NOTICE] [{uuid}] [core] disconnect ip={ip} rdns={name} helo={token} relay={yes} early=N esmtp=Y tls={tls} pipe=N errors=0 lr="{code} Invalid AUTH string" time=0.1',
    ),
    ("saslauthd[5]", "pam_unix({pam}:auth): authentication failure; logname= uid=0 euid=0 tty= ruser= rhost=  user={token}"),
    ("auth", "pam_unix(dovecot:auth): authentication failure; logname= uid=0 euid=0 tty=dovecot ruser={user} rhost={ip}  user={token}"),
    ("auth", "pam_unix(dovecot:auth): authentication failure; logname= uid=0 euid=0 tty=dovecot ruser={user} rhost={ip} "),
    ("auth", "pam_sss(dovecot:auth): authentication failure; logname= uid=0 euid=0 tty=dovecot ruser={user} rhost={ip} user={token}"),
    ("saslauthd[5]", "    : auth failure: [user={user}] [service={pam}] [realm={realm}] [mech=shadow] [reason={reply}]"),
    ("kernel", "nothing to see here, {user}"),
    ("auth.example.com", "{user}"),
]
HOSTILE = [
    *(
        "a@b.test",
        "a",
        "A@B.test",
        "?",
        "",
        "(unavailable)",
        "ä@bücher.test",
        "a, sasl_username=b",
        "a>, method=LOGIN, rip=203.0.113.9, lip=x",
    ),
    *(
        "a,192.0.2.99",
        "a,192.0.2.99,<s>): Password mismatch",
        "a\u2028b\x0bc\x1cd\x85e",
        "a\tb",
        "a: SASL b",
        '{"a":1}',
        "=cmd()",
        "a\\n",
        "-",
    ),
]
WORDS = {
    "postfix": st.sampled_from(["postfix/smtpd", "postfix/submission/smtpd", "postfix/smtps/smtpd", "postfix", "postfix/other/smtpd"]),
    "pid": st.integers(1, 3),
    "name": st.sampled_from(["unknown", "dsl.example.net"]),
    "ip": st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "::ffff:192.0.2.1"]),
    "user": st.sampled_from(HOSTILE),
    "mech": st.sampled_from(["PLAIN", "LOGIN", "CRAM-MD5"]),
    "reason": st.sampled_from(["(reason unavailable)", "Connection lost to authentication server", "Invalid base64 data", "UGFzc3dvcmQ6"]),
    "n": st.integers(0, 2),
    "m": st.integers(1, 4),
    "driver": st.sampled_from(["passwd-file", "pam", "cram-md5", "plain"]),
    "session": st.sampled_from(["aXz9Xv1g", "bXz9Xv1g"]),
    "uuid": st.sampled_from(["BB48FB82-9E63-4CB3-97C9-16AA99F300F8", "BB48FB82-9E63-4CB3-97C9-16AA99F300F9"]),
    "asked": st.sampled_from(["AUTH", '"AUTH,PLAIN,AGEAYg=="', '"YQ=="']),
    "yes": st.sampled_from(["Y", "N"]),
    "tls": st.sampled_from(["Y", "N"]),
    "pam": st.sampled_from(["smtp", "imap", "pop"]),
    "realm": st.sampled_from(["", "b.test"]),
    "reply": st.sampled_from(["Incorrect password", "PAM auth error", "PAM start error"]),
    "id": st.sampled_from(["45addba89269aeaa", "45addba89269aeab"]),
    "token": st.sampled_from(["a", "a@b.test", "", r"\\", r"jos\M-C\M-)\040\^I\M^I", r"\M", r"a\\040"]),
    "result": st.sampled_from(["ok", "permfail", "tempfail"]),
    "code": st.sampled_from(["535", "421", "501", "503", "504"]),
    "verdict": st.sampled_from(["unknown user", "Password mismatch", "temporary failure", "a reason nobody knew"]),
}
EVENT = st.fixed_dictionaries(
    {"shape": st.sampled_from(TEMPLATES), "host": st.sampled_from(["mx", "auth-1"]), "gap": st.integers(0, 35), **WORDS}
)
ENVELOPES = ["rfc3164", "iso", "priority", "5424", "journald", "rsyslog", "docker", "cri", "compose", "bsd", "tai64n", "dovecot", "exim"]
START = datetime(2026, 11, 3, 8, 0, tzinfo=UTC)


def in_envelope(kind: str, time: datetime, host: str, tag: str, message: str) -> str:
    program, _, pid = tag.partition("[")
    pid = pid.rstrip("]")
    day = f"{time:%b} {time.day:2d} {time:%H:%M:%S}"
    old = f"{day} {host} {tag}: {message}"
    iso = time.isoformat(timespec="microseconds")
    outer = "2026-11-24T12:00:00.123456789Z"
    stamp = str((time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))
    journal = {"__REALTIME_TIMESTAMP": stamp, "_HOSTNAME": host, "SYSLOG_IDENTIFIER": program, "_PID": pid, "MESSAGE": message}
    forms = {
        "rfc3164": old,
        "priority": f"<22>{old}",
        "iso": f"{iso} {host} {tag}: {message}",
        "5424": f'<22>1 {iso} {host} {program} {pid or "-"} - [x y="a\\]b"] {message}',
        "journald": json.dumps(journal),
        "rsyslog": json.dumps({"msg": f" {message}", "timereported": iso, "hostname": host, "syslogtag": f"{tag}:"}, ensure_ascii=False),
        "docker": json.dumps({"log": f"{old}\n", "stream": "stdout", "time": outer}, ensure_ascii=False),
        "cri": f"{outer} stdout F {old}",
        "compose": f"\x1b[36mmail-1  | \x1b[0m{old}",
        "bsd": f"{day} <mail.info> {host} {tag}: {message}",
        "tai64n": f"@{2**62 + 10 + int(time.timestamp()):016x}{time.microsecond * 1000:08x} {tag}: {message}",
        "dovecot": f"{day} {message.replace(': ', ': Info: ', 1)}",
        "exim": f"{time:%Y-%m-%d %H:%M:%S} [{pid or 1}] {message}",
    }
    return forms[kind]


@st.composite
def logs(draw, seconds: int, disorder: int = 0) -> bytes:
    """A log of some lines within so many seconds; lines may be out of order by so many."""
    kind, ending = draw(st.sampled_from(ENVELOPES)), draw(st.sampled_from([b"\n", b"\r\n"]))
    time, lines = START, []
    for event in draw(st.lists(EVENT, max_size=20)):
        if time + timedelta(seconds=event["gap"]) < START + timedelta(seconds=seconds):
            time += timedelta(seconds=event["gap"], microseconds=draw(st.sampled_from([0, 1, 999_999])))
        tag, message = (part.format(**event) for part in event["shape"])
        at = time - timedelta(seconds=draw(st.integers(0, disorder)))
        line = in_envelope(kind, at, event["host"], tag, message).encode()
        if draw(st.integers(0, 9)) == 0:
            at = draw(st.integers(0, len(line)))
            line = line[:at] + draw(st.sampled_from([b"\xff", b"\xc3", b"\x00", b"\r", b"\xef\xbb\xbf"])) + line[at:]
        lines.append(line)
    whole = ending.join(lines) + draw(st.sampled_from([b"", ending]))
    return whole or b"\n"


def check(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mail.log"
        path.write_bytes(data)
        assert_agree(path, year=2026)


@settings(max_examples=150, deadline=None)
@given(logs(seconds=3_000, disorder=3))
def test_agree_in_one_batch(data):
    check(data)


# The engine promises joins over batches within 200 seconds.
@pytest.mark.parametrize(("block", "flush"), [(16, 1), (101, 3), (1024, 1 << 14)])
def test_agree_across_blocks_and_batches(monkeypatch, block, flush):
    monkeypatch.setattr("kit.logs.source.BLOCK", block)
    monkeypatch.setattr("kit.logs.scan.FLUSH", flush)

    @settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(logs(seconds=190))
    def agree(data):
        check(data)

    agree()


def test_rotation_in_the_middle_changes_nothing(tmp_path):
    """logrotate cuts between any two lines; connections and sessions go on in the next file."""
    lines = gzip.decompress(sample("iso").read_bytes()).splitlines(keepends=True)
    whole = read_logs(sample("iso")).table.drop_columns(["file", "line", "offset"]).to_pylist()
    for cut in (100, 1000, 2000):
        paths = [tmp_path / f"{cut}.log.1", tmp_path / f"{cut}.log"]
        for path, part in zip(paths, (lines[:cut], lines[cut:]), strict=True):
            path.write_bytes(b"".join(part))
        assert read_logs(paths).table.drop_columns(["file", "line", "offset"]).to_pylist() == whole
