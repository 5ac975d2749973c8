"""The same parser under Dask: the rows that one process reads, from workers that are processes of their own."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pandas as pd
import pytest

from kit.errors import UnreadableInput
from kit.logs import cluster
from kit.logs.authlog import LogReader, collect
from tests.logs.test_workers import LINE, SAMPLES, plain  # noqa: F401 - a fixture

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def two_workers():
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as local,
        distributed.Client(local) as client,
    ):
        yield client


def assert_same(paths, frame, report):
    log = collect(LogReader(paths, processes=1))
    coverage, unknown, problems = report
    assert coverage == log.coverage
    assert set(unknown) == set(log.unknown)
    assert problems == log.problems
    assert list(frame.columns) == list(log.frame.columns)
    # Each partition has categories of its own, and where they differ pandas gives up on them: the words are what counts.
    words = [name for name in frame.columns if isinstance(log.frame[name].dtype, pd.CategoricalDtype)]
    ours, theirs = ({name: f[name].astype("str") for name in words} for f in (log.frame, frame))
    pd.testing.assert_frame_equal(frame.assign(**theirs).reset_index(drop=True), log.frame.assign(**ours))


@pytest.mark.parametrize("piece", [30_000, 1 << 26])
def test_identical_rows(monkeypatch, two_workers, plain, piece):  # noqa: F811
    monkeypatch.setattr(cluster, "PIECE", piece)
    log = cluster.read_logs([str(path) for path in plain])
    assert log.frame.npartitions >= (20 if piece < 1 << 26 else len(plain))
    assert_same(plain, log.frame.compute(), log.report())


def test_a_packed_file_is_one_piece(two_workers):
    log = cluster.read_logs(str(SAMPLES[1]))
    assert log.frame.npartitions == 1
    assert_same([SAMPLES[1]], log.frame.compute(), log.report())


def test_dask_counts_without_the_rows_in_one_place(two_workers, plain, monkeypatch):  # noqa: F811
    monkeypatch.setattr(cluster, "PIECE", 50_000)
    frame = cluster.read_logs([str(path) for path in plain]).frame
    expected = collect(LogReader(plain, processes=1)).frame.groupby("outcome", observed=True)["count"].sum()
    assert frame.groupby("outcome", observed=True)["count"].sum().compute().to_dict() == expected.to_dict()


def test_any_address_that_fsspec_opens():
    """A file system that is neither a disk nor a server: fsspec's own in memory. Dask's threads serve where there is no cluster."""
    memory = fsspec.filesystem("memory")
    memory.pipe("/logs/mail.log.1", (LINE.format(1, "a") * 2).encode())
    memory.pipe("/logs/mail.log", LINE.format(3, "b").encode())
    try:
        for url in ("memory://logs/mail.log*", "memory://logs"):
            frame = cluster.read_logs(url, year=2026).frame.compute(scheduler="threads")
            assert [(Path(name).name, user) for name, user in zip(frame["file"], frame["user"], strict=True)] == [
                ("mail.log.1", "ua"),
                ("mail.log.1", "ua"),
                ("mail.log", "ub"),
            ]
    finally:
        memory.rm("/logs", recursive=True)


def test_a_file_that_is_not_there():
    with pytest.raises(UnreadableInput, match="no such file"):
        cluster.read_logs("memory://nowhere/mail.log")
