"""Flattened device trees (Devicetree Specification 0.4, chapter 5), as `dtc` writes them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

Value = bytes | str | Sequence[int]
"""A property: bytes, a text, or cells of 32 bits."""
Node = Mapping[str, "Value | Node"]

_BEGIN, _END, _PROPERTY, _LAST = 1, 2, 3, 9
_HEADER, _RESERVATIONS = 40, 16


def blob(root: Node) -> bytes:
    """The device tree with this root."""
    strings = bytearray()
    structure = _node("", root, strings) + struct.pack(">I", _LAST)
    start = _HEADER + _RESERVATIONS
    sizes = (len(strings), len(structure))
    total = start + sum(sizes)
    header = (0xD00D_FEED, total, start, start + len(structure), _HEADER, 17, 16, 0, *sizes)
    return struct.pack(">10I", *header) + bytes(_RESERVATIONS) + structure + bytes(strings)


def board(*ram: tuple[int, int]) -> bytes:
    """The tree of a Raspberry Pi 4 with RAM at these addresses, of these sizes."""
    cells = [cell for start, size in ram for cell in (start >> 32, start & 0xFFFF_FFFF, size)]
    return blob(
        {
            "#address-cells": [2],
            "#size-cells": [1],
            "compatible": "raspberrypi,4-model-b",
            "memory@0": {"device_type": "memory", "reg": cells},
        }
    )


def _node(name: str, content: Node, strings: bytearray) -> bytes:
    encoded = struct.pack(">I", _BEGIN) + _padded(name.encode() + b"\0")
    # Properties come before nodes.
    for key, value in sorted(content.items(), key=lambda entry: isinstance(entry[1], Mapping)):
        if isinstance(value, Mapping):
            encoded += _node(key, value, strings)
        else:
            raw = _raw(value)
            encoded += struct.pack(">3I", _PROPERTY, len(raw), len(strings)) + _padded(raw)
            strings += key.encode() + b"\0"
    return encoded + struct.pack(">I", _END)


def _raw(value: Value) -> bytes:
    if isinstance(value, str):
        return value.encode() + b"\0"
    return value if isinstance(value, bytes) else struct.pack(f">{len(value)}I", *value)


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 4)
