#!/usr/bin/env python3
"""No call takes more stack than the info struct says: each runs on a stack of
just that size above a page that may not be touched."""
import unittest

from artifact import CC, HERE, MODELS, ROOT, Case, compile_model, need, text

WIDE = ROOT / "tests/cases/passes/wide.tnir"  # 9,000 targets: scratch


class StackBound(Case):
    def setUp(self):
        super().setUp()
        self.program = self.folder / "stack_depth"
        text(CC, "-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Werror",
             f'-DABI_HEADER="{ROOT}/runtime/abi.h"', HERE / "stack_depth.c",
             "-o", self.program, "-ldl")

    def check(self, name, model, *options):
        library = compile_model(model, self.folder / f"{name}.so", *options)
        used, bound = map(int, text(self.program, library).split())
        self.assertGreater(used, 0)
        self.assertLessEqual(used, bound, f"{name} {options}")

    def test_models(self):
        for name, model in MODELS.items():
            self.check(name, model)
        self.check("wide", WIDE)

    def test_strategies(self):
        for name in ("categories", "multiclass", "deep"):
            for strategy in ("select", "branch", "walk", "match16", "raw8"):
                self.check(name, MODELS[name], "--strategy", strategy)
            for strategy in ("branch", "walk", "match32", "raw16"):
                self.check(name, MODELS[name], "--row-strategy", strategy)


if __name__ == "__main__":
    need(CC)
    unittest.main()
