#!/usr/bin/env python3
"""PyTorch models that can be taken one time step at a time, through torch.onnx,
and PyTorch's own answers for whole sequences.

    apt install python3-torch       or any PyTorch; then with that Python:
    ./export_streams.py [--rows 2000] [--out DIR]
"""
import torch
from torch import nn
from torch.nn import functional as F

import torch_case


class Chomped(nn.Module):
    """A block of a temporal convolutional network: padding on both sides, of
    which the right one is cut off again, and a residual."""

    def __init__(self, n_in, n_out, dilation):
        super().__init__()
        self.cut = 2 * dilation
        self.first = nn.Conv1d(n_in, n_out, 3, padding=self.cut,
                               dilation=dilation)
        self.second = nn.Conv1d(n_out, n_out, 3, padding=self.cut,
                                dilation=dilation)
        self.short = nn.Conv1d(n_in, n_out, 1) if n_in != n_out else None

    def forward(self, x):
        y = torch.relu(self.first(x)[:, :, :-self.cut])
        y = torch.relu(self.second(y)[:, :, :-self.cut])
        return torch.relu(y + (self.short(x) if self.short else x))


class LastStep(nn.Module):
    def __init__(self, body, n, outputs):
        super().__init__()
        self.body = body
        self.head = nn.Linear(n, outputs)

    def forward(self, x):
        return self.head(self.body(x)[:, :, -1])


class Gated(nn.Module):
    """WaveNet's layers: padding on the left, gates, sums of what each skips."""

    def __init__(self, n, dilations):
        super().__init__()
        self.start = nn.Conv1d(2, n, 1)
        self.gates = nn.ModuleList(nn.Conv1d(n, 2 * n, 2, dilation=d)
                                   for d in dilations)
        self.mix = nn.ModuleList(nn.Conv1d(n, n, 1) for _ in dilations)
        self.head = nn.Conv1d(n, 3, 1)

    def forward(self, x):
        x, skipped = self.start(x), 0
        for gate, mix in zip(self.gates, self.mix):
            y = gate(F.pad(x, (gate.dilation[0], 0)))
            a, b = y.chunk(2, 1)
            y = mix(torch.tanh(a) * torch.sigmoid(b))
            skipped, x = skipped + y, x + y
        return self.head(F.elu(skipped))


class Tagger(nn.Module):
    """Two layers, a norm and classes, at each step."""

    def __init__(self, kind):
        super().__init__()
        self.layer = kind(4, 6, num_layers=2, batch_first=True)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        y = self.norm(self.layer(x)[0])
        return torch.softmax(self.head(y), 2)


class Heard(nn.Module):
    """Convolutions along time and then a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(5, 8, 3)
        self.layer = nn.GRU(8, 6, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        y = torch.relu(self.conv(F.pad(x.transpose(1, 2), (2, 0))))
        return self.head(self.layer(y.transpose(1, 2))[0])


class Spotter(nn.Module):
    """Windows over time and frequency in strides, a recurrent layer, classes."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d((1, 2))
        self.second = nn.Conv2d(4, 6, (2, 3), stride=(2, 1), padding=(0, 1))
        self.layer = nn.GRU(18, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        y = self.pool(torch.relu(self.first(x)))
        y = torch.relu(self.second(y)).transpose(1, 2).flatten(2)
        return self.head(self.layer(y)[0])


class Pooled(nn.Module):
    """Windows in strides, and the mean and the largest over all of time."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(3, 8, 3, stride=2, padding=1), nn.ReLU(),
            nn.MaxPool1d(3, stride=2, padding=1), nn.Conv1d(8, 8, 2),
            nn.BatchNorm1d(8), nn.ELU())
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        y = self.body(x)
        return self.head(torch.cat([F.adaptive_avg_pool1d(y, 1).flatten(1),
                                    y.max(2).values], 1))


def models():
    """Name, model, shape of a row, the dim of time if it is left open."""
    yield "tcn", LastStep(nn.Sequential(
        Chomped(3, 6, 1), Chomped(6, 6, 2), Chomped(6, 6, 4)), 6, 4), \
        (3, 24), None
    yield "wavenet", Gated(6, (1, 2, 4)), (2, 17), None
    yield "tagger", Tagger(nn.LSTM), (9, 4), None
    yield "heard", Heard(), (11, 5), None
    yield "open_gru", Tagger(nn.GRU), (8, 4), 1
    yield "open_tcn", nn.Sequential(Chomped(3, 6, 1), Chomped(6, 6, 2)), \
        (3, 8), 2
    yield "spotter", Spotter(), (1, 16, 12), None
    yield "pooled", Pooled(), (3, 24), None
    yield "open_pooled", nn.Sequential(
        nn.Conv1d(3, 6, 3, stride=2, padding=1), nn.ReLU(),
        nn.AvgPool1d(2), nn.Conv1d(6, 2, 1)), (3, 8), 2


def main():
    args = torch_case.start(seed=5)
    lines = []
    for name, model, shape, time in models():
        model.eval()
        x = torch.randn(args.rows, *shape)
        lines.append(torch_case.write(args.out, f"stream_{name}", model, x,
                                      time=time))
    torch_case.finish(args, "torch-streams", lines)


main()
