#!/usr/bin/env python3
"""`treenail train --learner net` against the same nets in PyTorch: same rows,
same layers, Adam, batches and epochs; five seeds each, one thread.

Accuracy is that of the test rows, mean and standard deviation over the seeds;
treenail's rows are predicted by the module it wrote, through the interpreter or,
with --compile, through the compiled library. Time is CPU seconds an epoch: that
of a run of all epochs less that of a run of one, over the epochs between them,
so that starting, reading and testing do not count; the median over the seeds.

    train_nets_vs_torch.py TREENAIL [--set NAME]... [--seeds N] [--data FOLDER]
                           [--series FOLDER] [--compile] [--json]

Pinned: Debian 12's python3-torch 1.13.1 (oneDNN and OpenBLAS; the wheels of
PyPI bring gigabytes for GPUs), python3-sklearn 1.2.1 and dataset-fashion-mnist;
run it with /usr/bin/python3. --series names the folder aeon/datasets/data of the
package aeon 1.6.0 (pip download --no-deps, and unzip). --data has
{higgs,multiclass}.{train,test}.tsv, as train_vs_lightgbm.py says. What is absent
is left out, with a word.
"""
import argparse
import gzip
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import numpy as np
    import torch
    from torch import nn
except ImportError as error:
    sys.exit(f"{error}: see this script's head for what it needs")

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")


# -------------------------------------------------------------------- data --
# A set's data is {"train": (x, y), "test": (x, y)}; x has a row's numbers in
# treenail's order, y whole numbers from 0.

def digits(args):
    from sklearn.datasets import load_digits
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(x))
    x, y = x[order], y[order]
    return {"train": (x[:1437], y[:1437]), "test": (x[1437:], y[1437:])}


def idx(name, offset):
    with gzip.open(FASHION / name) as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


def fashion(args):
    parts = {}
    for part, name, rows in (("train", "train", 10000), ("test", "t10k", 2000)):
        x = idx(f"{name}-images-idx3-ubyte.gz", 16).reshape(-1, 784)
        y = idx(f"{name}-labels-idx1-ubyte.gz", 8)
        parts[part] = x[:rows].astype(float), y[:rows].astype(int)
    return parts


def tsv(name):
    def read(args):
        parts = {}
        for part in ("train", "test"):
            rows = np.loadtxt(args.data / f"{name}.{part}.tsv")
            parts[part] = rows[:, 1:], rows[:, 0].astype(int)
        return parts
    return read


def series(name, steps):
    """Rows of [steps][dims]; shorter series end in zeros after scaling, that is
    in missing values here."""
    def read(args):
        parts, labels = {}, {}
        for part in ("TRAIN", "TEST"):
            path = args.series / name / f"{name}_{part}.ts"
            lines = path.read_text().split("@data", 1)[1].split("\n")
            x, y = [], []
            for line in filter(None, map(str.strip, lines)):
                *dims, label = line.split(":")
                values = np.full((steps, len(dims)), np.nan)
                for d, text in enumerate(dims):
                    numbers = [float(v) for v in text.split(",")]
                    values[:len(numbers), d] = numbers
                x.append(values.ravel())
                y.append(labels.setdefault(label, len(labels)))
            parts[part.lower()] = np.array(x), np.array(y)
        return parts
    return read


# -------------------------------------------------------------------- nets --
# The text for treenail, and the same in PyTorch.

