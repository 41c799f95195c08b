#!/usr/bin/env python3
"""Compiled forests against LightGBM's own predictor: same rows, one run.

For each model: compiles it (time and peak memory), loads the library, checks
that every output bit equals LightGBM's, and only then times both on the same
f32 rows, interleaved, one thread; prints medians and ratios, as a table or
with --json. A walk down a tree takes as long as its branches are hard to
predict, so rows are drawn in two ways:

  spread    each number from an interval between the model's thresholds on its
            feature, all as likely: LightGBM puts thresholds between bins of
            about as many training rows each, so this is how such rows lie
  uniform   from the ranges that the model file declares; one outlier of the
            training rows widens a range, and then most rows go one way

    predict_vs_lightgbm.py TREENAIL MODEL.txt... [--rows N] [--rounds R]
"""
import argparse
import ctypes
import json
import os
import statistics
import sys
import tempfile
import time

import lightgbm
import numpy as np

from benchlib import (compile_model, differing_bits, draw_rows, read_header,
                      spread_rows)


ROWS = {"spread": spread_rows, "uniform": draw_rows}


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


def count_differing(booster, library, rows):
    want = booster.predict(rows, num_threads=1)
    out = np.zeros(want.shape, dtype=np.float64)
    library.predict(rows, out, len(rows))
    return differing_bits(out, want)


def time_both(booster, library, rows, rounds):
    """Median nanoseconds a row, of LightGBM and of the library."""
    out = np.zeros(booster.predict(rows).shape, dtype=np.float64)
    theirs, ours = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        booster.predict(rows, num_threads=1)
        theirs.append(time.perf_counter() - start)
        for _ in range(5):
            start = time.perf_counter()
            library.predict(rows, out, len(rows))
            ours.append(time.perf_counter() - start)
    return median_ns(theirs, len(rows)), median_ns(ours, len(rows))


def run(treenail, path, args, folder):
    booster = lightgbm.Booster(model_file=path)
    library_path = os.path.join(folder, "m.so")
    seconds, peak = compile_model(treenail, path, library_path)
    scratch, _ = read_header(os.path.join(folder, "m.h"))
    library = Library(library_path, scratch)
    for kind, draw in ROWS.items():
        rows = draw(path, args.rows, np.random.default_rng(args.seed))
        differing = count_differing(booster, library, rows)
        if differing:
            sys.exit(f"{path}: {differing} outputs differ on {kind} rows")
        lgb, tn = time_both(booster, library, rows, args.rounds)
        yield {"model": os.path.basename(path), "kind": kind,
               "rows": len(rows), "differing_bits": 0,
               "lightgbm_ns_per_row": lgb, "treenail_ns_per_row": tn,
               "ratio": lgb / tn, "compile_seconds": seconds,
               "compile_peak_bytes": peak,
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
            results += run(args.treenail, path, args, folder)
    if args.json:
        print(json.dumps(results, indent=2))
        return
    print(f"LightGBM {lightgbm.__version__}, one thread, f32 rows")
    for r in results:
        print(f"{r['model']:24} {r['kind']:8}"
              f" LightGBM {r['lightgbm_ns_per_row']:8.0f} ns"
              f"  treenail {r['treenail_ns_per_row']:7.1f} ns"
              f"  {r['ratio']:5.1f}x  compile {r['compile_seconds']:.2f} s"
              f" {r['compile_peak_bytes'] / 1e6:.0f} MB"
              f"  library {r['library_bytes'] / 1e3:.0f} KB")


if __name__ == "__main__":
    main()
