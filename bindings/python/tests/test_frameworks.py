#!/usr/bin/env python3
"""Exports nets of PyTorch and of Keras in one call and compares the answers of
`treenail predict` ($TREENAIL) with the framework's own.

Exit code 77, skipped, where neither framework is installed; a framework that is
not there, or has no exporter, is said and left out.
"""
import csv
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
try:
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)
try:
    import torch
except ImportError:
    torch = None
try:
    import keras
except ImportError:
    keras = None
if torch is None and keras is None:
    print("skipped: neither PyTorch nor Keras is here")
    sys.exit(77)

import treenail  # noqa: E402
from treenail import frameworks  # noqa: E402

TREENAIL = os.environ.get("TREENAIL", "treenail")


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()

    def tearDown(self):
        self.folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def asked(self, model, x):
        rows = self.path("rows.csv")
        with open(rows, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(x.reshape(len(x), -1).tolist())
        done = subprocess.run([TREENAIL, "predict", model, rows, "--no-header"],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.split()[-len(x):]  # less a line of names
        return np.array([[float(v) for v in line.split(",")]
                         for line in lines])

    def compare(self, model, x, y):
        got = self.asked(model, x)
        np.testing.assert_allclose(got, y.reshape(len(y), -1), rtol=3e-5,
                                   atol=3e-6)


class Last(torch.nn.Module if torch else object):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0][:, -1]


def torch_nets():
    nn = torch.nn
    yield (5,), nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.GELU(),
                              nn.Dropout(0.5), nn.Linear(8, 3), nn.Softmax(1))
    yield (1, 8, 8), nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(36, 2))
    yield (6, 3), nn.Sequential(Last(nn.LSTM(3, 5, batch_first=True)),
                                nn.Linear(5, 2), nn.ELU())


@unittest.skipUnless(torch, "PyTorch is not here")
class Torch(Case):
    def exporters(self):
        """None, and each that this PyTorch has all parts of."""
        yield None
        yield "torchscript"
        try:
            import onnxscript  # noqa: F401
        except ImportError:
            return
        if frameworks.has_dynamo():
            yield "dynamo"

    def test_nets(self):
        torch.manual_seed(1)
        for exporter in self.exporters():
            for shape, net in torch_nets():
                with self.subTest(exporter=exporter, shape=shape):
                    net.train()
                    x = torch.randn(7, *shape)
                    path = self.path("net.tn")
                    treenail.export(net, path, example_input=x[:1],
                                    exporter=exporter)
                    self.assertTrue(net.training)
                    net.eval()
                    self.compare(path, x.numpy(), net(x).detach().numpy())

    def test_onnx_and_batch_axis(self):
        net = torch.nn.GRU(3, 4)  # steps first
        x = torch.randn(5, 1, 3)
        path = self.path("net.onnx")
        treenail.export(net, path, example_input=x, batch_axis=1)
        with torch.no_grad():
            y = net(x)[0].numpy()
        self.compare(path, x.numpy().transpose(1, 0, 2),
                     y.transpose(1, 0, 2))

    def test_refusals(self):
        net, x = torch.nn.Linear(3, 2), torch.randn(1, 3)
        for words, path, more in (
                ("example_input", "a.tn", {}),
                ("not as", "a.so", {"example_input": x}),
                ("exporter is 'tf'", "a.tn", {"example_input": x,
                                              "exporter": "tf"}),
                ("columns", "a.tn", {"example_input": x, "columns": ["a"]})):
            with self.assertRaisesRegex(ValueError, words):
                treenail.export(net, self.path(path), **more)

        class Odd(torch.nn.Module):
            def forward(self, x):
                raise RuntimeError("no way")
        with self.assertRaisesRegex(treenail.UnsupportedError, "Odd.*no way"):
            treenail.export(Odd(), self.path("a.tn"), example_input=x)

        class Fourier(torch.nn.Module):
            def forward(self, x):
                return torch.linalg.det(x)
        with self.assertRaisesRegex(treenail.UnsupportedError, "Fourier"):
            treenail.export(Fourier(), self.path("a.tn"),
                            example_input=torch.randn(2, 3, 3))
        self.assertEqual(os.listdir(self.folder.name), [])

    def test_what_is_no_module(self):
        net = torch.nn.Linear(3, 2)
        for model, words in (
                (net.state_dict(), "state_dict: .*load_state_dict"),
                ({"epoch": 3, "state_dict": net.state_dict()}, "state_dict"),
                (torch.nn.Linear, "Linear: it is a class"),
                ("net.pt", "'net.pt' is not a model")):
            with self.assertRaisesRegex(treenail.UnsupportedError, words):
                treenail.export(model, self.path("a.tn"),
                                example_input=torch.randn(1, 3))

    @unittest.skipUnless(torch and hasattr(torch.backends, "mha"),
                         "this PyTorch has its fast path for good")
    def test_transformer_layer_alone(self):
        """Which torch.onnx.export refuses when it traces it."""
        net = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        x = torch.randn(4, 5, 8)
        path = self.path("layer.onnx")
        treenail.export(net, path, example_input=x, exporter="torchscript")
        self.assertTrue(net.training)
        with torch.no_grad():
            y = net.eval()(x).numpy()
        self.compare(path, x.numpy(), y)

    def test_without_the_command(self):
        kept = dict(os.environ)
        os.environ.pop("TREENAIL", None)
        os.environ["PATH"] = self.folder.name
        try:
            with self.assertRaisesRegex(FileNotFoundError, "onnx"):
                treenail.export(torch.nn.Linear(3, 2), self.path("a.tn"),
                                example_input=torch.randn(1, 3))
        finally:
            os.environ.update(kept)


def can_export():
    """Keras exports through tf2onnx with TensorFlow, else by torch."""
    try:
        import tf2onnx  # noqa: F401
        return True
    except ImportError:
        return False


@unittest.skipUnless(keras and can_export(), "Keras or tf2onnx is not here")
class Keras(Case):
    def test_nets(self):
        keras.utils.set_random_seed(1)
        layers = keras.layers
        for shape, stack in (
                ((5,), [layers.Dense(8, activation="silu"),
                        layers.BatchNormalization(),
                        layers.Dense(3, activation="softmax")]),
                ((8, 8, 1), [layers.Conv2D(4, 3, activation="relu"),
                             layers.MaxPooling2D(), layers.Flatten(),
                             layers.Dense(2)]),
                ((6, 3), [layers.LSTM(5), layers.Dense(2, "elu")]),
                ((6, 3), [layers.GRU(5, return_sequences=True),
                          layers.GRU(4, reset_after=False),
                          layers.Dense(2, "gelu")]),
                ((6, 3), [layers.Bidirectional(layers.SimpleRNN(4))])):
            with self.subTest(shape=shape):
                net = keras.Sequential([keras.Input(shape), *stack])
                x = np.random.default_rng(1).standard_normal((7, *shape))
                x = x.astype(np.float32)
                path = self.path("net.tn")
                treenail.export(net, path)
                self.compare(path, x, np.asarray(net(x)))


if __name__ == "__main__":
    unittest.main()
