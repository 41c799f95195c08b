#!/usr/bin/env python3
"""Records what ONNX Runtime answers to nets made by hand: what the standard's
own tests leave out.

    pip install onnx==1.18.0 onnxruntime==1.32.0 numpy
    ./record.py [--rows 2000] [--out DIR]

Recurrent layers in both directions, with clip, peepholes, initial states,
lengths and other activations; convolutions and pools in the ways of exports;
shapes computed in the graph; whole numbers. Weights are random, of a size that
keeps what comes out near 1. ONNX Runtime sums in orders of its own, so answers
agree to 1e-5 or so. It rounds each result of half precision; here none is.
"""
import argparse
import pathlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import recording

rng = np.random.default_rng(7)


def weights(*shape):
    fan = shape[-1] if len(shape) < 3 else int(np.prod(shape[1:]))
    return (rng.standard_normal(shape) / np.sqrt(fan)).astype(np.float32)


class Net:
    """A graph from nodes in order. `inputs`: name -> (shape, batch axis)."""

    domains = ()  # besides the standard's
    ir_version = 8

    def __init__(self, inputs, opset=17):
        self.inputs, self.opset = inputs, opset
        self.nodes, self.constants, self.n = [], [], 0
        self.whole = {}  # input -> the largest of its whole numbers
        self.least = {}  # input -> the smallest, if not 0

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, op, *inputs, outputs=1, **attributes):
        names = [x if isinstance(x, str) else self.constant(x)
                 for x in inputs]
        out = [f"v{self.n + i}" for i in range(outputs)]
        self.n += outputs
        self.nodes.append(helper.make_node(op, names, out, **attributes))
        return out if outputs > 1 else out[0]

    def model(self, outputs):
        def value(name, shape, axis):
            dims = [f"N" if i == axis else d for i, d in enumerate(shape)]
            kind = TensorProto.INT32 if name in self.whole \
                else TensorProto.FLOAT
            return helper.make_tensor_value_info(name, kind, dims)
        graph = helper.make_graph(
            self.nodes, "net",
            [value(n, s, a) for n, (s, a) in self.inputs.items()],
            [helper.make_empty_tensor_value_info(o) for o, _ in outputs],
            self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)] +
            [helper.make_opsetid(d, 1) for d in self.domains],
            ir_version=self.ir_version)
        return onnx.shape_inference.infer_shapes(model)


def ask(net, outputs, n):
    """outputs: (name, batch axis). Rows, and answers by output."""
    model = net.model(outputs)
    feeds = {}
    for name, (shape, axis) in net.inputs.items():
        shape = list(shape)
        shape[axis] = n
        if name in net.whole:
            feeds[name] = rng.integers(net.least.get(name, 0),
                                       net.whole[name] + 1, shape,
                                       dtype=np.int32)
        else:
            feeds[name] = rng.standard_normal(shape).astype(np.float32)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = \
        ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options,
                                   providers=["CPUExecutionProvider"])
    got = session.run([o for o, _ in outputs], feeds)
    rows = recording.rows_of([feeds[k].astype(np.float32) for k in net.inputs],
                             [a for _, a in net.inputs.values()])
    answers = []
    for i, ((name, axis), value) in enumerate(zip(outputs, got)):
        value = np.moveaxis(value, axis, 0).reshape(n, -1)
        if value.dtype not in (np.float32,):
            value = value.astype(np.float64)
        answers.append(("value" if i == 0 else name, value))
    return model, rows, answers


# -------------------------------------------------------------- recurrent --

