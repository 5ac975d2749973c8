"""The panel of notebook 03, without a browser: what it tells before, under way and afterwards, and that nothing in it can act."""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import UTC, datetime
from types import SimpleNamespace

import plotly.graph_objects as go
import pytest

import kit
from kit.model import Profile, Reply, Security, SendResult, Step
from kit.profiles import forget_profile, save_profile
from kit.sending.entries import State
from kit.sending.journal import Journal, unfinished
from kit.sending.samples import build, samples
from kit.sending.story import answers, facts, stopped, timeline
from kit.widgets.clock import clock
from kit.widgets.send import SendPanel
from tests.live.check_servers import make_pki, serve, smtp
from tests.widgets.pages import assert_harmless, shown, state, widgets
from tests.widgets.test_explorer import HOSTILE
from tests.widgets.test_server_panels import CANARY, choose, press, type_secret, until

EML = b"From: ann@example.test\r\nTo: bob@example.test\r\nSubject: made by hand\r\n\r\nHello.\r\n"


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("KIT_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("KIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")


def is_shown(root, wanted) -> bool:
    """Whether a widget and all around it are on the page."""
    if root.layout is not None and getattr(root.layout, "display", None) == "none":
        return False
    return root is wanted or any(is_shown(child, wanted) for child in getattr(root, "children", ()))


def upload(panel: SendPanel, name: str, octets: bytes) -> None:
    panel.message.kind.value = "file"
    panel.message._take({"new": (SimpleNamespace(name=name, content=memoryview(octets)),)})


def figure(panel: SendPanel) -> go.FigureWidget:
    (found,) = (each for each in widgets(panel) if isinstance(each, go.FigureWidget))
    return found


def bars(panel: SendPanel) -> dict[str, tuple[float, float]]:
    """Beginning and length of each bar, in milliseconds."""
    return {
        name: (began, length)
        for trace in figure(panel).data
        for name, began, length in zip(trace.y or (), trace.base or (), trace.x or (), strict=True)
    }


# ------------------------------------------------------------------------------------------------ before


def test_what_is_not_needed_yet_is_not_shown():
    panel = SendPanel()
    calm = [panel.headers, panel.cancel, panel.progress, panel.first, panel.message.upload, panel.message.size]
    assert [widget for widget in calm if is_shown(panel, widget)] == []
    assert is_shown(panel, panel.button)
    assert panel.plan.value == ""
    assert not [widget for widget in widgets(panel) if isinstance(widget, go.FigureWidget)]


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.kind)
def test_each_message_says_what_it_shows_and_what_its_refusal_would_mean(sample):
    panel = SendPanel()
    panel.message.kind.value = sample.kind
    assert sample.shows in shown(panel)
    assert sample.refused in shown(panel)
    assert is_shown(panel, panel.message.size) == (sample.kind == "attachment")
    assert is_shown(panel, panel.message.other) == (sample.kind in ("other-from", "reply-to"))


def test_the_plan_of_a_series_names_its_length_and_whose_limit_that_is():
    panel = SendPanel()
    panel.count.value = 40
    # Thirty go at once, and each of the other ten a minute after one of them.
    assert "40 messages to 40 recipients" in panel.plan.value
    assert "one connection" in panel.plan.value
    assert "60 s, as the limit is 30 in a minute" in panel.plan.value
    panel.message.recipient.value = "a@example.test, b@example.test"
    assert "80 recipients" in panel.plan.value
    panel.message.recipient.value = "a@"
    assert panel.plan.value == ""


def test_the_plan_of_a_real_server_is_that_of_its_own_limits():
    panel = SendPanel()
    choose(panel, "another server")
    panel.count.value = 40
    assert panel.plan.value == ""
    panel.form.host.value, panel.form.user.value = "smtp.office365.com", "ann@example.com"
    assert "30 in a minute" in panel.plan.value
    assert "the kit's own caution" not in panel.plan.value


def test_making_a_plan_in_the_sandbox_leaves_nothing_behind(tmp_path):
    SendPanel().count.value = 5
    assert not (tmp_path / "state").exists()


def test_a_file_is_judged_as_soon_as_it_is_there():
    panel = SendPanel()
    upload(panel, "ok<b>.eml", EML)
    assert "from ann@example.test to bob@example.test" in shown(panel)
    assert [name for name in ("kind", "upload", "sender", "recipient") if not is_shown(panel, getattr(panel.message, name))] == []
    assert not is_shown(panel, panel.count)  # its Message-ID would be the same in each
    upload(panel, "bad.eml", EML.replace(b"Hello", b"\r.\rHello"))
    assert "Problem: bad.eml" in shown(panel)
    assert_harmless(panel)


