"""Modules that try the ops of nets: every kind, with sizes on both sides of what
fits registers. `write_all(folder)` writes them and returns their files.

A Builder holds the text of a module with one input; its methods append an op and
return (value, shape). Weights are drawn, the same each time."""
import math
import random

SIGMOID = "1 1 x0 neg exp add div"
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def product(shape):
    n = 1
    for size in shape:
        n *= size
    return n


def i64(values):
    return f"i64[{len(values)}]({' '.join(map(str, values))})"


class Builder:
    """dtype is f32 or f64; or bf16 or int8: f32 with weights of that kind."""
    def __init__(self, shape, dtype, seed=1):
        self.draw = random.Random(seed)
        self.stored = dtype
        self.dtype = dtype = "f64" if dtype == "f64" else "f32"
        self.lines = [f'  column "x" tensor {product(shape)}']
        self.n = self.n_outputs = 0
        x = self.op("input", [], f'first = 0, count = 1, dtype = "{dtype}"',
                    [product(shape)])
        self.x = self.view(x, shape)

    def tensor(self, shape, scale=1.0):
        """Numbers, some of them zeros of either sign."""
        numbers = [self.draw.choice(["0", "-0"])
                   if self.draw.random() < 0.02
                   else f"{self.draw.gauss(0, scale):.4g}"
                   for _ in range(product(shape))]
        return (f"{self.dtype}[{','.join(map(str, shape))}]"
                f"({' '.join(numbers)})")

    def weights(self, name, shape, columns, scale):
        """Attributes: weights of so many columns, as they are stored."""
        if self.stored == "int8" and name == "weights":
            numbers = [str(self.draw.randrange(-128, 128))
                       for _ in range(product(shape))]
            scales = " ".join(f"{self.draw.random() * scale / 1000:.4g}"
                              for _ in range(columns))
            return (f"weights = i8[{','.join(map(str, shape))}]"
                    f"({' '.join(numbers)}), input_scale = "
                    f"{self.draw.choice([0.125, 20.5, 31.75, 1000])}, "
                    f"input_zero = {self.draw.choice([0, 3, 128, 255])}, "
                    f"scale = f32[{columns}]({scales})")
        text = self.tensor(shape, scale)
        if self.stored == "bf16":
            text = text.replace("f32", "bf16", 1)
        return f"{name} = {text}"

    def op(self, name, operands, attributes, *shapes, dtype=None):
        """The value, or a list of them."""
        ids = list(range(self.n, self.n + len(shapes)))
        self.n += len(shapes)
        given = ", ".join(f"%{v}" for v in operands)
        types = ", ".join(f"{dtype or self.dtype}[{','.join(map(str, s))}]"
                          for s in shapes)
        self.lines.append(
            f"  {', '.join(f'%{i}' for i in ids)} = {name}"
            + (f"({given})" if operands else "")
            + (f" {{{attributes}}}" if attributes else "") + f" : {types}")
        return ids[0] if len(ids) == 1 else ids

    def output(self, value):
        self.lines.append(f'  output "y{self.n_outputs}" %{value}')
        self.n_outputs += 1

    def text(self):
        return "\n".join(["treenail-ir 1", 'module "net" {', *self.lines,
                          "}", ""])

    def constant(self, shape):
        return self.op("constant", [], f"value = {self.tensor(shape)}", shape)

    def view(self, x, shape, strides=None, offset=0):
        if strides is None:
            strides = [product(shape[i + 1:]) for i in range(len(shape))]
        return self.op("view", [x], f"shape = {i64(shape)}, strides = "
                       f"{i64(strides)}, offset = {offset}", shape)

    def map(self, operands, program, shape, dtype=None):
        return self.op("map", operands, f'program = "{program}", dtype = '
                       f'"{dtype or self.dtype}"', shape, dtype=dtype)

    def gemm(self, x, shape, n, block=8, bias=True):
        weights = self.weights("weights", [shape[-1], n], n,
                               shape[-1] ** -0.5)
        more = f", bias = {self.tensor([n], 0.3)}" if bias else ""
        return self.op("gemm", [x], f"{weights}{more}, "
                       f"block = {block}", shape[:-1] + [n])

    def conv(self, x, shape, results, kernel, strides=None, pads=None,
             dilations=None, spread=None, groups=1, bias=True, tile=None):
        n = len(kernel)
        one = [1] * n
        strides, dilations = strides or one, dilations or one
        pads = pads or [0] * (2 * n)
        out = [((size - 1) * d + 1 + a + b - (k - 1) * e - 1) // s + 1
               for size, d, a, b, k, e, s in
               zip(shape[1:], spread or one, pads, pads[n:], kernel,
                   dilations, strides)]
        text = self.weights("weights", [results, shape[0] // groups] + kernel,
                            results, 0.4) + ", "
        if bias:
            text += f"bias = {self.tensor([results], 0.3)}, "
        text += (f"strides = {i64(strides)}, pads = {i64(pads)}, "
                 f"dilations = {i64(dilations)}, ")
        if spread:
            text += f"input_dilations = {i64(spread)}, "
        if tile:
            text += f"winograd = {i64(tile)}, "
        shape = [results] + out
        return self.op("conv", [x], f"{text}groups = {groups}", shape), shape

    def pool(self, x, shape, kind, kernel, strides=None, pads=None,
             dilations=None, extra=None, count_padding=0):
        n = len(kernel)
        one = [1] * n
        strides, dilations = strides or one, dilations or one
        pads, extra = pads or [0] * (2 * n), extra or [0] * n
        out = [(size + a + b + c - (k - 1) * e - 1) // s + 1
               for size, a, b, c, k, e, s in
               zip(shape[1:], pads, pads[n:], extra, kernel, dilations,
                   strides)]
        shape = [shape[0]] + out
        return self.op(
            "pool", [x], f'kind = "{kind}", kernel = {i64(kernel)}, strides '
            f"= {i64(strides)}, pads = {i64(pads)}, dilations = "
            f"{i64(dilations)}, extra = {i64(extra)}, count_padding = "
            f"{count_padding}", shape), shape

    def scan(self, z, state, cell, steps, hidden, length=None, reverse=0,
             **more):
        gates = GATES[cell] * hidden
        recurrent = self.weights("recurrent", [hidden, gates], gates,
                                 hidden ** -0.5)
        text = f'cell = "{cell}", {recurrent}, reverse = {reverse}, '
        for name, size in (("recurrent_bias", 1), ("peephole", 3)):
            if more.pop(name, False):
                text += f"{name} = {self.tensor([size * hidden], 0.3)}, "
        text += "".join(f"{name} = {value}, " for name, value in more.items())
        text += ('gate = "x0 tanh"' if cell == "rnn" else
                 f'gate = "{SIGMOID}", candidate = "x0 tanh"')
        if cell == "lstm":
            text += ', output = "x0 tanh"'
        states = 2 if cell == "lstm" else 1
        operands = [z, state] + ([] if length is None else [length])
        return self.op("scan", operands, text, [steps, hidden],
                       [states, hidden])


# Of each: the image, then what conv() takes.
CONVS = {
    "plain": ([3, 9, 11], 10, [3, 3]),
    "padded": ([2, 8, 7], 5, [3, 3], None, [1, 1, 1, 1]),
    "strides": ([4, 12, 13], 20, [3, 2], [2, 3], [0, 1, 2, 0]),
    "one tap": ([7, 6, 5], 70, [1, 1]),
    "one dim": ([5, 17], 6, [4], [2], [2, 1]),
    "dilated": ([3, 12, 12], 8, [3, 3], None, [2, 0, 1, 3], [2, 3]),
    "groups": ([6, 7, 8], 9, [3, 3], None, [1] * 4, None, None, 3),
    "depthwise": ([70, 5, 6], 70, [3, 3], [2, 1], [1] * 4, None, None, 70),
    "twice": ([5, 6, 6], 10, [3, 3], None, None, None, None, 5),
    "gaps": ([4, 5, 4], 6, [3, 3], None, [2, 1, 2, 2], None, [2, 3]),
    "gaps in groups": ([4, 5], 6, [4], None, [3, 2], None, [2], 2),
    "three dims": ([2, 4, 5, 6], 5, [2, 3, 2], [1, 2, 1],
                   [1, 0, 1, 0, 1, 1]),
    "many": ([40, 4, 4], 64, [3, 3], None, [1] * 4),
    "no bias": ([3, 5, 5], 1, [5, 5], None, None, None, None, 1, False),
}
# Likewise, by Winograd's way, with the tile: images that tiles just cover or
# stand out of, channels and results that vectors are filled by or not, and
# blocks of several rows of tiles, of one, and of a part of one.
WINOGRADS = {
    "5x5": ([8, 14, 14], 16, [5, 5], [2, 2, 2, 2], [2, 2]),
    "3x3 by 2": ([3, 9, 11], 10, [3, 3], [1, 1, 1, 1], [2, 2]),
    "3x3 by 4": ([20, 10, 15], 35, [3, 3], [1, 0, 2, 1], [4, 4]),
    "inside": ([6, 12, 12], 8, [5, 5], [0] * 4, [2, 2]),
    "not padded": ([16, 8, 14], 9, [3, 3], [0] * 4, [2, 4]),
    "wide": ([2, 5, 60], 5, [3, 3], [1] * 4, [2, 2]),
    "high": ([1, 40, 3], 7, [4, 2], [2, 0, 1, 1], [3, 5]),
    "across": ([5, 6, 25], 12, [1, 5], [0, 2, 0, 2], [1, 2]),
    "down": ([4, 25, 6], 12, [3, 1], [1, 0, 1, 0], [4, 1]),
    "one dim": ([24, 70], 66, [3], [2, 0], [4]),
    "one tile": ([9, 2, 2], 70, [2, 3], [0, 1, 0, 0], [5, 4]),
    "many": ([40, 7, 7], 100, [3, 3], [1] * 4, [4, 4]),
}
# Likewise of pool(), for both kinds.
POOLS = {
    "plain": ([5, 8, 9], [2, 2], [2, 2]),
    "padded": ([3, 7, 8], [3, 3], [2, 2], [1] * 4),
    "one dim": ([4, 13], [3], [2], [1, 0], [2]),
    "past the end": ([2, 6, 7], [3, 2], [2, 2], [0, 1, 1, 1], None, [1, 1]),
    "global": ([6, 7, 7], [7, 7]),
    "three dims": ([2, 4, 4, 5], [2, 2, 2], None, [1, 1, 0, 0, 1, 1]),
    "empty": ([2, 3, 3], [2, 2], None, [3] * 4),
}
# Cell, steps, hidden; with a length or not; what else scan() takes.
SCANS = [
    ("lstm", 4, 5, False, {}),
    ("lstm", 3, 20, False, {"reverse": 1, "clip": 0.7, "peephole": True}),
    ("lstm", 2, 64, False, {}),
    ("lstm", 4, 37, True, {"input_forget": 1}),
    ("lstm", 2, 52, True, {"clip": 0.7, "peephole": True}),
    ("gru", 4, 5, False, {}),
    ("gru", 3, 20, False, {"linear_before_reset": 1, "recurrent_bias": True}),
    ("gru", 4, 33, True, {"linear_before_reset": 1, "reverse": 1}),
    ("gru", 3, 50, False, {"linear_before_reset": 1, "recurrent_bias": True}),
    ("rnn", 5, 6, False, {}),
    ("rnn", 3, 48, True, {"reverse": 1}),
    ("rnn", 3, 1, False, {"clip": 1}),
]
SLICES = [(120, 1), (6, 1), (5, 6), (4, 30)]


def convs(dtype):
    for name, (shape, *given) in CONVS.items():
        if dtype == "int8" and name.startswith("gaps"):
            continue  # which it cannot have
        m = Builder(shape, dtype)
        y, _ = m.conv(m.x, shape, *given)
        m.output(y)
        yield f"conv {name}", m
    for name, (shape, n, kernel, pads, tile) in WINOGRADS.items():
        if dtype != "f32":
            continue
        m = Builder(shape, dtype)
        for bias in False, True:
            y, shape_y = m.conv(m.x, shape, n, kernel, None, pads, bias=bias,
                                tile=tile)
            m.output(y)
            m.output(m.map([y, m.conv(m.x, shape, n, kernel, None, pads,
                                      tile=tile)[0]], "x0 x1 add 0 max",
                           shape_y))
        yield f"winograd {name}", m


def pools(dtype):
    for name, (shape, *given) in POOLS.items():
        for kind in ("max", "average"):
            m = Builder(shape, dtype)
            m.output(m.pool(m.x, shape, kind, *given)[0])
            if kind == "average":
                m.output(m.pool(m.x, shape, kind, *given,
                                count_padding=1)[0])
            yield f"pool {kind} {name}", m


def scans(dtype):
    for i, (cell, steps, hidden, sized, more) in enumerate(SCANS):
        gates = steps * GATES[cell] * hidden
        states = (2 if cell == "lstm" else 1) * hidden
        m = Builder([gates + states + 1], dtype)
        z = m.view(m.x, [steps, GATES[cell] * hidden])
        state = m.view(m.x, [states], offset=gates)
        length = None
        if sized:
            length = m.map([m.view(m.x, [1], offset=gates + states)],
                           "x0 2 mul 3 add", [1])
        for y in m.scan(z, state, cell, steps, hidden, length, **more):
            m.output(y)
        yield f"scan {i} {cell}", m


def moves(dtype):
    m = Builder([4, 5, 6], dtype)
    for shape, strides, offset in (
            ([6, 5, 4], [1, 6, 30], 0), ([3, 4], [0, 1], 7),
            ([4, 5, 3], [30, -6, 2], 25), ([2, 5, 6], None, 30),
            ([1], [1], 3)):
        m.output(m.view(m.x, shape, strides, offset))
    m.output(m.map([m.view(m.x, [2, 5, 6], None, 30)], "x0 2 mul",
                   [2, 5, 6]))
    for before, after, shape in (([1, 0, 2], [0, 0, 1], [5, 5, 9]),
                                 ([1, 2, 0], [0, 3, 0], [5, 10, 6])):
        m.output(m.op("pad", [m.x], f"before = {i64(before)}, after = "
                      f"{i64(after)}, value = -1.5", shape))
    m.output(m.op("matmul", [m.view(m.x, [2, 4, 15]),
                             m.view(m.x, [2, 15, 4])], "", [2, 4, 4]))
    m.output(m.op("matmul", [m.view(m.x, [2, 20, 3]),
                             m.view(m.x, [2, 3, 19], [57, 19, 1], 2)], "",
                  [2, 20, 19]))
    more = m.map([m.x], "x0 1 add", [4, 5, 6])
    for axis, operands, shape in ((0, [more, m.x] * 3, [24, 5, 6]),
                                  (1, [m.x, more, m.x], [4, 15, 6]),
                                  (2, [more, m.x], [4, 5, 12])):
        m.output(m.op("concat", operands, f"axis = {axis}", shape))
    yield "moves", m
    m = Builder([3], dtype)
    m.output(m.op("take", [m.x], f"table = {m.tensor([9, 5])}", [3, 5]))
    m.output(m.op("take", [m.x], "table = i32[4](5 6 7 8)", [3],
                  dtype="i32"))
    yield "take", m


def slices(dtype):
    """Side by side, and one after the other: more than a register has lanes,
    and longer."""
    for dims, chosen in (([4, 5, 6], SLICES), ([21, 37], [(37, 1)])):
        n = math.prod(dims)
        m = Builder(dims, dtype)
        for size, inner in chosen:
            where = f"size = {size}, inner = {inner}"
            m.output(m.op("softmax", [m.x], where, dims))
            m.output(m.op("argmax", [m.x], where, [n // size], dtype="i32"))
            for kind in ("max", "min", "sum", "prod", "argmax", "argmin"):
                finds = kind.startswith("arg")
                last = ", last = 1" if finds and (inner > 1 or n > 120) else ""
                wide = 'sum_dtype = "f64", ' if kind == "sum" else ""
                m.output(m.op("reduce", [m.x], f'kind = "{kind}", {wide}'
                              f"{where}{last}", [n // size],
                              dtype="i32" if finds else None))
        yield f"slices of {len(dims)} dims", m


def maps(dtype):
    m = Builder([4, 5, 17], dtype)
    channel, column = m.constant([4, 1, 1]), m.constant([17])
    row, more = m.constant([5, 1]), m.constant([3, 4, 5, 17])
    m.output(m.map([m.x, channel], "x0 x1 mul", [4, 5, 17]))
    m.output(m.map([m.x, column, row], "x0 x1 mul x2 add", [4, 5, 17]))
    m.output(m.map([row, column], "x0 x1 add", [5, 17]))
    m.output(m.map([more, m.x], "x0 x1 mul", [3, 4, 5, 17]))
    m.output(m.map([m.x, column], "x0 x1 gt", [4, 5, 17], "i32"))
    yield "maps", m


def gemms(dtype):
    m = Builder([4, 5, 17], dtype)
    for shape, offset, n, block, bias in (
            ([340], 0, 5, 8, True), ([340], 0, 130, 32, True),
            ([340], 0, 70, 130, True), ([340], 0, 70, 256, True),
            ([4, 5, 17], 0, 70, 5, True), ([4, 5, 17], 0, 3, 8, False),
            ([2, 17], 17, 33, 256, True), ([1, 340], 0, 1, 8, True)):
        y = m.gemm(m.view(m.x, shape, None, offset), shape, n, block, bias)
        m.output(y)
        shape = shape[:-1] + [n]
        column, each = m.constant([n]), m.constant(shape)
        y = m.map([m.gemm(m.view(m.x, shape[:-1] + [17], None, 0),
                          shape[:-1] + [17], n), column, each],
                  "x0 x1 mul x2 add 0 max", shape)
        m.output(y)
    # Alike but for how long the rows are that their operands are part of.
    wide = m.gemm(m.view(m.x, [340], None, 0), [340], 32)
    half = m.gemm(m.view(wide, [16], None, 5), [16], 16)
    m.output(half)
    m.output(m.gemm(half, [16], 16))
    yield "gemms", m


def whole(dtype):
    """A small net: padding, a residual, pooling, flattening, a softmax."""
    m = Builder([1, 12, 12], dtype)
    y, shape = m.conv(m.x, [1, 12, 12], 8, [5, 5], None, [2] * 4)
    first = m.map([y], "x0 0 max", shape)
    y, shape = m.conv(first, shape, 8, [3, 3], None, [1] * 4)
    y = m.map([y, first], "x0 x1 add 0 max", shape)
    y = m.map([y, m.constant([8, 1, 1])], "x0 x1 mul", shape)
    y = m.op("concat", [y, first], "axis = 0", [16, 12, 12])
    y, shape = m.pool(y, [16, 12, 12], "max", [3, 3], [3, 3])
    m.output(y)
    y = m.gemm(m.view(y, [256]), [256], 40, 16)
    y = m.gemm(m.map([y], "x0 tanh", [40]), [40], 3)
    m.output(m.op("softmax", [y], "", [3]))
    yield "whole", m


def quantised(dtype):
    """Bytes from product to product, beside others that are widened; the last
    with zeros that come with the row."""
    for channels, size, wide in ((3, 9, 5), (8, 7, 20), (16, 8, 64),
                                 (5, 6, 12)):
        m = Builder([channels, size, size], dtype)
        low = m.op("reduce", [m.x], 'kind = "low"', [1])
        zero = m.map([low], "x0 -40 mul", [1], "u8")
        zeros = [zero] if channels == 5 else []

        def product(kind, x, dims, columns, scale, attributes, shape):
            """Of bytes, as bytes."""
            start = " ".join(str(m.draw.randrange(-9000, 9000))
                             for _ in range(columns))
            given = m.weights("weights", dims, columns, scale).split(", ")
            kept = ", ".join("zero_operand = 1" if zeros and "input_zero" in x
                             else x for x in given if "input_scale" not in x)
            y = m.op(kind, [x, *zeros], f"{kept}, start = i32[{columns}]({start}), "
                     f"{attributes}", shape)
            return m.map([y], "x0 rint 31 add", shape, "u8")

        def conv(x, c, n, k, pad, groups=1):
            return product(
                "conv", x, [n, c // groups, k, k], n, 3, "strides = "
                f"{i64([1, 1])}, pads = {i64([pad] * 4)}, dilations = "
                f"{i64([1, 1])}, groups = {groups}", [n, size, size])

        x = m.map([m.x], "x0 0.02 div rint 100 add", [channels, size, size],
                  "u8")
        first = conv(x, channels, wide, 3, 1)
        y = conv(first, wide, wide, 1, 0)
        if wide % 4 == 0:
            y = conv(y, wide, wide, 3, 1, wide // 4)
        y = m.map([y, first], "x0 31 sub 0.25 mul x1 31 sub 0.5 mul add "
                  "0.5 div rint 7 add", [wide, size, size], "u8")
        m.output(m.map([y], "x0 7 sub 0.5 mul", [wide, size, size]))
        out = size // 2
        y = m.op("pool", [y], 'kind = "max", kernel = i64[2](2 2), strides = '
                 "i64[2](2 2), pads = i64[4](0 0 0 0), dilations = "
                 "i64[2](1 1), count_padding = 0", [wide, out, out],
                 dtype="u8")
        depth = wide * out * out
        y = m.op("view", [y], f"shape = i64[1]({depth}), strides = i64[1](1),"
                 " offset = 0", [depth], dtype="u8")
        y = product("gemm", y, [depth, 37], 37, 1, "block = 8", [37])
        y = product("gemm", y, [37, 3], 3, 1, "block = 8", [3])
        m.output(m.map([y], "x0 31 sub 0.125 mul", [3]))
        yield f"quantised {channels}", m


def all_cases(dtype):
    families = convs, gemms, whole, scans
    if dtype == "int8":
        families = (*families[:3], quantised)
    elif dtype != "bf16":
        families += pools, moves, slices, maps
    for family in families:
        yield from family(dtype)
