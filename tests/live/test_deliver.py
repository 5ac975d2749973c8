"""One message, command by command: what may go out together, and what each answer comes to (RFC 5321, RFC 2920)."""

from __future__ import annotations

import pytest

from kit.model import Cause, Profile, Security
from kit.sending.deliver import Delivered, transaction, unfit
from kit.sending.dialogue import Say, Together
from kit.sending.mail import Mail
from kit.sending.reply import Offer, parse_reply

BEN, EVE = "ben@example.net", "eve@example.net"
YES = {
    "mail": "250 Ok",
    "rcpt": "250 Ok",
    "data": "354 Go on",
    "message": "250 Ok: queued as 4C0FFEE123",
    "dot": "554 no valid recipients",
    "rset": "250 Ok",
    "quit": "221 Bye",
}
PIPELINED = Offer(accepted=True, extensions=frozenset({"PIPELINING"}))
PLAIN = Offer(accepted=True)


def a_mail(content: bytes = b"From: anna@example.com\r\n\r\nhello\r\n", *, to=(BEN,), needs=()) -> Mail:
    return Mail(
        sender="anna@example.com",
        recipients=to,
        content=content,
        needs=frozenset(needs),
        message_id="<1@example.com>",
        trace="c0ffee123456",
        notes=(),
    )


def play(mail: Mail, offer: Offer, answers: dict[str, str] | None = None, **how) -> tuple[Delivered, list[list[Say]]]:
    """What came of it, and what went out, piece by piece. An answer stands under a command, or under a command and an address."""
    talk, pieces = transaction(mail, offer, **how), []

    def answer(say: Say):
        table = YES | (answers or {})
        text = next((table[key] for key in table if key.startswith(f"{say.name} ") and key.split()[1] in say.shown), table[say.name])
        return parse_reply(text.encode() + b"\r\n")

    try:
        action = next(talk)
        while True:
            says = list(action.says) if isinstance(action, Together) else [action]
            pieces.append(says)
            replies = [answer(say) for say in says]
            if isinstance(action, Together):
                action.replies += replies
            action = talk.send(replies[-1])
    except StopIteration as end:
        return end.value, pieces


def names(pieces: list[list[Say]]) -> list[list[str]]:
    return [[say.name for say in piece] for piece in pieces]


def test_with_pipelining_a_mail_takes_two_round_trips():
    # RFC 2920 section 3.1: MAIL and RCPT may stand anywhere in a group, DATA at its end; the content begins the next, QUIT ends it.
    done, pieces = play(a_mail(to=(BEN, EVE)), PIPELINED)
    assert names(pieces) == [["mail", "rcpt", "rcpt", "data"], ["message", "quit"]]
    assert done == Delivered(accepted=(BEN, EVE), queue_id="4C0FFEE123")


def test_without_it_every_command_waits_for_its_answer():
    _, pieces = play(a_mail(to=(BEN, EVE)), PLAIN)
    assert names(pieces) == [["mail"], ["rcpt"], ["rcpt"], ["data"], ["message"], ["quit"]]


def test_in_a_series_nothing_says_goodbye_but_the_last():
    _, pieces = play(a_mail(), PIPELINED, last=False)
    assert names(pieces) == [["mail", "rcpt", "data"], ["message"]]


@pytest.mark.parametrize("offer", [PIPELINED, PLAIN])
def test_a_dry_run_gives_no_message(offer):
    done, pieces = play(a_mail(), offer, dry_run=True)
    said = [say.name for piece in pieces for say in piece]
    assert said == ["mail", "rcpt", "rset", "quit"]
    assert done.accepted == (BEN,)


@pytest.mark.parametrize("offer", [PIPELINED, PLAIN])
@pytest.mark.parametrize("content", ["250 Ok: queued as TOOEARLY1", "550 5.7.1 no"])
@pytest.mark.parametrize("late", ["250 Ok: queued as REALLY123", "550 5.7.1 no", "354 go on"])
def test_where_quit_gets_the_answer_to_something_else_the_message_is_in_doubt(offer, content, late):
    # RFC 5321 section 4.3.2: the answer to QUIT is 221. Another one was to what came before, and so were all before it.
    done, _ = play(a_mail(to=(BEN, EVE)), offer, {f"rcpt {EVE}": "550 nobody", "message": content, "quit": late})
    assert (done.accepted, done.rejected, done.queue_id) == ((), (EVE,), None)
    assert done.unclear is not None
    assert done.unclear.code == int(late[:3])


@pytest.mark.parametrize("offer", [PIPELINED, PLAIN])
@pytest.mark.parametrize("farewell", ["221 bye", "421 4.4.2 shutting down", ""])
def test_a_goodbye_of_the_servers_own_or_none_leaves_the_answer_as_it_is(offer, farewell):
    done, _ = play(a_mail(), offer, {"quit": farewell})
    assert (done.accepted, done.unclear) == ((BEN,), None)


@pytest.mark.parametrize("offer", [PIPELINED, PLAIN])
def test_a_dry_run_whose_answers_are_out_of_step_tells_nothing_of_anybody(offer):
    done, _ = play(a_mail(), offer, {"quit": "550 5.1.1 no such user"}, dry_run=True)
    assert (done.accepted, done.rejected) == ((), ())
    assert [(stage, reply.code) for stage, _, reply in done.refusals] == [("quit", 550)]


