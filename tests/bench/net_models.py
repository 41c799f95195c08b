#!/usr/bin/env python3
"""The nets of the benchmark: ONNX files of published structures, with weights
drawn from a seed (what a net costs does not depend on what it has learnt).

Each net is a line of CASES and a function that builds it. build() writes a
folder:

  case.json      what it is: sizes, multiply-adds, batches that are measured
  model.onnx     the net with a batch of any size
  batch-N.onnx   the same with a batch of N, for peers that compile for a size
  rows.npy       the rows to predict, [rows][numbers of a row], f32
  want.npy       ONNX's reference evaluator's answers to them, all in f64

    net_models.py FOLDER NAME...
"""
import argparse
import json
import math
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
ANY = "N"  # the name of a batch of any size


# ------------------------------------------------------------------ layers --

class Net:
    """A graph that grows layer by layer; `at` is the value that the next layer
    reads, `shape` that value's without the batch."""

    def __init__(self, shape, seed=1):
        self.rng = np.random.default_rng(seed)
        self.input, self.shape, self.at = list(shape), list(shape), "x"
        self.nodes, self.weights = [], []
        self.work = 0  # multiply-adds of a row

    # -- of which layers are made --

    def weight(self, array, dtype=np.float32):
        name = f"w{len(self.weights)}"
        self.weights.append(
            numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def random(self, shape, inputs):
        """He's: what comes out is about as large as what went in."""
        scale = math.sqrt(2 / inputs)
        return self.weight(self.rng.normal(0, scale, shape))

    def bias(self, n):
        return self.weight(self.rng.normal(0, 0.1, n))

    def node(self, op, *inputs, outputs=1, **attributes):
        """The node's first output, which is the new `at`; `inputs` are more
        than `at`."""
        return self.node_of(op, self.at, *inputs, outputs=outputs,
                            **attributes)

    def node_of(self, op, *inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        self.at = names[0]
        return self.at

    def activate(self, act):
        if act == "relu":
            self.node("Relu")
        elif act == "relu6":
            self.node("Clip", self.weight(0.0), self.weight(6.0))
        return self

    # -- layers --

    def dense(self, n, act=None):
        inputs, = self.shape
        self.node("Gemm", self.random((n, inputs), inputs), self.bias(n),
                  transB=1)
        self.shape = [n]
        self.work += n * inputs
        return self.activate(act)

    def conv(self, n, kernel, stride=1, pads=None, groups=1, dilation=1,
             act=None, norm=False):
        """Of images or series; `pads`: the same size comes out (of stride 1)
        unless they are given, begins and then ends."""
        channels, *sizes = self.shape
        rank = len(sizes)
        reach = dilation * (kernel - 1)
        pads = pads or [reach // 2] * (2 * rank)
        inputs = channels // groups * kernel ** rank
        self.node("Conv", self.random(
            (n, channels // groups, *[kernel] * rank), inputs),
            *([] if norm else [self.bias(n)]), strides=[stride] * rank,
            pads=pads, group=groups, dilations=[dilation] * rank,
            kernel_shape=[kernel] * rank)
        self.shape = [n] + [(size + pads[i] + pads[i + rank] - reach - 1)
                            // stride + 1 for i, size in enumerate(sizes)]
        self.work += inputs * math.prod(self.shape)
        if norm:
            self.batch_norm()
        return self.activate(act)

    def batch_norm(self):
        n, rng = self.shape[0], self.rng
        self.node("BatchNormalization", *map(self.weight, (
            rng.uniform(0.8, 1.2, n), rng.normal(0, 0.1, n),
            rng.normal(0, 0.1, n), rng.uniform(0.8, 1.2, n))))

    def max_pool(self, kernel):
        self.node("MaxPool", kernel_shape=[kernel] * 2, strides=[kernel] * 2)
        self.shape[1:] = [size // kernel for size in self.shape[1:]]
        return self

    def mean_of_places(self):
        self.node("GlobalAveragePool")
        self.node("Flatten")
        self.shape = self.shape[:1]
        return self

    def flatten(self):
        self.node("Flatten")
        self.shape = [math.prod(self.shape)]
        return self

    def softmax(self):
        self.node("Softmax", axis=-1)
        return self

    def recurrent(self, op, hidden):
        """Of [steps][numbers], as PyTorch exports batch_first; what the last
        step answers."""
        gates = {"LSTM": 4, "GRU": 3}[op]
        steps, inputs = self.shape
        bound = 1 / math.sqrt(hidden)

        def uniform(*shape):
            return self.weight(self.rng.uniform(-bound, bound, shape))
        self.node("Transpose", perm=[1, 0, 2])
        more = {"linear_before_reset": 1} if op == "GRU" else {}
        self.node(op, uniform(1, gates * hidden, inputs),
                  uniform(1, gates * hidden, hidden),
                  uniform(1, 2 * gates * hidden), outputs=2,
                  hidden_size=hidden, **more)
        last = self.nodes[-1].output[1]
        self.node_of("Squeeze", last, self.weight([0], np.int64))
        self.shape = [hidden]
        self.work += steps * gates * hidden * (inputs + hidden)
        return self

    # -- blocks --

    def separable(self, n, stride):
        """MobileNet v1's: depthwise 3x3, then 1x1."""
        channels = self.shape[0]
        self.conv(channels, 3, stride, [1] * 4, channels, act="relu6",
                  norm=True)
        return self.conv(n, 1, act="relu6", norm=True)

    def inverted(self, n, stride, expand):
        """MobileNet v2's: wider by 1x1, depthwise 3x3, narrower by 1x1, and
        what came in added if it has the same shape."""
        was, channels = self.at, self.shape[0]
        if expand != 1:
            self.conv(channels * expand, 1, act="relu6", norm=True)
        wide = self.shape[0]
        self.conv(wide, 3, stride, [1] * 4, wide, act="relu6", norm=True)
        self.conv(n, 1, norm=True)
        if stride == 1 and n == channels:
            self.node("Add", was)
        return self

    def causal(self, n, kernel, dilation):
        """A TCN's: two dilated convolutions that do not see what follows, and
        what came in."""
        was, channels = self.at, self.shape[0]
        pads = [dilation * (kernel - 1), 0]
        for _ in range(2):
            self.conv(n, kernel, pads=pads, dilation=dilation, act="relu")
        main, shape = self.at, self.shape
        if channels != n:
            self.at, self.shape = was, [channels, *shape[1:]]
            self.conv(n, 1)
            was = self.at
        self.at = main
        self.node("Add", was)
        return self.activate("relu")

    def last_place(self):
        """[channels][places] -> the last place's channels."""
        n, places = self.shape
        self.node("Gather", self.weight(places - 1, np.int64), axis=2)
        self.shape = [n]
        return self

    def project(self, x, n_in, n_out):
        """x [steps][n_in] times a matrix, and a bias."""
        self.node_of("MatMul", x, self.random((n_in, n_out), 2 * n_in))
        self.work += self.shape[0] * n_in * n_out
        return self.node("Add", self.bias(n_out))

    def layer_norm(self):
        n = self.shape[-1]
        return self.node("LayerNormalization", self.weight(np.ones(n)),
                         self.weight(np.zeros(n)), axis=-1)

    def encoder(self, heads, wide):
        """A transformer's encoder layer, norms first."""
        steps, n = self.shape
        size = n // heads
        shape = self.weight([0, steps, heads, size], np.int64)
        was, x = self.at, self.layer_norm()
        q, k, v = [self.project(x, n, n) for _ in range(3)]

        def split(value, perm):
            self.node_of("Reshape", value, shape)
            return self.node("Transpose", perm=perm)
        q, k, v = (split(q, [0, 2, 1, 3]), split(k, [0, 2, 3, 1]),
                   split(v, [0, 2, 1, 3]))
        self.node_of("MatMul", q, k)
        self.node("Mul", self.weight(1 / math.sqrt(size)))
        self.node("Softmax", axis=-1)
        self.node("MatMul", v)
        self.work += 2 * steps * steps * n
        self.node("Transpose", perm=[0, 2, 1, 3])
        joined = self.node("Reshape", self.weight([0, steps, n], np.int64))
        self.project(joined, n, n)
        was = self.node("Add", was)
        self.project(self.layer_norm(), n, wide)
        self.project(self.node("Relu"), wide, n)
        self.node("Add", was)
        return self

    # -- the file --

    def model(self, batch):
        def value(name, shape):
            return helper.make_tensor_value_info(name, TensorProto.FLOAT,
                                                 [batch, *shape])
        graph = helper.make_graph(self.nodes, "net",
                                  [value("x", self.input)],
                                  [value(self.at, self.shape)], self.weights)
        model = helper.make_model(graph, ir_version=8, opset_imports=[
            helper.make_opsetid("", OPSET)])
        onnx.checker.check_model(model, full_check=True)
        return onnx.shape_inference.infer_shapes(model)


# -------------------------------------------------------------------- nets --

def mlp(*sizes):
    net = Net(sizes[:1])
    for n in sizes[1:-1]:
        net.dense(n, "relu")
    return net.dense(sizes[-1])


def mnist():
    """As the MNIST model of ONNX's model zoo."""
    net = Net([1, 28, 28])
    net.conv(8, 5, act="relu").max_pool(2).conv(16, 5, act="relu").max_pool(3)
    return net.flatten().dense(10)


def lenet():
    """LeCun et al. 1998, LeNet-5, with relu and max."""
    net = Net([1, 28, 28])
    net.conv(6, 5, act="relu").max_pool(2)
    net.conv(16, 5, pads=[0] * 4, act="relu").max_pool(2)
    return net.flatten().dense(120, "relu").dense(84, "relu").dense(10)


def mnist_wide():
    """Twice as many channels: multiply-adds are nearly all that counts."""
    net = Net([1, 28, 28])
    net.conv(16, 3, act="relu").max_pool(2).conv(32, 5, act="relu").max_pool(2)
    return net.flatten().dense(64, "relu").dense(10).softmax()


def recurrent(op, hidden):
    return Net([32, 32]).recurrent(op, hidden).dense(10)


def mobilenet_v1(size, width):
    """Howard et al. 2017, table 1."""
    def n(channels):
        return int(channels * width)
    net = Net([3, size, size])
    net.conv(n(32), 3, 2, [1] * 4, act="relu6", norm=True)
    for channels, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1),
                             (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        net.separable(n(channels), stride)
    return net.mean_of_places().dense(1000).softmax()


def mobilenet_v2(size, width):
    """Sandler et al. 2018, table 2; channels are multiples of 8."""
    def n(channels):
        scaled = channels * width
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * scaled else rounded
    net = Net([3, size, size])
    net.conv(n(32), 3, 2, [1] * 4, act="relu6", norm=True)
    for expand, channels, times, stride in [
            (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
            (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for i in range(times):
            net.inverted(n(channels), stride if i == 0 else 1, expand)
    net.conv(1280, 1, act="relu6", norm=True)
    return net.mean_of_places().dense(1000).softmax()


def tcn():
    """Bai et al. 2018: receptive field of 61 steps."""
    net = Net([8, 64])
    for dilation in (1, 2, 4, 8):
        net.causal(32, 3, dilation)
    return net.last_place().dense(5)


def transformer():
    return Net([32, 64]).encoder(4, 256)


SMALL = {"batches": (1, 64), "rows": 256}
LARGE = {"batches": (1, 64), "rows": 64}
BOUND = {"batches": (1, 64, 256), "rows": 512}

# name: what it is, what builds it, which batches are measured
CASES = {
    "mlp-10-32-32-1": ("MLP of 1,441 parameters",
                       lambda: mlp(10, 32, 32, 1), SMALL),
    "mlp-16-64-32-4": ("MLP of 3,300 parameters",
                       lambda: mlp(16, 64, 32, 4), SMALL),
    "mlp-128-256-256-10": ("MLP of 101,386 parameters",
                           lambda: mlp(128, 256, 256, 10), SMALL),
    "mnist-cnn": ("MNIST's CNN of ONNX's model zoo: 5x5 to 8, 5x5 to 16",
                  mnist, SMALL),
    "lenet-5": ("LeNet-5: 5x5 to 6, 5x5 to 16, dense 120, 84, 10", lenet,
                SMALL),
    "mnist-wide": ("CNN of MNIST's size: 3x3 to 16, 5x5 to 32, dense 64, 10",
                   mnist_wide, SMALL),
    "lstm-64": ("LSTM, hidden 64, 32 steps of 32 numbers",
                lambda: recurrent("LSTM", 64), SMALL),
    "lstm-128": ("LSTM, hidden 128, 32 steps of 32 numbers",
                 lambda: recurrent("LSTM", 128), SMALL),
    "gru-64": ("GRU, hidden 64, 32 steps of 32 numbers",
               lambda: recurrent("GRU", 64), SMALL),
    "tcn": ("dilated 1-d convolutions, 64 steps of 8 numbers", tcn, SMALL),
    "transformer": ("a transformer's encoder layer: 32 steps, 64 wide, "
                    "4 heads, 256 inside", transformer, SMALL),
    "gemm-1024": ("three dense layers of 1,024",
                  lambda: mlp(1024, 1024, 1024, 1024), BOUND),
    "mobilenet-v1": ("MobileNet v1 0.25, 128 x 128",
                     lambda: mobilenet_v1(128, 0.25), LARGE),
    "mobilenet-v2": ("MobileNet v2 0.35, 96 x 96",
                     lambda: mobilenet_v2(96, 0.35), LARGE),
}


# ------------------------------------------------------------------- build --

def in_f64(model):
    """The same net, computed in double: what it means."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for weight in wide.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            weight.CopyFrom(numpy_helper.from_array(
                numpy_helper.to_array(weight).astype(np.float64), weight.name))
    for value in [*wide.graph.input, *wide.graph.output]:
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    del wide.graph.value_info[:]
    return wide


def reference(model, rows):
    from onnx.reference import ReferenceEvaluator
    evaluator = ReferenceEvaluator(in_f64(model))
    answers = [evaluator.run(None, {"x": part})[0] for part
               in np.split(rows.astype(np.float64), max(1, len(rows) // 16))]
    return np.concatenate(answers).reshape(len(rows), -1)


def build(folder, name):
    about, make, sizes = CASES[name]
    folder.mkdir(parents=True, exist_ok=True)
    net = make()
    onnx.save(net.model(ANY), folder / "model.onnx")
    for batch in sizes["batches"]:
        onnx.save(net.model(batch), folder / f"batch-{batch}.onnx")
    rows = np.random.default_rng(2).normal(
        0, 1, (sizes["rows"], *net.input)).astype(np.float32)
    np.save(folder / "rows.npy", rows.reshape(len(rows), -1))
    np.save(folder / "want.npy", reference(net.model(ANY), rows))
    case = {"name": name, "about": about, "format": "onnx", "task": "net",
            "batches": sizes["batches"], "rows": len(rows),
            "input": net.input, "output": net.shape, "flops": 2 * net.work,
            "weight_bytes": sum(len(w.raw_data) for w in net.weights)}
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="+", choices=sorted(CASES))
    args = parser.parse_args()
    for name in args.names:
        build(args.folder / name, name)


if __name__ == "__main__":
    main()
