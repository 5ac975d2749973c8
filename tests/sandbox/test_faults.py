"""What no reply can say: seen by raw sockets and foreign clients, and found by the kit's own check and send."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
import subprocess
from dataclasses import replace

import pytest

import kit
from kit.model import Security
from kit.sandbox import faults
from kit.sandbox.replay import find_scenario
from kit.sandbox.scenarios import Fault, Stage, scenarios
from kit.sandbox.server import open_sandbox
from tests.sandbox.raw_client import connected, greeted, plain, trust

STARTTLS, TLS = Security.STARTTLS, Security.TLS
TO = "colleague@example.test"

# Scenario, security → the step at which the kit's check ends, the cause, and a word of the finding that names the fault.
# Where one security is missing, that port is not touched by the fault.
FOUND = {
    ("slow-banner", STARTTLS): ("banner", "unreachable", "says nothing"),
    ("too-many-connections", STARTTLS): ("banner", "too-many", "Too many connections"),
    ("too-many-connections", TLS): ("banner", "too-many", "Too many connections"),
    ("silent-banner", STARTTLS): ("banner", "unreachable", "says nothing"),
    ("silent-banner", TLS): ("banner", "unreachable", "no greeting"),
    ("half-open", STARTTLS): ("banner", "unreachable", "says nothing"),
    ("half-open", TLS): ("tls", "unreachable", "does not answer to TLS"),
    ("hang-up", STARTTLS): ("banner", "unreachable", "closes the connection without a word"),
    ("hang-up", TLS): ("tls", "unreachable", "hangs up"),
    ("break-off", STARTTLS): ("banner", "unreachable", "closes the connection without a word"),
    ("break-off", TLS): ("tls", "unreachable", "hangs up"),
    ("endless-reply", STARTTLS): ("ehlo", "unreachable", "no end"),
    ("endless-reply", TLS): ("ehlo", "unreachable", "no end"),
    ("long-line", STARTTLS): ("ehlo", "unreachable", "no end"),
    ("injected", STARTTLS): ("tls", "malformed", "bytes came in clear"),
    ("plain-for-tls", STARTTLS): ("tls", "malformed", "plain text"),
    ("plain-for-tls", TLS): ("tls", "tls-mismatch", "plain text"),
    ("certificate-expired", STARTTLS): ("tls", "certificate", "out of date"),
    ("certificate-wrong-name", STARTTLS): ("tls", "certificate", "another name"),
    ("certificate-self-signed", STARTTLS): ("tls", "certificate", "signed by itself"),
    ("certificate-unknown-issuer", TLS): ("tls", "certificate", "chain"),
    ("certificate-wrong-purpose", TLS): ("tls", "certificate", "does not pass the check"),
    ("tls-1.0", STARTTLS): ("tls", "tls-too-old", "TLS version"),
    ("tls-1.0", TLS): ("tls", "tls-too-old", "TLS version"),
}


def test_every_fault_is_expected_here():
    assert {scenario.name for scenario in scenarios() if scenario.group in ("Connection", "TLS")} == {name for name, _ in FOUND}


@pytest.mark.parametrize(("name", "security"), FOUND)
async def test_the_kit_s_check_names_the_fault(name, security, tmp_path):
    step, cause, word = FOUND[name, security]
    async with open_sandbox(name) as sandbox:
        profile = replace(sandbox.profile(security), timeout=0.5)
        result = await kit.check(profile, sandbox.password, budget=tmp_path / "attempts")
        assert sandbox.attempts == []  # where the way there is broken no password is sent
    assert result.steps[-1].name == step
    (finding,) = [finding for finding in result.findings if finding.severity in ("error", "warning")]
    assert finding.cause == cause
    assert word in finding.title


async def test_a_patient_client_sees_that_the_banner_was_only_slow(tmp_path):
    slow = find_scenario("slow-banner")
    assert 3 < slow.delays[Stage.BANNER] < 20  # as its text promises
    async with open_sandbox(replace(slow, delays={Stage.BANNER: 0.7})) as sandbox:
        result = await kit.check(replace(sandbox.profile(), timeout=5), sandbox.password, budget=tmp_path / "attempts")
        assert result.ok
        assert next(step.seconds for step in result.steps if step.name == "banner") >= 0.7


# ------------------------------------------------------------------------------------------ after the sign-in


@pytest.mark.parametrize(
    ("name", "checked", "sent"),
    [
        ("sign-in-forgotten", ["not-authenticated"], ["not-authenticated"]),
        ("sender-not-allowed", ["sender-not-allowed"], ["sender-not-allowed"]),
        ("quota", [], ["quota"]),  # a check sends no message, so it cannot see that
    ],
)
async def test_what_is_refused_after_a_sign_in_that_works(name, checked, sent, tmp_path):
    async with open_sandbox(name) as sandbox:
        result = await kit.check(sandbox.profile(), sandbox.password, budget=tmp_path / "attempts")
        mail = kit.build_test_message(sandbox.user, [TO])
        message = await kit.send(sandbox.profile(), mail, sandbox.password, budget=tmp_path / "attempts")
        assert [attempt.outcome for attempt in sandbox.attempts] == ["success", "success"]
        assert sandbox.messages == []
    for seen, causes in ((result, checked), (message, sent)):
        assert seen.attempt.outcome == "success"
        assert [finding.cause for finding in seen.findings if finding.severity == "error"] == causes


async def test_smtplib_is_refused_at_mail_and_at_the_end_of_data():
    def talk(sandbox):
        with smtplib.SMTP_SSL(sandbox.host, sandbox.tls_port, timeout=5, context=trust(sandbox)) as client:
            client.login(sandbox.user, sandbox.password.reveal())
            client.sendmail(sandbox.user, [TO], "Subject: x\r\n\r\nx\r\n")

    for name, fault, code in (
        ("sign-in-forgotten", smtplib.SMTPSenderRefused, 530),
        ("sender-not-allowed", smtplib.SMTPSenderRefused, 550),
        ("quota", smtplib.SMTPDataError, 552),
    ):
        async with open_sandbox(name) as sandbox:
            with pytest.raises(fault) as refused:
                await asyncio.to_thread(talk, sandbox)
            assert refused.value.smtp_code == code


# ------------------------------------------------------------------------------------------ on the wire


async def nothing_comes(reader) -> bool:
    try:
        async with asyncio.timeout(0.2):
            return await reader.read(1) == "never"
    except TimeoutError:
        return True


@pytest.mark.parametrize("tls", [False, True])
async def test_silence_is_a_connection_that_stays_and_says_nothing(tls):
    async with open_sandbox("silent-banner") as sandbox, connected(sandbox, tls=tls) as raw:
        assert await nothing_comes(raw.reader)
        await raw.send(b"EHLO x\r\n" * 10_000)
        assert await nothing_comes(raw.reader)


async def test_half_open_answers_no_handshake_either():
    async with open_sandbox("half-open") as sandbox:
        _, writer = await asyncio.open_connection(sandbox.host, sandbox.tls_port)
        with pytest.raises(ConnectionAbortedError):
            await writer.start_tls(trust(sandbox), server_hostname=sandbox.host, ssl_handshake_timeout=0.3)


async def test_a_hang_up_is_an_end_and_a_break_off_a_reset():
    async with open_sandbox("hang-up") as sandbox, connected(sandbox) as raw:
        assert await raw.reader.read() == b""
    async with open_sandbox("break-off") as sandbox, connected(sandbox) as raw:
        with pytest.raises(ConnectionResetError):
            await raw.reader.read()


async def test_421_ends_it():  # RFC 5321 section 3.8
    async with open_sandbox("too-many-connections") as sandbox, connected(sandbox) as raw:
        assert (await asyncio.wait_for(raw.reader.read(), 10)).startswith(b"421 4.7.0 ")


async def test_an_endless_reply_goes_on_until_it_has_filled_any_sane_limit(monkeypatch):
    assert faults.ENDLESS >= 64 * 1024 * 1024
    monkeypatch.setattr(faults, "ENDLESS", 1024 * 1024)
    async with open_sandbox("endless-reply") as sandbox, connected(sandbox) as raw:
        await raw.reply()
        await raw.send(b"EHLO x\r\n")
        seen = await raw.reader.read()
        assert len(seen) > 1_000_000
        assert all(line[:4] == b"250-" for line in seen.split(b"\r\n")[:-1])


async def test_a_line_of_a_megabyte_and_then_on_as_if_nothing_were():
    async with open_sandbox("long-line") as sandbox, connected(sandbox) as raw:
        await raw.reply()
        await raw.send(b"EHLO x\r\n")
        line = b""
        while not line.endswith(b"\n"):
            line += await raw.reader.read(65_536)
        assert len(line) > 1024 * 1024
        assert line.count(b"\n") == 1
        assert await raw.codes(b"NOOP") == ["250"]


async def test_the_injected_answer_comes_with_the_220_and_before_any_handshake():
    async with open_sandbox("injected") as sandbox, greeted(sandbox, tls=False) as raw:
        await raw.send(b"STARTTLS\r\n")
        assert await raw.reader.readuntil(b"start TLS\r\n") == b"220 2.0.0 Ready to start TLS\r\n"
        assert await raw.reader.readuntil(b"LOGIN\r\n") == b"250-localhost\r\n250 AUTH PLAIN LOGIN\r\n"
        # A client that throws it away finds TLS as it should be.
        await raw.writer.start_tls(trust(sandbox), server_hostname=sandbox.host)
        assert (await raw.say(b"EHLO x")).startswith("250-localhost")


@pytest.mark.parametrize("tls", [False, True])
async def test_plain_text_for_tls_is_what_openssl_calls_a_wrong_version(tls):
    async with open_sandbox("plain-for-tls") as sandbox:
        port = sandbox.tls_port if tls else sandbox.port
        reader, writer = await asyncio.open_connection(sandbox.host, port)
        if not tls:
            writer.write(b"STARTTLS\r\n")
            await reader.readuntil(b"start TLS\r\n")
        with pytest.raises(ssl.SSLError) as fault:
            await writer.start_tls(trust(sandbox), server_hostname=sandbox.host)
        assert fault.value.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")  # OpenSSL 3.0, and later ones


# OpenSSL's X509_V_ERR_…: x509_vfy.h
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("certificate-expired", 10),  # CERT_HAS_EXPIRED
        ("certificate-wrong-name", 64),  # IP_ADDRESS_MISMATCH
        ("certificate-self-signed", 18),  # DEPTH_ZERO_SELF_SIGNED_CERT
        ("certificate-unknown-issuer", 20),  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
        ("certificate-wrong-purpose", 26),  # INVALID_PURPOSE
    ],
)
async def test_smtplib_refuses_the_certificate_for_that_reason_and_no_other(name, code):
    def talk():
        context = trust(sandbox)
        with smtplib.SMTP(sandbox.host, sandbox.port, timeout=5) as client:
            client.starttls(context=context)

    async with open_sandbox(name) as sandbox:
        with pytest.raises(ssl.SSLCertVerificationError) as fault:
            await asyncio.to_thread(talk)
    assert fault.value.verify_code == code


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("options", "said"),
    [(("-tls1", "-cipher", "ALL:@SECLEVEL=0"), "Protocol  : TLSv1\n"), (("-min_protocol", "TLSv1.2"), "alert protocol version")],
    ids=["old", "new"],
)
async def test_an_old_client_finds_tls_1_0_and_a_new_one_is_told_why_not(options, said):
    async with open_sandbox("tls-1.0") as sandbox:
        for how in (
            ["-connect", f"{sandbox.host}:{sandbox.tls_port}"],
            ["-connect", f"{sandbox.host}:{sandbox.port}", "-starttls", "smtp"],
        ):
            command = ["openssl", "s_client", *how, *options]
            end = await asyncio.to_thread(subprocess.run, command, input="QUIT\n", capture_output=True, text=True, timeout=10, check=False)
            assert said in end.stdout + end.stderr


# What curl's manual says of its exit codes: 8 a reply that it cannot make sense of, 28 time-out, 35 TLS, 55 sending failed (it
# counts MAIL and RCPT to that), 56 receiving failed, 60 the certificate, 67 the sign-in.
@pytest.mark.needs("curl")
@pytest.mark.parametrize(
    ("name", "security", "code"),
    [
        *(
            ("good", STARTTLS, 0),
            ("wrong-password", TLS, 67),
            ("smtp-auth-disabled", STARTTLS, 67),
            ("reply:m365-criteria-not-met", TLS, 67),
        ),
        *(("sign-in-forgotten", TLS, 55), ("sender-not-allowed", STARTTLS, 55), ("quota", STARTTLS, 8), ("rcpt:550 5.1.1 Nobody", TLS, 55)),
        *(("too-many-connections", TLS, 8), ("silent-banner", STARTTLS, 28), ("half-open", TLS, 28), ("hang-up", STARTTLS, 56)),
        *(("break-off", STARTTLS, 56), ("long-line", TLS, 56), ("endless-reply", STARTTLS, 56), ("reset:mail", TLS, 56)),
        *(
            ("injected", STARTTLS, 8),
            ("injected", TLS, 0),
            ("plain-for-tls", TLS, 35),
            ("plain-for-tls", STARTTLS, 35),
            ("tls-1.0", TLS, 35),
        ),
        *((f"certificate-{what}", STARTTLS, 60) for what in ("expired", "wrong-name", "self-signed", "unknown-issuer", "wrong-purpose")),
    ],
)
async def test_curl_succeeds_and_fails_as_the_scenario_says(name, security, code):
    async with open_sandbox(name) as sandbox:
        tls = security is TLS
        where = (
            ["--url", f"smtps://{sandbox.host}:{sandbox.tls_port}"]
            if tls
            else ["--ssl-reqd", "--url", f"smtp://{sandbox.host}:{sandbox.port}"]
        )
        who = ["--cacert", sandbox.ca_file, "--user", f"{sandbox.user}:{sandbox.password.reveal()}"]
        mail = ["--mail-from", sandbox.user, "--mail-rcpt", TO, "--upload-file", "-"]
        command = ["curl", "--silent", "--tlsv1.2", "--max-time", "1", *where, *who, *mail]
        end = await asyncio.to_thread(
            subprocess.run, command, input=b"Subject: x\r\n\r\nx\r\n", capture_output=True, timeout=10, check=False
        )
        # A reset that comes while curl still sets the connection up is to it one that could not be made (7).
        assert end.returncode in ((code, 7) if code == 56 else (code,))
        assert len(sandbox.messages) == (code == 0)


# ------------------------------------------------------------------------------------------ at every stage

# What a client says up to the end of one mail, and behind which of its lines each stage lies.
STAGES = {
    Stage.CONNECT: 0,
    Stage.BANNER: 0,
    Stage.EHLO: 1,
    Stage.STARTTLS: 2,
    Stage.TLS: 2,
    Stage.AUTH: 4,
    Stage.SIGN_IN: 4,
    Stage.MAIL: 5,
    Stage.RCPT: 6,
    Stage.DATA: 7,
    Stage.END_OF_DATA: 8,
}
# The step of `kit send` that then fails; at the handshake that has a step of its own.
STEPS = ["banner", "ehlo", "starttls", "ehlo", "auth", "mail", "rcpt", "data", "message"]


async def walk(sandbox) -> tuple[int, str]:
    """How many replies come before it ends, and how it ends."""
    account = plain(sandbox.user, sandbox.password.reveal())
    lines = [
        b"EHLO x",
        b"STARTTLS",
        b"EHLO x",
        b"AUTH PLAIN " + account,
        *(b"MAIL FROM:<a@b>", b"RCPT TO:<a@b>", b"DATA", b"x\r\n.", b"NOOP"),
    ]
    replies = 0
    async with connected(sandbox) as raw:
        try:
            for line in [None, *lines]:
                if line:
                    await raw.send(line + b"\r\n")
                async with asyncio.timeout(0.3):
                    if not await raw.reply():
                        return replies, "drop"
                    replies += 1
                    if line == b"STARTTLS":
                        await raw.writer.start_tls(trust(sandbox), server_hostname=sandbox.host)
        except TimeoutError:
            return replies, "silence"
        except ConnectionResetError:
            # asyncio's start_tls says the same of an end of file; the sandbox's handshake tells them apart below.
            return replies, "reset"
    return replies, "none"


def test_these_are_all_the_stages():
    assert STAGES.keys() == set(Stage) - {Stage.IN_CLEAR}


@pytest.mark.parametrize("fault", [Fault.DROP, Fault.RESET, Fault.SILENCE])
@pytest.mark.parametrize("stage", STAGES)
async def test_a_conversation_ends_at_that_stage_in_that_way(stage, fault, tmp_path):
    async with open_sandbox(f"{fault}:{stage}") as sandbox:
        replies, end = await walk(sandbox)
        assert replies == STAGES[stage] + (stage is Stage.TLS)  # to STARTTLS there was one
        assert end == fault or (stage is Stage.TLS and fault is Fault.DROP and end == "reset")
        mail = kit.build_test_message(sandbox.user, [TO])
        profile = replace(sandbox.profile(), timeout=0.4)
        result = await kit.send(profile, mail, sandbox.password, budget=tmp_path / "attempts")
        assert sandbox.messages == []
    failed = [step.name for step in result.steps if not step.ok and step.name != "quit"]
    assert failed == ["tls" if stage is Stage.TLS else STEPS[STAGES[stage]]]
    # Whether a message was taken that was not answered nobody knows: that is a finding of its own.
    cause = "aborted" if stage is Stage.END_OF_DATA else "unreachable"
    assert [finding.cause for finding in result.findings if finding.severity in ("error", "warning")] == [cause]


@pytest.mark.parametrize("stage", STAGES)
async def test_a_delay_at_any_stage_is_only_a_delay(stage, tmp_path):
    async with open_sandbox(replace(scenarios()[0], delays={stage: 0.3})) as sandbox:
        began = asyncio.get_running_loop().time()
        mail = kit.build_test_message(sandbox.user, [TO])
        result = await kit.send(sandbox.profile(), mail, sandbox.password, budget=tmp_path / "attempts")
        assert asyncio.get_running_loop().time() - began >= 0.3
        assert result.ok
        assert len(sandbox.messages) == 1


# ------------------------------------------------------------------------------------------ words


async def test_words_that_agree_stand_only_where_the_server_agrees():
    words = {
        Stage.BANNER: "220 mail.example.test ready",
        Stage.MAIL: "250 sender fine",
        Stage.RCPT: "250 recipient fine",
        Stage.DATA: "354 go ahead",
        Stage.END_OF_DATA: "250 taken\n250 for good",
    }
    async with open_sandbox(replace(scenarios()[0], replies=words)) as sandbox:
        async with connected(sandbox, tls=True) as raw:
            assert await raw.reply() == "220 mail.example.test ready"
            assert (await raw.codes(b"EHLO x", b"MAIL FROM:<a@b>")) == ["250", "530"]  # nobody sends without a sign-in
            await raw.sign_in(sandbox)
            lines = (b"MAIL FROM:<a@b>", b"RCPT TO:<a@b>", b"DATA", b"x\r\n.")
            assert [await raw.say(line) for line in lines] == [
                *("250 sender fine", "250 recipient fine", "354 go ahead", "250-taken\n250 for good"),
            ]
            assert await raw.codes(b"MAIL FROM:a@b", b"DATA") == ["501", "503"]
        assert len(sandbox.messages) == 1


@pytest.mark.parametrize("stage", [Stage.BANNER, Stage.EHLO, Stage.STARTTLS, Stage.AUTH, Stage.SIGN_IN, Stage.MAIL, Stage.RCPT, Stage.DATA])
async def test_words_that_refuse_are_said_instead_and_nothing_is_done(stage):
    async with open_sandbox(f"{stage}:550-5.9.9 No 550 5.9.9 and no again") as sandbox:
        async with connected(sandbox, tls=stage is not Stage.STARTTLS) as raw:
            lines = [None, b"EHLO x", b"STARTTLS", b"AUTH PLAIN " + plain(sandbox.user, sandbox.password.reveal())]
            lines += [b"MAIL FROM:<a@b>", b"RCPT TO:<a@b>", b"DATA"]
            replies = [await (raw.say(line) if line else raw.reply()) for line in lines]
            place = [Stage.BANNER, Stage.EHLO, Stage.STARTTLS, Stage.SIGN_IN, Stage.MAIL, Stage.RCPT, Stage.DATA].index(
                Stage.SIGN_IN if stage is Stage.AUTH else stage
            )
            assert replies[place] == "550-5.9.9 No\n550 5.9.9 and no again"
            assert [reply for reply in replies if "5.9.9" in reply] == [replies[place]]
        assert sandbox.messages == []


@pytest.mark.parametrize("fault", [*Fault])
async def test_nothing_typed_is_shown_in_any_fault(fault):
    for stage in (Stage.AUTH, Stage.SIGN_IN):
        async with open_sandbox(f"{fault}:{stage}") as sandbox, greeted(sandbox) as raw:
            await raw.send(b"AUTH PLAIN " + plain("you@example.test", "hunter2-Tr0ub4dor") + b"\r\nhunter2-Tr0ub4dor\r\n")
            await asyncio.sleep(0.05)
            raw.writer.transport.abort()
            shown = "\n".join(map(str, sandbox.transcript))
            assert "AUTH PLAIN [hidden]" in shown
            assert "hunter2" not in shown
            assert plain("you@example.test", "hunter2-Tr0ub4dor").decode()[:20] not in shown