def recurrent(op, t=5, i=3, h=4, directions=1, bias=True, state=False,
              lengths=False, peephole=False, per_row=False, stacked=False,
              known=0, **attributes):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    inputs = {"x": ((t, None, i), 1)}
    if lengths:
        inputs["n"] = ((None,), 0)
    if per_row:
        inputs["h0"] = ((directions, None, h), 1)
    if known:  # of all steps alike
        inputs["z"] = ((1, None, known), 1)
    net = Net(inputs)
    if lengths:
        net.whole["n"] = t
        # Of no steps ONNX Runtime gives zeros, not the state it was given.
        net.least["n"] = 1 if per_row else 0
    d = directions
    direction = {1: "forward", 2: "bidirectional"}[d]
    attributes.setdefault("direction", direction)
    b = weights(d, 2 * gates * h) if bias else ""
    first = "h0" if per_row else ""
    cell = ""
    if state:
        first = net.add("Expand", weights(d, 1, h), net.add(
            "Concat", np.array([d]), net.add(
                "Slice", net.add("Shape", "x"), np.array([1]), np.array([2])),
            np.array([h]), axis=0))
        cell = first if op == "LSTM" else ""
    more = [b, "n" if lengths else "", first]
    if op == "LSTM":
        more += [cell, weights(d, 3 * h) if peephole else ""]
    x = net.add("Concat", "x", net.add("Tile", "z", np.array([t, 1, 1])),
                axis=2) if known else "x"
    args = [x, weights(d, gates * h, i + known),
            weights(d, gates * h, h)] + more
    y = net.add(op, *args, outputs=3 if op == "LSTM" else 2, hidden_size=h,
                **attributes)
    if stacked:
        z = net.add("Reshape", net.add("Transpose", y[0], perm=[0, 2, 1, 3]),
                    np.array([0, 0, -1]))
        w = [weights(1, gates * h, d * h), weights(1, gates * h, h)]
        y = net.add(op, z, *w, outputs=2, hidden_size=h)
    return net, [(y[0], 2), (y[1], 1)]


def recurrent_nets():
    for op in ("LSTM", "GRU", "RNN"):
        yield f"{op}_plain", recurrent(op)
        yield f"{op}_no_bias", recurrent(op, bias=False)
        yield f"{op}_reverse", recurrent(op, direction="reverse")
        yield f"{op}_both", recurrent(op, directions=2)
        yield f"{op}_clip", recurrent(op, directions=2, clip=0.3)
        yield f"{op}_state", recurrent(op, directions=2, state=True)
        yield f"{op}_state_row", recurrent(op, directions=2, per_row=True)
        yield f"{op}_lengths", recurrent(op, directions=2, lengths=True)
        yield f"{op}_stacked", recurrent(op, directions=2, stacked=True)
    yield "LSTM_peephole", recurrent("LSTM", directions=2, peephole=True)
    yield "LSTM_input_forget", recurrent("LSTM", input_forget=1)
    yield "LSTM_functions", recurrent(
        "LSTM", activations=["HardSigmoid", "Softsign", "Elu"],
        activation_alpha=[0.25, 0.7], activation_beta=[0.4])
    yield "GRU_after", recurrent("GRU", directions=2, linear_before_reset=1)
    yield "GRU_after_clip", recurrent("GRU", linear_before_reset=1, clip=0.5)
    yield "RNN_relu", recurrent("RNN", directions=2,
                                activations=["Relu", "LeakyRelu"],
                                activation_alpha=[0.2])
    yield "RNN_affine", recurrent("RNN", activations=["ScaledTanh"],
                                  activation_alpha=[0.8],
                                  activation_beta=[1.3])


def given_nets():
    """What streams start from: states, lengths, what all steps have in common;
    and sequences of one step."""
    for op in ("LSTM", "GRU", "RNN"):
        yield f"{op}_given", recurrent(op, per_row=True, lengths=True)
        yield f"{op}_one", recurrent(op, t=1, per_row=True)
    yield "GRU_known", recurrent("GRU", known=2)


# ------------------------------------------------------------- convolution --

