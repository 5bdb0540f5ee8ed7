"""The objects a session returns: field by field what the plugin's commands print at the same stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.kernel import MANAGER
from gdbplugin.session import QemuOptions, ReadFailedError, SessionError, TinyOS, mi
from gdbplugin.session.gdb import Gdb
from tests.commands.forms import json_of

IMAGE = 0xFFFF_8000_0008_0000


@pytest.fixture(scope="module", params=["mapped", "by GDB"])
def tinyos(request: pytest.FixtureRequest, kernel_elf: Path) -> Iterator[TinyOS]:
    """A machine whose memory is read from its mapped RAM, and one whose memory GDB reads."""
    options = QemuOptions(kernel=kernel_elf, share_ram=request.param == "mapped")
    with TinyOS.boot(kernel_elf, options=options) as machine:
        assert (machine.qemu.ram is not None) == options.share_ram
        yield machine


READ: list[tuple[str, Callable[[TinyOS], Diagnosed]]] = [
    ("stats", lambda tinyos: tinyos.stats()),
    ("stacks", lambda tinyos: tinyos.stacks()),
    ("stacks 1", lambda tinyos: tinyos.stacks(1)),
    ("lazy", lambda tinyos: tinyos.lazy()),
    ("lazy --state zero --limit 3", lambda tinyos: tinyos.lazy(state="zero", limit=3)),
    ("lazy --asid 6", lambda tinyos: tinyos.lazy(asid=6)),
    ("lazy 0x200000000123", lambda tinyos: tinyos.lazy(0x2000_0000_0123)),
    ("pressure", lambda tinyos: tinyos.pressure()),
    ("context", lambda tinyos: tinyos.context()),
    ("events", lambda tinyos: tinyos.events()),
    ("events 5 --kind LazyZero", lambda tinyos: tinyos.events(5, kind="LazyZero")),
    ("events --stack 1 --core 0", lambda tinyos: tinyos.events(stack=1, core=0)),
    (f"translate {IMAGE:#x}", lambda tinyos: tinyos.translate(IMAGE)),
    ("translate $pc --core 0", lambda tinyos: tinyos.translate("$pc", core=0)),
    (f"translate {IMAGE:#x} --el 0", lambda tinyos: tinyos.translate(IMAGE, el=0)),
    ("translate 0x400000 --asid 2", lambda tinyos: tinyos.translate(0x40_0000, asid=2)),
    ("maps", lambda tinyos: tinyos.maps()),
    ("maps --asid 2 --owner stack", lambda tinyos: tinyos.maps(asid=2, owner="stack")),
    (
        f"maps --range {IMAGE:#x}+0x1000 --permissions el1:r-x --limit 5",
        lambda tinyos: tinyos.maps(range=(IMAGE, IMAGE + 0x1000), permissions="el1:r-x", limit=5),
    ),
    ("maps --find-physical 0x8000000", lambda tinyos: tinyos.maps(find_physical=0x800_0000)),
    ("where 0x200000004123", lambda tinyos: tinyos.where(0x2000_0000_4123)),
    ("where sp --core 2", lambda tinyos: tinyos.where("sp", core=2)),
    ("where --physical 0xfe201000", lambda tinyos: tinyos.where(physical=0xFE20_1000)),
    (
        f"search --pointer-to {IMAGE:#x}+0x20000 --limit 5 --in {IMAGE + 0x2_6000:#x}+0x6000",
        lambda tinyos: tinyos.search(
            pointer_to=(IMAGE, None, 0x2_0000), limit=5, in_=(IMAGE + 0x2_6000, None, 0x6000)
        ),
    ),
    ("registers", lambda tinyos: tinyos.registers()),
    ("registers TTBR --core 3", lambda tinyos: tinyos.registers("TTBR", core=3)),
    ("fault", lambda tinyos: tinyos.fault()),
    ("fault --core 0", lambda tinyos: tinyos.fault(core=0)),
    ("check", lambda tinyos: tinyos.check()),
    ("report", lambda tinyos: tinyos.report()),
]


@pytest.mark.parametrize(("command", "read"), READ, ids=[command for command, _ in READ])
def test_an_object_is_what_the_command_prints(
    tinyos: TinyOS, command: str, read: Callable[[TinyOS], Diagnosed]
) -> None:
    with tinyos.stopped():
        found, wanted = json_of(command.split()[0], read(tinyos)), tinyos.json(command)
    assert found == wanted


def test_changes_since_an_earlier_stop_are_the_commands(tinyos: TinyOS) -> None:
    since, deadline = None, time.monotonic() + 20
    while since is None and time.monotonic() < deadline:  # Its clock is exact to a tick.
        tinyos.shell("uptime")
        with tinyos.stopped():
            counters = tinyos.stats()
            recent = tinyos.events(since_stop=True)
            by_command = tinyos.json("stats"), tinyos.json("events --since-stop")
        since = counters.since
    assert since is not None
    assert (json_of("stats", counters), json_of("events", recent)) == by_command
    assert recent.since_stop is not None


def test_a_failure_is_explained_as_by_the_command(boot: Callable[..., TinyOS]) -> None:
    machine = boot(share_ram=False)
    machine.console.send("crash\r")
    machine.console.expect("X30: ", 10)
    with machine.stopped():
        found, wanted = machine.fault(core=0), machine.json("fault --core 0")
    assert found.failure is not None
    assert found.reports[0].instruction is not None
    assert found.reports[0].instruction.text is not None
    assert found.reports[0].instruction.text.startswith("ldr")
    assert json_of("fault", found) == wanted


def test_a_running_target_is_stopped_only_for_a_moment(tinyos: TinyOS) -> None:
    with tinyos.stopped():
        pass
    assert tinyos.running
    ticks = {tinyos.stats().counters["ticks"]}
    deadline = time.monotonic() + 20
    while len(ticks) == 1 and time.monotonic() < deadline:
        assert tinyos.running
        ticks.add(tinyos.stats().counters["ticks"])
    assert len(ticks) == 2


def test_lists_can_be_iterated_and_counted(tinyos: TinyOS) -> None:
    with tinyos.stopped():
        found = tinyos.stacks()
        assert [stack.id for stack in found] == [stack.id for stack in found.stacks.stacks]
        assert len(found) > 4
        pages = tinyos.lazy(state="allocated")
        assert {page.is_allocated for page in pages} == {True}
        assert len(list(pages)) == len(pages)
        assert [event.sequence for event in tinyos.events(3)][-1] == tinyos.events().recorded
        assert {mapping.task for mapping in tinyos.maps(asid=2)} == {2}
        assert [register.name for register in tinyos.registers("TCR")] == ["TCR_EL1", "TCR_EL2", "TCR_EL3"]


def test_a_missing_object_is_one_line(tinyos: TinyOS) -> None:
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: tinyos.stacks(999), "no stack with ID 999 (known: 1"),
        (lambda: tinyos.events(kind="Nonsense"), "no kind of event Nonsense (known: TaskStarted"),
        (lambda: tinyos.registers("NONSENSE"), 'no register "NONSENSE" (known: '),
        (lambda: tinyos.fault(core=7), "no core 7 (known: 0, 1, 2, 3)"),
        (lambda: tinyos.translate("nonsense::at"), '"nonsense::at" is not an address'),
        (lambda: tinyos.translate("$x0 = 1"), "would assign"),
        (lambda: tinyos.registers(""), 'no register "" (known: '),
        (lambda: tinyos.translate(1 << 64), "18446744073709551616 is not a number from 0 to 0xffff"),
        (lambda: tinyos.translate(1.5), "1.5 is not an address of 64 bits"),  # type: ignore[arg-type]
        (lambda: tinyos.translate("1.5"), '"1.5" is not an address: it is a floating-point number'),
        (lambda: tinyos.events(-3), "-3 is not a number from 0"),
        (lambda: tinyos.maps(range=((1 << 64) - 16, None, 32)), "goes beyond the last address"),
        (lambda: tinyos.translate(0, asid=999), "no address space with ASID 999"),
        (lambda: tinyos.where(), "give one address"),
        (lambda: tinyos.search(0x1234, size=1), "0x1234 has more than 1 bytes"),
    ]
    for call, said in wrong:
        with pytest.raises(ReadFailedError) as caught:
            call()
        assert said in caught.value.message
        assert "\n" not in caught.value.message
    assert tinyos.running


class Questions:
    """Records the commands that GDB is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        plain = Gdb.ask

        def ask(gdb: Gdb, command: str, timeout: float = 20.0) -> Any:
            self.asked.append(command)
            return plain(gdb, command, timeout)

        monkeypatch.setattr(Gdb, "ask", ask)

    def taken(self) -> list[str]:
        taken, self.asked = self.asked, []
        return taken


