#!/usr/bin/env python3
"""Compiled for another CPU here, linked by that target's own compiler and run
under qemu: the bits of the interpreter, for rows on and beside each threshold,
special numbers and rows drawn at random."""
import csv
import io
import math
import random
import re
import shutil
import struct
import unittest

from artifact import HERE, MODELS, TREENAIL, Case, compile_model, need, run

SPECIAL = [0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, -1e-40, 1e300,
           -1.0, 3e9, 0.5]

FUNCTIONS = ["exp", "tanh", "sigmoid", "softplus", "erf", "sin", "cos", "tan",
             "log", "ceil", "fast_exp", "fast_expm1", "fast_log",
             "x0 fast_pow"]


def thresholds(model):
    """Feature -> thresholds (or places of sets), from LightGBM's text."""
    found = {}
    body = model.read_text()
    for features, values in re.findall(
            r"^split_feature=(.*)\n(?:.*\n)*?threshold=(.*)$", body, re.M):
        for feature, value in zip(features.split(), values.split()):
            found.setdefault(int(feature), []).append(float(value))
    return found


def rows_for(model, n):
    n_columns = int(re.search(r"^max_feature_idx=(\d+)$", model.read_text(),
                              re.M)[1]) + 1
    at = thresholds(model)
    draw = random.Random(1)

    def value(column):
        near = at.get(column, [0.0])
        v = draw.choice(near)
        kind = draw.randrange(8)
        if kind < 3:
            return v
        if kind < 5:
            return math.nextafter(v, draw.choice([-math.inf, math.inf]))
        if kind == 5:
            return draw.choice(SPECIAL)
        if kind == 6:
            return float(draw.randrange(40))
        return draw.uniform(min(near) - 1, max(near) + 1)

    return [[value(c) for c in range(n_columns)] for _ in range(n)]


def as_f32(value):
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def bits(value):
    return "nan" if value != value else struct.pack("<d", value).hex()


class OtherCpu:
    """What each target's class below inherits: its name, how its programs are
    run, and the machine that `readelf -h` gives."""
    target = emulator = machine = None

    def programs(self):
        return [f"{self.target}-gcc", self.emulator[0]]

    def setUp(self):
        super().setUp()
        for program in self.programs():
            if not shutil.which(program):
                self.skipTest(f"{program} is absent")

    def interpret(self, model, rows, output):
        """What `predict` on the model says, which interprets it."""
        data = self.folder / "rows.csv"
        data.write_text("".join(",".join(map(repr, row)) + "\n"
                                for row in rows))
        said = run(TREENAIL, "predict", model, data, "--no-header",
                   "--output", output).decode()
        return [[float(v) for v in row]
                for row in list(csv.reader(io.StringIO(said)))[1:]]

    def outputs(self, header):
        """(name, C type, elements) as the generated header lists them."""
        return [(name, kind, int(n)) for name, n, kind in re.findall(
            r"^ \*   \d+ (\w+): (\d+) x (\w+) a row", header.read_text(),
            re.M)]

    def functions(self):
        """A model of one number: each elementary function of it, in f32 and
        in f64."""
        lines = ["treenail-ir 1", 'module "functions" {',
                 '  column "x" number']
        for i, dtype in enumerate(("f32", "f64")):
            at = i * (len(FUNCTIONS) + 1)
            lines.append(f'  %{at} = input {{first = 0, count = 1, '
                         f'dtype = "{dtype}"}} : {dtype}[1]')
            for k, name in enumerate(FUNCTIONS, 1):
                lines.append(f'  %{at + k} = map(%{at}) {{program = '
                             f'"x0 {name}", dtype = "{dtype}"}} '
                             f': {dtype}[1]')
                lines.append(f'  output "y{k}_{dtype}" %{at + k}')
        model = self.folder / "functions.tnir"
        model.write_text("\n".join(lines) + "\n}\n")
        return model

    def build(self, model, *options):
        archive = compile_model(model, self.folder / "m.a", "--target",
                                self.target, "--emit", "a,h", "--name", "m",
                                *options)
        program = self.folder / "score"
        run(f"{self.target}-gcc", "-std=c11", "-O1", "-static", "-Wall", "-Werror",
            '-DMODEL_HEADER="m.h"', "-DMODEL=m_model", f"-I{self.folder}",
            HERE / "score_rows.c", archive, "-o", program)
        return program

    def check(self, name, *options, n=300):
        model = MODELS[name]
        self.check_rows(model, rows_for(model, n), name, *options)

    def check_rows(self, model, rows, name, *options):
        n = len(rows)
        program = self.build(model, *options)
        flat = [v for row in rows for v in row]
        answers = run(*self.emulator, program, str(n),
                      input=struct.pack(f"<{len(flat)}d", *flat))
        at = 0
        for data in (rows, [[as_f32(v) for v in row] for row in rows]):
            for output, kind, width in self.outputs(self.folder / "m.h"):
                code = {"double": "d", "float": "f", "int32_t": "i"}[kind]
                layout = struct.Struct(f"<{n * width}{code}")
                got = layout.unpack_from(answers, at)
                at += layout.size
                want = [v for row in self.interpret(model, data, output)
                        for v in row]
                if kind == "float":
                    want = [as_f32(v) for v in want]
                self.assertEqual(len(want), len(got))
                for i, (a, b) in enumerate(zip(got, want)):
                    self.assertEqual(bits(a), bits(b), f"{name}: {output}: "
                                     f"row {i // width}: {rows[i // width]}")
        self.assertEqual(at, len(answers))

    def test_numeric(self):
        self.check("numeric")

    def test_categories(self):
        self.check("categories")

    def test_multiclass(self):
        self.check("multiclass")

    def test_linear(self):
        self.check("linear")

    def test_deep(self):
        self.check("deep")

    def test_strategies(self):
        for strategy in ("select", "slice", "branch", "walk", "match32",
                         "raw8"):
            self.check("categories", "--strategy", strategy, n=100)
        for strategy in ("branch", "walk", "match16", "match32", "raw8", "raw16"):
            for model in ("categories", "multiclass", "deep"):
                self.check(model, "--row-strategy", strategy, n=100)

    def test_functions(self):
        draw = random.Random(2)
        rows = [[v] for v in SPECIAL]
        for i in range(600):
            bits_of = draw.getrandbits(32)
            any_float, = struct.unpack("<f", struct.pack("<I", bits_of))
            rows.append([any_float if i % 2 else draw.uniform(-12, 12)])
        self.check_rows(self.functions(), rows, "functions")

    def test_library(self):
        """The shared library too needs nothing."""
        library = compile_model(MODELS["multiclass"], self.folder / "m.so",
                                "--target", self.target)
        dynamic = run("readelf", "-dW", library).decode()
        self.assertNotRegex(dynamic, r"\((NEEDED|TEXTREL|JMPREL)\)")
        self.assertIn(self.machine, run("readelf", "-h", library).decode())
        self.assertEqual(run("nm", "-D", "--undefined-only", library), b"")


