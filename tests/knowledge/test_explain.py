"""`explain`: the reply is found in what people paste; what is not known is not made up; nothing pasted comes back."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.explain import EVIDENCE_LIMIT, explain, finding, wait_named_by
from kit.model import Cause, Reply, Severity, to_plain
from kit.sending.reply import parse_reply

# What was pasted, its cause, and why.
PASTED = [
    # the forms in which replies arrive
    ("535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6", "credentials", "Postfix as it speaks; UGFz… is no secret"),
    ("smtplib.SMTPAuthenticationError: (535, b'5.7.8 Error: authentication failed: ')", "credentials", "Python's exception"),
    (
        "Error: Invalid login: 535-5.7.8 Username and Password not accepted. For more information",
        "app-password-needed",
        "nodemailer's prefix",
    ),
    (
        "status=deferred (host smtp.example.com[192.0.2.25] said: 530 5.7.0 Must issue a STARTTLS command first (in reply to MAIL FROM command))",
        "tls-required",
        "Postfix as a client",
    ),
    ("<b>535&nbsp;5.7.3 Authentication unsuccessful</b> [XY.example]", "credentials", "HTML entities"),
    (
        "S: 535 Incorrect authentication data\r\nC: QUIT\r\nS: 221 closing",
        "credentials",
        "a transcript: the failure counts, not the goodbye",
    ),
    ("\x1b[31m535 5.7.8 \x1b[1mError: authentication failed\x1b[0m: UGFzc3dvcmQ6", "credentials", "a terminal's colours"),
    ("535-5.7.8 Username and Password\\n535 5.7.8 not accepted", "app-password-needed", "a break in the middle of the words, spelled out"),
    ("SmtpClientAuthentication is disabled for the Mailbox", "method-disabled", "a text without its code"),
    ("5.7.57 Client not authenticated to send mail.", "not-authenticated", "an enhanced code alone"),
    ("535", "credentials", "a code without its text"),
    ("error 535", "credentials", "a code as a program reports it"),
    ("535 Falsche Zugangsdaten für postfach", "credentials", "a reply in another language"),
    ("smtp_code=535 auth failed", "credentials", "a code behind its name"),
    ('{"responseCode": 535, "command": "AUTH PLAIN"}', "credentials", "JSON"),
    ("[535] authentication failed", "credentials", "brackets, and no process before them"),
    ("421 Too many users", "backend-unavailable", "nothing that is counted"),
    ("452 Too many recipients", "quota", ""),
    # one reply inside another: the inner one is the cause
    (
        "530 5.7.57 Client not authenticated [535 5.7.139 Authentication unsuccessful, basic authentication is disabled.]",
        "method-disabled",
        "",
    ),
    # codes that mean another thing than they seem
    ("535 5.7.8 Your mailbox has been suspended", "account-blocked", "535 is not always a password"),
    ("503 5.5.1 Error: authentication not enabled", "auth-not-offered", ""),
    ("454 4.7.0 Temporary authentication failure: Connection lost to authentication server", "backend-unavailable", "not the password"),
    # no known text: the code speaks
    ("535 5.7.8 Nope, authentication says no", "credentials", "RFC 4954: 5.7.8 is credentials invalid"),
    ("534 5.7.9 authentication needs something else", "mechanism-unsupported", "RFC 4954: too weak"),
    ("525 5.7.13 sign-in stopped", "account-blocked", "RFC 5248 registry: user account disabled"),
    ("550 5.1.1 <x@example.com>... mailbox gone", "recipient", "RFC 3463: bad destination mailbox"),
    ("552 5.2.2 mailbox full", "quota", "RFC 3463: mailbox full"),
    ("538 encryption wanted", "tls-required", "RFC 4954: 538"),
    # “later” is no refusal: the words of Postgrey, milter-greylist, rspamd's and Postfix's milters, Exchange
    (
        "450 4.2.0 <b@example.net>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/",
        "too-many",
        "no recipient",
    ),
    ("451 4.7.1 Greylisting in action, please come back in 00:05:00", "too-many", "X.7.1, and no policy"),
    ("451 4.7.1 Try again later", "too-many", ""),
    ("451 4.7.1 Service unavailable - try again later", "too-many", ""),
    ("451 4.7.0 Temporary server error. Please try again later. PRX4", "backend-unavailable", ""),
    ("451-4.7.1 Greylisted\n451 4.7.1 come back later", "too-many", "in the first of two lines"),
    ("454 4.7.0 Too many login attempts, please try again later.", "too-many", "the words before count first"),
    ("450 4.1.8 <a@nowhere.example>: Sender address rejected: Domain not found", "sender-not-allowed", "later, but for a reason"),
    # who is refused, by the words
    ("550 5.7.1 <b@example.net>... Relaying denied", "relay-denied", ""),
    ("553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", "relay-denied", "qmail"),
    ("550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", "recipient", "Exchange Online knows no such address"),
    (
        "554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using zen.spamhaus.org",
        "account-blocked",
        "neither user nor recipient",
    ),
    ("550 5.7.1 rejected because 192.0.2.7 is in a black list at zen.spamhaus.org", "account-blocked", "Exim"),
    # known codes, unknown matter
    ("554 5.9.9 policy of the house", "unknown", "permanent, nothing more is known"),
    ("451 4.9.9 temporarily rejected", "unknown", "later, nothing more is known"),
    # no failure
    ("235 2.7.0 Authentication successful", "none", ""),
    ("250 2.0.0 Ok: queued as 4F2A11C0D3", "none", ""),
    ("250-AUTH PLAIN LOGIN", "none", ""),
    ("334 UGFzc3dvcmQ6", "none", "a challenge is no failure"),
    ("220 mail.example.com ESMTP Postfix", "none", ""),
    # numbers that only look like codes
    ("535 users complain about the new printer", "unknown", ""),
    ("there were 535 failed logins last week", "unknown", ""),
    ("535 login attempts were made", "unknown", ""),
    ("550 Main Street, Springfield", "unknown", ""),
    ("MySQL 5.7.8 was released", "unknown", ""),
    ("192.0.2.535 and 10.5.7.8", "unknown", ""),
    ("order 535-5512 has left the store", "unknown", ""),
    ("535 items in your mailbox", "unknown", ""),
    ("550 euros were refused by the bank", "unknown", ""),
    ("Invoice 5.7.8 of 2026-11-24: service charge 550.00", "unknown", ""),
    ("on 5.7.18 the service was refused", "unknown", "a date"),
    ("there are 550 recipients on the list", "unknown", ""),
    ("450 people were greylisted", "unknown", ""),
    ("we do not relay your words", "unknown", ""),
    ("port=535 status=ok", "unknown", "another number with an equals sign"),
    ("FTP: 530 Login incorrect.", "unknown", "RFC 959 numbers its replies like SMTP"),
    ("vsftpd[7]: 530 Login authentication failed", "unknown", ""),
    ("host ftp.example.com[192.0.2.25] said: 535 authentication failed", "credentials", "a mail server of that name"),
    ("error code 535 in module printer: sign-in service unavailable", "unknown", "a program's own"),
    ("error 535 in SMTP session: authentication failed", "credentials", ""),
    ("5.2.2 How to connect to a mailbox", "unknown", "a heading"),
    ("5.7.1 Configuring the relay", "unknown", "a heading"),
    ("5.7.1 Relaying denied", "relay-denied", "no heading"),
    # other daemons' lines, and lines of mail servers in which nothing failed
    ("Nov 24 10:00:00 mail sshd[535]: Accepted password for root from 192.0.2.1 port 550 ssh2", "unknown", "a process's number"),
    ("Nov 24 10:00:00 mail dovecot: imap-login: Login: user=<anna>, method=PLAIN, rip=192.0.2.1, mpid=535", "unknown", ""),
    ('192.0.2.1 - - [24/Nov/2026:10:00:00 +0000] "POST /login HTTP/1.1" 503 550', "unknown", "HTTP"),
    (
        "postfix/smtp[550]: 4F2A1: to=<b@example.net>, relay=mx[192.0.2.1]:25, delay=0.5, status=sent (250 2.0.0 Ok: queued as 550A)",
        "none",
        "only the 250 is a reply",
    ),
    ('1rAbCd-0001Ab-2C => bob@example.net R=dnslookup T=remote_smtp H=mx [192.0.2.1] C="250 OK"', "none", "Exim"),
    ("250 relay access denied is what we say to others", "none", "its code decides"),
    ("252 2.0.0 Cannot VRFY user, but will accept message and attempt delivery", "none", ""),
    ("hello", "unknown", ""),
    ("", "unknown", ""),
]


@pytest.mark.parametrize(("text", "cause", "_why"), PASTED, ids=[p[0][:40] for p in PASTED])
def test_pasted(text, cause, _why):
    assert explain(text).cause == cause


@pytest.mark.parametrize(
    ("code", "stage", "cause"),
    [
        (535, "auth", "credentials"),  # RFC 4954 section 6
        (530, "auth", "tls-required"),  # RFC 3207 section 4
        (530, "mail", "not-authenticated"),  # RFC 4954 section 6
        (550, "rcpt", "recipient"),  # RFC 5321 section 4.2.3
        (550, "mail", "sender-not-allowed"),
        (550, "data", "unknown"),
        (504, "auth", "mechanism-unsupported"),  # RFC 4954 section 4
        (504, "rcpt", "unknown"),
        (454, "starttls", "backend-unavailable"),  # RFC 3207 section 4
        (554, "banner", "unreachable"),  # RFC 5321 section 3.1
        (235, "auth", "none"),
        (250, "rcpt", "none"),
        (999, "auth", "malformed"),  # RFC 5321 section 4.2.1: the first digit is 2 to 5
        (0, "auth", "malformed"),  # no code at all; a server may say anything
    ],
)
def test_a_code_means_what_it_means_at_its_stage(code, stage, cause):
    assert finding(Reply(code=code, lines=("zork",)), stage=stage).cause == cause


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        # RFC 3463 section 3.8: subject 7 is security or policy. What was being done does not make it the recipient's fault.
        ("550 5.7.1 zork", "unknown"),
        ("554 5.7.1 Command rejected", "unknown"),
        ("550 5.7.509 Access denied, sending domain does not pass DMARC verification", "unknown"),
        ("550 Administrative prohibition", "unknown"),  # Exim, where a rule has no words of its own
        ("550 5.7.23 zork", "sender-not-allowed"),  # RFC 7372 section 3.2: SPF
        ("550 5.7.1 Sender not allowed", "sender-not-allowed"),
        ("554 5.7.1 <anna@example.com>: Sender address rejected: Access denied", "sender-not-allowed"),
        ("550 SPF check failed", "sender-not-allowed"),
        ("550 Sender verify failed", "sender-not-allowed"),
        ("550 5.1.8 Access denied, bad outbound sender", "sender-not-allowed"),  # its code says more than “denied”
        ("550 5.7.26 Unauthenticated email is not accepted due to the domain's DMARC policy", "sender-not-allowed"),
        ("550-5.2.1 The user you are trying to contact is receiving mail too quickly", "too-many"),
        ("550 5.7.1 Unable to relay", "relay-denied"),
        ("530 5.7.1 Authentication required", "not-authenticated"),
        # The recipient's fault by its code, or the recipient by the server's words.
        ("550 5.1.1 zork", "recipient"),
        ("554 5.7.1 <bob@example.net>: Recipient address rejected: Access denied", "recipient"),
        ("550 zork", "recipient"),
        # “Later” in its code, whatever the subject.
        ("451 4.7.1 zork", "unknown"),
        ("450 4.7.1 <bob@example.net>: Recipient address rejected: Greylisted by greyfix 0.4.0, try again in 30 seconds.", "too-many"),
    ],
)
def test_a_refusal_of_a_recipient_is_read_by_its_words_then_its_code_then_its_stage(text, cause):
    code, words = text[:3], text[4:]
    reply = Reply(code=int(code), lines=(words,), enhanced=words.split()[0] if words[:2] in ("4.", "5.") else None)
    got = finding(reply, stage="rcpt")
    assert got.cause == cause
    assert got.severity is (Severity.WARNING if code[0] == "4" or cause == "too-many" else Severity.ERROR)
    assert ("refuses" in got.title) <= (code[0] == "5")


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        # RFC 5321 section 3.1: 554 in place of the banner is “no SMTP service here”, whatever stands behind it.
        ("5.7.1 no service for you", "unreachable"),
        ("Administrative prohibition", "unreachable"),  # Exim, where acl_smtp_connect denies without a message
        ("5.7.1 <unknown[192.0.2.7]>: Client host rejected: Access denied", "unreachable"),  # Postfix without smtpd_delay_reject
        # Words or a code that say why keep their say.
        ("5.7.1 Service unavailable; Client host [192.0.2.7] blocked using zen.spamhaus.org", "account-blocked"),
        ("5.7.25 zork", "sender-not-allowed"),
    ],
)
def test_a_server_that_does_not_greet_is_not_said_to_judge_a_mail(words, cause):
    enhanced = words.split()[0] if words.startswith("5.") else None
    assert finding(Reply(code=554, lines=(words,), enhanced=enhanced), stage="banner").cause == cause


def test_greylisting_is_explained_with_its_wait_and_how_to_try_again():
    got = explain("451 4.7.1 Greylisting in action, please come back in 00:05:00")
    assert "no refusal" in got.title
    assert "after the wait that the reply names" in got.next_step
    assert "kit send --retry" in got.next_step


def test_the_stage_is_read_from_what_postfix_adds():
    said = "host mx.example.com[192.0.2.25] said: 550 zork (in reply to RCPT TO command)"
    assert explain(said).cause is Cause.RECIPIENT
    assert explain(said.replace("RCPT TO", "MAIL FROM")).cause is Cause.SENDER_NOT_ALLOWED


def test_the_same_words_mean_another_thing_at_another_host():
    text = "535 5.7.8 Error: authentication failed: authentication failure"
    assert explain(text).cause is Cause.CREDENTIALS
    assert explain(text, host="smtp.mail.me.com").cause is Cause.APP_PASSWORD_NEEDED
    assert explain(text, host="smtp.mail.me.com.").provider == "iCloud"
    assert explain(text, host="notmail.me.com.example.org").cause is Cause.CREDENTIALS
    assert explain(text, host="hotmail.me.com").cause is Cause.CREDENTIALS


def test_an_answer_with_several_causes_says_so_and_how_to_tell():
    got = explain("535 5.7.3 Authentication unsuccessful [XY0PR01CA0001.example.prod.outlook.com]")
    assert {other.cause for other in got.alternatives} == {Cause.METHOD_DISABLED, Cause.TOKEN_REJECTED}
    assert got.verify
    assert all("checked 2" in source for source in got.sources)


def test_finding_has_severity_and_the_servers_words():
    reply = Reply(code=535, enhanced="5.7.8", lines=("5.7.8 Error: authentication failed: ",))
    got = finding(reply, stage="auth")
    assert got.severity is Severity.ERROR
    assert got.evidence == ("535 5.7.8 Error: authentication failed: ",)
    assert finding(Reply(code=250, lines=("OK",)), stage="rcpt").severity is Severity.OK
    assert finding(Reply(code=451, lines=("4.3.0 zork",), enhanced="4.3.0"), stage="data").severity is Severity.WARNING


def test_a_success_is_not_read_as_a_failure_for_its_words():
    # A banner may say anything; what counts is its 220.
    assert finding(Reply(code=220, lines=("relay access denied to bad people, ESMTP",)), stage="banner").cause is Cause.NONE


def test_evidence_is_bounded_printable_and_masked():
    reply = Reply(code=535, lines=("no \x1b[31m AUTH PLAIN AGFubmEAaHVudGVyMg== password=hunter2 " + "x" * 5000,))
    (evidence,) = finding(reply, stage="auth").evidence
    assert len(evidence) == EVIDENCE_LIMIT
    assert evidence.isprintable()
    assert "AGFubmEA" not in evidence
    assert "hunter2" not in evidence


@given(st.text(max_size=300), st.sampled_from([None, "auth", "rcpt", "banner"]))
def test_any_text_gets_an_answer_of_the_kits_own_words(text, stage):
    got = json.dumps(to_plain(explain(text, stage=stage)), ensure_ascii=False)
    assert got.isprintable()
    assert explain(text + " 7fj3kq9z", stage=stage).next_step.find("7fj3kq9z") < 0


@given(st.integers(0, 999), st.text(max_size=100), st.sampled_from(["banner", "ehlo", "starttls", "auth", "mail", "rcpt", "data"]))
def test_any_reply_becomes_a_finding(code, text, stage):
    got = finding(Reply(code=code, lines=(text,)), stage=stage)
    assert (got.cause is Cause.NONE) <= (200 <= code < 400)
    assert all(e.isprintable() for e in got.evidence)


def test_a_pasted_secret_does_not_come_back():
    got = to_plain(explain("AUTH PLAIN AGFubmEAaHVudGVyMg==\n535 5.7.8 Error: authentication failed: password=hunter2"))
    assert got["cause"] == "credentials"
    assert "hunter2" not in json.dumps(got)
    assert "AGFubmEA" not in json.dumps(got)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        # Postgrey with its own text and with one that names the time; milter-greylist; a Postfix policy service.
        ("450 4.2.0 <a@example.net>: Recipient address rejected: Greylisted, see http://postgrey.example/help/example.net.html", None),
        ("450 4.2.0 <a@example.net>: Recipient address rejected: Greylisted for 300 seconds (see http://postgrey.example/)", 300),
        ("451 4.7.1 Greylisting in action, please come back in 00:04:59", 299),
        ("451 4.7.1 Greylisting in action, please come back in 1:00:00", 3600),
        ("450 4.7.1 Greylisting in action, please come back in 180 seconds", 180),
        ("451 try again in 300 seconds", 300),
        ("451-4.7.0 too fast\r\n451 4.7.0 retry after 5 minutes", 300),
        ("421 4.7.0 Try again in 1 hour", 3600),
        ("421 Please wait 90 sec.", 90),
        ("452 4.3.1 Deferred 10min", 600),
        ("450 Retry-After: 120", 120),
        ("450 retry after 17", 17),
        # A rate is no wait, nor is an address, a time of day or a code.
        ("450 4.7.1 more than 30 messages in 60 seconds, try again later", None),
        ("451 4.7.1 Try again later (192.0.2.7 s)", None),
        ("450 Retry after 11:30", None),
        ("451 4.3.0 Try again later", None),
        ("451 waiting for 30 seconds", None),
        # Only “later” is later.
        ("550 5.7.1 try again in 300 seconds", None),
        ("250 2.0.0 Ok: come back in 300 seconds", None),
        ("451 try again in 99999999 seconds", None),
        ("451 " + "again " * 10_000 + "in 5 s", None),
    ],
)
def test_the_wait_that_a_reply_names(text, seconds):
    assert wait_named_by(parse_reply(f"{text}\r\n".encode())) == seconds


def test_a_reply_of_any_length_is_read_in_no_time():
    for text in ("again" + " " * 60_000, "again again " * 5_000, "retry-after: " * 5_000, "wait 1" * 10_000):
        began = time.perf_counter()
        wait_named_by(Reply(code=451, lines=(text,)))
        assert time.perf_counter() - began < 0.1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("451 try again in 300 seconds", "300 seconds"),
        ("mx postfix/smtp[7]: retry after 5 minutes; said: 450 4.7.1 Greylisting in action, please come back in 00:04:59", "299 seconds"),
        ("4.7.1 Greylisted, try again in 1 hour", "3600 seconds"),
        ("451 4.3.0 Try again later", None),
        ("550 5.7.1 try again in 300 seconds", None),
    ],
)
def test_an_explanation_tells_the_wait_that_the_reply_names(text, named):
    said = explain(text).next_step
    assert said.endswith(f"The reply names the wait: {named}.") if named else "names the wait:" not in said
