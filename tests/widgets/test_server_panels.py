"""The panels of notebooks 01 and 03 against the sandbox, without a browser; and the small parts they are made of."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import replace

import ipywidgets as w
import pytest

import kit
from kit.checks.candidates import Candidate, Source, Told, judge
from kit.errors import UsageError
from kit.model import Cause, Finding, Outcome, Profile, Reply, Security, Severity, Step
from kit.profiles import load_profile, save_profile
from kit.widgets import common
from kit.widgets.check import CheckPanel
from kit.widgets.explain import ExplainPanel
from kit.widgets.explorer import Explorer
from kit.widgets.logs import LogPanel
from kit.widgets.message import MessageForm
from kit.widgets.results import findings_html, steps_html
from kit.widgets.send import SendPanel
from kit.widgets.server import ServerForm
from kit.widgets.start import StartPanel
from tests.live.check_servers import make_pki, serve, smtp
from tests.servers.openssl_server import client_file
from tests.widgets.pages import Page, assert_harmless, shown, state
from tests.widgets.test_explorer import HOSTILE

CANARY = "canary-9F-typed-here"


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("KIT_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("KIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")


async def press(panel) -> None:
    """Presses the panel's button and waits until it can be pressed again."""
    panel.button.click()
    assert panel.button.disabled, "not twice at once"
    await until(lambda: not panel.button.disabled)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a panel tells pages, and not us, that it has changed
            await asyncio.sleep(0.02)


def choose(panel, title: str) -> None:
    panel.form.kind.value = next(option for option in panel.form.kind.options if title in option)


def type_secret(panel, text: str) -> None:
    panel.form.password._handle_custom_msg({"kind": "secret", "text": text}, [])


# ------------------------------------------------------------------------------------------------ 01 and 03


async def test_a_check_that_finds_nothing():
    panel = CheckPanel()
    await press(panel)
    assert panel.result.ok
    assert panel.result.attempt.outcome is Outcome.SUCCESS
    assert "All well" in shown(panel)
    assert "235" in shown(panel)
    assert_harmless(panel)


async def test_a_check_looks_around_first():
    panel = CheckPanel()
    await press(panel)
    page = shown(panel)
    # The sandbox has two doors, and the same ways to sign in behind each.
    assert page.count("IPv4 127.0.0.1") == 2
    assert page.count("use this") == 1
    assert page.count("safe") >= 3
    panel.others.value = False
    await press(panel)
    assert shown(panel).count("IPv4 127.0.0.1") == 1


async def test_settings_that_were_checked_can_be_saved():
    panel = CheckPanel()
    async with serve(smtp()) as server:
        await check_another(panel, server.port, "none")
    assert panel._keep.layout.display == "flex"
    panel.save.click()
    assert "Problem:" in shown(panel)  # it has no name yet
    panel.name.value = "practice"
    panel.save.click()
    assert load_profile("practice").port == server.port
    assert_harmless(panel)


async def test_settings_that_lead_to_no_sign_in_are_not_offered_to_be_saved():
    panel = CheckPanel()
    async with kit.open_sandbox() as sandbox:  # whose authority nobody knows
        await check_another(panel, sandbox.port, "starttls")
    assert panel._keep.layout.display == "none"


