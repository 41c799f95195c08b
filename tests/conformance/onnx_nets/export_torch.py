#!/usr/bin/env python3
"""Small PyTorch models through torch.onnx, and PyTorch's own answers.

    apt install python3-torch       or any PyTorch; then with that Python:
    ./export_torch.py [--rows 2000] [--out DIR]
"""
import torch
from torch import nn

import torch_case


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c),
            nn.ReLU(), nn.Conv2d(c, c, 3, padding=1, groups=c, bias=False),
            nn.BatchNorm2d(c))

    def forward(self, x):
        return torch.relu(x + self.body(x))


class Sequence(nn.Module):
    """A recurrent layer over [N, T, I], its last step to a dense layer."""

    def __init__(self, kind, **options):
        super().__init__()
        self.layer = kind(3, 5, batch_first=True, **options)
        self.head = nn.Linear(10 if options.get("bidirectional") else 5, 2)

    def forward(self, x):
        y, _ = self.layer(x)
        return self.head(y[:, -1])


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(12, 6)
        self.layer = nn.GRU(6, 4, num_layers=2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        _, h = self.layer(self.words(x))
        return torch.log_softmax(self.head(h[-1]), 1)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.feed = nn.Sequential(nn.Linear(8, 16), nn.SiLU(),
                                  nn.Linear(16, 8))

    def forward(self, x):
        x = self.norm(x + self.attend(x, x, x, need_weights=False)[0])
        return (x + self.feed(x)).mean(1)


class Viewed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(4 * 3 * 3, 10)

    def forward(self, x):
        y = nn.functional.max_pool2d(torch.relu(self.conv(x)), 2)
        return torch.softmax(self.head(y.view(y.size(0), -1)), 1)


class Written(nn.Module):
    """A GRU whose steps the model's author wrote: scripted it is a Loop."""

    def __init__(self):
        super().__init__()
        self.of_x, self.of_h = nn.Linear(3, 12), nn.Linear(4, 12)

    def forward(self, x):
        h = torch.zeros(x.shape[0], 4)
        for t in range(x.shape[1]):
            a, b = self.of_x(x[:, t]), self.of_h(h)
            r = torch.sigmoid(a[:, :4] + b[:, :4])
            z = torch.sigmoid(a[:, 4:8] + b[:, 4:8])
            n = torch.tanh(a[:, 8:] + r * b[:, 8:])
            h = n + z * (h - n)
        return h


class Joined(nn.Module):
    """A cell whose input and state are one vector; layers of which the shapes
    say whether they are there; a loop that counts by itself."""

    def __init__(self):
        super().__init__()
        self.cell, self.narrow = nn.Linear(7, 4), nn.Linear(4, 2)

    def forward(self, x):
        h = torch.zeros(x.shape[0], 4)
        for t in range(x.shape[1]):
            h = torch.tanh(self.cell(torch.cat([x[:, t], h], 1)))
        if x.shape[2] < 4:
            h = self.narrow(h)
        i = 0
        while i < 3:
            h = h * 0.5 + i
            i += 1
        return h


def models():
    """Name, model, shape of a row, rows' axis, opset, whether it is fixed."""
    yield "mlp", nn.Sequential(
        nn.Linear(6, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 8),
        nn.Tanh(), nn.Linear(8, 3)), (6,), {}
    yield "mlp_functions", nn.Sequential(
        nn.Linear(6, 16), nn.ELU(), nn.Linear(16, 16), nn.Hardswish(),
        nn.Linear(16, 16), nn.SELU(), nn.Linear(16, 16), nn.PReLU(),
        nn.Linear(16, 16), nn.Softplus(), nn.Linear(16, 4), nn.Sigmoid()), \
        (6,), dict(opset=14)
    yield "cnn_view", Viewed(), (1, 8, 8), {}
    yield "cnn_residual", nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), Residual(6), Residual(6),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)), \
        (3, 10, 10), dict(unfolded=True)
    yield "cnn_opset9", nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.LeakyReLU(),
        nn.MaxPool2d(2, ceil_mode=True), nn.Conv2d(4, 4, (1, 3)),
        nn.Flatten(), nn.LazyLinear(3)), (2, 7, 9), dict(opset=9)
    yield "cnn_fixed", nn.Sequential(
        nn.Conv2d(1, 3, 5), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(12, 3)), (1, 8, 8), dict(fixed=True)
    yield "unet", nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        nn.ConvTranspose2d(4, 2, 2, stride=2), nn.PixelUnshuffle(2)), \
        (2, 8, 8), {}
    yield "conv1d", nn.Sequential(
        nn.ConstantPad1d((4, 0), 0), nn.Conv1d(3, 6, 3, dilation=2),
        nn.ReLU(), nn.ReflectionPad1d(2), nn.Conv1d(6, 2, 5, stride=2)), \
        (3, 16), {}
    yield "lstm", Sequence(nn.LSTM), (7, 3), {}
    yield "lstm_both", Sequence(nn.LSTM, bidirectional=True, num_layers=2), \
        (7, 3), {}
    yield "gru", Sequence(nn.GRU), (7, 3), {}
    yield "rnn", Sequence(nn.RNN, nonlinearity="relu"), (7, 3), {}
    yield "words", Words(), (9,), dict(words=12)
    yield "encoder", Encoder(), (6, 8), dict(opset=14)
    yield "script_gru", torch.jit.script(Written()), (5, 3), {}
    yield "script_rnn", torch.jit.script(Joined()), (5, 3), {}


def main():
    args = torch_case.start(seed=3)
    lines = []
    for name, model, shape, how in models():
        words = how.pop("words", None)
        x = torch.randint(words, (args.rows, *shape)) if words \
            else torch.randn(args.rows, *shape)
        model(x)  # for lazy layers; norms see some rows
        model.eval()
        lines.append(torch_case.write(args.out, f"torch_{name}", model, x,
                                      **how))
    torch_case.finish(args, "torch", lines)


main()
