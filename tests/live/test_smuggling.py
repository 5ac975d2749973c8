"""Whatever passes, no server sees a second command or a second message in it: neither the strictest nor the most careless.

What the kit would put on the wire is read back by two servers of the test's own: one knows CRLF and nothing else, to the other any
mixture of CR and LF ends a line, and any such line with one dot a message.
"""

from __future__ import annotations

import asyncio
import os
import re
from email.header import decode_header
from email.message import Message

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.errors import InvalidMessage
from kit.model import Profile, Reply, Security
from kit.sending.addresses import parse_addresses
from kit.sending.deliver import transaction
from kit.sending.dialogue import Together
from kit.sending.mail import Mail, mail
from kit.sending.message import build_test_message
from kit.sending.reply import parse_offer, parse_reply
from kit.sending.send import send

# All of them where everything is to be shown (`.ci/run`), a tenth on a laptop.
EXAMPLES = 5_000 if os.environ.get("KIT_TEST_REQUIRE_ALL") == "1" else 500
MANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
EHLO = b"250-mail.example.com\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"

# ------------------------------------------------------------------------------------------------- the two readers


def strict(stream: bytes) -> tuple[list[bytes], list[bytes]]:
    """Commands and messages as RFC 5321 sections 2.3.8 and 4.1.1.4 have them."""
    return read(stream, rb"\r\n", rb"(?:\A|(?<=\r\n))\.\r\n")


def careless(stream: bytes) -> tuple[list[bytes], list[bytes]]:
    return read(stream, rb"\r\n|\r|\n", rb"(?:\A|(?<=[\r\n]))\.(?:\r+\n|\r|\n)")


def read(stream: bytes, line_end: bytes, message_end: bytes) -> tuple[list[bytes], list[bytes]]:
    commands, messages, at = [], [], 0
    while at < len(stream):
        end = re.compile(line_end).search(stream, at)
        assert end, "it ends in the middle of a command"
        commands.append(stream[at : end.start()])
        at = end.end()
        if commands[-1].strip().upper() == b"DATA":
            rest = stream[at:]
            end = re.search(message_end, rest)
            assert end, "it ends in the middle of a message"
            messages.append(re.sub(rb"(?m)^\.", b"", rest[: end.start()]))  # section 4.5.2
            at += end.end()
    return commands, messages


def header(message: bytes) -> list[tuple[str, str]]:
    """Field names and values as the most careless reader has them: whatever Unicode calls a line break is one, and spaces are nothing."""
    fields: list[tuple[str, str]] = []
    for line in message.decode("utf-8", "replace").splitlines():
        if not line.strip():
            break
        if line[0] in " \t" and fields:
            fields[-1] = (fields[-1][0], fields[-1][1] + line)
        else:
            name, _, value = line.partition(":")
            fields.append((name.strip().lower(), value))
    return fields


def assert_one_message(stream: bytes, checked: Mail, *, first: int = 0) -> None:
    """In `stream` are the commands for one message, behind `first` others, and that message."""
    expected = [f"MAIL FROM:<{checked.sender}>", *(f"RCPT TO:<{to}>" for to in checked.recipients), "DATA", "QUIT"]
    for reader in (strict, careless):
        commands, messages = reader(stream)
        heard = [command.decode() for command in commands[first:]]
        heard[0] = re.sub(r"( SIZE=\d+| BODY=8BITMIME| SMTPUTF8)*$", "", heard[0])
        assert heard == expected
        assert messages == [checked.content]
    for word in expected:
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", word)
    for name, value in header(checked.content):
        for text, charset in decode_header(value):
            plain = text if isinstance(text, str) else text.decode(charset or "latin-1", "replace")
            assert not re.search(r"[\r\n\0]", plain), name


# ------------------------------------------------------------------------------------------------- what is thrown at the kit