async def test_settings_with_which_a_password_was_refused_can_be_saved(monkeypatch, tmp_path):
    pki = make_pki(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", pki.ca_file)
    panel = CheckPanel()
    async with serve(smtp({b"AUTH": b"535 5.7.8 no\r\n"}), tls=pki.server()) as server:
        choose(panel, "another server")
        panel.form.user.value = "anna"
        type_secret(panel, CANARY)
        await check_another(panel, server.port, "tls")
    assert panel.result.attempt.outcome is Outcome.FAILURE
    assert panel._keep.layout.display == "flex"


async def check_another(panel: CheckPanel, port: int, security: str) -> None:
    choose(panel, "another server")
    panel.form.host.value, panel.form.security.value = "127.0.0.1", security
    panel.form.port.value = port
    panel.others.value = False
    await press(panel)


async def test_a_check_without_signing_in():
    panel = CheckPanel()
    panel.sign_in.value = False
    await press(panel)
    assert panel.result.attempt is None


@pytest.mark.parametrize("panel_class", [CheckPanel, SendPanel])
async def test_a_wrong_password_is_one_failed_try_and_shown_nowhere(panel_class, tmp_path):
    panel = panel_class()
    type_secret(panel, CANARY)
    await press(panel)
    assert panel.result.attempt.outcome is Outcome.FAILURE
    assert sum((step.sent or "").startswith("AUTH ") for step in panel.result.steps) == 1
    assert "535" in shown(panel)
    assert not (tmp_path / "state").exists(), "a sandbox's failed sign-ins are not counted with those of real servers"
    blob = base64.b64encode(CANARY.encode()).decode().rstrip("=")[:-2]
    assert CANARY not in state(panel)
    assert blob not in state(panel)
    assert_harmless(panel)


@pytest.mark.parametrize("panel_class", [CheckPanel, SendPanel])
async def test_a_field_left_empty_is_said_and_nothing_is_tried(panel_class):
    panel = panel_class()
    choose(panel, "another server")
    await press(panel)
    assert panel.result is None
    assert "Problem:" in shown(panel)
    assert "should not happen" not in shown(panel)


@pytest.mark.parametrize("line", ["AUTH PLAIN {}", "{}"])
def test_a_pasted_password_does_not_stay_in_the_box(line):
    blob = base64.b64encode(f"\0ann@example.com\0{CANARY}".encode()).decode()
    panel = ExplainPanel()
    panel.text.value = line.format(blob)
    assert "ann@example.com" in shown(panel)
    assert CANARY not in state(panel)
    assert blob not in state(panel)
    panel.text.value = "535 5.7.8 Error: authentication failed"
    assert panel.text.value.startswith("535")


# ------------------------------------------------------------------------------------------------ the form


def test_a_secret_is_for_the_server_it_was_typed_for():
    form = ServerForm()
    form.password._handle_custom_msg({"kind": "secret", "text": CANARY}, [])
    assert "memory" in form.password.status
    form.kind.value = form.kind.options[-1]
    assert form._secret is None
    assert form.password.status == ""


@pytest.mark.parametrize(("security", "port"), [("tls", 465), ("starttls", 587), ("none", 25)])
def test_the_port_follows_the_security(security, port):
    form = ServerForm()
    form.security.value = "none" if security == "tls" else "tls"
    form.security.value = security
    assert form.port.value == port


async def test_a_saved_profile_can_be_chosen():
    profile = Profile(name="scanner", host="mx.example.com", port=587, security=Security.STARTTLS)
    save_profile(profile)
    form = ServerForm()
    form.kind.value = "profile: scanner"
    async with form.choice() as chosen:
        assert chosen.profile == profile
        assert chosen.secret is None
        assert chosen.budget is None, "a real server's failed sign-ins count in the real book"


async def test_a_secret_goes_with_another_server_too():
    form = ServerForm()
    form.kind.value = form.kind.options[-1]
    form.host.value, form.user.value = "mx.example.com", "ann@example.com"
    form.mechanism.value = "LOGIN"
    form.password._handle_custom_msg({"kind": "secret", "text": CANARY}, [])
    async with form.choice() as chosen:
        assert chosen.secret.reveal() == CANARY
        assert (chosen.profile.host, chosen.profile.port, chosen.profile.mechanism) == ("mx.example.com", 465, "LOGIN")


# ------------------------------------------------------------------------------------------------ 00


async def test_the_start_panel_looks_around(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mail.log<b>").write_text("")
    monkeypatch.chdir(tmp_path)
    panel = StartPanel()
    await until(lambda: "This session" in shown(panel))
    assert "mail.log<b>" in shown(panel)
    assert_harmless(panel)


def test_without_a_kernel_it_looks_at_once():
    assert "This session" in shown(StartPanel())


def test_the_explanation_follows_the_box():
    panel = ExplainPanel()
    assert panel.answer.value == ""
    panel.text.value = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant."
    assert "SMTP AUTH is switched off" in panel.answer.value
    panel.text.value = "  "
    assert panel.answer.value == ""


@pytest.mark.parametrize("words", HOSTILE)
def test_a_hostile_reply_is_explained_and_does_not_act(words):
    panel = ExplainPanel(f"535 5.7.8 {words}")
    assert_harmless(panel)


# ------------------------------------------------------------------------------------------------ parts


async def test_a_certificate_goes_with_another_server_and_signs_in_only_where_that_is_wanted(tmp_path, monkeypatch):
    tls = make_pki(tmp_path).server()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))  # the form has no field for authorities
    panel = CheckPanel()
    panel.form.kind.value = panel.form.kind.options[-1]
    panel.form.cert.value = f" {client_file(tmp_path, 'anna', None)} "
    panel.others.value = False
    said = smtp({b"EHLO": b"250-mail.example.test\r\n250 AUTH PLAIN EXTERNAL\r\n"})
    for wanted in (False, True):
        panel.sign_in.value = wanted
        async with serve(said, tls=tls) as server:
            panel.form.host.value, panel.form.security.value, panel.form.port.value = "127.0.0.1", "tls", server.port
            await press(panel)
            assert (b"AUTH EXTERNAL =" in server.heard) is wanted
        assert (panel.result.attempt is not None) is wanted


