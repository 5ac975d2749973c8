"""The draft of a class catches the line that it was drawn from, and others like it."""

from __future__ import annotations

import re
import tomllib
from datetime import date

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from kit.cli import main
from kit.logs.authlog import LogReader, collect
from kit.logs.classes import _line_class, envelope, line_classes
from kit.logs.draft import draft
from kit.redact import MASKED

TODAY = date(2026, 11, 24)
LINES = {
    "postfix": (
        "Nov  3 08:12:44 mx postfix/smtpd[1]: warning: dsl.example.net[192.0.2.17]:50123: SASL LOGIN authentication postponed, sasl_username=frieda@example.test",
        "Nov  4 09:00:00 mx postfix/smtpd[2]: warning: unknown[2001:db8::9]: SASL PLAIN authentication postponed, sasl_username=otto",
    ),
    "dovecot": (
        "Nov  3 08:12:44 mx dovecot: imap-login: Logon turned away (4 secs): user=<frieda@example.test>, method=PLAIN, rip=192.0.2.17, lip=192.0.2.1, session=<a+b/c>",
        "Nov  3 08:12:45 mx dovecot: imap-login: Logon turned away (12 secs): user=<otto>, method=LOGIN, rip=2001:db8::9, lip=192.0.2.1, session=<QQ==>",
    ),
    "another": (
        'Nov  3 08:12:44 mx mailthing[77]: 4f6e458ccdf6cbd6 login refused for "frieda" from 192.0.2.17 (2 tries)',
        'Nov  3 08:12:49 mx mailthing[78]: 4f6e458d42e5106c login refused for "otto" from 198.51.100.2 (13 tries)',
    ),
}


@pytest.mark.parametrize(("line", "another"), LINES.values(), ids=list(LINES))
def test_a_draft_is_a_class_that_catches_its_line_and_the_next(tmp_path, line, another):
    (entry,) = tomllib.loads(draft(line, today=TODAY))["class"]
    drafted = _line_class(entry, {"software": "draft"}, "draft")
    path = tmp_path / "mail.log"
    path.write_text(f"{line}\n{another}\n", "utf-8")
    assert collect(LogReader(path, year=2026)).coverage.not_understood == 2
    log = collect(LogReader(path, year=2026, classes=(*line_classes(), drafted)))
    assert (log.coverage.attempt_lines, log.coverage.not_understood) == (2, 0)
    addresses = [row["client_ip"] for row in log.table.to_pylist()]
    assert addresses == [re.search(r"192\.0\.2\.17|2001:db8::9|198\.51\.100\.2", each)[0] for each in (line, another)]


def test_what_has_no_message_has_no_draft():
    assert draft("authentication failed, somewhere", today=TODAY) is None


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\n\r"), max_size=200))
def test_any_message_at_all_gives_a_draft_that_reads(message):
    line = f"Nov  3 08:12:44 mx thing[1]: {message}"
    (entry,) = tomllib.loads(draft(line, today=TODAY))["class"]
    assert re.fullmatch(envelope(entry["program"]) + f"(?:{entry['pattern']})", line, re.ASCII)
    assert entry["needle"] in line


def test_verbose_prints_it(tmp_path):
    path = tmp_path / "mail.log"
    path.write_text(LINES["another"][0] + "\n", "utf-8")
    said = CliRunner().invoke(main, ["logs", str(path), "--verbose"])
    assert said.exit_code == 1
    assert 'needle = " login refused for "' in said.stdout
    assert "[[class]]" not in CliRunner().invoke(main, ["logs", str(path)]).stdout


@pytest.mark.parametrize(
    "message",
    [
        'login of ann failed, pass "{}" from 192.0.2.7',
        "login failed (ann/{}) from 192.0.2.7",
        "login failed, Passwort: {}",
    ],
)
def test_a_password_in_words_that_are_not_known_is_neither_shown_nor_drafted(tmp_path, message):
    path = tmp_path / "mail.log"
    path.write_text(
        "".join(f"2026-11-03T08:12:4{i}Z mx thing[7]: {message.format(word)}\n" for i, word in enumerate(("hunter2", "geheim"))), "utf-8"
    )
    for option in ("--verbose", "--json"):
        said = CliRunner().invoke(main, ["logs", str(path), option]).stdout
        assert MASKED in said
        assert "hunter2" not in said
        assert "geheim" not in said
    # The draft still catches what it was made of, whatever the password.
    example = collect(LogReader(path)).unknown[0].example
    (entry,) = tomllib.loads(draft(example, today=TODAY))["class"]
    log = collect(LogReader(path, classes=(*line_classes(), _line_class(entry, {"software": "draft"}, "draft"))))
    assert (log.coverage.attempt_lines, log.coverage.not_understood) == (2, 0)
