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


def node(kind, inputs, outputs, *attributes):
    return field(1, b"".join(field(1, x) for x in inputs)
                 + b"".join(field(2, x) for x in outputs)
                 + field(4, kind) + b"".join(field(5, a) for a in attributes))


def graph_attribute(name, body):
    return field(1, name) + field(6, body) + b"\xa0\x01\x05"


def named(number, *names):
    return b"".join(field(number, field(1, name)) for name in names)


def count(steps):
    """An initializer "n" of so many steps."""
    return field(5, b"\x10\x07" + field(7, varint(steps)) + field(8, b"n"))


def loops(depth=8, steps=1000, names=0):
    """Loops in loops that count to a thousand each; with a lot of names that
    no step needs."""
    body = node(b"Add", [b"i0", b"i0"], [b"a0"])
    body += named(11, b"i0", b"c0", b"v0") + named(12, b"c0", b"a0")
    body += b"".join(field(5, b"\x10\x01" + field(8, b"w%d" % i))
                     for i in range(names))
    for d in range(1, depth):
        at = b"%d" % d
        body = node(b"Loop", [b"n", b"", b"i" + at], [b"a" + at],
                    graph_attribute(b"body", body))
        body += named(11, b"i" + at, b"c" + at, b"v" + at)
        body += named(12, b"c" + at, b"a" + at)
    top = node(b"Loop", [b"n", b"", b"n"], [b"y"],
               graph_attribute(b"body", body))
    return field(7, top + count(steps) + tensor_in() + named(12, b"y"))


def many_names():
    return loops(2, 1 << 40, 100000)


def chain(order):
    """Each node takes what the one before gives."""
    names = [b"x%d" % i for i in range(len(order) + 1)]
    return field(7, b"".join(node(b"Identity", [names[i]], [names[i + 1]])
                             for i in order)
                 + tensor_in() + named(12, names[-1]))


def backwards(n=100000):
    return chain(range(n - 1, -1, -1))


def circle(n=100000):
    ring = b"".join(node(b"Relu", [b"y%d" % ((i + 1) % n)], [b"y%d" % i])
                    for i in range(n))
    return field(7, ring + tensor_in() + named(12, b"y0"))


sys.stdout.buffer.write(b"\x08\x08" + globals()[sys.argv[1]]()
                        + field(8, b"\x10\x0f"))  # opset 15
