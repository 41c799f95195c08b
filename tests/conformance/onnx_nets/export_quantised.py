#!/usr/bin/env python3
"""Records what ONNX Runtime answers to nets that its own quantiser made.

    pip install onnx==1.23.2 onnxruntime==1.31.1 numpy
    ./export_quantised.py [--rows 48] [--out DIR]

A perceptron, a CNN, and one with a residual and a depthwise convolution, of
random weights: static with nodes between QuantizeLinear and DequantizeLinear
(qdq) or as ops on whole numbers (qop), of unsigned and signed numbers, with
scales by tensor or by channel; and dynamic. Rows are asked one by one: what is
quantised dynamically goes by all of a batch. Sums of whole numbers are exact
and everything else is rounded in one way, so that answers agree to the bit.
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


class Reader(CalibrationDataReader):
    def __init__(self, rows):
        self.rows = iter(rows)

    def get_next(self):
        row = next(self.rows, None)
        return None if row is None else {"x": row[None]}


U8, S8 = QuantType.QUInt8, QuantType.QInt8
QDQ, QOP = QuantFormat.QDQ, QuantFormat.QOperator
KINDS = (  # net, name, (format, activations, weights, by channel) or weights
    (mlp, "qdq_u8s8", (QDQ, U8, S8, False)),
    (mlp, "qdq_s8s8_channels", (QDQ, S8, S8, True)),
    (mlp, "qop_u8u8", (QOP, U8, U8, False)),
    (mlp, "dynamic_s8", S8), (mlp, "dynamic_u8", U8),
    (cnn, "qdq_u8s8_channels", (QDQ, U8, S8, True)),
    (cnn, "qdq_u8u8", (QDQ, U8, U8, False)),
    (cnn, "qop_s8s8", (QOP, S8, S8, False)),
    (residual, "qdq_u8s8", (QDQ, U8, S8, False)),
    (residual, "qop_u8s8_channels", (QOP, U8, S8, True)),
    (residual, "qop_s8s8", (QOP, S8, S8, False)))


def quantise(model, how, rows, path):
    with tempfile.TemporaryDirectory() as folder:
        plain = pathlib.Path(folder) / "plain.onnx"
        onnx.save(model, plain)
        if isinstance(how, QuantType):
            quantize_dynamic(plain, path, weight_type=how)
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
        name = f"quantised_{make.__name__}_{kind}"
        path = args.out / f"{name}.onnx"
        quantise(net.model(), how, rows[:16], path)
        recording.write(args.out / f"{name}.rec",
                        recording.rows_of([rows], [0]),
                        [("value", ask(path, rows))])
        lines.append(recording.manifest_line(args.out, name, [], 0))
    recording.add_to_manifest(
        args.out, f"# onnxruntime.quantization {ort.__version__}", lines)
    print(f"{len(lines)} models")


main()
