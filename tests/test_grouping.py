"""Tests that share a machine stay in one worker of xdist's: where that fails, it does so without a word."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("grouping")
def test_a_group_is_known_to_xdist(request: pytest.FixtureRequest) -> None:
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("this run does not use xdist's --dist loadgroup")
    assert request.node.nodeid.endswith("@grouping")
