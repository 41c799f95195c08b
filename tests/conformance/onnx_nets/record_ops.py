#!/usr/bin/env python3
"""Records what ONNX Runtime answers to nets of its own ops, and of the standard's
newer ones with attributes that its tests leave out.

    pip install onnx==1.23.2 onnxruntime==1.32.0 numpy
    ./record_ops.py [--rows 2000] [--out DIR]

Attention in its three forms, what the optimiser fuses, weights of few bits, and
what is sorted, put in places or sampled.
"""
import argparse
import pathlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import record
import recording
from record import weights

MS = "com.microsoft"


class Net(record.Net):
    """Of the newest ops, and those of ONNX Runtime's domain."""

    domains = (MS,)
    ir_version = 10

    def __init__(self, inputs, opset=23):
        super().__init__(inputs, opset)

    def own(self, op, *inputs, outputs=1, **attributes):
        return self.add(op, *inputs, outputs=outputs, domain=MS, **attributes)

    def packed(self, array, kind):
        """A constant of 4 bits."""
        name = f"c{len(self.constants)}"
        self.constants.append(helper.make_tensor(name, kind, array.shape,
                                                 array.ravel()))
        return name


def words(t=5, e=8, **more):
    return Net({"x": ((None, t, e), 0), **more})


# ------------------------------------------------------------- attention --

def standard_attention(**attributes):
    net = words()
    q, k, v = (net.add("MatMul", "x", weights(8, n)) for n in (16, 8, 8))
    y = net.add("Attention", q, k, v, q_num_heads=4, kv_num_heads=2,
                **attributes)
    return net, [(y, 0)]


