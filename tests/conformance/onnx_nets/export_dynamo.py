#!/usr/bin/env python3
"""Small PyTorch models through its newer exporter, which writes ops that the
older one did not, and PyTorch's own answers.

    pip install torch==2.15.0 onnx==1.23.2 onnxscript==0.7.2
    ./export_dynamo.py [--rows 2000] [--out DIR]
"""
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import nn

import recording
import torch_case


class Function(nn.Module):
    """A function of x and of layers."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x):
        return self.function(x, *self.layers)


def attend(x, layer):
    """With a key and a value of its own, and one of zeros."""
    return layer(x, x, x, need_weights=False)[0]


def turn(x, layer):
    """The image of the row, turned by what is computed of it."""
    to = layer(x.flatten(1)).view(-1, 2, 3)
    return F.grid_sample(x, F.affine_grid(to, (x.shape[0], 1, 4, 5),
                                          align_corners=False),
                         align_corners=False)


def models():
    """Name, model, a row's shape."""
    yield "adaptive", Function(lambda x: F.adaptive_avg_pool2d(x, (3, 2))), \
        (2, 8, 7)
    yield "extra_key", Function(attend, nn.MultiheadAttention(
        8, 2, batch_first=True, add_bias_kv=True, add_zero_attn=True)), (4, 8)
    yield "sorted", Function(lambda x: torch.sort(x, descending=True)[0]), (9,)
    yield "angle", Function(lambda x: torch.atan2(x[:, :3], x[:, 3:])), (6,)
    yield "turned", Function(turn, nn.Linear(20, 6)), (1, 4, 5)
    yield "scattered", Function(
        lambda x: torch.zeros(x.shape[0], 6).scatter(
            1, torch.tensor([[1, 3, 5]]).expand(x.shape[0], -1), x)), (3,)
    yield "filled", Function(lambda x: torch.index_fill(
        torch.slice_scatter(x, 2 * x[:, :2], 1, 1, 3), 1,
        torch.tensor([0, 4]), 2.0)), (6,)


def write(out, name, model, x):
    path = out / f"{name}.onnx"
    rows = torch.export.Dim("batch", min=1, max=1024)
    torch.onnx.export(model, (x,), str(path), dynamo=True,
                      external_data=False, input_names=["x"],
                      dynamic_shapes=({0: rows},), verbose=False)
    net = onnx.load(path)  # without where each node came from
    for node in net.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del net.graph.metadata_props[:], net.metadata_props[:]
    for value in [*net.graph.value_info, *net.graph.input, *net.graph.output]:
        del value.metadata_props[:]
    onnx.save(net, path)
    with torch.no_grad():
        y = model(x).numpy()
    answers = [("value", y.reshape(len(y), -1))]
    recording.write(out / f"{name}.rec",
                    recording.rows_of([x.numpy()], [0]).astype(np.float32),
                    answers)
    return recording.manifest_line(out, name, answers, 3e-5)


def main():
    args = torch_case.start(seed=4)
    lines = [write(args.out, f"dynamo_{name}", model.eval(),
                   torch.randn(args.rows, *shape))
             for name, model, shape in models()]
    torch_case.finish(args, "torch.export", lines)


main()