SNIPPETS = [
    *(
        "\r\n",
        "\n",
        "\r",
        ".",
        "\r\n.\r\n",
        "\n.\n",
        "\n.\r\n",
        "\r.\r",
        "\r\n.\r",
        "\0",
        "\x0b",
        "\x0c",
        "\x1b",
        "\x85",
        "\u2028",
        " ",
        "\t",
    ),
    *("MAIL FROM:<eve@example.com>", "RCPT TO:<eve@example.com>", "DATA", "QUIT", "Bcc: eve@example.com", "Subject: x", "From:", ":", ";"),
    *(
        "<",
        ">",
        "@",
        '"',
        "\\",
        ",",
        "(",
        ")",
        "[",
        "]",
        "=?utf-8?q?=0D=0A?=",
        "=?utf-8?b?DQo=?=",
        "=?",
        "?=",
        "%0d%0a",
        "é",
        "你",
        "ﬀ",
        "＠",
        "。",
    ),
    *("anna", "@example.com", "ben@example.net", '"john doe"@example.com', "анна@example.com", "anna@bücher.example", "Team: a@b.example;"),
    *("x" * 70, "y" * 999),
]
NASTY = st.lists(st.one_of(st.sampled_from(SNIPPETS), st.text(max_size=4)), max_size=8).map("".join)
HARMLESS = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=30)
TEXT = st.one_of(NASTY, HARMLESS, st.none())
LOCAL = st.one_of(
    st.text("abcXYZ019.!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=66),
    st.text(st.one_of(st.sampled_from(' @<>,;:.()"'), st.characters()), max_size=20).map(
        lambda t: '"' + re.sub(r'(["\\])', r"\\\1", t) + '"'
    ),
    st.text(min_size=1, max_size=12),
)
DOMAIN = st.sampled_from(
    ["example.com", "bücher.example", "localhost", "[192.0.2.1]", "[IPv6:2001:db8::1]", "a.test", "ex ample.com", "例え.example"]
)
ADDRESS = st.builds("{}@{}".format, LOCAL, DOMAIN)
NAMED = st.builds("{} <{}>".format, st.one_of(HARMLESS.map('"{}"'.format), NASTY, st.just("Anna")), ADDRESS)
WHO = st.one_of(ADDRESS, NAMED, NASTY, st.just("anna@example.com"))

PLAIN = ("anna@example.com", ["ben@example.com"], None, None)


@st.composite
def parts(draw) -> tuple[str, list[str], str | None, str | None]:
    """Sender, recipients, subject and body: one of them hostile, or all."""
    hostile = (WHO, st.lists(WHO, min_size=1, max_size=3), TEXT, TEXT)
    which = draw(st.sampled_from([0, 1, 2, 3, 3, None]))
    return tuple(draw(part) if which in (None, at) else PLAIN[at] for at, part in enumerate(hostile))


GOOD = [
    "Subject: x",
    "X-Y: =?utf-8?q?z?=",
    "Cc: Ben <ben@example.net>",
    "Bcc: Carla <carla@example.org>",
    " folded",
    "",
    ".",
    "..",
    "Grüße: x",
]
BAD = [
    " ",
    "\t",
    "To: eve@example.com",
    "Date: x",
    "Subject : x",
    "X\x0bY: z",
    "X: =?utf-8?q?=0D=0ABcc:_eve=40example.com?=",
    "X: =?utf-8?b?Cg==?=",
]
LINE = st.one_of(*[st.sampled_from(GOOD)] * 3, st.sampled_from(BAD), HARMLESS, NASTY, NASTY.map("X-Z: {}".format))
LF, CRLF = ["\n"], ["\r\n"]


@st.composite
def emls(draw) -> bytes:
    """A file that begins as a message should, and goes on as it likes, with line ends of one kind or of several."""
    first, more = draw(st.sampled_from([(CRLF, CRLF), (LF, LF), (CRLF, CRLF), (LF, LF), (CRLF, [*CRLF, *LF]), (CRLF, [*CRLF, "\r"])]))
    head = ["From: anna@example.com", "To: ben@example.com", *draw(st.sampled_from([[], ["X-Y: z", ""], ["X-Y: z", "", "."]]))]
    lines = draw(st.lists(LINE, max_size=5))
    text = "".join(line + first[0] for line in head) + "".join(line + draw(st.sampled_from(more)) for line in lines)
    return text.replace("⏎", first[0]).encode("utf-8", "surrogatepass") + draw(st.one_of(st.just(b""), st.binary(max_size=6)))


# ------------------------------------------------------------------------------------------------- what comes of it


def octets_of(checked: Mail) -> bytes:
    """What the kit puts on the wire for `checked`, to a server that agrees to everything."""
    offer = parse_offer(parse_reply(EHLO))
    talk, stream = transaction(checked, offer), b""
    try:
        action = next(talk)
        while True:
            actions = action.says if isinstance(action, Together) else [action]
            replies = [Reply(code=354 if say.line == b"DATA" else 250, lines=("ok",)) for say in actions]
            stream += b"".join(say.line + b"\r\n" for say in actions)
            if isinstance(action, Together):
                action.replies.extend(replies)
            action = talk.send(replies[-1])
    except StopIteration:
        return stream


class Count:
    """How many of the examples the kit let pass: if none did, nothing was shown."""

    def __init__(self) -> None:
        self.passed = self.all = 0

    def passes(self, work) -> Message | Mail | None:
        self.all += 1
        try:
            result = work()
        except InvalidMessage:
            return None
        self.passed += 1
        return result


def test_nothing_that_is_built_smuggles():
    count = Count()

    @MANY
    @given(parts())
    def run(given):
        sender, recipients, subject, body = given
        checked = count.passes(lambda: mail(build_test_message(sender, recipients, subject=subject, body=body)))
        if checked:
            assert_one_message(octets_of(checked), checked)
            assert set(checked.recipients) == {
                box.address for text in recipients for box in parse_addresses("To", text)
            }  # folding lost none
            names = [name for name, _ in header(checked.content)]
            assert names[:7] == ["from", "to", "subject", "date", "message-id", "auto-submitted", "x-kit-trace"]
            assert sorted(names[7:]) == ["content-transfer-encoding", "content-type", "mime-version"]

    run()
    assert count.passed > count.all / 5


def test_no_file_smuggles():
    count = Count()

    @MANY
    @given(emls())
    def run(octets):
        checked = count.passes(lambda: mail(octets))
        if checked:
            assert_one_message(octets_of(checked), checked)
            names = [name for name, _ in header(checked.content)]
            head = checked.content.partition(b"\r\n\r\n")[0]
            assert names == [line.partition(b":")[0].decode().lower() for line in head.split(b"\r\n") if line[:1] not in b" \t"]
            assert "bcc" not in names
            assert [names.count(name) for name in ("from", "to", "date", "message-id")] == [1, 1, 1, 1]

    run()
    assert count.passed > count.all / 5


class Recorder:
    """A server that agrees to everything, and keeps every octet that it was sent."""

    def __init__(self) -> None:
        self.heard = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard = b""

        async def hear(end: bytes) -> bytes:
            octets = await reader.readuntil(end)
            self.heard += octets
            return octets

        try:
            writer.write(b"220 mail.example.com ESMTP\r\n")
            while (word := (await hear(b"\r\n"))[:4].upper()) != b"QUIT":
                writer.write({b"EHLO": EHLO, b"DATA": b"354 Go on\r\n"}.get(word, b"250 Ok\r\n"))
                if word == b"DATA":
                    await hear(b"\r\n.\r\n")
                    writer.write(b"250 Ok\r\n")
            writer.write(b"221 Bye\r\n")
        finally:
            writer.close()


def test_nothing_that_is_sent_smuggles():
    count = Count()
    with asyncio.Runner() as runner:
        recorder = Recorder()
        server = runner.run(asyncio.start_server(recorder, "127.0.0.1", 0, limit=1 << 20))
        profile = Profile(host="127.0.0.1", port=server.sockets[0].getsockname()[1], security=Security.NONE, timeout=5.0)

        @settings(MANY, max_examples=300)
        @given(st.one_of(parts(), emls()))
        def run(given):
            if isinstance(given, bytes):
                checked = count.passes(lambda: mail(given))
            else:
                sender, recipients, subject, body = given
                checked = count.passes(lambda: mail(build_test_message(sender, recipients, subject=subject, body=body)))
            if checked:
                result = runner.run(send(profile, checked))
                assert result.accepted == checked.recipients, result.findings
                assert_one_message(recorder.heard, checked, first=1)

        run()
        server.close()
    assert count.passed > 30


def test_the_readers_see_what_there_is_to_see():
    envelope = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
    hidden = b"MAIL FROM:<eve@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nsecond\r\n.\r\nQUIT\r\n"
    for end in (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r\n.\n", b"\r.\n", b"\n.\r", b"\r\n.\r\r\n"):
        stream = envelope + b"first" + end + hidden
        assert len(strict(stream)[1]) == 1, end
        assert len(careless(stream)[1]) == 2, end
    assert len(strict(envelope + b"first\r\n.\r\n" + hidden)[1]) == 2
    assert strict(envelope + b"..\r\n.\r\nQUIT\r\n")[1] == careless(envelope + b"..\r\n.\r\nQUIT\r\n")[1] == [b".\r\n"]
    assert header("A: b\x85C: d\u2028E: f\r\n g\r\n\r\nH: i".encode()) == [("a", " b"), ("c", " d"), ("e", " f g")]
