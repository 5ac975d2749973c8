"""Records that are no syslog lines: Exchange's protocol logs and events, Entra's sign-ins, the unified audit log of Microsoft 365.

None of these products runs here. Rows and records are of our own hand, in the shape that Microsoft's documentation gives them; what a row
expects is what its operator would say who reads it.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.errors import UnreadableInput
from kit.logs.authlog import AuthLog, read_logs
from kit.logs.envelope import canonical
from kit.logs.records import Header
from tests.logs.test_slow_reader import assert_agree

SHOWN = ("outcome", "cause", "service", "user", "client_ip", "mechanism")


def read(tmp_path: Path, text: str, name: str = "some.log") -> AuthLog:
    """Both readers agree on it."""
    path = tmp_path / name
    path.write_bytes(text.encode())
    return assert_agree(path, year=2026)


def shown(log: AuthLog) -> list[tuple]:
    return [tuple(row[field] for field in SHOWN) for row in log.table.to_pylist()]


# ------------------------------------------------------------------------------------------------ receive connectors

HEAD = (
    "#Software: Microsoft Exchange Server\n#Version: 15.0.0.0\n#Log-type: SMTP Receive Protocol Log\n#Date: 2026-11-03T08:00:00.000Z\n"
    "#Fields: date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context\n"
)


def row(second: int, rest: str, *, session: str = "08DE1A6B5C7D9E01", port: int = 587, ip: str = "203.0.113.71") -> str:
    local = f"[2001:db8::1]:{port}" if ":" in ip else f"192.0.2.1:{port}"
    client = f"[{ip}]" if ":" in ip else ip
    return f"2026-11-03T08:25:{second:02d}.105Z,MBX1\\Client Frontend MBX1,{session},{second},{local},{client}:51824,{rest}\n"


BEGINS = row(0, "+,,") + row(0, '>,"220 mbx1.example.test Microsoft ESMTP MAIL Service ready at Tue, 3 Nov 2026 08:25:00",')
FAILED = [
    (1, "<,AUTH LOGIN,"),
    (1, ">,334 <authentication response>,"),
    (2, "*,,Inbound AUTH LOGIN failed because of LogonDenied"),
    (2, "*,,User Name: ottilie@example.test"),
    (2, "*,,Tarpit for '0.00:00:05' due to '535 5.7.3 Authentication unsuccessful'"),
    (9, ">,535 5.7.3 Authentication unsuccessful,"),
]
GOOD = [
    (20, "<,AUTH LOGIN,"),
    (21, "*,SMTPSubmit SMTPAcceptAnyRecipient BypassAntiSpam AcceptRoutingHeaders SMTPAcceptAuthenticationFlag,Set Session Permissions"),
    (21, "*,EXAMPLE\\ottilie,authenticated"),
    (21, ">,235 2.7.0 Authentication successful,"),
]
FAILURE = ("failure", "credentials", "submission", "ottilie@example.test", "203.0.113.71", "LOGIN")
SUCCESS = ("success", "none", "submission", "EXAMPLE\\ottilie", "203.0.113.71", None)


def rows(lines: list[tuple[int, str]], later: int = 0, **more: str) -> str:
    return "".join(row(second + later, rest, **more) for second, rest in lines)


def test_four_rows_of_a_session_are_one_try(tmp_path):
    log = read(tmp_path, HEAD + BEGINS + rows(FAILED))
    assert shown(log) == [FAILURE]
    (attempt,) = log.table.to_pylist()
    assert (attempt["host"], attempt["session"], attempt["client_port"], attempt["line"]) == ("MBX1", "08DE1A6B5C7D9E01", 51824, 10)
    assert log.coverage.not_understood == 0


def test_failures_and_a_success_over_one_connection_with_the_header_once_more_between(tmp_path):
    text = HEAD + BEGINS + rows(FAILED) + rows(FAILED, 10) + HEAD + rows(GOOD)
    assert shown(read(tmp_path, text.replace("\n", "\r\n"))) == [FAILURE, FAILURE, SUCCESS]


def test_sessions_in_turns(tmp_path):
    other = {"session": "08DE1A6B5C7D9E02", "ip": "2001:db8::71"}
    text = "".join(row(s, r) + row(s, r, **other) for s, r in FAILED + GOOD)
    assert [line[:2] + line[4:5] for line in shown(read(tmp_path, text))] == [
        (*verdict, ip) for verdict in (("failure", "credentials"), ("success", "none")) for ip in ("203.0.113.71", "2001:db8::71")
    ]


@pytest.mark.parametrize("kept", [(2,), (3,), (5,), (2, 3), (3, 5), (2, 5)])
def test_each_of_the_rows_alone_tells_of_the_try(tmp_path, kept):
    """Rows are lost where the log is cut, and not each reason has a row."""
    ((outcome, cause, _, user, ip, mechanism),) = shown(read(tmp_path, rows([FAILED[i] for i in kept])))
    assert (outcome, cause, ip) == ("failure", "credentials", "203.0.113.71")
    assert user == ("ottilie@example.test" if 3 in kept else None)
    assert mechanism == ("LOGIN" if 2 in kept else None)


def test_three_answers_are_three_tries(tmp_path):
    assert len(shown(read(tmp_path, rows([FAILED[5]]) + rows([FAILED[5]], 3) + rows([FAILED[5]], 6)))) == 3


def test_what_was_refused_cancelled_and_put_off(tmp_path):
    text = rows(
        [
            (1, ">,504 5.7.4 Unrecognized authentication type,"),
            (2, ">,501 5.5.4 Authentication cancelled,"),
            (3, ">,454 4.7.0 Temporary authentication failure,"),
        ]
    )
    assert [line[:2] for line in shown(read(tmp_path, text))] == [
        ("refused", "mechanism-unsupported"),
        ("aborted", "aborted"),
        ("server-error", "backend-unavailable"),
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 59), st.sampled_from([*FAILED, *GOOD, (0, ">,504 5.7.4 Unrecognized authentication type,")]), st.booleans()
        )
    )
)
def test_readers_agree_on_rows_in_any_order(events):
    """Both readers, on two sessions whose rows are lost, doubled and far apart."""
    text = "".join(
        row(second, rest, session=f"08DE1A6B5C7D9E0{1 + other}") for second, (_, rest), other in sorted(events, key=lambda e: e[0])
    )
    with tempfile.TemporaryDirectory() as folder:
        read(Path(folder), HEAD + text)


def test_a_send_connectors_log_and_the_servers_own_sign_ins_are_no_tries(tmp_path):
    text = rows(
        [
            (1, ">,AUTH LOGIN,"),
            (1, "<,535 5.7.3 Authentication unsuccessful,"),
            (2, "*,,Outbound Authentication failed with LogonDenied"),
            (3, "*,EXAMPLE\\MBX2$,authenticated"),
        ]
    )
    log = read(tmp_path, text)
    assert shown(log) == []
    assert log.coverage.not_understood == 0


def test_a_row_with_other_columns_is_not_understood(tmp_path):
    assert read(tmp_path, "2026-11-03T08:25:01.105Z,MBX1,*,Inbound AUTH LOGIN failed because of LogonDenied\n").coverage.not_understood == 1


# ------------------------------------------------------------------------------------------------ IMAP and POP

MAILBOX = """dateTime,sessionId,seqNumber,sIp,cIp,user,duration,rqsize,rpsize,command,parameters,context,puid
#Software: Microsoft Exchange Server
2026-11-03T08:26:00.290Z,00000000000000A7,0,192.0.2.1:993,203.0.113.72:58423,,51,0,53,OpenSession,,
2026-11-03T08:26:00.346Z,00000000000000A7,1,192.0.2.1:993,203.0.113.72:58423,,1,12,140,capability,,R=ok
2026-11-03T08:26:01.050Z,00000000000000A7,2,192.0.2.1:993,203.0.113.72:58423,ottilie@example.test,614,31,30,authenticate,PLAIN,"R=""2 NO AUTHENTICATE failed."";Msg=""AuthFailed:LogonDenied,User: ottilie@example.test"";ErrMsg=AuthFailed:LogonDenied"
2026-11-03T08:26:02.050Z,00000000000000A7,3,192.0.2.1:993,203.0.113.72:58423,ottilie@example.test,614,31,30,login,ottilie@example.test *****,"R=OK;Msg=""Proxy:mbx1.example.test:1993:SSL;ProxySuccess"";LiveIdAR=OK"
2026-11-03T08:26:02.060Z,00000000000000B1,3,192.0.2.1:1993,192.0.2.1:58424,ottilie@example.test,614,31,30,authenticate,PLAIN,R=ok
2026-11-03T08:26:03.050Z,00000000000000A8,2,[2001:db8::1]:995,[2001:db8::72]:58425,ottilie@example.test,1,31,30,user,ottilie@example.test,R=ok
2026-11-03T08:26:03.070Z,00000000000000A8,3,[2001:db8::1]:995,[2001:db8::72]:58425,ottilie@example.test,614,31,30,pass,*****,R=ok;Msg=x
2026-11-03T08:26:04.110Z,00000000000000A7,4,192.0.2.1:993,203.0.113.72:58423,ottilie@example.test,0,0,0,CloseSession,
"""


def test_imap_and_pop(tmp_path):
    log = read(tmp_path, MAILBOX)
    assert shown(log) == [
        ("failure", "credentials", "imaps", "ottilie@example.test", "203.0.113.72", "PLAIN"),
        ("success", "none", "imaps", "ottilie@example.test", "203.0.113.72", None),
        ("success", "none", "pop3s", "ottilie@example.test", "2001:db8::72", None),
    ]
    assert log.coverage.not_understood == 0


# ------------------------------------------------------------------------------------------------ the event log

EVENT = (
    "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='MSExchangeFrontEndTransport'/>"
    "<EventID Qualifiers='32772'>1035</EventID><TimeCreated SystemTime='2026-11-03T08:28:00.123456700Z'/><Computer>mbx1.example.test</Computer>"
    "</System><EventData><Data>LogonDenied</Data><Data>R&amp;D</Data><Data>Login</Data><Data>203.0.113.83</Data></EventData></Event>\n"
)


def test_an_event_in_xml(tmp_path):
    log = read(tmp_path, EVENT)
    assert shown(log) == [("failure", "credentials", "smtp", None, "203.0.113.83", "LOGIN")]
    assert log.table["host"].to_pylist() == ["mbx1.example.test"]


def test_events_that_stand_on_one_line_are_not_lost_in_silence(tmp_path):
    assert read(tmp_path, EVENT.strip() * 2).coverage.not_understood == 1


# ------------------------------------------------------------------------------------------------ sign-ins

GRAPH = {
    "id": "5d1b7c2e-0000-4000-8000-000000000001",
    "createdDateTime": "2026-11-03T08:27:00Z",
    "userPrincipalName": "ottilie@example.test",
    "clientAppUsed": "Authenticated SMTP",
    "ipAddress": "203.0.113.81",
    "riskLevelDuringSignIn": "none",
    "status": {"errorCode": 50126, "failureReason": "Error validating credentials due to invalid username or password."},
}
DIAGNOSTIC = {
    "time": "2026-11-03T08:27:00.1234567Z",
    "category": "NonInteractiveUserSignInLogs",
    "operationName": "Sign-in activity",
    "resultType": "50126",
    "properties": GRAPH | {"status": json.dumps(GRAPH["status"])},
}
SIGN_IN = [("failure", "credentials", "smtp", "ottilie@example.test", "203.0.113.81", None)]
PORTAL = (
    "\ufeffDate (UTC),Request ID,User,Username,Incoming token type,Application,IP address,Status,Sign-in error code,Failure reason,"
    "Client app,Authentication requirement,IP address (seen by resource),Incoming token type\n"
)
FORMS = {
    "Graph, an object a line": json.dumps(GRAPH) + "\n",
    "Graph, an array": json.dumps([GRAPH]),
    "Graph, an array over many lines": json.dumps([GRAPH], indent=2) + "\n",
    "Graph, a page of answers": json.dumps({"@odata.context": "https://graph.example.test/$metadata#x", "value": [GRAPH]}, indent=4),
    "Graph, an object over many lines": json.dumps(GRAPH, indent=2),
    "diagnostic settings": json.dumps(DIAGNOSTIC) + "\n",
    "an event hub's batch": json.dumps({"records": [DIAGNOSTIC]}) + "\n",
    "portal": PORTAL
    + '2026-11-03T08:27:00Z,r1,O,ottilie@example.test,none,"Office 365, Exchange",203.0.113.81,Failure,50126,'
    + '"Error validating credentials, due to",Authenticated SMTP,Single-factor authentication,,none\n',
    "Log Analytics": json.dumps(
        {
            "TimeGenerated": "2026-11-03T08:27:00Z",
            "Category": "SignInLogs",
            "ResultType": "50126",
            "UserPrincipalName": "ottilie@example.test",
            "IPAddress": "203.0.113.81",
            "ClientAppUsed": "Authenticated SMTP",
        }
    ),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=list(FORMS))
def test_a_sign_in_in_each_of_its_forms(tmp_path, text):
    log = read(tmp_path, text)
    assert shown(log) == SIGN_IN
    assert log.coverage.not_understood == 0


@pytest.mark.parametrize("indent", [None, 1, 4])
def test_records_of_an_array_keep_their_place_in_the_file(tmp_path, indent):
    users = ["a\n[{", 'b"}]', "c\\", "\u2028d", ""]
    text = json.dumps([GRAPH | {"userPrincipalName": user} for user in users], indent=indent)
    log = read(tmp_path, text)
    assert log.table["user"].to_pylist() == ["a\\n[{", 'b"}]', "c\\", "\\u2028d", None]
    for offset, user in zip(log.table["offset"].to_pylist(), users, strict=True):
        assert json.JSONDecoder().raw_decode(text, text.index("{", offset))[0]["userPrincipalName"] == user
    assert log.coverage.lines == len(users)


@pytest.mark.parametrize("block", [1, 7, 100])
def test_an_array_is_read_whatever_the_block(tmp_path, monkeypatch, block):
    users = ["a\n[{", 'b"}]', "c\\", "ä\u2028d"]
    path = tmp_path / "sign-ins.json"
    path.write_text(json.dumps([GRAPH | {"userPrincipalName": user} for user in users], indent=2, ensure_ascii=False), "utf-8")
    whole = read_logs(path).table.to_pylist()
    monkeypatch.setattr("kit.logs.source.BLOCK", max(block, 64))  # the first block shows what it is
    assert read_logs(path).table.to_pylist() == whole
    assert len(whole) == len(users)


SELECTED = ("createdDateTime", "userPrincipalName", "clientAppUsed", "ipAddress", "status")


@pytest.mark.parametrize("left_out", [None, "clientAppUsed", "ipAddress"])
@pytest.mark.parametrize("app", ["IMAP4", "Authenticated SMTP"])
def test_what_a_select_leaves_of_a_sign_in_is_read(tmp_path, left_out, app):
    """None of its words but the names of its fields tells that it is one."""
    kept = {name: GRAPH[name] for name in SELECTED if name != left_out} | {"status": {"errorCode": 50126}}
    log = read(tmp_path, json.dumps(kept | ({} if left_out == "clientAppUsed" else {"clientAppUsed": app})) + "\n")
    ((outcome, cause, service, user, ip, _),) = shown(log)
    assert (outcome, cause, user) == ("failure", "credentials", "ottilie@example.test")
    assert service == {"clientAppUsed": None}.get(left_out, {"IMAP4": "imap"}.get(app, "smtp"))
    assert ip == (None if left_out == "ipAddress" else "203.0.113.81")


@pytest.mark.parametrize("without", ["status", "createdDateTime"])
def test_a_sign_in_without_its_end_or_its_time_is_not_understood(tmp_path, without):
    """It is neither a failure nor passed over."""
    log = read(tmp_path, json.dumps({name: GRAPH[name] for name in SELECTED if name != without} | {"clientAppUsed": "IMAP4"}) + "\n")
    assert (log.coverage.attempts, log.coverage.not_understood) == (0, 1)


def test_a_change_in_the_directory_is_no_sign_in(tmp_path):
    audit = {
        "id": "Directory_1",
        "category": "UserManagement",
        "activityDisplayName": "Reset user password",
        "activityDateTime": "2026-11-03T08:27:00Z",
        "loggedByService": "Core Directory",
        "initiatedBy": {"user": {"userPrincipalName": "admin@example.test", "ipAddress": "203.0.113.81"}},
    }
    log = read(tmp_path, json.dumps([audit]))
    assert (log.coverage.other, log.coverage.not_understood) == (1, 0)


ROW = "2026-11-03T08:{:02}:00Z,r{},O,u{}@example.test,none,{},203.0.113.81,Failure,50126,{},Authenticated SMTP,,,none\n"
BROKEN_TEXTS = ['"two\nlines"', '"a ""quoted\r\n\r\n"" word"', '"\n"', '""', "none"]


@pytest.mark.parametrize("block", [64, 65, 67, 1 << 18])
def test_a_line_break_within_a_cell_of_the_portal_parts_no_row(tmp_path, monkeypatch, block):
    path = tmp_path / "SignIns.csv"
    rows = [ROW.format(i, i, i, text, BROKEN_TEXTS[-i]) for i, text in enumerate(BROKEN_TEXTS)]
    path.write_text(PORTAL + "".join(rows), "utf-8", newline="")
    monkeypatch.setattr("kit.logs.source.BLOCK", block)
    log = read_logs(path)
    assert log.table["user"].to_pylist() == [f"u{i}@example.test" for i in range(len(rows))]
    assert (log.coverage.lines, log.coverage.not_understood) == (len(rows) + 1, 0)
    for offset, row in zip(log.table["offset"].to_pylist(), rows, strict=True):
        assert path.read_bytes()[offset:].startswith(row.encode())
    assert_agree(path, year=2026)


@pytest.mark.parametrize("block", [64, 65, 66, 67, 1 << 18])
@pytest.mark.parametrize("after", [ROW.format(9, 9, 9, "none", "none"), "Nov  3 08:12:44 mx other: hello\n", '{"a": "json"}\n'])
def test_a_quote_that_stands_alone_swallows_no_row(tmp_path, monkeypatch, block, after):
    path = tmp_path / "SignIns.csv"
    path.write_text(PORTAL + ROW.format(1, 1, 1, 'a " b', "none") + after * 5, "utf-8")
    monkeypatch.setattr("kit.logs.source.BLOCK", block)
    assert read_logs(path).coverage.lines in (7, 6)  # a row may have gone before the block that shows it


def test_what_is_no_json_after_all_stays_as_it_is(tmp_path):
    line = "2026-11-03T08:12:44Z mx postfix/smtpd[1]: warning: unknown[192.0.2.17]: SASL LOGIN authentication failed: UGFzc3dvcmQ6\n"
    path = tmp_path / "mail.log"
    path.write_text('{\n  "a broken text\n' + line * 3)
    log = read_logs(path)
    assert (log.coverage.lines, log.coverage.attempts) == (5, 3)


@pytest.mark.parametrize(
    ("code", "outcome", "cause"),
    [
        (0, "success", "none"),
        (50034, "failure", "unknown-user"),
        (50053, "failure", "account-blocked"),
        (50055, "failure", "password-expired"),
        (50057, "failure", "account-blocked"),
        (50076, "failure", "second-factor"),
        (53003, "failure", "account-blocked"),
        (530034, "failure", "unknown"),  # a code that only begins like one that is known
        (700082, "failure", "token-rejected"),
        (530035, "failure", "method-disabled"),
        (90033, "server-error", "backend-unavailable"),
    ],
)
def test_error_codes(tmp_path, code, outcome, cause):
    (line,) = shown(read(tmp_path, json.dumps(GRAPH | {"status": {"errorCode": code}})))
    assert line[:2] == (outcome, cause)


def test_the_portals_success_has_no_code(tmp_path):
    rows = [
        f"2026-11-03T08:27:0{n}Z,r{n},O,o@example.test,none,App,203.0.113.81,{status},{code},Other.,Browser,Single-factor authentication,,none\n"
        for n, (status, code) in enumerate([("Success", ""), ("Success", "None"), ("Failure", ""), ("Interrupted", "50140")])
    ]
    assert [line[:3] for line in shown(read(tmp_path, PORTAL + "".join(rows)))] == [
        ("success", "none", "other"),
        ("success", "none", "other"),
        ("failure", "unknown", "other"),
        ("aborted", "aborted", "other"),
    ]


# ------------------------------------------------------------------------------------------------ the audit log

AUDIT = {
    "CreationTime": "2026-11-03T08:29:00",
    "Id": "5d1b7c2e-0000-4000-8000-000000000002",
    "Operation": "UserLoginFailed",
    "ResultStatus": "Success",
    "LogonError": "InvalidUserNameOrPassword",
    "ErrorNumber": "50126",
    "ClientIP": "203.0.113.82:5555",
    "UserId": "ottilie@example.test",
    "Workload": "AzureActiveDirectory",
}


def as_csv(record: dict) -> str:
    data = json.dumps(record, separators=(",", ":")).replace('"', '""')
    return f'RecordId,CreationDate,RecordType,Operation,UserId,AuditData\nr1,11/3/2026 8:29:00 AM,15,x,ottilie@example.test,"{data}"\n'


@pytest.mark.parametrize("form", [json.dumps, as_csv, lambda record: json.dumps({"AuditData": json.dumps(record)})])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("failure", "credentials")),
        ({"ErrorNumber": "0"}, ("failure", "credentials")),
        ({"ErrorNumber": None, "LogonError": "UserAccountNotFound"}, ("failure", "unknown-user")),
        ({"Operation": "UserLoggedIn", "ErrorNumber": None, "LogonError": None}, ("success", "none")),
    ],
)
def test_what_the_operation_says_counts(tmp_path, form, change, expected):
    assert shown(read(tmp_path, form(AUDIT | change))) == [(*expected, None, "ottilie@example.test", "203.0.113.82", None)]


def test_other_records_are_no_tries_and_unknown_sign_ins_are_told(tmp_path):
    records = [AUDIT | {"Operation": operation, "x": "auth"} for operation in ("Reset user password.", "MailboxLogin", "NewKindOfLogin")]
    log = read(tmp_path, "\n".join(map(json.dumps, records)))
    assert shown(log) == []
    assert (log.coverage.other, log.coverage.not_understood) == (2, 1)


def test_the_smtp_auth_clients_report_is_refused_with_a_next_step(tmp_path):
    path = tmp_path / "report.csv"
    path.write_text(
        "\ufeffSender address,Domain,TLS 1.0,TLS 1.1,TLS 1.2,Messages sent\nscanner@example.test,example.test,0,0,100,17\n", "utf-8"
    )
    with pytest.raises(UnreadableInput, match="counts messages") as refusal:
        read_logs(path)
    assert "Authenticated SMTP" in refusal.value.next_step


def test_utf_16_is_refused_with_a_next_step(tmp_path):
    """As Windows PowerShell writes what > sends to a file."""
    path = tmp_path / "sign-ins.json"
    path.write_bytes(json.dumps([GRAPH]).encode("utf-16"))
    with pytest.raises(UnreadableInput, match="UTF-16") as refusal:
        read_logs(path)
    assert "iconv" in refusal.value.next_step


def test_a_folder_of_exchanges_logs_is_one_of_logs(tmp_path):
    (tmp_path / "RECV2026110308-1.LOG").write_text(HEAD + BEGINS + rows(FAILED))
    (tmp_path / "IMAP42026110308-1.LOG").write_text(MAILBOX)
    (tmp_path / "SignIns.csv").write_text(PORTAL)
    (tmp_path / "notes.txt").write_text("no log\n")
    log = read_logs(tmp_path)
    assert log.coverage.attempts == 4
    assert len(log.time_anchor) == 3


# ------------------------------------------------------------------------------------------------ hostile values

USERS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60) | st.sampled_from(
    ["x\tcode=0\tapp=", 'a","b', "a\nb", "x\rcontext=authenticated", 'R=OK;Msg="', "},{", "\x85\u2028\x0b", "=cmd()", "'\"\\"]
)


def lines_of(user: str) -> tuple[str, ...]:
    quoted = user.replace('"', '""')
    return (
        json.dumps(GRAPH | {"userPrincipalName": user}, ensure_ascii=False),
        json.dumps(AUDIT | {"UserId": user}, ensure_ascii=False),
        row(2, f'*,,"User Name: {quoted}"').strip("\n"),
        f'2026-11-03T08:27:00Z,r1,O,"{quoted}",none,App,203.0.113.81,Failure,50126,why,Authenticated SMTP,Single-factor authentication,,none',
    )


@settings(max_examples=200, deadline=None)
@given(USERS)
def test_a_name_stays_a_name(user):
    """Whatever the user is called: all before the name is as for an honest one, and there is nothing behind it."""
    header = Header()
    canonical(PORTAL.strip(), header)
    for line, honest in zip(lines_of(user), lines_of("otti"), strict=True):
        # A line end in a row cuts it in two, and neither half is a row.
        plain = canonical(line, header) if "\n" not in line and "\r" not in line else canonical(honest, header)
        before, name, behind = canonical(honest, header).partition("otti")
        assert (name, behind) == ("otti", "")
        assert plain.startswith(before)
        assert "\t" not in plain[len(before) :]
        assert len(plain.splitlines()) == 1


@given(
    st.dictionaries(
        st.sampled_from([*GRAPH, *DIAGNOSTIC, *AUDIT, "AuditData"]),
        st.none() | st.text() | st.integers() | st.dictionaries(st.text(), st.text()),
    )
)
def test_any_json_is_read_or_left_alone(record):
    line = json.dumps(record)
    assert "\n" not in canonical(line)
