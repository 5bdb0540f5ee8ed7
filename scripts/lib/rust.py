"""Finds and tries the Rust that builds the kernel, and says how to install it.

Runs before any package is installed, so it uses only Python's standard library.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gdbplugin.programs import Need, UnfitError, at_least, last_words, on_path_numbered, run

KERNEL_TARGET = "aarch64-unknown-none-softfloat"

# rustup may first have to download the toolchain that a rust-toolchain.toml names.
_RUSTUP_SECONDS = 600.0


def rust_need(minimum: str) -> Need:
    """The Rust that builds the kernel, version `minimum` or newer."""
    rustup = f"rustup toolchain install stable --target {KERNEL_TARGET}"
    return Need(
        f"Rust {minimum} or newer with clippy, rustfmt and the target {KERNEL_TARGET}",
        "cargo",
        {
            "Debian": "apt install rustc-web cargo-web rust-web-src rustfmt-web rust-web-clippy lld"
            "  (12, 13, with the security archive; 12: lld-19. Newer: without -web)",
            "Ubuntu": f"apt install rustup && {rustup}",
            "Fedora": f"dnf install rustup && rustup-init -y --target {KERNEL_TARGET}",
            "Arch": f"pacman -S rustup && {rustup}",
            "macOS": f"brew install rustup && {rustup}",
        },
    )


@dataclass(frozen=True)
class Rust:
    """A Rust that builds the kernel."""

    cargo: str
    host: str
    """The target triple of this machine."""
    build_std: bool
    """Whether the target's `core` must be built from source."""
    linker: str
    """The linker that cargo must use; empty if Rust has its own."""


@dataclass(frozen=True)
class Toolchain:
    """An installed Rust, possibly incomplete."""

    sysroot: Path
    host: str

    @property
    def cargo(self) -> str:
        """The toolchain's own cargo: the one on PATH may be a proxy or a link."""
        return str(self.sysroot / "bin" / "cargo")

    @property
    def has_target(self) -> bool:
        """Whether it has a compiled `core` for the kernel's target."""
        return any((self.sysroot / "lib/rustlib" / KERNEL_TARGET / "lib").glob("libcore-*.rlib"))

    @property
    def has_components(self) -> bool:
        """Whether it has cargo, clippy and rustfmt."""
        names = ("cargo", "cargo-clippy", "clippy-driver", "cargo-fmt", "rustfmt")
        return all(os.access(self.sysroot / "bin" / name, os.X_OK) for name in names)

    def rust(self) -> Rust:
        """The Rust, if it can build the kernel. Raises `UnfitError`."""
        if not self.has_components:
            raise UnfitError(f"found {self.cargo}, but without clippy and rustfmt")
        source = self.sysroot / "lib/rustlib/src/rust/library/core/Cargo.toml"
        if not self.has_target and not source.is_file():
            raise UnfitError(
                f"found {self.cargo}, but without the target {KERNEL_TARGET}, "
                "and without the library's source to build it from"
            )
        linker = ""
        if not os.access(self.sysroot / "lib/rustlib" / self.host / "bin" / "rust-lld", os.X_OK):
            linker = next(iter(on_path_numbered("ld.lld")), "")
            if not linker:
                raise UnfitError(f"found {self.cargo}, but neither rust-lld nor ld.lld")
        return Rust(self.cargo, self.host, not self.has_target, linker)


def rust_minimum(kernel: Path) -> str:
    """The oldest Rust that the kernel's manifest allows; else the first with its edition, 2024."""
    try:
        manifest = (kernel / "Cargo.toml").read_text(encoding="utf-8")
    except FileNotFoundError:
        manifest = ""
    found = re.search(r'^rust-version *= *"([0-9.]+)"', manifest, re.MULTILINE)
    return found[1] if found else "1.85"


def find_rustup() -> str | None:
    """The installed rustup, also in a folder that is on PATH only in shells started later."""
    return shutil.which("rustup") or shutil.which("rustup", path=os.path.expanduser("~/.cargo/bin"))


def rustup_cargo(kernel: Path) -> str | None:
    """The cargo of the toolchain that rustup chooses in the kernel's folder, where a file may name one."""
    rustup = find_rustup()
    if rustup is None:
        return None
    done = run([rustup, "which", "cargo"], seconds=_RUSTUP_SECONDS, folder=kernel)
    return done.stdout.strip() or None if done.returncode == 0 else None


def toolchain(cargo: str, kernel: Path) -> Toolchain:
    """The toolchain that a cargo belongs to. Raises `UnfitError` if it is too old or does not run.

    The compiler next to that cargo, run in the kernel's folder, says where its toolchain is.
    """
    # Ubuntu's cargo-1.89 is a link into the toolchain's own folder.
    beside = Path(cargo if Path(cargo).name == "cargo" else os.path.realpath(cargo)).parent
    try:
        answer = run([str(beside / "rustc"), "--print", "sysroot"], folder=kernel, seconds=_RUSTUP_SECONDS)
    except UnfitError as error:
        raise UnfitError(f"found {cargo}, but its rustc does not run") from error
    sysroot = Path(answer.stdout.strip())
    if answer.returncode != 0:
        raise UnfitError(f"found {cargo}, but its rustc does not run: {last_words(answer)}")
    said = run([str(sysroot / "bin" / "rustc"), "--version", "--verbose"]).stdout
    facts = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
    version = facts.get("release", "")
    if not at_least(version, rust_minimum(kernel)):
        raise UnfitError(f"found {cargo}, which is {version or 'of no known version'}")
    return Toolchain(sysroot, facts.get("host", ""))
