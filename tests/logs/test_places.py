"""Where addresses are, from files in MaxMind's format with invented networks: RFC 5737 and RFC 3849."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from kit.errors import UsageError
from kit.logs.places import open_places
from kit.logs.view import Filter, View
from kit.model import Attempt, Cause, Outcome
from kit.widgets.explorer import Explorer
from tests.widgets.made_logs import make_log
from tests.widgets.pages import assert_harmless, shown

COUNTRIES = {
    "192.0.2.0/24": {"country": {"iso_code": "XA", "names": {"en": "Arstotzka", "de": "Arstotzka"}}},
    "198.51.100.0/24": {"registered_country": {"iso_code": "XB"}},
    "2001:db8::/32": {"country": {"iso_code": "XC", "names": {"en": "<b>Cobrastan</b>"}}},
}
OWNERS = {"192.0.2.0/25": {"autonomous_system_number": 64496, "autonomous_system_organization": "Example Carrier"}}
MADE = [
    ("192.0.2.1", 3),
    ("192.0.2.200", 1),
    ("198.51.100.9", 1),
    ("2001:db8::7", 2),
    ("203.0.113.1", 1),
    ("unknown", 1),
    (None, 1),
]


def database(path, kind, networks):
    writer = MMDBWriter(6, kind, ipv4_compatible=True)
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


@pytest.fixture
def files(tmp_path):
    return [database(tmp_path / "c.mmdb", "GeoLite2-Country", COUNTRIES), database(tmp_path / "a.mmdb", "GeoLite2-ASN", OWNERS)]


@pytest.fixture
def log():
    when = datetime(2026, 11, 1, tzinfo=UTC)
    return make_log([Attempt(time=when, outcome=Outcome.FAILURE, cause=Cause.CREDENTIALS, client_ip=ip, count=n) for ip, n in MADE])


def test_countries_and_owners(files, log):
    everything = View(log.table, open_places(files)).select(Filter())
    assert everything.by("country") == {"Arstotzka": 4, None: 3, "<b>Cobrastan</b>": 2, "XB": 1}
    assert everything.by("owner") == {None: 7, "AS64496 Example Carrier": 3}


def test_a_country_can_be_filtered_by_and_stands_out(files, log):
    view = View(log.table, open_places(files))
    chosen = view.select(Filter(only={"country": ("Arstotzka",)}))
    assert chosen.by("client_ip") == {"192.0.2.1": 3, "192.0.2.200": 1}
    assert [(each.name, each.failed) for each in view.select(Filter()).top("country", 2)] == [("Arstotzka", 4), ("<b>Cobrastan</b>", 2)]


def test_what_is_no_such_file_is_told(tmp_path):
    (tmp_path / "x.mmdb").write_bytes(b"no database")
    for path in (tmp_path / "x.mmdb", tmp_path / "none.mmdb"):
        with pytest.raises(UsageError, match=r"mmdb.*cannot be read"):
            open_places([path])
    with pytest.raises(UsageError, match="neither countries nor owners"):
        open_places([database(tmp_path / "d.mmdb", "GeoIP2-Domain", OWNERS)])


def test_the_explorer_has_them_as_a_pane(files, log):
    panel = Explorer(log)
    panel.places.value = ", ".join(map(str, files))
    panel.panes[-1].value = "country"
    assert panel._sides._names[-1] == ["Arstotzka", "<b>Cobrastan</b>", "XB"]
    assert all("<b>" not in text for text in panel._sides.figure.layout.yaxis3.ticktext)
    panel._clicked(2, "Arstotzka")
    assert panel.selection.total == 4
    assert_harmless(panel)
    panel.places.value = "/no/such.mmdb"
    assert "Problem" in shown(panel)
    panel.places.value = ""
    assert (panel.panes[-1].value, panel.selection.total) == ("address", 10), "what is filtered by is gone with its column"
    panel.back.click()
