#!/usr/bin/env python3
"""The same model and options give the same bytes: in another folder, locale,
time zone and time, and at other addresses."""
import os
import shutil
import unittest

from artifact import MODELS, TREENAIL, Case, run

KINDS = ["so", "a", "o", "h", "ll", "asm", "ir"]


class SameBytes(Case):
    def files(self, model, folder, environment, *options):
        folder.mkdir(parents=True)
        run(TREENAIL, "compile", model, "-o",
            "m.so", "--emit", ",".join(KINDS), *options, cwd=folder,
            env=dict(os.environ, **environment))
        return {f.name: f.read_bytes() for f in folder.iterdir()}

    def check(self, model, *options):
        first = self.files(model, self.folder / "a", {}, *options)
        self.assertEqual(len(first), len(KINDS))
        (self.folder / "elsewhere").mkdir()
        copy = shutil.copy(model, self.folder / "elsewhere")
        again = self.files(copy, self.folder / "b" / "deeper",
                           {"LC_ALL": "C", "TZ": "Asia/Kathmandu",
                            "HOME": "/nowhere", "COLUMNS": "20"}, *options)
        self.assertEqual(first.keys(), again.keys())
        for name in first:
            self.assertEqual(first[name], again[name], name)

    def test_numeric(self):
        self.check(MODELS["numeric"], "--name", "m")

    def test_categories(self):
        self.check(MODELS["categories"], "--name", "m")

    def test_multiclass_walk(self):
        self.check(MODELS["multiclass"], "--name", "m", "--strategy", "walk")

    def test_names(self):
        self.check(MODELS["names"], "--name", "m")

    def test_aarch64(self):
        self.check(MODELS["linear"], "--name", "m", "--target",
                   "aarch64-linux-gnu")

    def test_no_path_inside(self):
        """What is written names no file or folder of this machine."""
        for name, data in self.files(MODELS["numeric"], self.folder / "x",
                                     {}, "--name", "m").items():
            for word in (str(self.folder), str(MODELS["numeric"].parent),
                         os.path.expanduser("~/")):
                self.assertNotIn(word.encode(), data, name)


if __name__ == "__main__":
    unittest.main()
