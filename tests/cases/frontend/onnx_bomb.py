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


def ints(name, *values):
    return (field(1, name) + b"".join(b"\x40" + varint(v) for v in values)
            + b"\xa0\x01\x07")


def number(name, value):
    return field(1, name) + b"\x18" + varint(value) + b"\xa0\x01\x02"


def floats(name, n):
    """An initializer of n zeros."""
    return field(5, b"\x08" + varint(n) + b"\x10\x01" + field(8, name)
                 + field(9, b"\0" * (4 * n)))


def one_row(n):
    """The input "X" of [1][n]."""
    dims = field(1, b"\x08\x01") + field(1, b"\x08" + varint(n))
    return field(11, field(1, b"X") + field(2, field(
        1, b"\x08\x01" + field(2, dims))))


def scan(state, x, y, body):
    return node(b"Scan", [state, x], [y], number(b"num_scan_inputs", 1),
                ints(b"scan_input_axes", 1), graph_attribute(b"body", body))


def sums(n=60):
    """A step whose sum is twice one that is twice one and so on."""
    body = node(b"Concat", [b"w", b"x"], [b"j"], number(b"axis", 0))
    body += node(b"Slice", [b"j", b"zero", b"one"], [b"a0"])
    for i in range(n):
        a = b"a%d" % i
        body += node(b"Add", [a, a], [b"a%d" % (i + 1)])
    body += node(b"Add", [b"a%d" % n, b"h"], [b"s"])
    body += node(b"Tanh", [b"s"], [b"t"])
    body += named(11, b"h", b"x") + named(12, b"t")
    whole = b"".join(field(5, b"\x08\x01\x10\x07" + field(8, name)
                           + field(7, bytes([i])))
                     for i, name in enumerate([b"zero", b"one"]))
    return field(7, scan(b"w", b"X", b"y", body) + whole + floats(b"w", 1)
                 + one_row(4) + named(12, b"y"))


def nested_scans(depth=18):
    """Loops of one step in loops, each of which might be a layer."""
    body = node(b"Add", [b"h0", b"x0"], [b"y0"])
    for d in range(depth):
        at = b"%d" % d
        if d:
            body = (node(b"Unsqueeze", [b"x" + at, b"zero"], [b"u" + at])
                    + scan(b"h" + at, b"u" + at, b"g" + at, body)
                    + node(b"Add", [b"g" + at, b"x" + at], [b"y" + at]))
        body += named(11, b"h" + at, b"x" + at) + named(12, b"y" + at)
    zero = field(5, b"\x08\x01\x10\x07" + field(7, b"\0") + field(8, b"zero"))
    return field(7, scan(b"w", b"X", b"y", body) + floats(b"w", 1) + zero
                 + one_row(1) + named(12, b"y"))


def twice_looped(body):
    """A body in a loop of one step, in one of 5000."""
    body = node(b"Loop", [b"m", b"", b"h1"], [b"g1"],
                graph_attribute(b"body", body))
    body += named(11, b"i1", b"c1", b"h1") + named(12, b"c1", b"g1")
    one = field(5, b"\x10\x07" + field(7, b"\x01") + field(8, b"m"))
    return field(7, node(b"Loop", [b"n", b"", b"w"], [b"y"],
                         graph_attribute(b"body", body))
                 + one + count(5000) + floats(b"w", 1) + one_row(1)
                 + named(12, b"y"))


def large_constants():
    body = node(b"Neg", [b"h0"], [b"g0"]) + floats(b"large", 1000000)
    return twice_looped(body + named(11, b"i0", b"c0", b"h0")
                        + named(12, b"c0", b"g0"))


def long_names():
    long = b"n" * 1000000
    body = node(b"Neg", [b"h0"], [long]) + node(b"Neg", [long], [b"g0"])
    return twice_looped(body + named(11, b"i0", b"c0", b"h0")
                        + named(12, b"c0", b"g0"))


def long_lists():
    body = node(b"Neg", [b"h0"], [b"g0"])
    body += node(b"Constant", [], [b"list"],
                 field(1, b"value_ints") + field(8, bytes(1000000))
                 + b"\xa0\x01\x07")
    return twice_looped(body + named(11, b"i0", b"c0", b"h0")
                        + named(12, b"c0", b"g0"))


sys.stdout.buffer.write(b"\x08\x08" + globals()[sys.argv[1]]()
                        + field(8, b"\x10\x0f"))  # opset 15
