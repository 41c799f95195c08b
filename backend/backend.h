/* backend.h: KERNEL module -> native library.
 *
 * Mechanics only: every decision was taken by a pass and stands in an
 * attribute. llvm-c/ is included through llvm.h, the private header, alone.
 */
#ifndef TREENAIL_BACKEND_H
#define TREENAIL_BACKEND_H

#include "ir/ir.h"
#include "ir/steps.h"

enum be_kind {
    BE_SO, BE_A, BE_O, BE_WASM, BE_LL, BE_ASM, BE_H, BE_IR, BE_N_KINDS
};

/* "so", "a", "o", "wasm", "ll", "asm", "h", "ir"; the file name's usual
 * ending. */
const char *be_kind_name(enum be_kind kind);
const char *be_kind_suffix(enum be_kind kind);
bool be_kind_parse(const char *name, size_t length, enum be_kind *kind);

struct be_options {
    const char *name;   /* prefix of the symbols; NULL: from module->name */
    const char *target; /* a name of target.c's table, or NULL: the first */
    const char *cpus;   /* ISA levels separated by commas; NULL: all of the
                           target (x86-64-v2,x86-64-v3,x86-64-v4) */
    int n_golden;       /* rows embedded for the self-test; 0: 16, or of a
                           net fewer: as many as fit in 64 KiB and are quickly
                           evaluated, at least one */
    /* The model's time step, of KERNEL level, for functions of it; or NULL. It
     * outlives the artifact. */
    const struct ir_stream *stream;
};

/* ------------------------------------------------------------ compile.c -- */

/* One compiled module; files of several kinds can be written from it. */
struct be_artifact;

/* Emits and optimises `module` (KERNEL level, verified). `source` is the same
 * model as imported, from which golden rows are evaluated. NULL with messages
 * when an option is not known or the linker fails. */
struct be_artifact *be_compile(const struct ir_module *source,
                               const struct ir_module *module,
                               const struct be_options *options,
                               struct ir_diag *diag);
/* Whether any of the ISA levels that the options hold computes on registers
 * without masks, and whether any has them (AVX-512): what the cost model tells
 * apart. Both are false where the options are not known. */
void be_level_kinds(const struct be_options *options, bool *plain,
                    bool *masked);
/* Whether there is a target of that name (NULL: the first); whether it has the
 * ISA levels; whether it is the first, for which and on which strategies are
 * measured; whether it has files of that kind. */
bool be_has_target(const char *target, struct ir_diag *diag);
bool be_has_levels(const struct be_options *options, struct ir_diag *diag);
bool be_is_first_target(const char *target);
bool be_has_kind(const char *target, enum be_kind kind);
/* Whether a kind is made of machine code in an object: so, a, o. */
bool be_kind_is_native(enum be_kind kind);
/* Generates the object that native kinds are made of, which takes most of the
 * time; without it, the first be_write() of such a kind does. */
bool be_generate(struct be_artifact *artifact, struct ir_diag *diag);
/* Writes one kind to `path`, atomically. */
bool be_write(struct be_artifact *artifact, enum be_kind kind,
              const char *path, struct ir_diag *diag);
void be_free(struct be_artifact *artifact);

/* ---------------------------------------------------------------- jit.c -- */

/* Loads the artifact's code into this process, which must be of its target.
 * The model is valid until be_jit_free(); it outlives the artifact. NULL with
 * messages on failure. */
struct be_jit;
struct tn_model;
const struct tn_model *be_jit_load(struct be_artifact *artifact,
                                   struct be_jit **jit, struct ir_diag *diag);
/* Of a model that streams, else NULL; as long as the model. */
struct tn_stream;
const struct tn_stream *be_jit_stream(const struct be_jit *jit);
void be_jit_free(struct be_jit *jit);

/* A C identifier made of `name`: what is no letter or digit becomes '_', C and
 * C++ keywords and leading digits get a prefix. Owned by the arena. */
char *be_identifier(struct ir_arena *arena, const char *name);

#endif
