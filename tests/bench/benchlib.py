"""What the benchmarks share: rows to predict, compiling, data files.

Needs numpy; says nothing and prints nothing.
"""
import os
import pathlib
import re
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHARED = ROOT.parent / "shared/data"


# -------------------------------------------------------------------- rows --

def draw_rows(path, n, rng):
    """n rows of f32 from the model's feature_infos; categories are codes."""
    with open(path) as file:
        infos = next(l for l in file if l.startswith("feature_infos="))
    columns = []
    for info in infos.strip().split("=", 1)[1].split(" "):
        if info.startswith("["):
            low, high = map(float, info.strip("[]").split(":"))
            column = rng.uniform(low, high, n)
        elif info == "none":
            column = np.zeros(n)
        else:
            codes = np.array([float(c) for c in info.split(":")])
            column = rng.choice(codes, n)
        columns.append(column)
    return np.ascontiguousarray(np.stack(columns, axis=1), dtype=np.float32)


def model_thresholds(path, n_features):
    """Of each feature, the thresholds that a LightGBM model compares with."""
    thresholds = [[] for _ in range(n_features)]
    features, numbers = [], []
    with open(path) as file:
        for line in file:
            key, _, values = line.partition("=")
            if key == "split_feature":
                features = list(map(int, values.split()))
            elif key == "threshold":
                numbers = list(map(float, values.split()))
            elif key == "decision_type":
                for f, t, kind in zip(features, numbers, values.split()):
                    if not int(kind) & 1:  # no categorical split
                        thresholds[f].append(t)
    return thresholds


def spread_rows(path, n, rng):
    """The same, but numbers lie evenly among the model's own thresholds."""
    rows = draw_rows(path, n, rng)
    for f, cuts in enumerate(model_thresholds(path, rows.shape[1])):
        if not cuts:
            continue
        cuts = np.unique(cuts)
        low = min(cuts[0], rows[:, f].min())
        high = max(cuts[-1], rows[:, f].max())
        cuts = np.concatenate([[low], cuts, [high]])
        at = rng.integers(0, len(cuts) - 1, n)
        rows[:, f] = rng.uniform(cuts[at], cuts[at + 1])
    return rows


def mixed_rows(rows, n, rng, share=0.2):
    """n rows from fewer real ones: each is a real row, a fifth of whose values
    are another real row's, so that no short pattern repeats."""
    if len(rows) >= n:
        return rows[rng.permutation(len(rows))[:n]]
    out = rows[rng.integers(0, len(rows), n)]
    other = rows[rng.integers(0, len(rows), n)]
    return np.where(rng.random(out.shape) < share, other, out)


# --------------------------------------------------------------- compiling --

def cpu_seconds():
    """What this process and those that it has waited for have computed: unlike
    the clock it hardly depends on what else the machine does."""
    return sum(os.times()[:4])


def run_measured(command):
    """Seconds of the CPU, and the peak bytes of the process; SystemExit if it
    fails."""
    pid = os.posix_spawnp(command[0], [str(c) for c in command], os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(" ".join(map(str, command)) + " failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def compile_model(treenail, model, library, *options):
    """Compiles to `library`, whose symbols start with m_."""
    return run_measured([treenail, "compile", model, "-o", library, "--name",
                         "m", *options])


def read_header(path):
    """Scratch bytes of a compiled model, and its outputs by name: index,
    numbers of a row, their type. From the header's opening comment."""
    text = pathlib.Path(path).read_text()
    scratch = int(re.search(r"Scratch: (\d+) bytes", text).group(1))
    types = {"double": np.float64, "float": np.float32, "int32_t": np.int32}
    outputs = {name: (int(index), int(n), types[kind]) for index, name, n, kind
               in re.findall(r"^ \*   (\d+) (\w+): (\d+) x (\w+) a row",
                             text, re.M)}
    return scratch, outputs


# -------------------------------------------------------------------- bits --

def differing_bits(a, b):
    """How many elements of two arrays of one type differ in a bit."""
    bits = {4: np.uint32, 8: np.uint64}[a.dtype.itemsize]
    return int(np.sum(np.ascontiguousarray(a).view(bits) !=
                      np.ascontiguousarray(b).view(bits)))


def cpu_name():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    return "unknown CPU"


def git_commit():
    out = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         text=True)
    return out.stdout.strip() or "unknown"
