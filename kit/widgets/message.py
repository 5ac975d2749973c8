"""The form that makes a test message: one that teaches something, or a file of the reader's own."""

from __future__ import annotations

from typing import Any, Final

import ipywidgets as w

from kit.errors import KitError, UsageError
from kit.model import Profile
from kit.sending.entries import Series, series_of
from kit.sending.mail import MAX_FILE, Mail, mail, typed_mailboxes
from kit.sending.samples import ATTACHED, MAX_ATTACHMENT, message_of, samples
from kit.widgets.common import escape, say
from kit.widgets.results import findings_html

_FILE: Final = "file"
_WIDE: Final = "min(560px, 95%)"
_FILE_TOLD: Final = "The file goes out as it is, if it may: it is held to the same rules as every message here. Bcc is taken out."


class MessageForm(w.VBox):
    """Choose a message, and who sends it to whom."""

    def __init__(self) -> None:
        self._samples = {sample.kind: sample for sample in samples()}
        self._file: tuple[str, bytes] | None = None
        options = [*((sample.title, kind) for kind, sample in self._samples.items()), ("a message of your own: an .eml file …", _FILE)]
        self.kind = w.Dropdown(description="Message", options=options, layout=w.Layout(width=_WIDE))
        self.told = w.HTML()
        self.upload = w.FileUpload(
            description="Choose the file",
            tooltip="Send a message from the machine this page is on",
            accept=".eml",
            layout=w.Layout(width="fit-content", margin="2px 2px 2px 90px"),
        )
        self.size = w.BoundedIntText(description="Octets", min=1, max=MAX_ATTACHMENT, value=ATTACHED, step=100_000)
        self.other = w.Text(description="Other", placeholder="somebody else in your domain")
        self.sender = w.Text(description="From", placeholder="as who signs in")
        self.recipient = w.Text(description="To", placeholder="to yourself", layout=w.Layout(width=_WIDE))
        self.subject = w.Text(description="Subject", placeholder="says that it is a test", layout=w.Layout(width=_WIDE))
        self.kind.observe(self._show, "value")
        self.upload.observe(self._take, "value")
        super().__init__([self.kind, self.told, self.upload, self.size, self.other, self.sender, self.recipient, self.subject])
        self._show()

    @property
    def is_file(self) -> bool:
        """A file of the reader's own, which goes out once."""
        return bool(self.kind.value == _FILE)

    @property
    def refused(self) -> str | None:
        """What it means when a server refuses this one, though it took a plain one."""
        return self._samples[self.kind.value].refused if not self.is_file and self.kind.value != "plain" else None

    @property
    def recipients(self) -> int:
        """How many get it.

        Raises:
            InvalidMessage: what is typed is no list of addresses.
        """
        to = self.recipient.value.strip()
        return len({box.address for box in typed_mailboxes("To", [to])}) if to else 1

    def make(self, profile: Profile) -> Mail:
        """The message, from whoever signs in unless another is named.

        Raises:
            UsageError: no file is chosen, nobody sends it, or it would be too large.
            InvalidMessage: it must not go out.
        """
        if not self.is_file:
            return message_of(self.series(profile, 1))
        if self._file is None:
            raise UsageError("no file is chosen", where="Message", next_step="Press “Choose the file”, or choose another message")
        name, octets = self._file
        to = self.recipient.value.strip()
        return mail(octets, sender=self.sender.value.strip() or None, recipients=[to] if to else None, origin=name)

    def series(self, profile: Profile, messages: int) -> Series:
        """So many of them, as a journal keeps it.

        Raises:
            UsageError: nobody sends it.
        """
        sender, kind = self.sender.value.strip() or profile.sender or profile.user, self.kind.value
        if not sender:
            raise UsageError("nobody is named as sender", where="From", next_step="Type the address that it is to come from")
        return series_of(
            profile,
            messages=messages,
            sender=sender,
            recipients=(self.recipient.value.strip() or sender,),
            kind=kind,
            subject=self.subject.value.strip() or None,
            size=self.size.value if kind == "attachment" else None,
            other=self.other.value.strip() or None,
        )

    def _show(self, _: Any = None) -> None:
        kind, is_file = self.kind.value, self.is_file
        for field, wanted in (
            (self.upload, is_file),
            (self.size, kind == "attachment"),
            (self.other, kind in ("other-from", "reply-to")),
            (self.subject, not is_file),
        ):
            field.layout.display = None if wanted else "none"
        self.other.description = "Reply-To" if kind == "reply-to" else "Other From"
        self.sender.placeholder, self.recipient.placeholder = ("as in the file",) * 2 if is_file else ("as who signs in", "to yourself")
        if is_file:
            self._judge()
            return
        sample = self._samples[kind]
        self.told.value = f'<div class="kit-hint"><div><b>What it shows:</b> {escape(sample.shows)}</div><div><b>What a refusal means:</b> {escape(sample.refused)}</div></div>'

    def _take(self, change: Any) -> None:
        if change["new"]:
            file = change["new"][0]
            # One octet more than may be is enough to tell that it is too many.
            self._file = file.name[-100:], bytes(file.content[: MAX_FILE + 1])
            self.upload.value = ()  # what was sent is no part of the page
            self._judge()

    def _judge(self) -> None:
        """What is wrong with the file is said as soon as it is here."""
        told = f'<div class="kit-hint">{_FILE_TOLD}</div>'
        if self._file:
            name, octets = self._file
            try:
                made = mail(octets, origin=name)
                told += say(f"{name}: {len(octets):,} octets, from {made.sender} to {', '.join(made.recipients)}") + findings_html(
                    made.notes
                )
            except KitError as fault:
                told += say(str(fault), problem=True)
        self.told.value = told
