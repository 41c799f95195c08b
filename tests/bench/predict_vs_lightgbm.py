#!/usr/bin/env python3
"""Compiled forests against LightGBM's own predictor: same rows, one run.

For each model: compiles it (time and peak memory), loads the library, checks
that every output bit equals LightGBM's, and only then times both on the same
f32 rows, interleaved, one thread; prints medians and ratios, as a table or
with --json. Rows are drawn from the ranges that the model file declares.

    predict_vs_lightgbm.py TREENAIL MODEL.txt... [--rows N] [--rounds R]
"""
import argparse
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import lightgbm
import numpy as np


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


def compile_model(treenail, model, library):
    """Seconds and peak bytes of a compile."""
    start = time.perf_counter()
    pid = os.posix_spawn(
        treenail, [treenail, "compile", model, "-o", library, "--name", "m"],
        os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{treenail} compile {model} failed")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


class Library:
    """The compiled model, called as C calls it."""

    def __init__(self, path, scratch_bytes):
        self.lib = ctypes.CDLL(path)
        self.batch = self.lib.m_predict_f32
        self.batch.argtypes = [
            ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int64,
            ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p]
        room = np.zeros(scratch_bytes + 64, dtype=np.uint8)
        self.room = room
        self.scratch = (room.ctypes.data + 63) // 64 * 64

    def predict(self, rows, out, batch):
        width = rows.shape[1]
        for at in range(0, len(rows), batch):
            n = min(batch, len(rows) - at)
            status = self.batch(
                0, rows.ctypes.data + at * width * 4, n, width, 1,
                out.ctypes.data + at * out.strides[0], self.scratch)
            assert status == 0, status


def median_ns(times, n):
    return statistics.median(times) / n * 1e9


def run(treenail, path, args, folder):
    rng = np.random.default_rng(args.seed)
    booster = lightgbm.Booster(model_file=path)
    rows = draw_rows(path, args.rows, rng)
    library_path = os.path.join(folder, "m.so")
    seconds, peak = compile_model(treenail, path, library_path)
    header = open(os.path.join(folder, "m.h")).read()
    scratch = int(header.split("#define M_SCRATCH_BYTES ")[1].split()[0])
    library = Library(library_path, scratch)

    want = booster.predict(rows, num_threads=1)
    out = np.zeros(want.shape, dtype=np.float64)
    library.predict(rows, out, len(rows))
    differing = int(np.sum(out.view(np.uint64) !=
                           np.ascontiguousarray(want).view(np.uint64)))
    if differing:
        sys.exit(f"{path}: {differing} of {out.size} outputs differ")

    theirs, ours = [], []
    for _ in range(args.rounds):
        start = time.perf_counter()
        booster.predict(rows, num_threads=1)
        theirs.append(time.perf_counter() - start)
        for _ in range(5):
            start = time.perf_counter()
            library.predict(rows, out, len(rows))
            ours.append(time.perf_counter() - start)
    lgb, tn = median_ns(theirs, len(rows)), median_ns(ours, len(rows))
    return {"model": os.path.basename(path), "rows": len(rows),
            "differing_bits": 0, "lightgbm_ns_per_row": lgb,
            "treenail_ns_per_row": tn, "ratio": lgb / tn,
            "compile_seconds": seconds, "compile_peak_bytes": peak,
            "library_bytes": os.path.getsize(library_path)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("treenail")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    results = []
    for path in args.models:
        with tempfile.TemporaryDirectory() as folder:
            results.append(run(args.treenail, path, args, folder))
    if args.json:
        print(json.dumps(results, indent=2))
        return
    print(f"LightGBM {lightgbm.__version__}, one thread, f32 rows")
    for r in results:
        print(f"{r['model']:28} LightGBM {r['lightgbm_ns_per_row']:8.0f} ns"
              f"  treenail {r['treenail_ns_per_row']:7.1f} ns"
              f"  {r['ratio']:5.1f}x  compile {r['compile_seconds']:.2f} s"
              f" {r['compile_peak_bytes'] / 1e6:.0f} MB"
              f"  library {r['library_bytes'] / 1e3:.0f} KB")


if __name__ == "__main__":
    main()
