#!/usr/bin/env python3
"""Writes ir/exp_table.inc, the table behind exp in ir/math.inc.

    tools/gen-exp-table.py > ir/exp_table.inc

Line i of 128 is a pair of doubles with 2^(i/128) = scale * (1 + tail): scale
is the double nearest to 2^(i/128), and tail is what it lacks, rounded too.
"""
from decimal import Decimal, getcontext

getcontext().prec = 80  # far more than the 107 bits that tail can tell


def main() -> None:
    print("/* Written by tools/gen-exp-table.py; do not edit. */")
    for i in range(128):
        exact = Decimal(2) ** (Decimal(i) / 128)
        scale = float(exact)
        tail = float(exact / Decimal(scale) - 1)
        print(f"{tail.hex()}, {scale.hex()},")


main()
