"""A password typed into a page is no part of the notebook."""

from __future__ import annotations

import gc
import json
import re

import pytest

from kit.redact import Secret
from kit.widgets.secret import SecretField

CANARY = "canary-7Q-in-the-box"


@pytest.fixture
def taken() -> list[Secret]:
    return []


@pytest.fixture
def field(taken):
    return SecretField(taken.append, label="Password", action="Use it")


def page_sends(field: SecretField, content: object) -> None:
    """A custom message from the page, as ipywidgets hands it on."""
    field._handle_custom_msg(content, [])


def test_what_is_typed_arrives_as_a_secret(field, taken):
    page_sends(field, {"kind": "secret", "text": CANARY})
    assert [secret.reveal() for secret in taken] == [CANARY]


def test_and_is_nowhere_in_the_widget(field, taken):
    page_sends(field, {"kind": "secret", "text": CANARY})
    held = [repr(field), str(field), repr(field.trait_values()), json.dumps(field.get_state(), default=repr)]
    held += [repr(field._repr_mimebundle_()), repr(field.get_manager_state()), repr(taken)]
    assert not any(CANARY in text for text in held)


def test_the_widget_does_not_keep_it():
    """Whoever takes the secret decides how long it lives."""
    field = SecretField(lambda _: None)
    page_sends(field, {"kind": "secret", "text": "seen by nobody"})
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Secret) and each.reveal() == "seen by nobody"]


@pytest.mark.parametrize(
    "content",
    [
        None,
        CANARY,
        [CANARY],
        {},
        {"kind": "secret"},
        {"kind": "secret", "text": None},
        {"kind": "secret", "text": 7},
        {"kind": "secret", "text": [CANARY]},
        {"kind": "secret", "text": {"text": CANARY}},
        {"kind": "other", "text": CANARY},
        {"text": CANARY},
    ],
)
def test_other_messages_are_ignored(field, taken, content):
    page_sends(field, content)
    assert taken == []


def test_nothing_is_shared_with_the_page_that_could_hold_it(field):
    own = {name for name, trait in field.traits(sync=True).items() if trait.this_class is SecretField}
    assert own == {"label", "action", "status", "disabled"}
    assert "model.set" not in SecretField._esm
    assert "save_changes" not in SecretField._esm


def test_its_code_loads_nothing_from_anywhere(field):
    assert not re.search(r"https?:|import\s|import\(|fetch\(|@import|url\(", SecretField._esm + SecretField._css)
