"""Builds an IR module and writes it as a `.tn` file.

A `Module` holds columns, ops in order and outputs; its methods are the ops of
`ir/ops.def`, of which they infer the types. What no output needs is dropped,
what is computed twice is computed once, and the same calls give the same
bytes. What the file looks like: docs/ir.md, "The container".

Not here: checking. `treenail` verifies every file that it reads.
"""
import json
import os
import struct
import tempfile

import numpy as np

FORMAT_VERSION = "1"
DTYPES = {"f32": np.float32, "f64": np.float64, "u8": np.uint8,
          "u32": np.uint32, "i32": np.int32, "i64": np.int64}
NAMES = {np.dtype(d).str: name for name, d in DTYPES.items()}
SAFETENSORS = {"f32": "F32", "f64": "F64", "u8": "U8", "u32": "U32",
               "i32": "I32", "i64": "I64"}


class Value:
    """A result of an op: one row's vector of `size` numbers."""

    def __init__(self, op, dtype, size):
        self.op, self.dtype, self.size = op, dtype, size
        self.number = None  # in the text, once it is known what is used


class Op:
    """attrs: (name, value) in the order of the op's schema, the value an int,
    a float, a str or an array."""

    def __init__(self, name, operands, attrs, types):
        self.name, self.operands, self.attrs = name, operands, attrs
        self.results = [Value(self, dtype, size) for dtype, size in types]


class Column:
    """A named input. `names`: of the categories, code by code, or None."""

    def __init__(self, name):
        self.name = name
        self.names = None
        self.is_number = False  # something reads it as a plain number

    def code(self, name):
        """The code of a category's name, which is added if it is new."""
        if self.names is None:
            self.names = {}
        return self.names.setdefault(name, len(self.names))


def identity(array):
    """What tells one attribute from another."""
    if isinstance(array, np.ndarray):
        return array.dtype.str, array.shape, array.tobytes()
    return type(array).__name__, repr(array)


class Module:
    def __init__(self, name, columns):
        self.name = name
        self.columns = [Column(c) for c in columns]
        self.ops, self.known = [], {}
        self.facts, self.outputs = [], []

    def fact(self, key, value):
        self.facts.append((key, value))

    def output(self, name, value, labels=None):
        self.outputs.append((name, value, labels))

    def add(self, name, operands, attrs, *types):
        """The results of an op, which is a new one unless there is one like
        it. types: (dtype, size) of each result."""
        attrs = [(k, v) for k, v in attrs if v is not None]
        key = (name, tuple(id(x) for x in operands),
               tuple((k, identity(v)) for k, v in attrs))
        op = self.known.get(key)
        if op is None:
            op = self.known[key] = Op(name, operands, attrs, types)
            self.ops.append(op)
        return op.results

    def one(self, *args):
        return self.add(*args)[0]

    # ------------------------------------------------------------- the ops --

    def input(self, first, count, dtype="f64"):
        """Columns [first, first + count)."""
        return self.one("input", [], [("first", first), ("count", count),
                                      ("dtype", dtype)], (dtype, count))

    def constant(self, array, dtype="f64"):
        array = np.ascontiguousarray(array, dtype=DTYPES[dtype]).ravel()
        return self.one("constant", [], [("value", array)],
                        (dtype, array.size))

    def map(self, program, *operands, dtype=None):
        """Element by element; program: words in postfix form, in which a
        float stands for itself."""
        words = [w if isinstance(w, str) else number_text(float(w))
                 for w in ([program] if isinstance(program, str) else program)]
        dtype = dtype or operands[0].dtype
        size = max(x.size for x in operands)
        assert all(x.size in (1, size) for x in operands)
        return self.one("map", list(operands), [("program", " ".join(words)),
                                                ("dtype", dtype)],
                        (dtype, size))

    def cast(self, x, dtype):
        return x if x.dtype == dtype else self.map("x0", x, dtype=dtype)

    def gather(self, x, index):
        index = np.asarray(index, dtype=np.int32)
        if index.size == x.size and (index == np.arange(x.size)).all():
            return x
        return self.one("gather", [x], [("index", index)],
                        (x.dtype, index.size))

    def concat(self, parts):
        if len(parts) == 1:
            return parts[0]
        assert len({p.dtype for p in parts}) == 1
        return self.one("concat", list(parts), [],
                        (parts[0].dtype, sum(p.size for p in parts)))

    def lookup(self, x, keys, values, default):
        """values[i] where keys[i] == x, else default."""
        keys = np.asarray(keys, dtype=DTYPES[x.dtype])
        values = np.asarray(values)
        order = np.argsort(keys, kind="stable")  # NaN last
        return self.one("lookup", [x], [("keys", keys[order]),
                                        ("values", values[order]),
                                        ("default", float(default))],
                        (NAMES[values.dtype.str], x.size))

    def bucketize(self, x, edges, right):
        edges = np.asarray(edges, dtype=DTYPES[x.dtype])
        return self.one("bucketize", [x], [("edges", edges),
                                           ("right", int(right))],
                        (x.dtype, x.size))

    def interp(self, x, xs, ys):
        dtype = DTYPES[x.dtype]
        return self.one("interp", [x], [("x", np.asarray(xs, dtype)),
                                        ("y", np.asarray(ys, dtype))],
                        (x.dtype, x.size))

    def dense(self, x, weights, bias=None):
        """weights: [outputs, inputs]."""
        weights = np.ascontiguousarray(weights, dtype=DTYPES[x.dtype])
        if bias is not None:
            bias = np.ascontiguousarray(bias, dtype=DTYPES[x.dtype])
        return self.one("dense", [x], [("weights", weights), ("bias", bias)],
                        (x.dtype, len(weights)))

    def reduce(self, kind, x):
        return self.one("reduce", [x], [("kind", kind)], (x.dtype, 1))

    def softmax(self, x):
        return self.one("softmax", [x], [], (x.dtype, x.size))

    def argmax(self, x):
        return self.one("argmax", [x], [], ("i32", 1))

    def sigmoid(self, x, alpha=1.0):
        return self.one("sigmoid", [x], [("alpha", float(alpha))],
                        (x.dtype, x.size))

    def above(self, x, bound):
        """1 where x > bound, as i32."""
        return self.one("above", [x], [("bound", float(bound))],
                        ("i32", x.size))

    def not_below(self, x, bound):
        """1 where x >= bound, which is x > the number before bound."""
        return self.above(x, np.nextafter(bound, -np.inf))

    def both(self, positive):
        """The probabilities of two classes from that of the second."""
        return self.concat([self.map("1 x0 sub", positive), positive])

    # ------------------------------------------------------------- writing --

    def needed(self):
        """The ops that an output needs, in order, their results numbered."""
        live = set()
        wanted = [value.op for _, value, _ in self.outputs]
        while wanted:
            op = wanted.pop()
            if id(op) not in live:
                live.add(id(op))
                wanted += [x.op for x in op.operands]
        ops = [op for op in self.ops if id(op) in live]
        number = 0
        for op in ops:
            for result in op.results:
                result.number = number
                number += 1
        return ops

    def encode(self):
        """The bytes of the `.tn` file."""
        tensors = []
        lines = [f"treenail-ir 1\nmodule {named(self.name)} {{\n"]
        lines += [f"  fact {quoted(k)} {quoted(v)}\n" for k, v in self.facts]
        lines += [column_text(c) for c in self.columns]
        lines += [op_text(op, tensors) for op in self.needed()]
        lines += [output_text(*o) for o in self.outputs]
        return container("".join(lines) + "}\n", tensors)

    def write(self, path):
        """Puts the whole file in its place at once."""
        data = self.encode()
        folder = os.path.dirname(os.path.abspath(path))
        try:
            handle, temporary = tempfile.mkstemp(dir=folder, suffix=".part")
        except OSError as error:  # of the path, not of one that nobody named
            raise type(error)(error.errno, error.strerror, str(path)) from None
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


