/* passes.h: module -> module.
 *
 * A pass is one file, one function and one line in the table of manager.c.
 * Passes decide; the backend is mechanics. No pass asks which framework a
 * model came from: what it needs to know is in the ops' attributes.
 */
#ifndef TREENAIL_PASSES_H
#define TREENAIL_PASSES_H

#include "ir/ir.h"

struct pass_options {
    const char *print_after; /* "all", or names separated by commas, or NULL */
    FILE *print_to;          /* where --print-after writes */
    bool verify_each;        /* run the verifier after each pass */
    bool diff_each;          /* evaluate rows before and after each pass */
    int64_t diff_rows;       /* how many, drawn by ir_probe; default 256 */
    uint64_t seed;           /* of those rows */
    const char *strategy;    /* forces the batch strategy, or NULL */
    const char *row_strategy; /* forces the one-row strategy, or NULL */
};

struct pass {
    const char *name;
    const char *summary;
    /* False with messages only when an option cannot be met. */
    bool (*run)(struct ir_module *module, const struct pass_options *options,
                struct ir_diag *diag);
};

/* ------------------------------------------------------------ manager.c -- */

/* The table, in the order in which `compile` runs it. */
extern const struct pass pass_table[];
extern const int pass_count;

/* Runs the whole table, or the passes named in `names` (separated by commas)
 * in that order. A pass that breaks the module (verify_each) or changes an
 * answer (diff_each) is named in the message, with the row and both values. */
bool pass_run_all(struct ir_module *module, const struct pass_options *options,
                  struct ir_diag *diag);
bool pass_run_named(struct ir_module *module, const char *names,
                    const struct pass_options *options, struct ir_diag *diag);
/* The same for any n passes, in the table or not. */
bool pass_run(struct ir_module *module, int n,
              const struct pass *const *passes,
              const struct pass_options *options, struct ir_diag *diag);

/* ------------------------------------------------------- canonicalise.c -- */
/* Drops dead ops; `lt` forests become `le` by stepping each threshold down one
 * float; set nodes lose trailing empty words; -0.0 thresholds become 0.0;
 * sets that are equal are stored once. */
bool pass_canonicalise(struct ir_module *module,
                       const struct pass_options *options,
                       struct ir_diag *diag);

/* --------------------------------------------------------------- fold.c -- */
/* Preprocessing goes into the forests it feeds: a test of a feature that is
 * computed from one number becomes the test of that number which every float
 * passes or fails as before; features that nothing needs any more die. */
bool pass_fold(struct ir_module *module, const struct pass_options *options,
               struct ir_diag *diag);

/* ir_probe_new() of the module as pass_fold makes it: rows around the numbers
 * at which preprocessing and tests together change their answer. */
struct ir_probe *pass_probe_new(const struct ir_module *module, uint64_t seed);

/* -------------------------------------------------------------- prune.c -- */
/* Walks each tree with the interval of values, and the side of NaN, that can
 * still reach a node; a node whose test is decided gives way to that child.
 * Where the leaf output is not wanted, a node whose two leaves are the same
 * bits becomes that leaf. Order of trees and of additions stays. */
bool pass_prune(struct ir_module *module, const struct pass_options *options,
                struct ir_diag *diag);

/* ---------------------------------------------------------- kernelise.c -- */
/* MODEL -> KERNEL: `trees` becomes `forest`, MAP ops, softmax and argmax
 * become `map` and `reduce`; a map whose operand is a map used once is fused
 * with it. */
bool pass_kernelise(struct ir_module *module,
                    const struct pass_options *options, struct ir_diag *diag);

/* ----------------------------------------------------------- quantise.c -- */
/* Gives each forest code columns, cuts and node codes (see IR_FOREST_ATTRS):
 * 8 bits when every numeric column has at most 255 cuts and every tree at most
 * 256 leaves, else 16 bits when at most 65535 of either, else none. */
/* Tables from categories to codes take at most so much, in all. */
#define PASS_MAX_CATEGORY_BYTES (INT64_C(64) << 20)
bool pass_quantise(struct ir_module *module, const struct pass_options *options,
                   struct ir_diag *diag);

/* ----------------------------------------------------------- schedule.c -- */
/* Chooses strategy ("select", "oblivious", "branch", "walk"), row_strategy
 * ("branch", "walk"), tile_rows and chunk_nodes of each forest by its size. */
bool pass_schedule(struct ir_module *module, const struct pass_options *options,
                   struct ir_diag *diag);

/* -------------------------------------------------------- plan_memory.c -- */
/* Gives each KERNEL op its `slots` (see IR_SLOTS_ATTR): buffers whose lifetimes
 * are apart share one. */
bool pass_plan_memory(struct ir_module *module,
                      const struct pass_options *options,
                      struct ir_diag *diag);

#endif