class Last(nn.Module):
    """The last state of a recurrent layer of PyTorch. An LSTM's forget gates
    (of i, f, g, o) begin with a bias of 1, as treenail's do."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        if isinstance(layer, nn.LSTM):
            h = layer.hidden_size
            layer.bias_ih_l0.data[h:2 * h] = 1
            layer.bias_hh_l0.data[h:2 * h] = 0

    def forward(self, x):
        out, _ = self.layer(x)
        return out[:, -1]


def mlp(n_in, n_out, drop):
    layers = [nn.Linear(n_in, 128), nn.ReLU()]
    layers += [nn.Dropout(drop)] if drop else []
    return nn.Sequential(*layers, nn.Linear(128, 64), nn.ReLU(),
                         nn.Linear(64, n_out))


def small_cnn(n_out):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(64, n_out))


def fashion_cnn(n_out):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(64, n_out))


MLP = "dense 128 relu; dense 64 relu"
DROP = "dense 128 relu dropout 0.2; dense 64 relu"
SMALL = ("conv 16 3 pad same relu maxpool 2; conv 32 3 pad same relu "
         "maxpool 2; dense 64 relu dropout 0.2")
CNN = ("conv 16 3 pad same batchnorm relu maxpool 2; conv 32 3 pad same "
       "batchnorm relu maxpool 2; dense 64 relu dropout 0.2")

SETS = {
    # data, layers, input_shape, net in PyTorch, epochs
    "digits-mlp": (digits, MLP, None, lambda n, k: mlp(n, k, 0), 30),
    "digits-cnn": (digits, SMALL, (1, 8, 8), lambda n, k: small_cnn(k), 30),
    "fashion-mlp": (fashion, DROP, (784,), lambda n, k: mlp(n, k, 0.2), 10),
    "fashion-cnn": (fashion, CNN, (1, 28, 28), lambda n, k: fashion_cnn(k),
                    6),
    "higgs-mlp": (tsv("higgs"), DROP, None, lambda n, k: mlp(n, k, 0.2), 10),
    "classes-mlp": (tsv("multiclass"), DROP, None,
                    lambda n, k: mlp(n, k, 0.2), 10),
    "vowels-lstm": (series("JapaneseVowels", 29), "lstm 64", (29, 12),
                    lambda n, k: nn.Sequential(
                        Last(nn.LSTM(12, 64, batch_first=True)),
                        nn.Linear(64, k)), 60),
    "vowels-gru": (series("JapaneseVowels", 29), "gru 64", (29, 12),
                   lambda n, k: nn.Sequential(
                       Last(nn.GRU(12, 64, batch_first=True)),
                       nn.Linear(64, k)), 60),
    "power-gru": (series("ItalyPowerDemand", 24), "gru 32", (24, 1),
                  lambda n, k: nn.Sequential(
                      Last(nn.GRU(1, 32, batch_first=True)),
                      nn.Linear(32, k)), 200),
    "power-rnn": (series("ItalyPowerDemand", 24), "rnn 32", (24, 1),
                  lambda n, k: nn.Sequential(
                      Last(nn.RNN(1, 32, batch_first=True)),
                      nn.Linear(32, k)), 200),
}
BATCH = 64


def channel_of(shape, i):
    """As treenail standardises: each column, or channel of a shape."""
    if shape is None or len(shape) == 1:
        return i
    return i % shape[1] if len(shape) == 2 else i // (shape[1] * shape[2])


def standardised(data, shape):
    x = data["train"][0]
    groups = np.array([channel_of(shape, i) for i in range(x.shape[1])])
    mean, spread = np.zeros(x.shape[1]), np.ones(x.shape[1])
    for g in np.unique(groups):
        mean[groups == g] = np.nanmean(x[:, groups == g])
        s = np.nanstd(x[:, groups == g])
        spread[groups == g] = s if s > 0 else 1
    return {part: (np.nan_to_num((x - mean) / spread), y)
            for part, (x, y) in data.items()}


# ------------------------------------------------------------------ PyTorch --

def torch_run(make, data, shape, epochs, seed):
    torch.manual_seed(seed)
    start = time.process_time()
    tensors = {}
    for part, (x, y) in data.items():
        t = torch.tensor(x, dtype=torch.float32)
        if shape and len(shape) > 1:
            t = t.reshape(-1, *shape)
        tensors[part] = t, torch.tensor(y)
    x, y = tensors["train"]
    net = make(x[0].numel(), int(y.max()) + 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001)
    loss = nn.CrossEntropyLoss()
    net.train()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for at in range(0, len(x), BATCH):
            rows = order[at:at + BATCH]
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    seconds = time.process_time() - start
    net.eval()
    with torch.no_grad():
        x, y = tensors["test"]
        right = (net(x).argmax(1) == y).float().mean().item()
    return right, seconds


# ----------------------------------------------------------------- treenail --

def write_csv(path, x, y):
    with open(path, "w") as file:
        file.write(",".join(f"x{i}" for i in range(x.shape[1])) + ",k\n")
        for row, k in zip(x.tolist(), y):
            file.write(",".join("" if v != v else f"{v:.9g}" for v in row) +
                       f",k{k}\n")


def cpu_of(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime -
            before.ru_stime)


def treenail_train(args, folder, layers, shape, epochs, seed):
    command = [args.treenail, "train", folder / "train.csv", "--target", "k",
               "--learner", "net", "--layers", layers, "--batch-size",
               str(BATCH), "--epochs", str(epochs), "--seed", str(seed),
               "--test-fraction", "0", "--objective", "multiclass", "-o",
               folder / "m.tn"]
    if shape and len(shape) > 1:
        command += ["--input-shape", "x".join(map(str, shape))]
    return cpu_of(command)


def treenail_accuracy(args, folder, y):
    model = folder / "m.tn"
    if args.compile:
        subprocess.run([args.treenail, "compile", model, "-o",
                        folder / "m.so"], check=True, capture_output=True)
        model = folder / "m.so"
    out = subprocess.run([args.treenail, "predict", model,
                          folder / "test.csv", "--output", "class"],
                         check=True, capture_output=True, text=True).stdout
    got = [int(line.lstrip("k")) for line in out.split()[1:]]
    return float(np.mean(np.array(got) == y))


# ---------------------------------------------------------------------- run --

def run_set(args, name):
    read, layers, shape, make, epochs = SETS[name]
    try:
        data = read(args)
    except (OSError, ImportError) as error:
        print(f"{name}: left out: {error}", file=sys.stderr)
        return None
    ready = standardised(data, shape)
    right = {"torch": [], "treenail": []}
    cost = {"torch": [], "treenail": []}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for part, (x, y) in data.items():
            write_csv(folder / f"{part}.csv", x, y)
        for seed in range(1, args.seeds + 1):
            one = treenail_train(args, folder, layers, shape, 1, seed)
            all_ = treenail_train(args, folder, layers, shape, epochs, seed)
            cost["treenail"].append((all_ - one) / (epochs - 1))
            right["treenail"].append(
                treenail_accuracy(args, folder, data["test"][1]))
            _, one = torch_run(make, ready, shape, 1, seed)
            r, all_ = torch_run(make, ready, shape, epochs, seed)
            cost["torch"].append((all_ - one) / (epochs - 1))
            right["torch"].append(r)
    return {"set": name, "epochs": epochs, "accuracy": right, "cost": cost}


def spread(values):
    sd = statistics.stdev(values) if len(values) > 1 else 0
    return f"{statistics.mean(values):.4f} ± {sd:.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("treenail")
    parser.add_argument("--set", action="append", choices=SETS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=pathlib.Path,
                        default=ROOT.parent / "shared/data/tabular")
    parser.add_argument("--series", type=pathlib.Path,
                        default=pathlib.Path("aeon/datasets/data"))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    if not args.json:
        print(f"PyTorch {torch.__version__}, {args.seeds} seeds\n\n"
              "| set | accuracy: PyTorch | treenail | ms an epoch: PyTorch | "
              "treenail | |\n|---|---|---|---|---|---|")
    for name in args.set or SETS:
        r = run_set(args, name)
        if not r:
            continue
        results.append(r)
        if args.json:
            continue
        t, o = (1000 * statistics.median(r["cost"][who])
                for who in ("torch", "treenail"))
        print(f"| {name} | {spread(r['accuracy']['torch'])} | "
              f"{spread(r['accuracy']['treenail'])} | {t:.1f} | {o:.1f} | "
              f"{o / t:.2f} |", flush=True)
    if args.json:
        json.dump(results, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
