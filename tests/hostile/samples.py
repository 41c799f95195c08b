#!/usr/bin/env python3
"""samples.py: writes samples/: small ONNX models with parts that no recorded
model has in few bytes: subgraphs, open dims, weights in another file, einsum,
strings, half precision, whole numbers. Needs the package onnx."""

import os
import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "samples")


def real(name, dims):
    return h.make_tensor_value_info(name, T.FLOAT, dims)


def numbers(name, values, dtype=np.float32):
    return nh.from_array(np.array(values, dtype), name)


def save(name, nodes, inputs, outputs, weights=(), opset=17, domains=()):
    graph = h.make_graph(nodes, name, inputs, outputs, list(weights))
    sets = [h.make_opsetid("", opset)] + [h.make_opsetid(d, 1 if d != "ai.onnx.ml" else 3)
                                         for d in domains]
    model = h.make_model(graph, opset_imports=sets, ir_version=8)
    onnx.checker.check_model(model)
    for field in ("producer_name", "producer_version"):
        model.ClearField(field)
    with open(os.path.join(here, name + ".onnx"), "wb") as file:
        file.write(model.SerializeToString())
    return model


def external():
    weights = [numbers("w", np.arange(6).reshape(3, 2) / 8), numbers("b", [1, 2])]
    model = save("external", [h.make_node("Gemm", ["x", "w", "b"], ["y"])],
                 [real("x", [None, 3])], [real("y", [None, 2])], weights)
    data = b""
    for tensor in model.graph.initializer:
        raw = tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = T.EXTERNAL
        for key, value in (("location", "external.bin"),
                           ("offset", str(len(data))), ("length", str(len(raw)))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        data += raw
    with open(os.path.join(here, "external.onnx"), "wb") as file:
        file.write(model.SerializeToString())
    with open(os.path.join(here, "external.bin"), "wb") as file:
        file.write(data)


def scan():
    body = h.make_graph(
        [h.make_node("MatMul", ["s", "w"], ["m"]), h.make_node("Add", ["m", "e"], ["a"]),
         h.make_node("Tanh", ["a"], ["t"]), h.make_node("Identity", ["t"], ["o"])],
        "body", [real("s", [1, 2]), real("e", [1, 2])],
        [real("t", [1, 2]), real("o", [1, 2])],
        [numbers("w", [[0.5, -0.25], [0.125, 1]])])
    save("scan", [h.make_node("Scan", ["s0", "x"], ["s1", "y"], body=body,
                              num_scan_inputs=1, scan_input_axes=[0])],
         [real("x", [4, 1, 2])], [real("y", [4, 1, 2])], [numbers("s0", [[0, 0]])])


def loop():
    body = h.make_graph(
        [h.make_node("Mul", ["v", "half"], ["w"]), h.make_node("Add", ["w", "x"], ["u"]),
         h.make_node("Identity", ["c"], ["d"])],
        "body", [h.make_tensor_value_info("i", T.INT64, []),
                 h.make_tensor_value_info("c", T.BOOL, []), real("v", [1, 3])],
        [h.make_tensor_value_info("d", T.BOOL, []), real("u", [1, 3]), real("w", [1, 3])],
        [numbers("half", 0.5)])
    yes = h.make_graph([h.make_node("Neg", ["a"], ["p"])], "yes", [], [real("p", [1, 3])])
    no = h.make_graph([h.make_node("Abs", ["a"], ["q"])], "no", [], [real("q", [1, 3])])
    save("loop_if", [h.make_node("Loop", ["n", "t", "x"], ["a", "all"], body=body),
                     h.make_node("If", ["t"], ["y"], then_branch=yes, else_branch=no)],
         [real("x", [1, 3])], [real("y", [1, 3])],
         [numbers("n", 3, np.int64), numbers("t", True, np.bool_)])


def einsum():
    save("einsum", [h.make_node("Einsum", ["x", "w"], ["y"], equation="bij,jk->bik")],
         [real("x", [None, 2, 3])], [real("y", [None, 2, 2])],
         [numbers("w", np.arange(6).reshape(3, 2))])


def whole():
    save("integers", [
        h.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        h.make_node("ConvInteger", ["q", "w", "z"], ["c"], pads=[1, 1, 1, 1]),
        h.make_node("Cast", ["c"], ["f"], to=T.FLOAT),
        h.make_node("DynamicQuantizeLinear", ["x"], ["d", "ds", "dz"]),
        h.make_node("DequantizeLinear", ["d", "ds", "dz"], ["e"]),
        h.make_node("Add", ["e", "f"], ["y"])],
        [real("x", [1, 1, 3, 3])], [real("y", [1, 1, 3, 3])],
        [numbers("s", 0.25), numbers("z", 7, np.uint8),
         numbers("w", np.arange(9).reshape(1, 1, 3, 3), np.uint8)])


def words():
    save("words", [
        h.make_node("LabelEncoder", ["c"], ["n"], domain="ai.onnx.ml",
                    keys_strings=["a", "bb", ""], values_floats=[1.0, 2.0, 3.0],
                    default_float=-1.0),
        h.make_node("OneHotEncoder", ["c"], ["o"], domain="ai.onnx.ml",
                    cats_strings=["a", "zz"]),
        h.make_node("Squeeze", ["o", "one"], ["p"]),
        h.make_node("Concat", ["n", "p"], ["f"], axis=1),
        h.make_node("LinearClassifier", ["f"], ["label", "score"], domain="ai.onnx.ml",
                    classlabels_strings=["no", "yes"], post_transform="SOFTMAX",
                    coefficients=[0.5, 1.0, -1.0, -0.5, 2.0, 0.25],
                    intercepts=[0.0, 1.0]),
        h.make_node("ZipMap", ["score"], ["map"], domain="ai.onnx.ml",
                    classlabels_strings=["no", "yes"])],
        [h.make_tensor_value_info("c", T.STRING, [None, 1])],
        [h.make_tensor_value_info("label", T.STRING, [None]), real("score", [None, 2])],
        [numbers("one", [1], np.int64)], domains=["ai.onnx.ml"])


def halves():
    save("halves", [h.make_node("Cast", ["x"], ["h"], to=T.FLOAT16),
                  h.make_node("MatMul", ["h", "w"], ["m"]),
                  h.make_node("Cast", ["m"], ["y"], to=T.FLOAT)],
         [real("x", [None, 2])], [real("y", [None, 2])],
         [numbers("w", [[1, 2], [3, 4]], np.float16)])


def moves():
    """Ops that take shapes and axes as inputs."""
    save("moves", [
        h.make_node("Shape", ["x"], ["s"]),
        h.make_node("Gather", ["s", "zero"], ["n"]),
        h.make_node("Concat", ["n", "six"], ["to"], axis=0),
        h.make_node("Reshape", ["x", "to"], ["r"]),
        h.make_node("Slice", ["r", "one", "five", "one", "two"], ["c"]),
        h.make_node("Pad", ["c", "pads", "", "one"], ["p"], mode="reflect"),
        h.make_node("Transpose", ["p"], ["t"], perm=[0, 1]),
        h.make_node("Split", ["t"], ["u", "v"], axis=1, num_outputs=2),
        h.make_node("ReduceSum", ["u", "one"], ["w"], keepdims=1),
        h.make_node("Expand", ["w", "shape"], ["e"]),
        h.make_node("CumSum", ["e", "axis"], ["y"])],
        [real("x", [None, 2, 3])], [real("y", [None, 2])],
        [numbers(k, v, np.int64) for k, v in (
            ("zero", [0]), ("one", [1]), ("two", [2]), ("five", [5]), ("six", [6]),
            ("pads", [1, 1]), ("shape", [1, 2]), ("axis", 1))], opset=18)


os.makedirs(here, exist_ok=True)
for make in (external, scan, loop, einsum, whole, words, halves, moves):
    make()
