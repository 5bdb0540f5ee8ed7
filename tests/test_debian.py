"""What set-up has apt install, by what apt says that it offers."""

from __future__ import annotations

import pytest

from tests.setup_sandbox import library

debian = library("debian")

POLICY = """\
rustc:
  Installed: (none)
  Candidate: 1.85.1+dfsg1-1+deb13u1
  Version table:
     1.85.1+dfsg1-1+deb13u1 500
        500 http://deb.debian.org/debian trixie/main amd64 Packages
cargo-web:
  Installed: (none)
  Candidate: (none)
  Version table:
qemu-system-arm:
  Installed: (none)
  Candidate: 1:10.0.13+ds-0+deb13u1
"""

# Debian 12 with backports: the release's own has the higher priority.
MADISON = """\
qemu-system-arm | 1:10.0.2+ds-2+deb13u1~bpo12+1 | http://a/debian bookworm-backports/main amd64 Packages
qemu-system-arm | 1:7.2+dfsg-7+deb12u16 | http://deb.debian.org/debian bookworm/main amd64 Packages
qemu-system-arm | 1:7.2+dfsg-7+deb12u13 | http://a/security bookworm-security/main amd64 Packages
      qemu | 1:99.0 | http://deb.debian.org/debian bookworm/main Sources
"""


def offers(**versions: str) -> dict[str, str]:
    """The candidates of a system that has each of these Rusts whole, by suffix (`_` for `-`)."""
    return {
        package: version
        for suffix, version in versions.items()
        for package in debian.rust_packages(suffix.removeprefix("own").replace("_", "-").replace("v", "."))
    }


def test_candidates_of_apt_cache_policy() -> None:
    assert debian.parse_candidates(POLICY) == {
        "rustc": "1.85.1+dfsg1-1+deb13u1",
        "qemu-system-arm": "1:10.0.13+ds-0+deb13u1",
    }


def test_versions_and_suites_of_apt_cache_madison() -> None:
    assert [suite for _, suite in debian.parse_madison(MADISON)] == [
        "bookworm-backports",
        "bookworm",
        "bookworm-security",
    ]


def test_the_suite_that_has_a_version_that_serves() -> None:
    assert debian.suite_with(MADISON, "9.0") == "bookworm-backports"
    assert debian.suite_with(MADISON, "10.1") is None
    assert debian.suite_with("", "9.0") is None


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        pytest.param(offers(own="1.97.1", _web="1.96.0"), "rustc", id="the release's own serves"),
        pytest.param(offers(own="1.85.1", _web="1.96.0"), "rustc-web", id="as Debian 13"),
        pytest.param(
            offers(own="1.84.0", _1v85="1.85.0", _1v89="1.89.0", _1v91="1.91.1"), "rustc-1.91", id="Ubuntu"
        ),
        pytest.param(offers(own="1.63.0"), None, id="none serves"),
        pytest.param({}, None, id="nothing is offered"),
    ],
)
def test_the_first_rust_that_is_new_enough_is_chosen(
    candidates: dict[str, str], expected: str | None
) -> None:
    suffixes = [name.removeprefix("rustc") for name in candidates if name.startswith("rustc")]
    chosen = debian.choose_rust(candidates, suffixes, "1.88")
    assert (chosen and chosen[0]) == expected


def test_a_rust_that_lacks_a_package_is_not_chosen() -> None:
    candidates = offers(own="1.97.1", _web="1.96.0")
    del candidates["rust-clippy"]
    assert debian.choose_rust(candidates, ["", "-web"], "1.88") == (
        "rustc-web",
        "cargo-web",
        "rust-web-src",
        "rustfmt-web",
        "rust-web-clippy",
    )


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ({"lld": "1:14.0-55.7", "lld-16": "1:16.0.6", "lld-19": "1:19.1.7"}, "lld-19"),
        ({"lld": "1:19.0-63", "lld-22": "1:22.1"}, "lld"),
        ({"lld": "1:14.0-55.7"}, "lld"),
        ({}, "lld"),
    ],
)
def test_the_linker_is_the_releases_own_if_new_enough(candidates: dict[str, str], expected: str) -> None:
    assert debian.choose_linker(candidates) == expected


def test_os_release_is_read_without_its_quotes() -> None:
    text = "PRETTY_NAME=\"Debian GNU/Linux forky/sid\"\n# a comment\nID=debian\nVERSION_CODENAME='forky'\n"
    assert debian.parse_os_release(text) == {
        "PRETTY_NAME": "Debian GNU/Linux forky/sid",
        "ID": "debian",
        "VERSION_CODENAME": "forky",
    }