@pytest.mark.parametrize("panel", [CheckPanel, SendPanel, ServerForm, MessageForm, StartPanel, ExplainPanel, LogPanel, Explorer])
def test_a_panel_takes_no_name_that_ipywidgets_uses(panel):
    """A method called `open` would keep the widget from ever reaching the page."""
    bare = type("Bare", (w.VBox,), {})
    assert not (set(vars(panel)) - set(vars(bare)) - {"__init__"}) & set(dir(w.VBox))


@pytest.mark.parametrize("words", HOSTILE)
def test_steps_and_findings_do_not_act(words):
    step = Step(name=words, seconds=0.1, ok=False, sent=words, reply=Reply(code=535, lines=(words,)), detail=words)
    finding = Finding(cause=Cause.UNKNOWN, severity=Severity.ERROR, title=words, next_step=words, evidence=(words,))
    assert_harmless(w.VBox([w.HTML(steps_html([step])), w.HTML(findings_html((finding,)))]))


def test_findings_come_the_worst_first_and_in_words():
    order = [Severity.NOTE, Severity.ERROR, Severity.OK, Severity.WARNING]
    made = [Finding(cause=Cause.UNKNOWN, severity=s, title=f"t-{s.value}", next_step="") for s in order]
    text = Page(findings_html(tuple(made))).text
    assert text == "Error: t-errorWarning: t-warningNote: t-noteAll well: t-ok"


def test_a_long_answer_is_cut():
    step = Step(name="banner", seconds=0.1, ok=True, reply=Reply(code=220, lines=("x" * 100_000,)))
    assert len(steps_html([step])) < 2_000


def test_escape_keeps_letters_of_all_alphabets():
    assert common.escape("Grüße, Привет, 日本 \N{PILE OF POO}") == "Grüße, Привет, 日本 \N{PILE OF POO}"


async def fails(fault: BaseException) -> None:
    raise fault


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (UsageError("no such <host>", where="--host", next_step="Name another"), "Problem: --host: no such <host>. Name another"),
        (RuntimeError("password=hunter2secret"), "Problem: This should not happen (RuntimeError at"),
    ],
)
async def test_what_goes_wrong_in_a_task_is_said(fault, said):
    status, done = w.HTML(), []
    await common.spawn(fails(fault), status, done=lambda: done.append(1))
    assert Page(status.value).text.startswith(said)
    assert "hunter2secret" not in status.value
    assert done == [1]


async def test_a_task_that_is_stopped_says_so():
    status, done = w.HTML(), []
    task = common.spawn(asyncio.sleep(60), status, done=lambda: done.append(1))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert Page(status.value).text == "Stopped."
    assert done == [1]


def test_a_task_outlives_its_caller():
    async def main() -> None:
        status = w.HTML()
        common.spawn(asyncio.sleep(0.01), status)
        assert len(common._tasks) == 1
        await asyncio.sleep(0.05)
        assert not common._tasks

    asyncio.run(main())


# ------------------------------------------------------------------------------------------------ discovery and replay


async def test_an_address_fills_in_the_form(monkeypatch):
    server = Candidate(source=Source.SRV, host="mail.example.org", port=465, security=Security.TLS)

    async def discover(target):
        return judge(target, "example.org", (Told(source=Source.SRV, candidates=(server,), why="_submissions._tcp.example.org"),))

    monkeypatch.setattr("kit.widgets.server.discover", discover)
    panel = CheckPanel()
    choose(panel, "another server")
    form = panel.form
    form.address.value = "ann@example.org"
    form.find.click()
    await until(lambda: "SRV" in shown(form))
    filled = form.host.value, form.port.value, form.security.value, form.user.value
    assert filled == ("mail.example.org", 465, "tls", "ann@example.org")


async def test_a_failure_can_be_played_in_the_sandbox():
    refusal = "454 4.7.0 Temporary authentication failure: Connection lost to authentication server"
    async with kit.open_sandbox(f"sign-in:{refusal}") as real:
        save_profile(replace(real.profile(), name="real"))
        panel = CheckPanel()
        choose(panel, "profile: real")
        panel.others.value = False
        type_secret(panel, "any, for this server says the same to all")
        await press(panel)
        causes = {finding.cause for finding in panel.result.findings if finding.severity is Severity.ERROR}
        assert causes == {Cause.BACKEND_UNAVAILABLE}
    panel.replay.click()
    await press(panel)
    assert panel.result.attempt.outcome is Outcome.SERVER_ERROR
    assert "Connection lost to authentication server" in shown(panel)
    assert {finding.cause for finding in panel.result.findings if finding.severity is Severity.ERROR} == causes