# -------------------------------------------------------------- the text form

def quoted(text):
    out = ['"']
    for c in text:
        if c in '\\"':
            out.append("\\" + c)
        elif c == "\n":
            out.append("\\n")
        elif c == "\t":
            out.append("\\t")
        elif c == "\0":
            raise ValueError(f"a name holds a NUL character: {text!r}")
        elif ord(c) < 32 or ord(c) == 127:
            out.append(f"\\x{ord(c):02x}")
        else:
            out.append(c)
    return "".join(out) + '"'


MAX_NAME = 4096  # bytes; IR_MAX_NAME of ir/ir.h


def named(text):
    """The name of a module, column, category, class or output."""
    if not 1 <= len(text.encode("utf-8")) <= MAX_NAME:
        raise ValueError("names have 1 to 4096 bytes, which "
                         f"{text[:40]!r} has not")
    return quoted(text)


def number_text(x):
    """The shortest decimal that reads back as the same double."""
    x = float(x)
    if np.isfinite(x) and x.is_integer() and abs(x) < 1e9:
        return "-0" if x == 0 and np.signbit(x) else str(int(x))
    return repr(x)


def type_text(dtype, shape):
    return f"{dtype}[{','.join(str(d) for d in shape)}]"


def attr_text(value, tensors):
    if isinstance(value, np.ndarray):
        tensors.append(value)
        return (f"@{len(tensors) - 1}:"
                f"{type_text(NAMES[value.dtype.str], value.shape)}")
    if isinstance(value, str):
        return quoted(value)
    return number_text(value) if isinstance(value, float) else str(int(value))


def op_text(op, tensors):
    results = ", ".join(f"%{r.number}" for r in op.results)
    operands = ", ".join(f"%{x.number}" for x in op.operands)
    attrs = ", ".join(f"{k} = {attr_text(v, tensors)}" for k, v in op.attrs)
    types = ", ".join(type_text(r.dtype, (r.size,)) for r in op.results)
    return (f"  {results} = {op.name}" + (f"({operands})" if operands else "")
            + (f" {{{attrs}}}" if attrs else "") + f" : {types}\n")


def column_text(column):
    kind = "number"
    if column.names is not None:
        kind = " ".join(["category", *map(named, column.names)])
    return f"  column {named(column.name)} {kind}\n"


def output_text(name, value, labels):
    text = f"  output {named(name)} %{value.number}"
    if labels:
        text += " labels " + " ".join(map(named, labels))
    return text + "\n"


# -------------------------------------------------------------- the container

def container(text, tensors):
    header = {"__metadata__": {"treenail": FORMAT_VERSION, "ir": text}}
    data = []
    at = 0
    for size in (8, 4, 2, 1):  # so that each is aligned to its dtype
        for number, t in enumerate(tensors):
            if t.dtype.itemsize != size:
                continue
            header[str(number)] = {
                "dtype": SAFETENSORS[NAMES[t.dtype.str]],
                "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
            at += t.nbytes
            data.append(np.ascontiguousarray(t).tobytes())
    head = json.dumps(header, separators=(",", ":"),
                      ensure_ascii=False).encode("utf-8")
    head += b" " * (-(8 + len(head)) % 64)
    return struct.pack("<Q", len(head)) + head + b"".join(data)
