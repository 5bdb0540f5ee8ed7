"""Runs in a stock GDB, for test_frames.py: prints the frames at every instruction, as lines of JSON."""

import json
import struct

import gdb

NAMES = [f"x{number}" for number in range(31)] + ["sp", "pc"]
SYNCHRONOUS, INTERRUPT, SHELL_INTERRUPT, FATAL = 0x400, 0x480, 0x280, 0x200
_KINDS = {gdb.SIGTRAMP_FRAME: "signal", gdb.INLINE_FRAME: "inline"}
_MASK = (1 << 64) - 1


def address(symbol):
    """The address of a symbol of the assembler's."""
    return int(gdb.parse_and_eval(f"(unsigned long) &'{symbol}'")) & _MASK


def show(what, **values):
    """Print one line of JSON."""
    print(json.dumps({"what": what, **values}))


def system(name):
    """A system register of the CPU; QEMU has it in capitals."""
    return int(gdb.parse_and_eval(f"(unsigned long) ${name}")) & _MASK


def register(frame, name):
    """A register of a frame; None if it is not known there."""
    value = frame.read_register(name)
    return None if value.is_optimized_out else int(value) & _MASK


def registers(frame):
    return {name: register(frame, name) for name in NAMES}


def frames():
    """All frames from the innermost, with the registers of the one that an exception interrupted."""
    found, frame = [], gdb.newest_frame()
    while frame is not None:
        kind = _KINDS.get(frame.type(), "normal")
        one = {"name": frame.name(), "kind": kind, "pc": frame.pc(), "sp": register(frame, "sp")}
        if found and found[-1]["kind"] == "signal":
            one["registers"] = registers(frame)
        found.append(one)
        frame = frame.older()
    return found


def show_frames(what="frames"):
    """Print the frames, what `bt` prints, and where the CPU is."""
    text = gdb.execute("backtrace", to_string=True)
    show(what, pc=gdb.newest_frame().pc(), frames=frames(), text=text)


def show_first_frames(names):
    """Print the frames at the first instruction of each of these functions, in the order that they run in."""
    for name in names:
        gdb.Breakpoint(f"*{address(name):#x}", temporary=True).silent = True
    for _ in names:
        gdb.execute("continue", to_string=True)
        show_frames(name_at(gdb.newest_frame().pc()))


def show_threads():
    """Print the frames of every core."""
    for thread in sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.num):
        thread.switch()
        show_frames("thread")


def show_cpu():
    """Print what an exception that was just taken has interrupted: the oracle of all that follows."""
    values = registers(gdb.newest_frame())
    values["pc"] = system("ELR_EL1")
    if system("SPSR_EL1") & 0xF == 0:
        values["sp"] = system("SP_EL0")
    show("interrupted", registers=values, records=frame_records(values["x29"]))


def show_context():
    """Print the registers in the context that SP points to: `Context` of kernel/src/tasks.rs."""
    memory = gdb.selected_inferior().read_memory(register(gdb.newest_frame(), "sp"), 8 * len(NAMES)).tobytes()
    words = struct.unpack(f"<{len(NAMES)}Q", memory)
    show("context", registers=dict(zip(NAMES, words, strict=True)))


def frame_records(pointer):
    """The return addresses of the frame records (AAPCS64, 6.4.6) from a frame pointer on."""
    found = []
    while pointer:
        try:
            memory = gdb.selected_inferior().read_memory(pointer, 16).tobytes()
        except gdb.MemoryError:
            break
        pointer, link = struct.unpack("<2Q", memory)
        found.append(link)
    return found


def run_to(place):
    """Continue to an address."""
    gdb.Breakpoint(f"*{place:#x}", temporary=True).silent = True
    gdb.execute("continue", to_string=True)
    assert gdb.newest_frame().pc() == place, f"stopped at {gdb.newest_frame().pc():#x}, not at {place:#x}"


def run_to_exception(offset, exception_class=None, function=None):
    """Continue to an exception, before the first instruction of its vector.

    `exception_class` is ESR_EL1.EC; `function` is what was interrupted.
    """
    while True:
        run_to(address("exception_vectors") + offset)
        if exception_class is not None and system("ESR_EL1") >> 26 != exception_class:
            continue
        if function is None or name_at(system("ELR_EL1")) == function:
            return


def name_at(place):
    """The symbol of an address."""
    said = gdb.execute(f"info symbol {place:#x}", to_string=True)
    return said.split()[0] if " in section " in said else ""


def step_to(place, what="frames", at_most=400):
    """Step to an address, and print the frames before each instruction, the first one's as well.

    After `at_most` instructions it runs there: the ageing at a tick takes some 100,000.
    """
    for _ in range(at_most):
        show_frames(what)
        if gdb.newest_frame().pc() == place:
            return
        gdb.execute("stepi", to_string=True)
    run_to(place)
    show_frames(what)


def step_out(what="frames"):
    """Step to the end of the exception, and print the frames before each instruction and after the last."""
    while True:
        show_frames(what)
        is_last = gdb.execute("x/i $pc", to_string=True).split()[-1] == "eret"
        gdb.execute("stepi", to_string=True)
        if is_last:
            show_frames("left")
            return


def go_on_in_vector(number):
    """Make the exception that was just taken one of another vector."""
    gdb.execute(f"set $pc = {address('exception_vectors') + 0x80 * number:#x}", to_string=True)


def step_in_vectors(numbers, place):
    """Step from each of these vectors to an address, each time from the exception that was just taken."""
    before = registers(gdb.newest_frame())
    for number in numbers:
        go_on_in_vector(number)
        step_to(place, f"vector {number}")
        for name, value in before.items():
            gdb.execute(f"set ${name} = {value:#x}", to_string=True)


gdb.execute("set language c")
gdb.execute("set pagination off")