def turned(own=False, size=8, **attributes):
    """By the numbers of places, which are the row's."""
    net = words(t=6, e=16, places=((None, 6), 0))
    net.whole["places"] = 9
    angle = record.rng.standard_normal((10, size // 2))
    places = net.add("Cast", "places", to=TensorProto.INT64)
    cos, sin = (f(angle).astype(np.float32) for f in (np.cos, np.sin))
    y = net.own("RotaryEmbedding", "x", places, cos, sin, num_heads=2,
                **attributes) if own else \
        net.add("RotaryEmbedding", "x", cos, sin, places, num_heads=2,
                rotary_embedding_dim=size, **attributes)
    return net, [(y, 0)]


def many_heads(mask):
    net = words(**({"mask": ((None, 5), 0)} if mask == 2 else
                   {"mask": ((None,), 0)} if mask else {}))
    if mask:
        net.whole["mask"] = 1 if mask == 2 else 5
        net.least["mask"] = 0 if mask == 2 else 1
    seen = "mask" if mask else ""
    if mask == 2:  # one key at least: sums with what hides all have few digits
        seen = net.add("Max", seen, np.array([1, 0, 0, 0, 0], np.int32))
    q, k = (net.add("MatMul", "x", weights(8, 8)) for _ in range(2))
    y = net.own("MultiHeadAttention", q, k, "x", weights(24), seen,
                weights(1, 2, 5, 5), num_heads=2)
    return net, [(y, 0)]


def self_attention(one_way):
    net = words(mask=((None, 5), 0))
    net.whole["mask"] = 1
    seen = net.add("Max", "mask", np.array([1, 0, 0, 0, 0], np.int32))
    y = net.own("Attention", "x", weights(8, 24), weights(24), seen,
                num_heads=2, unidirectional=one_way)
    return net, [(y, 0)]


def attention_nets():
    yield "attention_groups", standard_attention()
    yield "attention_causal", standard_attention(
        is_causal=1, softcap=2.0, scale=0.3)
    yield "rotary_halves", turned()
    yield "rotary_pairs", turned(size=4, interleaved=1)
    yield "rotary_own", turned(own=True)
    for mask in range(3):
        yield f"heads_mask_{mask}", many_heads(mask)
    for one_way in (0, 1):
        yield f"self_attention_{one_way}", self_attention(one_way)


# ------------------------------------------------------- fused, few bits --

def fused_conv(activation, **attributes):
    net = Net({"x": ((None, 3, 6, 7), 0)})
    first = net.add("Conv", "x", weights(4, 3, 1, 1))
    y = net.own("FusedConv", "x", weights(4, 3, 3, 3), weights(4), first,
                activation=activation, pads=[1, 1, 1, 1], **attributes)
    return net, [(y, 0)]


def fused_dense():
    net = words()
    y = net.own("FusedMatMul", "x", "x", transB=1, alpha=0.25)
    z = net.own("FusedMatMul", "x", weights(3, 5), transA=1, transB=1)
    flat = net.add("Flatten", "x")
    g = net.own("FusedGemm", flat, weights(6, 40), weights(6), transB=1,
                activation="LeakyRelu", activation_alpha=0.2)
    return net, [(y, 0), (z, 0), (g, 0)]


def norms():
    net = words()
    other = net.add("MatMul", "x", weights(8, 8))
    y = net.own("SkipLayerNormalization", "x", other, 1 + weights(8),
                weights(8), weights(8), outputs=4, epsilon=1e-5)
    for spare in y[1:3]:  # what the optimiser leaves out
        net.nodes[-1].output[list(net.nodes[-1].output).index(spare)] = ""
    z = net.own("SkipSimplifiedLayerNormalization", y[3], "x",
                1 + weights(8), epsilon=1e-5)
    return net, [(y[0], 0), (z, 0)]


def gelus():
    net = words()
    return net, [(net.own(op, "x", *more), 0) for op, more in (
        ("Gelu", ()), ("FastGelu", (weights(8),)),
        ("BiasGelu", (weights(8),)), ("QuickGelu", ()))]


def embedded():
    net = Net({"x": ((None, 6), 0), "kind": ((None, 6), 0)})
    net.whole.update(x=10, kind=1)
    y = net.own("EmbedLayerNormalization", "x", "kind", weights(11, 8),
                weights(7, 8), weights(2, 8), 1 + weights(8), weights(8),
                epsilon=1e-5, outputs=2)
    net.nodes[-1].output[1] = "unread"
    return net, [(y[0], 0)]


def few_bits(bits, zeros):
    net = Net({"x": ((None, 40), 0)})
    k, n, block = 40, 6, 16
    blocks = -(-k // block)
    w = record.rng.integers(0, 256, (n, blocks, block * bits // 8),
                            dtype=np.uint8)
    more = [record.rng.integers(0, 256, n * -(-blocks * bits // 8),
                                dtype=np.uint8)] if zeros else []
    y = net.own("MatMulNBits", "x", w,
                0.1 * (1 + record.rng.random(n * blocks, dtype=np.float32)) /
                2 ** bits, *more, K=k, N=n, bits=bits, block_size=block)
    return net, [(y, 0)]


def blocks_of_four(kind):
    net = Net({"x": ((None, 32), 0)})
    low = 0 if kind == TensorProto.UINT4 else -8
    w = record.rng.integers(low, low + 16, (32, 5))
    zero = record.rng.integers(low, low + 16, (2, 5))
    w = net.add("DequantizeLinear", net.packed(w, kind),
                0.05 + 0.05 * record.rng.random((2, 5), dtype=np.float32),
                net.packed(zero, kind), axis=0, block_size=16)
    return net, [(net.add("MatMul", "x", w), 0)]


def fused_nets():
    yield "fused_relu", fused_conv("Relu")
    yield "fused_clip", fused_conv("Clip", activation_params=[-0.2, 0.4])
    yield "fused_hard_sigmoid", fused_conv("HardSigmoid",
                                           activation_params=[0.3, 0.4])
    yield "fused_dense", fused_dense()
    yield "fused_norms", norms()
    yield "fused_gelus", gelus()
    yield "fused_embedding", embedded()
    yield "bits_4", few_bits(4, False)
    yield "bits_4_zeros", few_bits(4, True)
    yield "bits_8_zeros", few_bits(8, True)
    yield "blocks_uint4", blocks_of_four(TensorProto.UINT4)
    yield "blocks_int4", blocks_of_four(TensorProto.INT4)


# ---------------------------------------------------------------- places --

def sorted_net():
    """Short slices, long ones, along another axis, and equal numbers."""
    net = Net({"x": ((None, 2, 260), 0)})
    x = net.add("Round", net.add("Mul", "x", np.float32(4)))
    a, b = net.add("TopK", x, np.array([5]), outputs=2)
    c, d = net.add("TopK", net.add("Slice", x, np.array([7]), np.array([40]),
                                   np.array([2])), np.array([33]), outputs=2,
                   largest=0)
    e, f = net.add("TopK", "x", np.array([2]), outputs=2, axis=1)
    g, h = net.add("TopK", "x", np.array([3]), outputs=2, largest=0)
    return net, [(v, 0) for v in (a, b, c, d, e, f, g, h)]


def placed():
    net = Net({"x": ((None, 4, 5), 0)})
    at = np.array([[[1, 2], [3, 0]], [[0, 4], [-1, 2]]])
    y = net.add("GatherND", net.add("Transpose", "x", perm=[1, 2, 0]), at)
    flat = net.add("Transpose", "x", perm=[1, 2, 0])
    z = net.add("ScatterND", flat, at, net.add("Mul", y, np.float32(2)))
    to = net.add("Expand", np.array([[[0, 2, 2]]]), net.add(
        "Concat", net.add("Shape", "x", start=0, end=1), np.array([1, 3]),
        axis=0))
    part = net.add("Slice", "x", np.array([0, 0]), np.array([1, 3]),
                   np.array([1, 2]))
    w = net.add("ScatterElements", "x", to, part, axis=1, reduction="add")
    m = net.add("ScatterElements", "x", to, part, axis=2, reduction="max")
    return net, [(y, 2), (z, 2), (w, 0), (m, 0)]


def sampled(mode, outside, corners):
    """By a grid of the row, of which some is outside."""
    net = Net({"x": ((None, 2, 5, 6), 0), "at": ((None, 3, 4, 2), 0)}, 20)
    y = net.add("GridSample", "x", "at", mode=mode, padding_mode=outside,
                align_corners=corners)
    return net, [(y, 0)]


def turns():
    net = words()
    x = net.add("Tanh", "x")
    return net, [(net.add("Atan", "x"), 0), (net.add("Asin", x), 0),
                 (net.add("Acos", x), 0)]


def place_nets():
    yield "top_k", sorted_net()
    yield "scattered", placed()
    for how in (("linear", "zeros", 0), ("linear", "border", 1),
                ("linear", "reflection", 1), ("nearest", "reflection", 0)):
        yield "grid_%s_%s_%d" % how, sampled(*how)
    yield "turns", turns()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--out", type=pathlib.Path, default=recording.HERE)
    args = parser.parse_args()
    record.rng = np.random.default_rng(11)
    lines = []
    for make in (attention_nets, fused_nets, place_nets):
        for name, (net, outputs) in make():
            model, rows, answers = record.ask(net, outputs, args.rows)
            (args.out / f"{name}.onnx").write_bytes(model.SerializeToString())
            recording.write(args.out / f"{name}.rec", rows, answers)
            lines.append(recording.manifest_line(args.out, name, answers,
                                                 3e-5))
    recording.add_to_manifest(
        args.out, f"# onnxruntime's {ort.__version__}, own and newer ops, "
        f"onnx {onnx.__version__}", lines)
    print(f"{len(lines)} models")


main()
