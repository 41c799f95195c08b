#!/usr/bin/env python3
"""Records what ONNX Runtime answers to nets that its own quantiser made.

    pip install onnx==1.23.2 onnxruntime==1.31.1 numpy
    ./export_quantised.py [--rows 48] [--out DIR]

A perceptron, a CNN, and one with a residual and a depthwise convolution, of
random weights: static with nodes between QuantizeLinear and DequantizeLinear
(qdq) or as ops on whole numbers (qop), of unsigned and signed numbers, with
scales by tensor or by channel; and dynamic, also as ONNX Runtime fuses it. Rows
are asked one by one: what is quantised dynamically goes by all of a batch. Sums
of whole numbers are exact and everything else is rounded in one way, so that
answers agree to the bit. Not so where an average or a softmax, which round as
they like, decide the next scale; and in an LSTM, whose state ONNX Runtime
quantises at each step.
"""
import argparse
import pathlib
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (CalibrationDataReader, QuantFormat,
                                      QuantType, quantize_dynamic,
                                      quantize_static)

import recording

rng = np.random.default_rng(11)


class Net:
    def __init__(self, *shape):
        self.shape, self.nodes, self.constants = shape, [], []
        self.last = "x"

    def add(self, op, *more, **attributes):
        """An op on the last result, or on `of`; weights are arrays."""
        names = [attributes.pop("of", self.last)]
        for x in more:
            if not isinstance(x, str):
                name = f"c{len(self.constants)}"
                self.constants.append(numpy_helper.from_array(x, name))
                x = name
            names.append(x)
        self.last = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [self.last],
                                           name=f"n{len(self.nodes)}",
                                           **attributes))
        return self.last

    def conv(self, m, c, k, groups=1, **attributes):
        w = rng.standard_normal((m, c // groups, k, k)) / (c * k / groups)
        b = rng.standard_normal(m) / 4
        return self.add("Conv", w.astype(np.float32), b.astype(np.float32),
                        group=groups, kernel_shape=[k, k], **attributes)

    def gemm(self, k, n):
        w = rng.standard_normal((k, n)) / np.sqrt(k)
        b = rng.standard_normal(n) / 4
        return self.add("Gemm", w.astype(np.float32), b.astype(np.float32))

    def model(self):
        def value(name, shape):
            return helper.make_tensor_value_info(name, TensorProto.FLOAT,
                                                 ["N", *shape])
        graph = helper.make_graph(
            self.nodes, "net", [value("x", self.shape)],
            [helper.make_empty_tensor_value_info(self.last)], self.constants)
        return onnx.shape_inference.infer_shapes(helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8))


def mlp():
    net = Net(13)
    for k, n in ((13, 24), (24, 16)):
        net.gemm(k, n)
        net.add("Relu")
    net.gemm(16, 3)
    return net


def cnn():
    net = Net(2, 9, 9)
    net.conv(8, 2, 3, pads=[1, 1, 1, 1])
    net.add("Relu")
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.conv(12, 8, 3)
    net.add("Relu")
    net.add("Flatten")
    net.gemm(48, 5)
    return net


def residual():
    net = Net(3, 8, 8)
    first = net.conv(8, 3, 3, pads=[1, 1, 1, 1], strides=[2, 2])
    net.conv(8, 8, 3, groups=8, pads=[1, 1, 1, 1])
    net.add("Relu")
    net.conv(8, 8, 1)
    net.add("Add", first)
    net.add("GlobalAveragePool")
    net.add("Flatten")
    net.gemm(8, 4)
    return net


def transformer():
    steps, width, heads = 6, 16, 2
    net = Net(steps, width)

    def dense(k, n, of):
        w = rng.standard_normal((k, n)) / np.sqrt(k)
        b = rng.standard_normal(n) / 4
        net.add("MatMul", w.astype(np.float32), of=of)
        return net.add("Add", b.astype(np.float32))

    def normal():
        return net.add("LayerNormalization", np.ones(width, np.float32),
                       np.zeros(width, np.float32))

    def part(of, perm):
        net.add("Reshape", np.array([0, steps, heads, width // heads]), of=of)
        return net.add("Transpose", perm=perm)

    q = part(dense(width, width, "x"), [0, 2, 1, 3])
    k = part(dense(width, width, "x"), [0, 2, 3, 1])
    v = part(dense(width, width, "x"), [0, 2, 1, 3])
    net.add("MatMul", k, of=q)
    net.add("Mul", np.float32(0.35))
    net.add("Softmax", axis=-1)
    net.add("MatMul", v)
    net.add("Transpose", perm=[0, 2, 1, 3])
    net.add("Reshape", np.array([0, steps, width]))
    dense(width, width, net.last)
    net.add("Add", "x")
    middle = normal()
    dense(width, 32, middle)
    net.add("Relu")
    dense(32, width, net.last)
    net.add("Add", middle)
    normal()
    return net


def fork():
    net = Net(20)

    def dense(k, n, of):
        w = rng.standard_normal((k, n)) / np.sqrt(k)
        return net.add("MatMul", w.astype(np.float32), of=of)

    left = dense(20, 12, "x")
    dense(20, 12, "x")
    net.add("Add", left)
    net.add("Relu")
    dense(12, 4, net.last)
    return net


def lstm():
    steps, inputs, hidden = 8, 12, 16
    net = Net(steps, inputs)
    weights = [rng.standard_normal((1, 4 * hidden, k)).astype(np.float32) / 3
               for k in (inputs, hidden)]
    bias = rng.standard_normal((1, 8 * hidden)).astype(np.float32) / 4
    net.add("Transpose", perm=[1, 0, 2])
    net.add("LSTM", *weights, bias, hidden_size=hidden)
    net.add("Squeeze", np.array([1]))
    net.add("Gather", np.array(-1), axis=0)
    net.gemm(hidden, 3)
    return net


class Reader(CalibrationDataReader):
    def __init__(self, rows):
        self.rows = iter(rows)

    def get_next(self):
        row = next(self.rows, None)
        return None if row is None else {"x": row[None]}


U8, S8 = QuantType.QUInt8, QuantType.QInt8
QDQ, QOP = QuantFormat.QDQ, QuantFormat.QOperator
# The net, a name, and how: (format, activations, weights, by channel), or for
# what is dynamic (weights, by channel, fused).
KINDS = (
    (mlp, "qdq_u8s8", (QDQ, U8, S8, False)),
    (mlp, "qdq_s8s8_channels", (QDQ, S8, S8, True)),
    (mlp, "qop_u8u8", (QOP, U8, U8, False)),
    (mlp, "dynamic_s8", (S8, False, False)),
    (mlp, "dynamic_u8", (U8, False, False)),
    (cnn, "qdq_u8s8_channels", (QDQ, U8, S8, True)),
    (cnn, "qdq_u8u8", (QDQ, U8, U8, False)),
    (cnn, "qop_s8s8", (QOP, S8, S8, False)),
    (residual, "qdq_u8s8", (QDQ, U8, S8, False)),
    (residual, "qop_u8s8_channels", (QOP, U8, S8, True)),
    (residual, "qop_s8s8", (QOP, S8, S8, False)),
    (mlp, "dynamic_s8_channels", (S8, True, False)),
    (mlp, "dynamic_u8_channels", (U8, True, False)),
    (mlp, "dynamic_fused", (S8, True, True)),
    (cnn, "dynamic_s8", (S8, False, False)),
    (cnn, "dynamic_u8", (U8, False, False)),
    (cnn, "dynamic_s8_channels", (S8, True, False)),
    (residual, "dynamic_s8", (S8, False, False)),
    (residual, "dynamic_u8_channels", (U8, True, False)),
    (transformer, "dynamic_s8", (S8, False, False)),
    (fork, "dynamic_fused", (S8, False, True)),
    (lstm, "dynamic_s8", (S8, False, False)),
    (lstm, "dynamic_u8_channels", (U8, True, False)))


# Of what is not equal to the bit.
TOLERANCE = {residual: 1e-6, transformer: 1e-4, lstm: 0.01}


def fuse(path):
    """The same file as ONNX Runtime itself runs it."""
    options = ort.SessionOptions()
    options.graph_optimization_level = \
        ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(str(path), options,
                         providers=["CPUExecutionProvider"])


def quantise(model, how, rows, path):
    with tempfile.TemporaryDirectory() as folder:
        plain = pathlib.Path(folder) / "plain.onnx"
        onnx.save(model, plain)
        if len(how) == 3:
            weights, by_channel, fused = how
            quantize_dynamic(plain, path, weight_type=weights,
                             per_channel=by_channel)
            if fused:
                fuse(path)
            return
        kind, activations, weights, by_channel = how
        quantize_static(plain, path, Reader(rows), quant_format=kind,
                        activation_type=activations, weight_type=weights,
                        per_channel=by_channel)


def ask(path, rows):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options,
                                   providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": row[None]})[0]
                           .reshape(1, -1) for row in rows])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--out", type=pathlib.Path, default=recording.HERE)
    args = parser.parse_args()
    lines = []
    made = {}
    for make, kind, how in KINDS:
        net = made.setdefault(make, make())
        rows = rng.standard_normal((args.rows, *net.shape))
        rows = rows.astype(np.float32)
        if len(how) == 3:
            rows[-1] = 0  # which has no range
        name = f"quantised_{make.__name__}_{kind}"
        path = args.out / f"{name}.onnx"
        quantise(net.model(), how, rows[:16], path)
        recording.write(args.out / f"{name}.rec",
                        recording.rows_of([rows], [0]),
                        [("value", ask(path, rows))])
        tolerance = TOLERANCE.get(make, 0) if "dynamic" in kind else 0
        outputs = [("value", 0)] if tolerance else []
        lines.append(recording.manifest_line(args.out, name, outputs,
                                             tolerance))
    recording.add_to_manifest(
        args.out, f"# onnxruntime.quantization {ort.__version__}", lines)
    print(f"{len(lines)} models")


main()