class AArch64(OtherCpu, Case):
    target = "aarch64-linux-gnu"
    emulator = ["qemu-aarch64"]
    machine = "AArch64"


class RiscV(OtherCpu, Case):
    target = "riscv64-linux-gnu"
    emulator = ["qemu-riscv64", "-cpu", "rv64,v=true,vext_spec=v1.0,vlen=128"]
    machine = "RISC-V"

    def test_numeric(self):
        """qemu 7.2 stops at vector conversions that round in a way of their
        own, as exp has them: no probabilities."""
        self.check("numeric", "--outputs", "raw,leaf")

    test_functions = None  # likewise


# The offsets that wasm_model.mjs has.
WASM_LAYOUT = """
#include "m.h"
_Static_assert(sizeof(struct tn_model) == 128, "size");
_Static_assert(offsetof(struct tn_model, n_elements) == 36, "n_elements");
_Static_assert(offsetof(struct tn_model, outputs) == 56, "outputs");
_Static_assert(offsetof(struct tn_model, scratch_bytes) == 64, "scratch");
_Static_assert(offsetof(struct tn_model, golden_out) == 116, "golden_out");
_Static_assert(offsetof(struct tn_model, golden_dtype) == 120, "golden_dtype");
_Static_assert(sizeof(struct tn_output) == 32, "output");
"""


class Wasm(OtherCpu, Case):
    """Pointers of 4 bytes; a module that node loads, with nothing to import."""
    target = "wasm32"
    emulator = ["node", HERE / "score_rows.mjs"]

    def programs(self):
        return ["node"]

    def build(self, model, *options):
        return compile_model(model, self.folder / "m.wasm", "--target",
                             self.target, "--name", "m", *options)

    def test_library(self):
        module = self.build(MODELS["multiclass"])
        self.assertEqual(module.read_bytes()[:4], b"\0asm")

    @unittest.skipUnless(shutil.which("clang-22"), "clang-22 is absent")
    def test_header(self):
        self.build(MODELS["multiclass"])
        source = self.folder / "layout.c"
        source.write_text(WASM_LAYOUT)
        run("clang-22", "--target=wasm32", "-ffreestanding", "-std=c11",
            "-fsyntax-only", "-Wall", "-Werror", f"-I{self.folder}", source)


if __name__ == "__main__":
    need("readelf", "nm")
    unittest.main()
