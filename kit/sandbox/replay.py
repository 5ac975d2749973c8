"""A scenario by its name: one of the table, or one that the name itself describes.

reply:ID       an entry of knowledge/replies.toml, in the words of its example
STAGE:REPLY    a reply of the operator's own, such as `rcpt:550 5.1.1 No such user`
FAULT:STAGE    such as `reset:mail`
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from kit.errors import UsageError
from kit.explain import explain
from kit.knowledge.load import load_table
from kit.sandbox.record import printable
from kit.sandbox.scenarios import Fault, Scenario, Stage, scenarios
from kit.sending.signin import outcome_of

_REPLY: Final = re.compile(r"(?:^|: )([345][0-9]{2})[ -]")
_EXPLAINED_AS: Final = {Stage.SIGN_IN: "auth", Stage.IN_CLEAR: "auth", Stage.END_OF_DATA: "data"}


def find_scenario(name: str) -> Scenario:
    """The scenario of that name.

    Raises:
        UsageError: there is none.
    """
    for scenario in scenarios():
        if scenario.name == name:
            return scenario
    kind, _, rest = name.partition(":")
    if kind == "reply":
        return _entry(rest)
    if kind in frozenset(Stage) - {Stage.CONNECT} and (found := _REPLY.match(rest)):
        return _saying(Stage(kind), _as_reply(rest, found[1]), name)
    if kind in frozenset(Fault) and rest in frozenset(Stage) - {Stage.IN_CLEAR}:
        return _failing(Fault(kind), Stage(rest))
    known = ", ".join(scenario.name for scenario in scenarios())
    raise UsageError(
        f"there is no scenario {name[:60]!r}",
        where="sandbox",
        next_step=f"Choose one of: {known}; or reply:ID, STAGE:REPLY, FAULT:STAGE as `kit sandbox --list` tells",
    )


def replayable() -> tuple[str, ...]:
    """The ids of all entries of replies.toml that `reply:ID` can play."""
    table = load_table("scenarios")["replay"]
    return tuple(entry["id"] for entry in load_table("replies")["reply"] if _example(entry["examples"]) or entry["id"] in table["as"])


def _entry(name: str) -> Scenario:
    table = load_table("scenarios")["replay"]
    examples = next((entry["examples"] for entry in load_table("replies")["reply"] if entry["id"] == name), None)
    if examples is None:
        raise UsageError(f"no reply is known as {name[:60]!r}", where="sandbox", next_step="`kit sandbox --list` names them all")
    if name in table["as"]:
        return find_scenario(table["as"][name])
    text = _example(examples)
    if text is None:
        raise UsageError(
            f"{name} is nothing that a mail server says, so no server can play it",
            where="sandbox",
            next_step=table["not"].get(name, "It comes from the client's own TLS library or network, or from a web service"),
        )
    stage = next((Stage(stage) for stage, names in table["stages"].items() if name in names), Stage.SIGN_IN)
    return _saying(stage, text, f"reply:{name}")


def _example(examples: list[str]) -> str | None:
    """The first of them that has a server's reply in it, from its code on."""
    for example in examples:
        if found := _REPLY.search(example):
            return _as_reply(example[found.start(1) :], found[1])
    return None


def _as_reply(text: str, code: str) -> str:
    """With LF between its lines. Many programs write them all in one."""
    return re.sub(rf" (?={code}[ -])", "\n", text)


def _saying(stage: Stage, text: str, name: str) -> Scenario:
    """The ordinary server, but for one reply."""
    meaning = explain(text, stage=_EXPLAINED_AS.get(stage, stage))
    good = scenarios()[0]
    return replace(
        good,
        name=name,
        title=f"{stage}: {printable(text.replace(chr(10), ' '))}",
        teaches=f"{meaning.title}.",
        next=meaning.next_step,
        before=good.after if stage is Stage.IN_CLEAR else good.before,
        outcome=outcome_of(meaning.cause, int(text[:3])),
        cause=meaning.cause,
        replies={stage: text},
    )


def _failing(fault: Fault, stage: Stage) -> Scenario:
    """The ordinary server up to `stage`."""
    words = load_table("scenarios")["faults"]
    return replace(
        scenarios()[0],
        name=f"{fault}:{stage}",
        title=f"{fault} at {stage}",
        teaches=words[fault],
        next=words["next"],
        faults={stage: fault},
    )