# ------------------------------------------------------------------------------------------------ one message


async def test_a_message_that_arrives_is_explained_with_its_time_line():
    panel = SendPanel()
    panel.message.subject.value = "<b>Grüße</b>"
    panel.message.recipient.value = "colleague@example.test"
    await press(panel)
    assert panel.result.accepted == ("colleague@example.test",)
    page = shown(panel)
    assert panel.result.queue_id in page
    assert panel.result.message_id in page
    assert "you@example.test: the same as who signed in" in page
    assert "TLSv1.3" in page
    assert is_shown(panel, panel.headers)
    drawn = bars(panel)
    assert min(drawn, key=lambda name: drawn[name]) == "name to address"
    assert {"TLS handshake", "sign-in", "recipient", "content"} <= drawn.keys()
    assert sum(length for _, length in drawn.values()) == pytest.approx(1000 * sum(step.seconds for step in panel.result.steps))
    assert_harmless(panel)


async def test_the_time_line_before_is_let_go(monkeypatch):
    monkeypatch.setattr("kit.widgets.send.UNTIL_GONE", 0)
    panel = SendPanel()
    await press(panel)
    before = figure(panel)
    await press(panel)
    assert figure(panel) is not before
    await until(lambda: before.comm is None)  # ipywidgets keeps every widget that is not closed


async def test_a_dry_run_sends_nothing_and_says_so():
    panel = SendPanel()
    panel.dry_run.value = True
    await press(panel)
    assert panel.result.queue_id is None
    assert "data" not in [step.name for step in panel.result.steps]
    assert "would take the message" in shown(panel)
    assert "Message-ID" not in shown(panel)
    assert not is_shown(panel, panel.headers)


async def test_a_file_goes_out_as_it_is():
    panel = SendPanel()
    upload(panel, "made.eml", EML)
    await press(panel)
    assert panel.result.accepted == ("bob@example.test",)
    assert "Subject: made by hand" in shown(panel)
    assert "ann@example.test: another than you@example.test" in shown(panel)


async def test_what_a_refusal_of_this_kind_means_is_said():
    panel = SendPanel()
    choose(panel, "refused after the whole message")
    panel.message.kind.value = "gtube"
    await press(panel)
    assert panel.result.rejected == ("you@example.test",)
    assert "Where a plain message is taken and this one is notThe filter works" in shown(panel)
    assert not is_shown(panel, panel.headers)
    assert figure(panel).data[1].y == ("content",), "what failed has a trace of its own"
    assert figure(panel).data[1].text[0].endswith("failed")


async def test_no_file_and_hostile_input_are_said_and_nothing_is_tried():
    panel = SendPanel()
    panel.message.recipient.value = '"><img src=x onerror=alert(1)>@example.test'
    await press(panel)
    assert panel.result is None
    assert "Problem:" in panel.status.value
    panel.message.kind.value = "file"
    await press(panel)
    assert "no file is chosen" in panel.status.value
    assert_harmless(panel)


