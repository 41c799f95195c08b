#!/usr/bin/env python3
"""Writes models of ../lightgbm as LightGBM's dump_model() gives them.

    ./record.py               NAME.json beside this file
    ./record.py --all --out DIR     every model that a dump can express

Their recordings are those of ../lightgbm: the dump says the same. What it
cannot say: thresholds past 1e300, which become infinite, and leaves that are no
finite numbers, which are no JSON.
"""
import argparse
import hashlib
import json
import os
import pathlib

import lightgbm as lgb
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
TEXTS = HERE.parent / "lightgbm"
CHOSEN = """binary_sigmoid_0.7 categories categories_multiclass
    categories_zero_missing classifier_3 cross_entropy_lambda custom_3 dart
    gamma hand_sets hand_linear_0 linear linear_binary multiclass multiclassova
    one_leaf pandas poisson quantile_sqrt rf rf_multiclass sparse_zero
    zero_as_missing_wine""".split()
UNSAYABLE = """hand_decisions hand_no_decision_type hand_leaves_inf
    hand_leaves_nan hand_linear_4""".split()


def tolerances():
    """What the text's MANIFEST says behind each model's digest."""
    lines = (TEXTS / "MANIFEST").read_text().splitlines()
    return {words[0]: "".join(" " + w for w in words[3:])
            for words in map(str.split, lines)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    recordings = os.path.relpath(TEXTS, args.out.resolve())
    notes = tolerances()
    lines = [f"# lightgbm {lgb.__version__}, numpy {np.__version__}"]
    for path in sorted(TEXTS.glob("*.txt")):
        name = path.stem
        if name in UNSAYABLE or not (args.all or name in CHOSEN):
            continue
        text = json.dumps(lgb.Booster(model_file=path).dump_model())
        (args.out / (name + ".json")).write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        lines.append(f"{recordings}/{name} {name}.json {digest}{notes[name]}")
    (args.out / "MANIFEST").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
