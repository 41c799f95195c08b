#!/usr/bin/env python3
"""Generated headers compile everywhere, alone or together, and tell the truth
about the library: each macro equals what the info struct says at run time."""
import re
import shutil
import unittest

from artifact import CC, MODELS, Case, built, need, run

C_COMPILERS = ["gcc", "clang-22"]
CXX_COMPILERS = ["g++", "clang++-22"]
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]


def macros(name):
    """NAME_... -> value, of a generated header."""
    header = built(name).with_suffix(".h").read_text(errors="replace")
    found = re.findall(rf"^#define {name.upper()}_(\w+) (\d+)$", header, re.M)
    return {key: int(value) for key, value in found}


def identifier(name):
    return re.sub(r"\W", "_", name).upper()


class Header(Case):
    def compile_each(self, compilers, suffix, standards):
        for compiler in filter(shutil.which, compilers):
            for name in sorted(MODELS):
                library = built(name)
                source = self.folder / f"one{suffix}"
                source.write_text(f'#include "{name}.h"\n' * 2 +
                                  f"int main(void) {{ return "
                                  f"{name}_model.n_outputs == 0; }}\n")
                for standard in standards:
                    run(compiler, f"-std={standard}", *STRICT,
                        f"-I{library.parent}", source)

    def test_c(self):
        self.compile_each(C_COMPILERS, ".c", ["c99", "c11", "c17"])

    def test_cxx(self):
        self.compile_each(CXX_COMPILERS, ".cc", ["c++11", "c++20"])

    def test_together(self):
        for name in MODELS:
            built(name)
        source = self.folder / "all.c"
        source.write_text("".join(f'#include "{name}.h"\n'
                                  for name in MODELS) +
                          "int main(void) { return 0; }\n")
        run(CC, "-std=c99", *STRICT, f"-I{built('numeric').parent}", source)

    def test_macros_equal_the_struct(self):
        for name in MODELS:
            defined = macros(name)
            self.assertIn("ELEMENTS", defined)
            truth = self.info(name)
            outputs = truth.pop("outputs")
            for index, (output, size) in enumerate(outputs):
                truth[f"OUTPUT_{identifier(output)}"] = index
                truth[f"{identifier(output)}_SIZE"] = size
            self.assertEqual(defined, truth)

    def info(self, name):
        """What the struct of a library says, by a program that is linked
        with it."""
        library = built(name)
        source = self.folder / "info.c"
        source.write_text(INFO.replace("NAME", name))
        program = self.folder / "info"
        run(CC, "-std=c99", f"-I{library.parent}", source, library,
            f"-Wl,-rpath,{library.parent}", "-o", program)
        lines = run(program).decode().splitlines()
        elements, scratch = map(int, lines[0].split())
        outputs = [line.split(" ", 1) for line in lines[1:]]
        return {"ELEMENTS": elements, "SCRATCH_BYTES": scratch,
                "outputs": [(output, int(size)) for size, output in outputs]}


INFO = r"""
#include <stdio.h>
#include "NAME.h"

int main(void)
{
    const struct tn_model *m = &NAME_model;
    if (m->abi_version != TN_ABI_VERSION || m->struct_size != sizeof(*m))
        return 1;
    printf("%lu %llu\n", (unsigned long)m->n_elements,
           (unsigned long long)m->scratch_bytes);
    for (unsigned i = 0; i < m->n_outputs; i++)
        printf("%lu %s\n", (unsigned long)m->outputs[i].n_elements,
               m->outputs[i].name);
    return m->predict_f32 != NAME_predict_f32 ||
           m->predict_f64 != NAME_predict_f64 ||
           m->predict_one_f32 != NAME_predict_one_f32 ||
           m->predict_one_f64 != NAME_predict_one_f64;
}
"""

if __name__ == "__main__":
    need(CC)
    unittest.main()
