"""Pseudonyms: equal stays equal, different stays different, networks stay networks, and no name is left anywhere."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kit
from kit.knowledge.load import load_table
from kit.logs.authlog import Unknown
from kit.logs.pseudonyms import Pseudonyms
from kit.logs.view import domain_of, network_of
from kit.model import Attempt, Cause, Outcome, Service
from tests.widgets.made_logs import make_log

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SAMPLE = Path("tests/logs/samples/mail.iso.log.gz")
RANGES = load_table("address_ranges")["range"]
ADDRESSES = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    *(st.ip_addresses(network=entry["network"]).map(str) for entry in RANGES),
    st.integers(0, 511).map(lambda low: f"198.51.{100 + low // 256}.{low % 256}"),
)
NAMES = st.text(min_size=1, max_size=12) | st.text("aAbB@.", min_size=1, max_size=6) | st.emails()
UNKNOWN_STAYS = ("time", "outcome", "cause", "server", "service", "count", "line", "offset", "client_port")


def meaning(text: str) -> set[str]:
    return {entry["network"] for entry in RANGES if ip_address(text) in ip_network(entry["network"])}


@pytest.mark.parametrize("entry", RANGES, ids=lambda entry: entry["network"])
def test_a_range_holds_its_example_and_an_address_keeps_its_range(entry):
    hidden = Pseudonyms().address(entry["example"])
    assert entry["network"] in meaning(entry["example"])
    assert meaning(hidden) == meaning(entry["example"])
    assert (hidden == entry["example"]) == (entry.get("nobody", False) or ip_network(entry["network"]).num_addresses == 1)


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(ADDRESSES, min_size=2, max_size=30, unique=True))
def test_addresses_that_share_a_network_do_so_afterwards_and_no_others(texts):
    names = Pseudonyms()
    hidden = [names.address(text) for text in texts]
    assert hidden == [names.address(text) for text in texts]
    assert len(set(hidden)) == len(texts)
    for one, one_hidden in zip(texts, hidden, strict=True):
        a, a_hidden = ip_address(one), ip_address(one_hidden)
        assert a.version == a_hidden.version
        if a.version == 6 and a.ipv4_mapped:
            continue
        assert meaning(one_hidden) == meaning(one)
        for other, other_hidden in zip(texts, hidden, strict=True):
            b, b_hidden = ip_address(other), ip_address(other_hidden)
            if a.version == b.version and not (b.version == 6 and b.ipv4_mapped):
                for bits in (16, 24, 32) if a.version == 4 else (48, 64, 128):
                    shift = a.max_prefixlen - bits
                    assert (int(a) >> shift == int(b) >> shift) == (int(a_hidden) >> shift == int(b_hidden) >> shift)


def test_a_whole_network_is_mapped_onto_a_whole_network():
    names = Pseudonyms()
    texts = [f"192.0.2.{number}" for number in range(256)]
    assert {names.address(text) for text in texts} == set(texts)


@settings(max_examples=150, deadline=None)
@given(users=st.lists(NAMES, min_size=2, max_size=30, unique=True))
def test_users_stay_different_and_keep_who_has_one_domain(users):
    names = Pseudonyms()
    hidden = [names.user(user) for user in users]
    assert hidden == [names.user(user) for user in users]
    assert len(set(hidden)) == len(users)
    for one, one_hidden in zip(users, hidden, strict=True):
        for other, other_hidden in zip(users, hidden, strict=True):
            assert (domain_of(one) == domain_of(other)) == (domain_of(one_hidden) == domain_of(other_hidden))


def test_of_so_many_names_none_meet():
    """Four letters of sixteen are too few for 40,000: then one has a letter more."""
    names = Pseudonyms()
    assert len({names.user(f"user{number}") for number in range(40_000)}) == 40_000


def test_spellings_of_one_user_stay_spellings_of_one():
    names = Pseudonyms()
    spellings = ["ann@example.com", "Ann@example.com", "ANN@Example.COM"]
    hidden = [names.user(spelling) for spelling in spellings]
    assert len(set(hidden)) == 3
    assert len({name.lower() for name in hidden}) == 1


def test_two_sessions_have_nothing_in_common():
    one, other = Pseudonyms(), Pseudonyms()
    assert one.user("ann@example.com") != other.user("ann@example.com")
    assert one.address("2001:db8::7") != other.address("2001:db8::7")


def test_the_forms_are_told_apart_from_names():
    names = Pseudonyms()
    local, _, domain = names.user("ann@example.com").partition("@")
    assert local.startswith("user-")
    assert domain.startswith("domain-")
    assert domain.endswith(".invalid")  # RFC 6761: nobody's
    assert names.machine("[192.0.2.7]") == f"[{names.address('192.0.2.7')}]"
    assert names.machine("[IPv6:2001:db8::7]") == f"[IPv6:{names.address('2001:db8::7')}]"
    assert names.address("::ffff:192.0.2.7") == f"::ffff:{names.address('192.0.2.7')}"
    assert names.address("fe80::7%eth0").startswith("fe")
    assert "eth0" not in names.address("fe80::7%eth0")
    assert names.address("/run/socket").startswith("address-")


def test_a_hidden_log_counts_as_the_log_does():
    log = kit.read_logs(SAMPLE, year=2026)
    hidden = Pseudonyms().hide(log)
    assert hidden.table.schema == log.table.schema
    assert hidden.coverage == log.coverage
    for column in log.table.column_names:
        real, shown = log.table[column].to_pylist(), hidden.table[column].to_pylist()
        if column in UNKNOWN_STAYS:
            assert real == shown
        elif column in ("session", "text"):
            assert set(shown) == {None}
        else:
            assert [value is None for value in real] == [value is None for value in shown]
            assert sorted(Counter(real).values()) == sorted(Counter(shown).values()), column
    assert (
        Counter(map(network_of, filter(None, log.table["client_ip"].to_pylist()))).most_common(9)[0][1]
        == (Counter(map(network_of, filter(None, hidden.table["client_ip"].to_pylist()))).most_common(9)[0][1])
    )


def test_no_name_is_in_any_cell_nor_beside_the_table():
    """A client may write a name into whatever it says: its greeting, its mechanism, even what looks like a service."""
    attempt = Attempt(
        time=NOW, host="mx.secret.example", server="postfix", service=Service.OTHER, service_raw="postfix-secret/smtpd",
        outcome=Outcome.FAILURE, cause=Cause.CREDENTIALS, user="secret@secret.example", client_ip="secret", client_port=4711,
        client_name="secret.example", helo="secret", mechanism="SECRET", tls="secret", session="secret",
        text="said: secret", file="/home/secret/mail.log", line=1, offset=0,
    )  # fmt: skip
    log = make_log([attempt], unknown=(Unknown(count=1, example="auth: secret"),), problems=("/home/secret/x.log: cut",))
    object.__setattr__(log, "time_anchor", ("/home/secret/mail.log: zone UTC assumed", "/home/secret/other.log: year 2026"))
    hidden = Pseudonyms().hide(log)
    assert "secret" in repr((log.table.to_pylist(), log.unknown, log.problems, log.time_anchor))
    assert "secret" not in repr((hidden.table.to_pylist(), hidden.unknown, hidden.problems, hidden.time_anchor)).lower()
    assert hidden.frame["client_port"].tolist() == [4711]
    assert hidden.time_anchor[0].endswith(": zone UTC assumed")


def test_known_words_are_kept():
    names = Pseudonyms()
    attempt = Attempt(
        time=NOW, host=None, server="exim", service=Service.SUBMISSION, service_raw="submission", outcome=Outcome.SUCCESS, cause=Cause.NONE,
        mechanism="SCRAM-SHA-256", tls="TLSv1.3:TLS_AES_256_GCM_SHA384:256",
    )  # fmt: skip
    [row] = names.hide(make_log([attempt])).table.to_pylist()
    assert (row["mechanism"], row["tls"], row["service_raw"]) == ("SCRAM-SHA-256", "TLSv1.3:TLS_AES_256_GCM_SHA384:256", "submission")
    assert row["user"] is None


def test_an_empty_log_stays_empty():
    assert Pseudonyms().hide(make_log([])).table.num_rows == 0


def test_a_log_in_many_chunks_has_one_name_for_one():
    log = kit.read_logs(SAMPLE, year=2026)
    table = pa.concat_tables([log.table.slice(begin, 50).combine_chunks() for begin in range(0, log.table.num_rows, 50)])
    names = Pseudonyms()
    whole = names.hide(log).table
    object.__setattr__(log, "table", table)
    assert names.hide(log).table.to_pylist() == whole.to_pylist()
