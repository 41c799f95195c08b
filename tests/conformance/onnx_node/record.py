#!/usr/bin/env python3
"""Keeps the ONNX standard's tests of ops that Debian's libonnx-testdata is too
old for, in newer.nodes, for test_onnx_nodes.c to read.

    pip install "onnx==1.22.0"      the last version that ships them
    ./record.py [--debian FOLDER]

Kept are those whose ops are all in the importer's table, that Debian's data do
not have in the same form, and that take up to 12 KB. For each, with its length
as 32 bits before every piece: the name; two numbers of 32 bits, how many inputs
and outputs there are; model.onnx; the inputs; the outputs.
"""
import argparse
import pathlib
import re
import struct

import onnx

HERE = pathlib.Path(__file__).resolve().parent
TABLE = HERE.parents[2] / "frontend" / "onnx_ops.c"
LIMIT = 12 << 10


def form(path):
    """What makes two tests of one name differ."""
    model = onnx.load(path / "model.onnx")
    return ([n.SerializeToString() for n in model.graph.node],
            [v.SerializeToString() for v in model.graph.input])


def pieces(path, side):
    data = path / "test_data_set_0"
    files = []
    while (data / f"{side}_{len(files)}.pb").exists():
        files.append((data / f"{side}_{len(files)}.pb").read_bytes())
    return files


def packed(data):
    return struct.pack("<I", len(data)) + data


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--debian", type=pathlib.Path, default=pathlib.Path(
        "/usr/share/libonnx-testdata/data/node"))
    args = parser.parse_args()
    known = set(re.findall(r'\{"(\w+)", (?:true|false)', TABLE.read_text()))
    folder = pathlib.Path(onnx.__file__).parent / "backend/test/data/node"
    out, n = b"", 0
    for path in sorted(folder.iterdir()):
        model = onnx.load(path / "model.onnx")
        if not {x.op_type for x in model.graph.node} <= known:
            continue
        old = args.debian / path.name
        if (old / "model.onnx").exists() and form(old) == form(path):
            continue
        inputs, outputs = pieces(path, "input"), pieces(path, "output")
        test = packed(path.name.encode())
        test += packed(struct.pack("<II", len(inputs), len(outputs)))
        test += packed((path / "model.onnx").read_bytes())
        test += b"".join(packed(x) for x in inputs + outputs)
        if len(test) <= LIMIT:
            out += test
            n += 1
    (HERE / "newer.nodes").write_bytes(out)
    print(f"{n} tests of onnx {onnx.__version__}, {len(out)} bytes")


main()