def conv(net, x, m, c, *kernel, bias=True, **attributes):
    more = [weights(m)] if bias else []
    groups = attributes.get("group", 1)
    return net.add("Conv", x, weights(m, c // groups, *kernel), *more,
                   **attributes)


def batch_norm(net, x, c):
    return net.add("BatchNormalization", x, 1 + weights(c), weights(c),
                   weights(c), 0.5 + rng.random(c, dtype=np.float32))


def image(c=3, h=8, w=9, opset=17):
    return Net({"x": ((None, c, h, w), 0)}, opset)


def conv_nets():
    for mode in ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"):
        net = image()
        yield f"conv_{mode}", (net, [(conv(
            net, "x", 4, 3, 3, 2, auto_pad=mode, strides=[2, 3]), 0)])
    net = image()
    y = net.add("Relu", batch_norm(net, conv(net, "x", 6, 3, 3, 3,
                                             pads=[1, 1, 1, 1]), 6))
    z = conv(net, y, 6, 6, 3, 3, bias=False, group=6, pads=[1, 1, 1, 1])
    z = net.add("Clip", batch_norm(net, z, 6), np.float32(0), np.float32(6))
    z = net.add("Add", conv(net, z, 6, 6, 1, 1), y)
    z = net.add("GlobalAveragePool", z)
    z = net.add("Gemm", net.add("Flatten", z), weights(5, 6), weights(5),
                transB=1)
    yield "residual", (net, [(net.add("Softmax", z, axis=1), 0)])
    net = image()
    y = batch_norm(net, net.add("MaxPool", "x", kernel_shape=[2, 2]), 3)
    both = conv(net, "x", 3, 3, 1, 1)
    z = batch_norm(net, both, 3)  # read twice: not folded
    yield "norm_apart", (net, [(y, 0), (net.add("Sub", z, both), 0)])
    net = image()
    y = conv(net, "x", 6, 3, 3, 3, dilations=[2, 2], pads=[2, 1, 0, 3])
    yield "dilated", (net, [(net.add("LeakyRelu", y, alpha=0.1), 0)])
    net = Net({"x": ((None, 4, 21), 0)})
    y = conv(net, "x", 8, 4, 5, group=2, strides=[2], pads=[4, 0])
    y = net.add("AveragePool", net.add("Elu", y), kernel_shape=[3],
                strides=[2], pads=[1, 1])
    yield "causal_1d", (net, [(y, 0)])
    for n, attributes in enumerate((
            dict(strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
            dict(strides=[3, 2], dilations=[2, 1]),
            dict(strides=[2, 3], group=2), dict(auto_pad="SAME_LOWER",
                                                strides=[2, 2]),
            dict(strides=[1, 1], pads=[3, 0, 2, 3]))):
        net = image(4, 5, 4)
        y = net.add("ConvTranspose", "x",
                    weights(4, 6 // attributes.get("group", 1), 3, 3),
                    weights(6), **attributes)
        yield f"transposed_{n}", (net, [(y, 0)])
    for n, (op, attributes) in enumerate((
            ("MaxPool", dict(kernel_shape=[3, 3], strides=[2, 2],
                             ceil_mode=1)),
            ("MaxPool", dict(kernel_shape=[2, 3], dilations=[2, 2],
                             pads=[1, 2, 1, 1])),
            ("AveragePool", dict(kernel_shape=[3, 3], strides=[2, 2],
                                 ceil_mode=1, pads=[1, 1, 1, 1])),
            ("AveragePool", dict(kernel_shape=[3, 3], strides=[2, 2],
                                 ceil_mode=1, pads=[1, 1, 1, 1],
                                 count_include_pad=1)),
            ("AveragePool", dict(kernel_shape=[4, 3], auto_pad="SAME_UPPER",
                                 count_include_pad=1)),
            ("LpPool", dict(kernel_shape=[2, 2], p=3)))):
        net = image()
        yield f"pool_{n}", (net, [(net.add(op, "x", **attributes), 0)])
    for mode in ("nearest", "linear", "cubic"):
        for place in ("half_pixel", "asymmetric", "align_corners"):
            net = image(2, 5, 4)
            y = net.add("Resize", "x", "",
                        np.array([1, 1, 2, 1.75], np.float32), mode=mode,
                        coordinate_transformation_mode=place)
            yield f"resize_{mode}_{place}", (net, [(y, 0)])
    for mode in ("constant", "reflect", "edge"):
        net = image(2, 5, 4)
        y = net.add("Pad", "x", np.array([0, 0, 2, 1, 0, 1, -1, 3]),
                    np.float32(0.5), mode=mode)
        yield f"pad_{mode}", (net, [(y, 0)])


# ------------------------------------------------------------------- others --

def attention(heads=2, t=5, e=8):
    net = Net({"x": ((None, t, e), 0)})
    d = e // heads

    def part(x):
        y = net.add("Add", net.add("MatMul", x, weights(e, e)), weights(e))
        # [N, T, heads, d], N taken from the shape as exporters do
        shape = net.add("Concat", net.add("Unsqueeze", net.add(
            "Gather", net.add("Shape", x), np.array(0), axis=0),
            np.array([0])), np.array([t, heads, d]), axis=0)
        return net.add("Reshape", y, shape)
    q = net.add("Transpose", part("x"), perm=[0, 2, 1, 3])
    k = net.add("Transpose", part("x"), perm=[0, 2, 3, 1])
    v = net.add("Transpose", part("x"), perm=[0, 2, 1, 3])
    s = net.add("Div", net.add("MatMul", q, k), np.float32(np.sqrt(d)))
    mask = np.triu(np.full((t, t), -1e9, np.float32), 1)
    a = net.add("Softmax", net.add("Add", s, mask), axis=-1)
    y = net.add("Transpose", net.add("MatMul", a, v), perm=[0, 2, 1, 3])
    y = net.add("Add", "x", net.add("MatMul", net.add(
        "Reshape", y, np.array([0, t, e])), weights(e, e)))
    y = net.add("LayerNormalization", y, 1 + weights(e), weights(e), axis=-1)
    z = net.add("ReduceMean", y, axes=[1], keepdims=0)
    return net, [(z, 0), (y, 0)]


def embedding(t=6, v=11, e=4):
    net = Net({"x": ((None, t), 0)})
    net.whole["x"] = v - 1
    y = net.add("Gather", weights(v, e), "x")
    y = net.add("Transpose", y, perm=[1, 0, 2])
    h = net.add("GRU", y, weights(1, 9, e), weights(1, 9, 3), outputs=2,
                hidden_size=3)[1]
    return net, [(net.add("Squeeze", h, np.array([0])), 0)]


def joins():
    net = Net({"a": ((None, 2, 3, 4), 0), "b": ((None, 5, 3, 4), 0)})
    y = net.add("Concat", "a", "b", axis=1)
    p, q, r = net.add("Split", y, np.array([1, 4, 2]), outputs=3, axis=1)
    z = net.add("Concat", net.add("Slice", q, np.array([3, 0]),
                                  np.array([-9, 3]), np.array([1, 3]),
                                  np.array([-1, 2])),
                net.add("Slice", q, np.array([0]), np.array([2]),
                        np.array([3])), axis=3)
    return net, [(z, 0), (net.add("Mul", p, r), 0)]


def groups():
    net = Net({"x": ((None, 6, 4, 5), 0)})
    y = net.add("InstanceNormalization", "x", 1 + weights(6), weights(6))
    # group normalisation as PyTorch's exporter writes it
    z = net.add("Reshape", "x", np.array([0, 2, -1]))
    z = net.add("InstanceNormalization", z, np.ones(2, np.float32),
                np.zeros(2, np.float32))
    z = net.add("Reshape", z, net.add("Shape", "x"))
    z = net.add("Add", net.add("Mul", z, weights(6, 1, 1)), weights(6, 1, 1))
    y = net.add("LRN", y, size=3, alpha=0.1, beta=0.7, bias=1.2)
    return net, [(y, 0), (z, 0)]


def quantised():
    net = Net({"x": ((None, 3, 6, 6), 0)})
    q = net.add("QuantizeLinear", "x", np.float32(0.03), np.uint8(120))
    w = rng.integers(-90, 90, (4, 3, 3, 3), dtype=np.int8)
    y = net.add("QLinearConv", q, np.float32(0.03), np.uint8(120), w,
                np.array([0.02, 0.03, 0.01, 0.02], np.float32),
                np.zeros(4, np.int8), np.float32(0.1), np.uint8(100),
                rng.integers(-900, 900, 4, dtype=np.int32),
                pads=[1, 1, 1, 1])
    z = net.add("Reshape", y, np.array([0, -1]))
    m = rng.integers(0, 255, (144, 5), dtype=np.uint8)
    z = net.add("QLinearMatMul", z, np.float32(0.1), np.uint8(100), m,
                np.float32(0.01), np.uint8(128), np.float32(0.5),
                np.uint8(128))
    return net, [(net.add("DequantizeLinear", z, np.float32(0.5),
                          np.uint8(128)), 0)]


def reductions():
    net = Net({"x": ((None, 3, 4, 5), 0)}, 13)
    a = net.add("ReduceMax", "x", axes=[1, 3], keepdims=0)
    b = net.add("ReduceSumSquare", "x", axes=[2], keepdims=1)
    c = net.add("ArgMin", "x", axis=2, keepdims=0)
    d = net.add("LogSoftmax", "x", axis=1)
    return net, [(a, 0), (b, 0), (c, 0), (d, 0)]


def half():
    """As converters write half precision: floats outside, a Cast at both ends."""
    def w(*shape):
        return weights(*shape).astype(np.float16)
    net = Net({"x": ((None, 2, 8, 8), 0)})
    y = net.add("Cast", "x", to=TensorProto.FLOAT16)
    y = net.add("Relu", net.add("Conv", y, w(6, 2, 3, 3), w(6),
                                pads=[1, 1, 1, 1]))
    y = net.add("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = net.add("Mul", net.add("Flatten", y), np.array(0.5, np.float16))
    y = net.add("Tanh", net.add("Gemm", y, w(96, 10), w(10)))
    y = net.add("Softmax", net.add("MatMul", y, w(10, 4)))
    return net, [(net.add("Cast", y, to=TensorProto.FLOAT), 0)]


def other_nets():
    yield "attention", attention()
    yield "embedding", embedding()
    yield "joins", joins()
    yield "groups", groups()
    yield "quantised", quantised()
    yield "reductions", reductions()
    yield "half", half()


def unordered():
    """Nodes from the last to the first: ONNX Runtime sorts them."""
    net = Net({"x": ((None, 2, 6, 6), 0)})
    y = net.add("Relu", net.add("Conv", "x", weights(4, 2, 3, 3), weights(4),
                                pads=[1, 1, 1, 1]))
    y = net.add("Add", net.add("Conv", y, weights(4, 4, 3, 3),
                               pads=[1, 1, 1, 1]), y)
    z = net.add("Reshape", y, net.add("Concat", net.add(
        "Slice", net.add("Shape", "x"), np.array([0]), np.array([1])),
        np.array([-1]), axis=0))
    z = net.add("Cast", net.add("Gemm", z, weights(144, 5)),
                to=TensorProto.DOUBLE)
    z = net.add("Cast", net.add("Mul", z, np.array(0.5)),
                to=TensorProto.FLOAT)
    net.nodes.reverse()
    return net, [(z, 0), (y, 0)]


def order_nets():
    yield "unordered", unordered()


TOLERANCE = {"half": 1e-3}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--out", type=pathlib.Path, default=recording.HERE)
    args = parser.parse_args()
    lines = []
    for make in (recurrent_nets, conv_nets, other_nets, given_nets,
                 order_nets):
        for name, (net, outputs) in make():
            model, rows, answers = ask(net, outputs, args.rows)
            (args.out / f"{name}.onnx").write_bytes(model.SerializeToString())
            recording.write(args.out / f"{name}.rec", rows, answers)
            lines.append(recording.manifest_line(
                args.out, name, answers, TOLERANCE.get(name, 3e-5)))
    recording.add_to_manifest(args.out, f"# onnxruntime {ort.__version__}, "
                              f"onnx {onnx.__version__}", lines)
    print(f"{len(lines)} models")


if __name__ == "__main__":
    main()