@pytest.mark.parametrize("offer", [PIPELINED, PLAIN])
def test_one_refused_recipient_does_not_keep_the_others_from_it(offer):
    done, pieces = play(a_mail(to=(BEN, EVE)), offer, {f"rcpt {EVE}": "550 5.1.1 no such user"})
    assert (done.accepted, done.rejected) == ((BEN,), (EVE,))
    assert [(stage, to, reply.code) for stage, to, reply in done.refusals] == [("rcpt", EVE, 550)]
    assert sum(say.name == "message" for piece in pieces for say in piece) == 1


@pytest.mark.parametrize("offer", [PIPELINED, PLAIN])
def test_a_refused_sender_is_one_refusal_whatever_is_said_behind_it(offer):
    done, pieces = play(a_mail(), offer, {"mail": "550 5.7.60 not you", "rcpt": "503 5.5.1 need MAIL", "data": "503 5.5.1 need RCPT"})
    assert (done.accepted, done.rejected) == ((), (BEN,))
    assert [(stage, reply.code) for stage, _, reply in done.refusals] == [("mail", 550)]
    assert not any(say.name == "message" for piece in pieces for say in piece)


def test_a_server_that_wants_a_message_for_nobody_gets_an_empty_one():
    # RFC 2920 section 3.1: DATA may get 354 though every recipient was refused; the client then sends a dot alone.
    done, pieces = play(a_mail(), PIPELINED, {"rcpt": "550 no"})
    assert [(say.name, say.line) for say in pieces[-1]] == [("dot", b".")]  # not "message": none went out
    assert (done.accepted, done.rejected, done.queue_id) == ((), (BEN,), None)
    assert [stage for stage, _, _ in done.refusals] == ["rcpt"]


def test_without_pipelining_nobody_to_send_to_is_no_data():
    done, pieces = play(a_mail(), PLAIN, {"rcpt": "450 4.2.0 later"})
    assert names(pieces) == [["mail"], ["rcpt"]]
    assert done.rejected == (BEN,)


@pytest.mark.parametrize("offer", [PIPELINED, PLAIN])
@pytest.mark.parametrize("where", ["data", "message"])
def test_a_no_to_the_message_is_a_no_for_everybody(offer, where):
    done, _ = play(a_mail(to=(BEN, EVE)), offer, {where: "554 5.7.1 spam"})
    assert (done.accepted, done.rejected) == ((), (BEN, EVE))
    assert [(stage, reply.code) for stage, _, reply in done.refusals] == [("data", 554)]


# RFC 5321 section 4.3.2: 250 is the yes to a message. 221 is that to QUIT, 235 to AUTH, 220 to STARTTLS, 214 to HELP.
@pytest.mark.parametrize("said", ["354 go on", "what?", "199 hm", "221 2.0.0 Bye", "235 2.7.0 ok", "220 go", "214 see RFC 5321"])
def test_an_answer_to_the_content_that_is_none_leaves_it_open(said):
    done, _ = play(a_mail(), PIPELINED, {"message": said})
    assert (done.accepted, done.rejected) == ((), ())
    assert done.unclear is not None


def test_dots_are_doubled_where_they_begin_a_line_and_nowhere_else():
    # RFC 5321 section 4.5.2.
    content = b"A: b\r\n\r\n.\r\n..x\r\nx.\r\n.y.\r\n"
    _, pieces = play(a_mail(content), PLAIN)
    assert pieces[-2][0].line == b"A: b\r\n\r\n..\r\n...x\r\nx.\r\n..y.\r\n."  # the wire adds the last line end


def test_what_is_said_with_mail_is_what_the_server_offers():
    offer = Offer(accepted=True, extensions=frozenset({"SIZE", "DSN", "8BITMIME", "SMTPUTF8"}))
    mail = a_mail(needs=("8BITMIME", "SMTPUTF8"))
    _, pieces = play(mail, offer)
    # RFC 1870 section 5, RFC 6152 section 3, RFC 6531 section 3.4, RFC 3461 sections 4.3 and 4.4.
    assert pieces[0][0].shown == f"MAIL FROM:<anna@example.com> SIZE={mail.size} BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=c0ffee123456"
    _, pieces = play(a_mail(), PLAIN)
    assert pieces[0][0].shown == "MAIL FROM:<anna@example.com>"


@pytest.mark.parametrize(
    ("mail", "offer", "cause"),
    [
        (a_mail(b"x" * 1001), Offer(accepted=True, size=1000), Cause.QUOTA),
        (a_mail(needs=("SMTPUTF8", "8BITMIME")), Offer(accepted=True, extensions=frozenset({"8BITMIME"})), Cause.RECIPIENT),
        (a_mail(needs=("8BITMIME",)), PLAIN, Cause.MALFORMED),
        (a_mail(b"x" * 1000), Offer(accepted=True, size=1000), None),
        (a_mail(needs=("8BITMIME",)), Offer(accepted=True, extensions=frozenset({"8BITMIME"})), None),
    ],
)
def test_what_the_server_lacks_is_known_before_it_is_asked(mail, offer, cause):
    lack = unfit(mail, offer, Profile(host="mail.example.com", port=587, security=Security.STARTTLS))
    assert (lack and lack.cause) == cause
