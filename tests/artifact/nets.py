#!/usr/bin/env python3
"""Nets compiled for each ISA level have the interpreter's bits: here by `verify`,
and for other CPUs by the rows that a library carries, under qemu and in node. And
they need nothing: no memcpy, no memset, no expf. Of $NETS_EACH nets one is
tried."""
import os
import shutil
import unittest

from artifact import HERE, TREENAIL, Case, compile_model, need, run
from net_cases import all_cases

EACH = int(os.environ.get("NETS_EACH", 1))


class Nets(Case):
    def files(self, dtype):
        cases = list(all_cases(dtype))[::EACH]
        for i, (name, module) in enumerate(cases):
            path = self.folder / f"{i}.tnir"
            path.write_text(module.text())
            yield f"{name} of {dtype}", path

    def verify(self, dtype):
        """At every level that this CPU has."""
        for name, path in self.files(dtype):
            with self.subTest(name):
                run(TREENAIL, "verify", path, "--rows", "40",
                    "--max-derived", "0", "--quiet")

    def test_f32(self):
        self.verify("f32")

    def test_f64(self):
        self.verify("f64")

    def test_bf16(self):
        self.verify("bf16")

    def test_int8(self):
        self.verify("int8")

    def test_needs_nothing(self):
        for dtype in ("f32", "int8"):
            for name, path in list(self.files(dtype))[::2]:
                library = compile_model(path, self.folder / "m.so")
                with self.subTest(name):
                    said = run("nm", "-D", "--undefined-only", library)
                    self.assertEqual(said, b"")

    def selftest(self, target, emulator, dtype, cpu=None):
        for program in (f"{target}-gcc", emulator[0]):
            if not shutil.which(program):
                self.skipTest(f"{program} is absent")
        for name, path in self.files(dtype):
            archive = compile_model(path, self.folder / "m.a", "--target",
                                    target, "--emit", "a,h", "--name", "m",
                                    *(("--cpu", cpu) if cpu else ()))
            program = self.folder / "selftest"
            run(f"{target}-gcc", "-std=c11", "-O1", "-static", "-Wall",
                "-Werror", f"-I{self.folder}", HERE / "selftest.c", archive,
                "-o", program)
            with self.subTest(name):
                run(*emulator, program)

    def test_aarch64(self):
        for dtype in ("f32", "bf16", "int8"):
            self.selftest("aarch64-linux-gnu", ["qemu-aarch64"], dtype)

    def test_dot_products(self):
        self.selftest("aarch64-linux-gnu", ["qemu-aarch64", "-cpu", "max"],
                      "int8", "armv8.2-a-dotprod")

    def test_wasm(self):
        if not shutil.which("node"):
            self.skipTest("node is absent")
        for dtype in ("f32", "int8"):
            for name, path in list(self.files(dtype))[::4]:
                module = compile_model(path, self.folder / "m.wasm",
                                       "--target", "wasm32", "--name", "m")
                with self.subTest(name):
                    run("node", HERE / "score_rows.mjs", module, "0",
                        input=b"")


if __name__ == "__main__":
    need("nm")
    unittest.main()
