#!/usr/bin/env python3
"""Objects and archives link into a program that has nothing else: no libc, no
start-up files; and two models share one program."""
import platform
import sys
import unittest

from artifact import CC, HERE, Case, built, need, run

# Loops must not become calls of memset and the like, which are absent.
FLAGS = ["-std=c11", "-O1", "-ffreestanding", "-fno-stack-protector",
         "-fno-builtin", "-fno-tree-loop-distribute-patterns", "-nostdlib"]


class LinkStatic(Case):
    def link(self, first, second, kind, *flags):
        files = [built(first, kind), built(second, kind)]
        program = self.folder / "program"
        run(CC, *FLAGS, *flags, f"-I{files[0].parent}",
            f'-DFIRST_HEADER="{first}.h"', f"-DFIRST_MODEL={first}_model",
            f'-DSECOND_HEADER="{second}.h"',
            f"-DSECOND_MODEL={second}_model", HERE / "freestanding.c",
            *files, "-o", program)
        run(program)

    def test_object(self):
        self.link("numeric", "multiclass", "o", "-static")

    def test_archive(self):
        self.link("categories", "pandas", "a", "-static")

    def test_in_another_library(self):
        """A product's own shared library may hold models: no text relocation
        and nothing undefined comes with them."""
        files = [built("numeric", "a"), built("linear", "a")]
        run(CC, "-shared", "-Wl,-z,text,--no-undefined", "-nostdlib",
            "-Wl,--whole-archive", *files, "-o", self.folder / "both.so")


if __name__ == "__main__":
    if platform.machine() != "x86_64" or sys.platform != "linux":
        print("skipped: freestanding.c is for x86-64 Linux")
        sys.exit(77)
    need(CC)
    unittest.main()
