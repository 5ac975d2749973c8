"""Our own faults, one tree. What a server says is a value (`kit.model.Reply`), never one of these.

KitError
├── UsageError (ValueError)            wrong use: an argument, a profile, an option         → exit 2
│   ├── ProfileError                   a profile that is missing, or does not read
│   └── InvalidMessage                 an address, header or body that must not be sent
├── UnreadableInput (OSError)          a file, folder or stream that cannot be read        → exit 2
├── KnowledgeError                     a table of ours is wrong: a defect, please report it
├── ProtocolRefusal                    the kit refuses to go on (laws 1 and 2)
│   ├── PasswordInClear                AUTH would reveal the password on this connection
│   └── BudgetSpent                    no sign-in attempt is left for this account
└── VaultError                         the vault would not store, read or forget a secret

Each carries `what` (what is wrong), `where` (the file, option or host it concerns) and `next_step`
(what to do), and prints as the three together.
"""

from __future__ import annotations


class KitError(Exception):
    """Base of every fault the kit raises.

    Args:
        what: what is wrong, a short clause in plain words.
        where: the file, option, host or field it concerns; empty where there is none.
        next_step: what the reader can do about it.
    """

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        self.what = what
        self.where = where
        self.next_step = next_step
        super().__init__(what)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}. {self.next_step}" if self.next_step else head


class UsageError(KitError, ValueError):
    """Wrong use of a command or function."""


class ProfileError(UsageError):
    """A profile is missing, or its file does not read."""


class InvalidMessage(UsageError):
    """An address, header or body that must not go out.

    Args:
        rule: its name in `kit/knowledge/message_rules.toml`.
    """

    def __init__(self, what: str, *, where: str = "", next_step: str = "", rule: str = "") -> None:
        self.rule = rule
        super().__init__(what, where=where, next_step=next_step)


class UnreadableInput(KitError, OSError):
    """A file, folder or stream that cannot be read."""

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        KitError.__init__(self, what, where=where, next_step=next_step)


class KnowledgeError(KitError):
    """One of the kit's own tables is wrong."""


class ProtocolRefusal(KitError):
    """The kit refuses to go on, to keep laws 1 and 2 of its design."""


class PasswordInClear(ProtocolRefusal):
    """AUTH would reveal the password on a connection that is not verified TLS."""


class BudgetSpent(ProtocolRefusal):
    """No sign-in attempt is left for this account within the hour."""


class VaultError(KitError):
    """The vault would not store, read or forget a secret."""
