"""Tests trace anew and leave the user's cache alone; those of the cache ask for a folder of their own."""

from __future__ import annotations

import os

import pytest

os.environ["CNNSCOPE_NO_CACHE"] = "1"  # also for the processes that tests start


def pytest_addoption(parser):
    parser.addoption("--fuzz", type=int, default=0, metavar="N", help="hold so many random networks against real runs")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of an empty cache that is used."""
    monkeypatch.delenv("CNNSCOPE_NO_CACHE")
    monkeypatch.setenv("CNNSCOPE_CACHE_DIR", str(tmp_path / "traces"))
    return tmp_path / "traces"


@pytest.fixture(scope="module")
def single_thread():
    """Real runs on one thread, so that they do not wait for one another."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