async def test_in_the_sandbox_first(monkeypatch, tmp_path):
    pki = make_pki(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", pki.ca_file)
    panel = SendPanel()
    async with serve(smtp(), tls=pki.server()) as server:
        choose(panel, "another server")
        panel.form.host.value, panel.form.security.value, panel.form.port.value = "127.0.0.1", "tls", server.port
        panel.message.sender.value, panel.message.recipient.value = "ann@example.com", "bob@example.com"
        panel.first.value = True
        await press(panel)
        assert "The sandbox took it." in shown(panel)
        assert panel.result is not None
        panel.message.kind.value, panel.message.size.value = "attachment", 6_000_000  # the sandbox takes five
        heard = len(server.heard)
        await press(panel)
        assert "the real server was not asked" in shown(panel)
        assert (panel.result, len(server.heard)) == (None, heard)
    assert_harmless(panel)


async def test_a_message_that_is_cancelled_says_whether_it_was_sent():
    panel = SendPanel()
    choose(panel, "no greeting")
    panel.button.click()
    await until(lambda: "connect" in shown(panel))
    panel.cancel.click()
    await until(lambda: not panel.button.disabled)
    assert "stopped before the content went out" in shown(panel)
    assert "Message-ID" not in shown(panel)
    assert "stopped here" in bars(panel), "where the time went is where it was waited last"
    assert "it did not come to that" in shown(panel)
    assert not is_shown(panel, panel.cancel)


@pytest.mark.parametrize(("count", "said"), [(1, "perhaps the server took it"), (3, "1 in doubt, 2 not sent, of 3 messages")])
async def test_what_is_cancelled_behind_the_final_dot_is_in_doubt(count, said):
    panel = SendPanel()
    panel.form.play("silence:end-of-data")
    panel.count.value = count
    panel.button.click()
    await until(lambda: any(step.name == "data" for step in panel._steps))
    panel.cancel.click()
    await until(lambda: not panel.button.disabled)
    assert said in shown(panel)
    assert "Message-ID: <" in shown(panel), "it can be looked for"


# ------------------------------------------------------------------------------------------------ a series


async def test_a_series_goes_over_one_connection(tmp_path):
    panel = SendPanel()
    panel.count.value = 3
    await press(panel)
    assert [entry.state for entry in panel.result.entries] == [State.ACCEPTED] * 3
    assert panel.result.connections == 1
    assert "3 taken, of 3 messages" in shown(panel)
    assert all(entry.queue_id in shown(panel) for entry in panel.result.entries)
    assert len({entry.message_id for entry in panel.result.entries}) == 3
    assert "content" in bars(panel)
    assert "content 2" not in bars(panel), "the connection and the first message are enough of a picture"
    assert not (tmp_path / "state").exists(), "the sandbox's pace and journal end with it"
    assert_harmless(panel)


async def test_a_series_that_is_cancelled_says_what_was_sent_and_what_not():
    panel = SendPanel()
    panel.count.value = 32  # thirty go at once, then the limit holds
    panel.button.click()
    await until(lambda: "waiting for the limit" in shown(panel))
    assert is_shown(panel, panel.cancel)
    assert (panel.progress.value, panel.progress.max) == (30, 32)
    panel.cancel.click()
    await until(lambda: not panel.button.disabled)
    assert "30 taken, 2 not sent, of 32 messages" in shown(panel)
    assert not is_shown(panel, panel.progress)
    assert "you@example.test: the same as who signed in" in shown(panel)


def saved(real) -> None:
    save_profile(Profile(name="real", host="127.0.0.1", port=real.port, security=Security.STARTTLS, user=real.user, ca_file=real.ca_file))


async def test_a_series_to_a_real_server_that_was_cancelled_is_offered_again():
    async with kit.open_sandbox() as real:
        saved(real)
        panel = SendPanel()
        choose(panel, "profile: real")
        type_secret(panel, real.password.reveal())
        panel.count.value = 32
        assert not is_shown(panel, panel.rest)
        panel.button.click()
        await until(lambda: "waiting for the limit" in shown(panel))
        panel.cancel.click()
        await until(lambda: not panel.button.disabled)
        assert len(real.messages) == 30
    assert "2 of its 32 messages are not sent yet" in shown(panel)
    assert is_shown(panel, panel.rest)
    assert real.password.reveal() not in state(panel)
    choose(panel, "all is well")
    assert not is_shown(panel, panel.rest)


async def test_the_rest_of_a_series_goes_out_as_it_began():
    async with kit.open_sandbox() as real:
        saved(real)
        before = SendPanel()
        choose(before, "profile: real")
        before.message.kind.value, before.message.other.value = "reply-to", "desk@example.test"
        series = before.message.series(before.form.profile(), 3)
        Journal.start(series, now=datetime.now(UTC)).close()
        panel = SendPanel()  # after a crash, say; and now something else is chosen
        choose(panel, "profile: real")
        type_secret(panel, real.password.reveal())
        panel.rest.click()
        await until(lambda: not panel.button.disabled)
        assert [b"Reply-To: desk@example.test" in message.data for message in real.messages] == [True] * 3
    assert "3 taken, of 3 messages" in shown(panel)
    assert [entry.trace for entry in panel.result.entries] == [re.search(rb"X-Kit-Trace: (\w+)", m.data)[1].decode() for m in real.messages]
    assert all(entry.trace in shown(panel) for entry in panel.result.entries)
    assert not is_shown(panel, panel.rest)
    assert unfinished() == {}


async def test_a_series_that_was_begun_here_goes_on_by_its_name_alone():
    async with kit.open_sandbox() as real:
        saved(real)
        panel = SendPanel()
        choose(panel, "profile: real")
        with Journal.start(panel.message.series(panel.form.profile(), 2), now=datetime.now(UTC)) as journal:
            pass
        forget_profile("real")
        kit_send = (sys.executable, "-m", "kit", "send", "--resume", journal.name, "--password-stdin", "--quiet")
        process = await asyncio.create_subprocess_exec(*kit_send, stdin=asyncio.subprocess.PIPE)
        await process.communicate(real.password.reveal().encode())
        assert (process.returncode, len(real.messages)) == (0, 2)


def test_the_rest_is_offered_to_whom_a_certificate_names_too(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    save_profile(Profile(name="cert", host="mx.example.com", port=465, security=Security.TLS, sender="a@example.com", cert_file="me.pem"))
    panel = SendPanel()
    choose(panel, "profile: cert")
    Journal.start(panel.message.series(panel.form.profile(), 2), now=datetime.now(UTC)).close()
    panel = SendPanel()
    choose(panel, "profile: cert")
    assert is_shown(panel, panel.rest)


async def test_the_rest_of_a_series_that_is_longer_than_this_page_begins_goes_out():
    async with kit.open_sandbox() as real:
        saved(real)
        panel = SendPanel()
        choose(panel, "profile: real")
        Journal.start(panel.message.series(panel.form.profile(), 120), now=datetime.now(UTC)).close()
        panel = SendPanel()
        choose(panel, "profile: real")
        type_secret(panel, real.password.reveal())
        panel.rest.click()
        await until(lambda: "waiting for the limit" in shown(panel))
        panel.cancel.click()
        await until(lambda: not panel.button.disabled)
        assert len(real.messages) == 30
    assert "30 taken, 90 not sent, of 120 messages" in shown(panel)


async def test_a_series_stays_as_it_was_when_the_form_is_changed_under_way():
    panel = SendPanel()
    panel.count.value = 20
    panel.button.click()
    await until(lambda: panel.progress.value > 0)
    panel.message.recipient.value = "other@example.test"
    panel.count.value = 1
    await until(lambda: not panel.button.disabled)
    assert "20 taken, of 20 messages" in shown(panel)
    assert {entry.rejected for entry in panel.result.entries} == {()}
    assert "other@example.test" not in shown(panel)


# ------------------------------------------------------------------------------------------------ afterwards


async def test_pasted_headers_are_explained_and_compared():
    panel = SendPanel()
    await press(panel)
    trace = re.search(r"[0-9a-f]{12}", panel.result.message_id)[0]
    lines = (
        "Authentication-Results: mx.example.net; spf=pass smtp.mailfrom=you@example.test; dmarc=pass header.from=example.test",
        "Received: from mail.example.test (mail.example.test [192.0.2.1]) by mx.example.net with ESMTPS; Tue, 24 Nov 2026 10:00:02 +0000",
        f"Message-ID: {panel.result.message_id}",
        f"X-Kit-Trace: {trace}",
        "From: you@example.test",
        "Subject: <img src=x onerror=alert(1)>",
    )
    panel.headers.value = "\n".join(lines)
    assert "dmarc" in panel._explained.value
    assert "mx.example.net" in panel._explained.value
    other = "\n".join(lines).replace(panel.result.message_id, "<other@example.test>").replace(trace, "0" * 12)
    same = panel._explained.value
    panel.headers.value = other
    assert panel._explained.value != same, "another message is not taken for this one"
    assert_harmless(panel)
    panel.headers.value = ""
    assert panel._explained.value == ""


def test_a_saved_password_is_no_part_of_the_page():
    panel = SendPanel()
    type_secret(panel, CANARY)
    assert CANARY not in state(panel)


@pytest.mark.parametrize("words", HOSTILE)
def test_a_hostile_conversation_does_not_act_under_the_pointer(words):
    drawn = clock([Step(name=words, seconds=0.1, ok=False, sent=words, reply=Reply(code=535, lines=(words,)), detail=words)])
    text = drawn.data[1].hovertext[0] + drawn.data[1].y[0]
    assert set(re.findall(r"<[^>]*>?", text)) <= {"<br>"}
    assert all(character.isprintable() for character in text)


# ------------------------------------------------------------------------------------------------ what it was like (pure)


def step(name: str, seconds: float = 0.5, *, ok: bool = True, sent: str | None = None, said: str = "250 Ok") -> Step:
    return Step(name=name, seconds=seconds, ok=ok, sent=sent, reply=Reply(code=int(said[:3]), lines=(said[4:],)))


def result(*steps: Step, accepted: tuple[str, ...] = (), rejected: tuple[str, ...] = ()) -> SendResult:
    return SendResult(
        target="t", host="mx.example.com", port=587, security=Security.STARTTLS, steps=steps, attempt=None, findings=(),
        message_id="<1@example.com>", queue_id=None, accepted=accepted, rejected=rejected, round_trips=0,
    )  # fmt: skip


def test_steps_stand_one_behind_the_other_on_the_clock():
    spans = timeline([step("connect", 0.5), step("ehlo", 0.25), step("ehlo", 1.0)])
    assert [(span.name, span.began, span.seconds) for span in spans] == [("connect", 0, 0.5), ("ehlo", 0.5, 0.25), ("ehlo 2", 0.75, 1.0)]


def test_each_recipient_has_the_answer_that_decided():
    asked = (step("mail"), step("rcpt", sent="RCPT TO:<a@x.test>"), step("rcpt", ok=False, sent="RCPT TO:<b@x.test>", said="550 nobody"))
    assert answers(result(*asked, step("message"), accepted=("a@x.test",), rejected=("b@x.test",))) == (
        ("a@x.test", True, "250 Ok"),
        ("b@x.test", False, "550 nobody"),
    )
    spam = step("message", ok=False, said="554 spam")
    assert answers(result(*asked, spam, rejected=("a@x.test", "b@x.test"))) == (
        ("a@x.test", False, "554 spam"),
        ("b@x.test", False, "550 nobody"),
    )
    assert answers(result(step("auth", ok=False, said="535 no"))) == ()


@pytest.mark.parametrize(
    ("user", "said"),
    [("Ann@Example.com", "the same as who signed in"), ("bob@example.com", "another than bob@example.com"), ("ann", "is no mail address")],
)
def test_from_is_compared_with_who_signed_in(user, said):
    profile = Profile(host="mx.example.com", port=587, security=Security.STARTTLS, user=user)
    mail = build("plain", "ann@example.com", ["c@example.com"])
    signed_in = [step("auth", sent="AUTH SCRAM-SHA-256 ***", said="334 x"), step("auth", sent="***", said="235 ok")]
    rows = dict(facts(mail, signed_in, profile))
    assert said in rows["From"]
    assert rows["Signed in"] == f"as {user}, with SCRAM-SHA-256"
    rows = dict(facts(mail, [step("auth", ok=False, sent="AUTH PLAIN ***", said="535 no")], profile))
    assert rows["Signed in"].startswith("not")
    assert said not in rows["From"]


def test_another_from_than_the_envelopes_sender_is_told():
    mail = build("other-from", "ann@example.com", ["c@example.com"], other="boss@example.com")
    rows = dict(facts(mail, [], Profile(host="mx.example.com", port=587, security=Security.NONE)))
    assert rows["From"] == "boss@example.com"
    assert rows["Envelope's sender"].startswith("ann@example.com")
    assert "everybody" in rows["Protected by TLS"]


ASKED = (step("mail"), step("rcpt"))


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([], "nothing was sent"),
        ([step("mail"), step("rcpt")], "nothing was sent"),
        ([step("data", ok=False, said="451 later")], "nothing was sent"),
        ([*ASKED, step("data", said="354 go on")], "perhaps"),
        ([*ASKED, step("data", said="354 go on"), step("message", sent="the message")], "The server took the message"),
        ([*ASKED, step("data", said="354 go on"), step("message", sent="the message", ok=False, said="221 bye")], "perhaps"),
        ([*ASKED, step("data", said="354 go on"), step("message", sent="the message", ok=False, said="452 4.3.1 disk full")], "no room"),
        ([*ASKED, step("data", said="354 go on"), step("message", ok=False, said="250 too early")], "nothing was sent"),
        ([*ASKED, step("data", said="354 go on"), Step(name="message", seconds=0.5, ok=False, detail="closed")], "nothing was sent"),
        ([*ASKED, step("data", said="354 go on"), Step(name="message", seconds=9.0, ok=False, sent="the message")], "perhaps"),
        # A dot alone is all that goes out where nobody was accepted (RFC 2920 section 3.1).
        ([step("mail"), step("rcpt", ok=False, said="550 nobody"), step("data", said="354 go on")], "nothing was sent"),
    ],
)
def test_what_is_said_of_a_message_that_was_stopped(steps, said):
    mail = build("plain", "ann@example.com", ["c@example.com"])
    assert said in stopped(mail, steps, Profile(host="mx.example.com", port=587, security=Security.TLS)).title
