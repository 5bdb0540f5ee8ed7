"""GDB's machine interface, as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.session import mi

_LINE = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))


@given(st.lists(_LINE), st.data())
def test_pieces_of_any_length_are_joined_to_lines(lines: list[str], data: st.DataObject) -> None:
    stream = "".join(f"{line}\n" for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    splitter = mi.LineSplitter()
    found: list[str] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += splitter.feed(stream[start:end])
    assert found == lines


def test_a_line_is_kept_until_its_end_comes() -> None:
    splitter = mi.LineSplitter()
    assert splitter.feed(b"12^do") == []
    assert splitter.feed(b"ne\r\n(g") == ["12^done"]
    assert splitter.feed(b"db) \n") == ["(gdb) "]


def test_the_prompt_is_not_a_record() -> None:
    assert mi.parse("(gdb) ") is None


@pytest.mark.parametrize(
    ("line", "record"),
    [
        ('7^done,value="1"', mi.Record("result", "done", 7, {"value": "1"})),
        ('8^error,msg="no"', mi.Record("result", "error", 8, {"msg": "no"})),
        ('~"a\\tb\\n"', mi.Record("console", "", None, "a\tb\n")),
        ('&"careful\\n"', mi.Record("log", "", None, "careful\n")),
        ('=thread-group-exited,id="i1"', mi.Record("notify", "thread-group-exited", None, {"id": "i1"})),
        ("not MI at all", mi.Record("output", "", None, "not MI at all\n")),
    ],
)
def test_each_kind_of_line_is_parsed(line: str, record: mi.Record) -> None:
    assert mi.parse(line) == record


def test_a_stop_has_its_core() -> None:
    with_core = mi.stop_of({"reason": "signal-received", "core": "2", "thread-id": "1"})
    assert (with_core.reason, with_core.core) == ("signal-received", 2)
    assert mi.stop_of({"thread-id": "3"}).core == 2
    assert mi.stop_of({}).core is None


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\n\t")))
def test_quoted_text_reads_back_the_same(text: str) -> None:
    record = mi.parse(f"~{mi.quote(text)}")
    assert record is not None
    assert record.payload == text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (r'~"caf\303\251"', "café"),
        (r'~"\377"', r"\xff"),
        (r'~"\377\303\251\342\200"', r"\xffé\xe2\x80"),
        (r'~"\\303 \\\303\251"', r"\303 \é"),
        (r'&"\351"', r"\xe9"),
        ('~"\udce2\\200\\224"', "—"),
        ("not MI \udcff", "not MI \\xff\n"),
        (r'~"\q"', '~"\\q"\n'),
        ('~"begun', '~"begun\n'),
    ],
)
def test_bytes_that_are_not_text_are_escaped(line: str, text: str) -> None:
    record = mi.parse(line)
    assert record is not None
    assert record.payload == text


def test_bytes_in_a_result_are_decoded_too() -> None:
    record = mi.parse(r'3^done,name="\303\251\377",value="1"')
    assert record is not None
    assert record.payload == {"name": r"é\xff", "value": "1"}


@given(st.binary())
def test_any_bytes_in_a_string_are_decoded_as_utf_8(data: bytes) -> None:
    octal = "".join(f"\\{byte:03o}" for byte in data)
    record = mi.parse(f'~"{octal}"')
    assert record is not None
    assert record.payload == data.decode(errors="backslashreplace")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "line", ["=x,y=[", '=x,y={a=[{b="]"', '1^done,a=["x",', '*stopped,a=[{b="x"]}', "=x,y=[[}"]
)
def test_an_unfinished_list_is_output(line: str) -> None:
    record = mi.parse(line)
    assert record is not None
    assert (record.kind, record.payload) == ("output", line + "\n")


def test_brackets_in_strings_are_text() -> None:
    record = mi.parse('1^done,a=["[",{b="]}{"}]')
    assert record is not None
    assert record.payload == {"a": ["[", {"b": "]}{"}]}


@given(st.binary(), st.sampled_from([b"", b'~"', b'1^done,a="', b"*stopped,", b"=x,y={", b"=x,y=["]))
def test_any_line_can_be_parsed(data: bytes, start: bytes) -> None:
    for line in mi.LineSplitter().feed(start + data + b"\n"):
        record = mi.parse(line)
        assert record is None or "\udc80" not in str(record.payload)
