#!/usr/bin/env python3
"""What is, and is not, in the ELF files that are compiled: a library that
needs nothing, writes nothing but its dispatch level, and exports what its
header declares."""
import re
import unittest

from artifact import MODELS, Case, built, compile_model, need, text

# Not in the header: what a loader looks up in a library it knows nothing of.
LOADER_SYMBOL = "treenail_model"


def header_symbols(header):
    """Functions and objects that a generated header declares itself."""
    own = header.read_text(errors="replace").split("#endif\n\n#ifdef __cplusplus\nextern")[-1]
    functions = re.findall(r"^int (\w+)\(", own, re.M)
    return set(functions + re.findall(r"^extern const struct tn_model (\w+);",
                                      own, re.M))


def symbols(file, *options):
    """(type letter, name) of each line that nm prints."""
    lines = text("nm", *options, file).splitlines()
    found = [re.search(r"(\w) (\S+)$", line) for line in lines]
    return {(m[1], m[2]) for m in found if m}


class Library(Case):
    def test_needs_nothing(self):
        for name in MODELS:
            library = built(name)
            dynamic = text("readelf", "-dW", library)
            for tag in ("NEEDED", "TEXTREL", "INIT", "FINI", "RPATH",
                        "RUNPATH", "JMPREL"):
                self.assertNotRegex(dynamic, rf"\({tag}", f"{library.name}")
            self.assertEqual(symbols(library, "-D", "--undefined-only"),
                             set())

    def test_relocations_are_relative(self):
        for name in ("multiclass", "pandas"):
            kinds = set(re.findall(r" (R_\w+)",
                                   text("readelf", "-rW", built(name))))
            self.assertEqual(kinds, {"R_X86_64_RELATIVE"})

    def test_segments(self):
        for name in MODELS:
            segments = text("readelf", "-lW", built(name))
            flags = re.findall(r"^  LOAD .* 0x\w+ (...) 0x", segments, re.M)
            self.assertIn("R E", flags)
            for flag in flags:
                self.assertFalse("W" in flag and "E" in flag, segments)
            self.assertRegex(segments, r"GNU_STACK.* RW ")
            self.assertNotIn("TLS", segments)

    def test_writes_only_its_dispatch_level(self):
        for strategy in ("select", "slice", "branch", "walk", "match16",
                         "raw16"):
            library = self.folder / f"{strategy}.so"
            self.check_writable(compile_model(
                MODELS["multiclass"], library, "--strategy", strategy))
        for name in MODELS:
            self.check_writable(built(name))

    def check_writable(self, library):
        """All that stays writable after the loader has relocated it."""
        sections = text("readelf", "-SW", library).splitlines()
        writable = {}
        for line in sections:
            m = re.match(r"\s*\[ *\d+\] (\.\S+) +\S+ +\S+ +\S+ (\w+) \w+ +"
                         r"(\w*W\w*) ", line)
            if m and m[1] not in (".data.rel.ro", ".dynamic",
                                  ".relro_padding"):
                writable[m[1]] = int(m[2], 16)
        self.assertEqual(writable, {".bss": 4}, library.name)

    def test_exports_what_the_header_declares(self):
        for name in MODELS:
            library = built(name)
            exported = {s for _, s in symbols(library, "-D",
                                              "--defined-only")}
            declared = header_symbols(library.with_suffix(".h"))
            self.assertEqual(len(declared), 5)
            self.assertEqual(exported, declared | {LOADER_SYMBOL})
            for symbol in declared:
                self.assertTrue(symbol.startswith(name + "_"), symbol)


class Object(Case):
    def test_symbols(self):
        """Of .o and .a: none undefined, no global but the header's, so that
        many models can be linked into one program."""
        for name in MODELS:
            for kind in ("o", "a"):
                file = built(name, kind)
                found = symbols(file)
                self.assertEqual({s for t, s in found if t in "UwvC"}, set())
                self.assertEqual({s for t, s in found if t.isupper()},
                                 header_symbols(file.with_suffix(".h")))

    def test_position_independent(self):
        """A relocation of 32 absolute bits would end a -pie link."""
        for name in ("multiclass", "pandas"):
            relocations = text("readelf", "-rW", built(name, "o"))
            self.assertNotRegex(relocations, r"R_X86_64_(32S?|16|8) ")

    def test_marks_its_stack(self):
        """Without the note, linkers make the whole program's stack
        executable."""
        self.assertRegex(text("readelf", "-SW", built("multiclass", "o")),
                         r"\.note\.GNU-stack +PROGBITS +\S+ \S+ \S+ \S+ +0")


if __name__ == "__main__":
    need("readelf", "nm")
    unittest.main()
