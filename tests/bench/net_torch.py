"""ONNX -> PyTorch, for the nets of net_models.py: a module of straight-line
code, as a person would have written it, with PyTorch's own layers.

A function of OPS gets a Node and answers the value of its output.
"""
import onnx
import torch
from onnx import helper, numpy_helper
from torch import fx, nn
from torch.nn import functional


class Node:
    """An ONNX node beside the graph that it goes into."""

    def __init__(self, module, node):
        self.module, self.graph, self.node = module, module.fx, node
        self.given = {a.name: helper.get_attribute_value(a)
                      for a in node.attribute}

    def attribute(self, name, default=None):
        return self.given.get(name, default)

    def weight(self, i):
        """The tensor of input i, or None."""
        if i >= len(self.node.input):
            return None
        return self.module.weights.get(self.node.input[i])

    def value(self, i):
        return self.module.value(self.node.input[i])

    def call(self, function, *args, **options):
        return self.graph.call_function(function, args, options)

    def layer(self, layer, *args):
        """A call of a layer of PyTorch's, which becomes the module's."""
        name = f"layer{len(list(self.module.root.children()))}"
        self.module.root.add_module(name, layer)
        return self.graph.call_module(name, args)


def fill(parameter, tensor):
    with torch.no_grad():
        parameter.copy_(tensor.reshape(parameter.shape))


def gemm(n):
    weight, bias = n.weight(1), n.weight(2)
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    fill(layer.weight, weight)
    fill(layer.bias, bias)
    return n.layer(layer, n.value(0))


def conv(n):
    weight, bias = n.weight(1), n.weight(2)
    rank, group = weight.dim() - 2, n.attribute("group", 1)
    pads = n.attribute("pads", [0] * 2 * rank)
    x = n.value(0)
    if pads[:rank] != pads[rank:]:
        sides = [p for i in reversed(range(rank))
                 for p in (pads[i], pads[i + rank])]
        x, pads = n.call(functional.pad, x, sides), [0] * rank
    layer = (nn.Conv1d if rank == 1 else nn.Conv2d)(
        weight.shape[1] * group, weight.shape[0], tuple(weight.shape[2:]),
        tuple(n.attribute("strides")), tuple(pads[:rank]),
        tuple(n.attribute("dilations")), group, bias is not None)
    fill(layer.weight, weight)
    if bias is not None:
        fill(layer.bias, bias)
    return n.layer(layer, x)


def batch_norm(n):
    layer = nn.BatchNorm2d(len(n.weight(1)), n.attribute("epsilon", 1e-5))
    for i, to in enumerate((layer.weight, layer.bias, layer.running_mean,
                            layer.running_var)):
        fill(to, n.weight(1 + i))
    return n.layer(layer, n.value(0))


def regroup(weight, order):
    """ONNX's gates in PyTorch's order."""
    parts = weight.chunk(len(order))
    return torch.cat([parts[i] for i in order])


def recurrent(kind, order):
    def make(n):
        weights = [n.weight(i)[0] for i in (1, 2)]
        inputs = weights[0].shape[1]
        layer = kind(inputs, n.attribute("hidden_size"))
        for to, weight in zip((layer.weight_ih_l0, layer.weight_hh_l0,
                               layer.bias_ih_l0, layer.bias_hh_l0),
                              weights + list(n.weight(3)[0].chunk(2))):
            fill(to, regroup(weight, order))
        both = n.layer(layer, n.value(0))
        hidden = n.call(take, both, 1)
        if kind is nn.LSTM:
            hidden = n.call(take, hidden, 0)
        n.module.values[n.node.output[1]] = hidden
        return n.call(take, both, 0)
    return make


def take(values, i):
    return values[i]


def max_pool(n):
    return n.layer(nn.MaxPool2d(tuple(n.attribute("kernel_shape")),
                                tuple(n.attribute("strides"))), n.value(0))


def gather(n):
    return n.call(torch.select, n.value(0), n.attribute("axis"),
                  int(n.weight(1)))


def layer_norm(n):
    layer = nn.LayerNorm(len(n.weight(1)), n.attribute("epsilon", 1e-5))
    fill(layer.weight, n.weight(1))
    fill(layer.bias, n.weight(2))
    return n.layer(layer, n.value(0))


def reshape(n):
    shape = n.weight(1).tolist()
    return n.call(torch.reshape, n.value(0), [-1, *shape[1:]])


OPS = {
    "Add": lambda n: n.call(torch.add, n.value(0), n.value(1)),
    "BatchNormalization": batch_norm,
    "Clip": lambda n: n.call(torch.clamp, n.value(0), float(n.weight(1)),
                             float(n.weight(2))),
    "Conv": conv,
    "Flatten": lambda n: n.call(torch.flatten, n.value(0), 1),
    "GRU": recurrent(nn.GRU, (1, 0, 2)),
    "Gather": gather,
    "Gemm": gemm,
    "GlobalAveragePool": lambda n: n.call(functional.adaptive_avg_pool2d,
                                          n.value(0), 1),
    "LSTM": recurrent(nn.LSTM, (0, 2, 3, 1)),
    "LayerNormalization": layer_norm,
    "MatMul": lambda n: n.call(torch.matmul, n.value(0), n.value(1)),
    "MaxPool": max_pool,
    "Mul": lambda n: n.call(torch.mul, n.value(0), n.value(1)),
    "Relu": lambda n: n.call(torch.relu, n.value(0)),
    "Reshape": reshape,
    "Softmax": lambda n: n.call(torch.softmax, n.value(0), -1),
    "Squeeze": lambda n: n.call(torch.squeeze, n.value(0), 0),
    "Transpose": lambda n: n.call(torch.permute, n.value(0),
                                  tuple(n.attribute("perm"))),
}


class Importer:
    def __init__(self, path):
        self.graph = onnx.load(path).graph
        self.root, self.fx, self.values = nn.Module(), fx.Graph(), {}
        self.weights = {w.name: torch.from_numpy(
            numpy_helper.to_array(w).copy()) for w in self.graph.initializer}

    def value(self, name):
        if name not in self.values:
            self.root.register_buffer(name, self.weights[name])
            self.values[name] = self.fx.get_attr(name)
        return self.values[name]

    def module(self):
        name = self.graph.input[0].name
        self.values[name] = self.fx.placeholder(name)
        for node in self.graph.node:
            self.values[node.output[0]] = OPS[node.op_type](Node(self, node))
        self.fx.output(self.values[self.graph.output[0].name])
        return fx.GraphModule(self.root, self.fx).eval()


def load(path):
    return Importer(path).module()
