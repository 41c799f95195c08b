#!/usr/bin/env python3
"""What preprocessing costs once it is folded into the trees.

Fits impute -> scale -> one-hot -> 200 boosted trees, exports the pipeline and
its trees alone, checks the pipeline's compiled code against the interpreter,
which does not fold, bit for bit, and times three libraries on the same rows in
turn: the trees alone on rows preprocessed beforehand, the pipeline, and the
pipeline compiled without the pass `fold`. Prints the least ns a row of each,
which is what other work on the machine disturbs least.

    fold.py TREENAIL [--rows N] [--rounds R] [--batch B]
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings

import lightgbm
import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "bindings", "python"))
import treenail  # noqa: E402

NUMBERS, CODES = 10, (12, 5)


def make_rows(n, rng):
    """Skewed numbers, some of them missing, and two columns of codes."""
    x = np.exp(rng.normal(size=(n, NUMBERS + len(CODES))))
    for i, count in enumerate(CODES):
        x[:, NUMBERS + i] = rng.integers(0, count, n)
    y = (np.log(x[:, 0]) * (x[:, NUMBERS] % 3)
         + x[:, 1] * (x[:, NUMBERS + 1] == 2) + x[:, 2:NUMBERS].sum(axis=1) / 9
         + rng.normal(size=n) / 10)
    x[:, :NUMBERS][rng.random((n, NUMBERS)) < 0.03] = np.nan
    return x, y


def fit(x, y):
    numbers = list(range(NUMBERS))
    codes = list(range(NUMBERS, x.shape[1]))
    pipeline = make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False),
             codes)),
        lightgbm.LGBMRegressor(n_estimators=200, verbose=-1))
    return pipeline.fit(x, y)


def run(treenail_path, *args):
    return subprocess.run([treenail_path, *args], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def write_rows(path, x):
    np.savetxt(path, x, delimiter=",", fmt="%.9g")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("treenail")
    parser.add_argument("--rows", type=int, default=50000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=0)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    rng = np.random.default_rng(1)
    x, y = make_rows(options.rows, rng)
    pipeline = fit(x, y)
    with tempfile.TemporaryDirectory() as folder:
        def path(name):
            return os.path.join(folder, name)
        treenail.export(pipeline, path("pipeline.tn"))
        treenail.export(pipeline[-1], path("trees.tn"))
        run(options.treenail, "opt", path("pipeline.tn"), "--passes",
            "canonicalise,kernelise", "-o", path("unfolded.tn"))
        print(run(options.treenail, "verify", path("pipeline.tn")))
        write_rows(path("raw.csv"), x)
        write_rows(path("preprocessed.csv"), pipeline[:-1].transform(x))
        cases = {"trees alone": ("trees.tn", "preprocessed.csv"),
                 "pipeline, folded": ("pipeline.tn", "raw.csv"),
                 "pipeline, not folded": ("unfolded.tn", "raw.csv")}
        times = {name: [] for name in cases}
        for _ in range(options.rounds):
            for name, (model, data) in cases.items():
                times[name].append(json.loads(run(
                    options.treenail, "bench", path(model), "--data",
                    path(data), "--no-header", "--batch",
                    str(options.batch), "--json"))["min_ns_per_row"])
    bare = min(times["trees alone"])
    for name, t in times.items():
        print(f"{name:22} {min(t):8.1f} ns a row  {min(t) / bare:5.2f}")


if __name__ == "__main__":
    main()