def test_nothing_is_asked_twice_at_a_stop(tinyos: TinyOS, monkeypatch: pytest.MonkeyPatch) -> None:
    with tinyos.stopped():
        tinyos.report()
        questions = Questions(monkeypatch)
        tinyos.stats()
        tinyos.stacks()
        tinyos.pressure()
        tinyos.events(6)
        assert questions.taken() == []


def test_an_object_costs_one_question(shared_machine: TinyOS, monkeypatch: pytest.MonkeyPatch) -> None:
    with shared_machine.stopped() as gdb:
        gdb.mi("-gdb-show confirm")
        questions = Questions(monkeypatch)
        shared_machine.stats()
        # The cores and their registers; memory is mapped.
        assert [command.split()[1] for command in questions.taken()] == ["state"]
        shared_machine.context()
        shared_machine.stacks()
        assert questions.taken() == []


@pytest.mark.parametrize(
    "name", ["stats", "stacks", "lazy", "pressure", "context", "events", "report", "maps"]
)
def test_an_object_of_a_running_kernel_takes_five_round_trips(
    shared_machine: TinyOS, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    getattr(shared_machine, name)()  # The symbols are looked up once.
    sent: list[str] = []
    send = Gdb._send

    def counted(gdb: Gdb, command: str) -> int:
        sent.append(command)
        return send(gdb, command)

    monkeypatch.setattr(Gdb, "_send", counted)
    assert shared_machine.running
    getattr(shared_machine, name)()
    assert len(sent) <= 5, sent


def test_what_a_command_writes_is_read_at_once(tinyos: TinyOS) -> None:
    with tinyos.stopped() as gdb:
        gdb.execute("thread 2")  # This core is in the kernel, where GDB can write to kernel addresses.
        before = tinyos.stats().stats.optimization_events
        assert before is not None
        with tinyos.stopped_target() as target:
            place = target.required_kernel().locate_field(MANAGER, "stats.optimization_events")
        assert place is not None
        for value in (before + 5, before):
            gdb.mi(
                f"-data-write-memory-bytes {mi.address(place.address)} {value.to_bytes(8, 'little').hex()}"
            )
            assert tinyos.stats().stats.optimization_events == value


def test_a_kernel_not_set_up_yet_is_an_error(boot: Callable[..., TinyOS]) -> None:
    machine = boot(paused=True)
    assert not machine.running
    with pytest.raises(SessionError, match="the MMU is off on every core"):
        machine.stats()
    assert machine.registers("SCTLR").known
    assert machine.translate(IMAGE & 0xFFFF_FFFF).output == IMAGE & 0xFFFF_FFFF
    assert not machine.running
