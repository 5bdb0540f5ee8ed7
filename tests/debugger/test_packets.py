"""Packets to the target: none unless a command needs it, none twice, and never a write."""

import itertools

import pytest

from tests.commands.forms import words
from tests.debugger.conftest import PLUGIN, gdb
from tests.debugger.stub_proxy import StubProxy

# A packet that GDB never sends by itself.
MARK = "maint packet qMark"
WORDS = words("fault", "maps", "registers")


def between_marks(packets):
    """The packets between successive marks."""
    places = [place for place, packet in enumerate(packets) if packet == "qMark"]
    return [packets[start + 1 : end] for start, end in itertools.pairwise(places)]


def memory(packets):
    return [packet for packet in packets if packet[0] in "mx"]


def test_loading_attaching_and_stopping_send_no_packet(boot, kernel_elf, tmp_path):
    sent = []
    for plugin in (None, PLUGIN):
        # Stopped before its first instruction, so that GDB's own packets are the same each time.
        stub = boot(paused=True).qemu.gdb_address
        directory = tmp_path / str(len(sent))
        directory.mkdir()
        with StubProxy(directory, stub) as proxy:
            gdb(f"target remote {proxy.address}", "stepi", "stepi", elf=kernel_elf, plugin=plugin)
            sent.append(proxy.packets)
    assert len(sent[0]) > 10
    assert sent[0] == sent[1]


def test_a_second_report_at_the_same_stop_sends_no_packet(proxy, kernel_elf):
    # The first mark is sent after GDB's own packets at connecting.
    report = "tinyos report"
    gdb(
        f"target remote {proxy.address}",
        MARK,
        report,
        MARK,
        report,
        MARK,
        "stepi",
        MARK,
        report,
        MARK,
        elf=kernel_elf,
    )
    first, second, _, third = between_marks(proxy.packets)[-4:]
    assert memory(first)
    assert second == []
    assert memory(third)


def test_many_commands_at_one_stop_read_nothing_twice(proxy, kernel_elf):
    commands = [f"tinyos {word}" for word in (*WORDS, "stacks 1", "lazy --state zero")]
    once = [f"target remote {proxy.address}", MARK, *commands, MARK, *reversed(commands), MARK]
    outcome = gdb(*once, elf=kernel_elf)
    assert outcome.errors == ""
    first, again = between_marks(proxy.packets)[-2:]
    assert memory(first)
    assert again == []
    assert [packet for packet in first if packet[0] in "MXGPZzcCsv"] == []


def test_a_write_by_the_user_clears_the_cache(proxy, kernel_elf):
    report = "tinyos report"
    write = "set var *(unsigned char *)&DEBUGGER_INTERFACE = 'T'"
    output = gdb(
        f"target remote {proxy.address}",
        # A core parked in the kernel: a task at EL0 has no access there.
        "thread 2",
        "set language c",
        report,
        MARK,
        write,
        MARK,
        report,
        MARK,
        elf=kernel_elf,
    )
    assert "Cannot" not in output.errors
    after = between_marks(proxy.packets)[-1]
    assert memory(after)


def test_a_monitor_command_clears_the_cache_and_registers(proxy, kernel_elf):
    translate = "tinyos translate 0xffff800000080000"
    outcome = gdb(
        f"target remote {proxy.address}",
        *(translate, MARK, translate, MARK, "monitor info status", MARK, translate, MARK),
        "python print('stop' in globals())",
        elf=kernel_elf,
    )
    again, _, after = between_marks(proxy.packets)[-3:]
    assert again == []
    assert memory(after)
    assert any(packet[0] in "gp" for packet in after)
    assert "False" in outcome.output.splitlines()


def test_restoring_memory_from_a_file_clears_the_cache(proxy, kernel_elf, tmp_path):
    """The restored bytes are the same; what counts is that they are read again."""
    file, address = tmp_path / "bytes", "&DEBUGGER_INTERFACE"
    gdb(
        f"target remote {proxy.address}",
        "thread 2",
        "set language c",
        f"dump binary memory {file} {address} (char *) {address} + 8",
        "tinyos report",
        MARK,
        f"restore {file} binary {address}",
        MARK,
        "tinyos report",
        MARK,
        elf=kernel_elf,
    )
    assert file.read_bytes().startswith(b"TinyOSdb")
    assert memory(between_marks(proxy.packets)[-1])


