#!/usr/bin/env python3
"""Writes ir/turns_table.inc, the table behind sin and cos in
ir/math_circle.inc.

    tools/gen-turns-table.py > ir/turns_table.inc

Line i of 31 is 2^(-32 i), and 2/pi * 2^(32 i) modulo 4 as a sum of four
doubles: the first is cut off to a multiple of 2^-51, the others are rounded.
"""
from fractions import Fraction

BITS = 1300  # 960 before the point, and more than four doubles after it


def arccot(n, one):
    term = total = one // n
    k = 1
    while term:
        term //= -n * n
        k += 2
        total += term // k
    return total


def main() -> None:
    one = 1 << (BITS + 64)
    pi = 16 * arccot(5, one) - 4 * arccot(239, one)  # Machin
    turns = Fraction(2 * one, pi)
    print("/* Written by tools/gen-turns-table.py; do not edit. */")
    for i in range(31):
        rest = turns * 2 ** (32 * i) % 4
        parts = [float(Fraction(int(rest * 2**51), 2**51))]
        for _ in range(3):
            rest -= Fraction(parts[-1])
            parts.append(float(rest))
        print(f"0x1p-{32 * i},", *(part.hex() + "," for part in parts[:2]))
        print("   ", *(part.hex() + "," for part in parts[2:]))


main()
