#!/usr/bin/env python3
"""A tree whose every node has a leaf on its right: so many nodes, each on a
feature of its own, or all on one."""
import sys

n = int(sys.argv[1])
one = len(sys.argv) > 2
width = 1 if one else n


def numbers(dtype, values):
    values = list(values)
    return f"{dtype}[{len(values)}](" + " ".join(map(str, values)) + ")"


print('treenail-ir 1 module "chain" {')
for i in range(width):
    print(f'column "c{i}" number')
print(f'%0 = input {{first = 0, count = {width}, dtype = "f64"}} : '
      f"f64[{width}]")
print('%1, %2 = trees(%0) {compare = "le",')
print("tree_start = i32[2](0", f"{n}), leaf_start = i32[2](0 {n + 1}),")
print("feature =", numbers("i32", (0 if one else i for i in range(n))), ",")
print("threshold =", numbers("f64", range(n)), ",")
print("left =", numbers("i32", (i + 1 if i + 1 < n else ~n
                                for i in range(n))), ",")
print("right =", numbers("i32", (~i for i in range(n))), ",")
print("flags =", numbers("u8", [0] * n), ",")
print("leaf_value =", numbers("f64", range(n + 1)), ",")
print("target = i32[1](0), base = f64[1](0),")
print("cover =", numbers("f64", [n + 1 - i for i in range(n)] + [1] * (n + 1)))
print('} : f64[1], i32[1]\noutput "raw" %1 }')