def test_registers_that_gdb_cannot_fetch_are_named(proxy, kernel_elf):
    outcome = gdb(
        "set remote fetch-register-packet off",
        f"target remote {proxy.address}",
        "tinyos translate 0x80000",
        "tinyos registers TCR_EL1",
        "tinyos context",
        elf=kernel_elf,
    )
    assert "Error while executing Python code" not in outcome.errors
    assert "of core 0 cannot be read from this target" in outcome.errors


def test_a_users_own_hook_of_monitor_stays(proxy, kernel_elf):
    outcome = gdb(
        f"target remote {proxy.address}",
        "python gdb.execute('define hookpost-monitor\\necho mine\\\\n\\nend')",
        "tinyos translate 0",
        "monitor info status",
        elf=kernel_elf,
    )
    assert "mine" in outcome.output.splitlines()
    assert "Python" not in outcome.errors


def test_no_command_writes_to_the_target(proxy, kernel_elf):
    gdb(f"target remote {proxy.address}", MARK, "tinyos report", "tinyos check --json", MARK, elf=kernel_elf)
    (sent,) = between_marks(proxy.packets)
    assert sent
    assert [packet for packet in sent if packet[0] in "MXGPZzcCsv"] == []


def test_the_address_mode_is_restored(proxy, kernel_elf):
    ask = "maint packet qqemu.PhyMemMode"
    for found in (0, 1):
        outcome = gdb(
            f"target remote {proxy.address}",
            f"maint packet Qqemu.PhyMemMode:{found}",
            "tinyos report --json",
            "tinyos check",
            ask,
            "maint packet Qqemu.PhyMemMode:0",
            elf=kernel_elf,
        )
        assert f'received: "{found}"' in outcome.output


def test_an_error_during_a_command_restores_the_mode_too(proxy, kernel_elf, tmp_path):
    other = tmp_path / "other.elf"
    other.write_bytes(with_other_build_id(kernel_elf))
    outcome = gdb(
        f"target remote {proxy.address}", "tinyos report", "maint packet qqemu.PhyMemMode", elf=other
    )
    assert "is not what the machine runs" in outcome.errors
    assert 'received: "0"' in outcome.output


def with_other_build_id(elf):
    """The bytes of an ELF with another build-id."""
    from gdbplugin.layout.elf import read_image

    image = read_image(elf)
    content = bytearray(elf.read_bytes())
    for place in range(len(image.build_id)):
        content[image.build_id_offset + place] ^= 0xFF
    return bytes(content)


def test_loading_imports_nothing_heavy():
    heavy = ("dataclasses", "typing", "json", "pathlib", "argparse", "inspect", "elftools", "tabulate")
    bare = gdb("python import sys; print(sorted(sys.modules))", plugin=None).output
    loaded = gdb("python import sys; print(sorted(sys.modules))").output
    assert "gdbplugin.debugger.registration" in loaded
    assert [name for name in heavy if f"'{name}'" in loaded and f"'{name}'" not in bare] == []


def test_loading_changes_no_setting_of_gdbs():
    def settings(**options):
        lines = [
            line.removeprefix("convenience:").strip() for line in gdb("show", **options).output.splitlines()
        ]
        return [line for line in lines if "tinyos" not in line]

    assert settings() == settings(plugin=None)


LOOKS = ("x/4gx 0xffff800000080000", "x/4gx 0xffff000000080000")


@pytest.mark.parametrize(
    ("setting", "looks"),
    [
        ("set trust-readonly-sections on", LOOKS),
        ("mem 0 0 rw cache", LOOKS),
        ("set code-cache off", LOOKS),
        # With these GDB itself can no longer read the kernel.
        ("mem 0 0x100000000 wo", ()),
        ("set remoteaddresssize 32", ()),
    ],
)
def test_gdbs_memory_settings_change_no_answer(proxy, kernel_elf, setting, looks):
    """Nor does physical memory get into GDB's own caches."""

    def answers(*told):
        # A core parked in the kernel, so that GDB itself can read there.
        connect = (f"target remote {proxy.address}", "thread 2", *told)
        done = gdb(*connect, *looks, "tinyos maps --json", "echo \\n", *looks, elf=kernel_elf)
        assert done.errors == ""
        lines = done.output.splitlines()
        seen = [line for line in lines if line.startswith("0xffff") and ":\t" in line]
        return [line for line in lines if line.startswith("{")], seen

    mapped, seen = answers(setting)
    assert len(mapped) == 1
    assert mapped == answers()[0]
    assert len(seen) == 4 * len(looks)
    assert seen[: len(seen) // 2] == seen[len(seen) // 2 :]
