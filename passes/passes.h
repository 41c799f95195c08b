/* passes.h: module -> module.
 *
 * A pass is one file, one function and one line in the table of manager.c.
 * Passes decide; the backend is mechanics. No pass asks which framework a
 * model came from: what it needs to know is in the ops' attributes.
 */
#ifndef TREENAIL_PASSES_H
#define TREENAIL_PASSES_H

#include "ir/ir.h"
#include "ir/steps.h"

struct pass_options {
    const char *print_after; /* "all", or names separated by commas, or NULL */
    FILE *print_to;          /* where --print-after writes */
    bool verify_each;        /* run the verifier after each pass */
    bool diff_each;          /* evaluate rows before and after each pass */
    int64_t diff_rows;       /* how many, drawn by ir_probe; default 256 */
    uint64_t seed;           /* of those rows */
    const char *strategy;    /* forces the batch strategy, or NULL */
    const char *row_strategy; /* forces the one-row strategy, or NULL */
    int64_t few_rows;        /* forces the attribute, or 0 */
    unsigned machines;       /* 1 << enum pass_machine of those that run the
                                library; 0: any */
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

/* ------------------------------------------------------------ bytes.c -- */
/* Does moves, and the largest of windows, on bytes rather than on what maps
 * make of them, and leaves out maps that give bytes back as they were. */
bool pass_bytes(struct ir_module *module, const struct pass_options *options,
                struct ir_diag *diag);

/* ---------------------------------------------------------- kernelise.c -- */
/* MODEL -> KERNEL: `trees` becomes `forest`, MAP ops, softmax and argmax
 * become `map` and `reduce`; a map whose operand is a map used once is fused
 * with it. */
bool pass_kernelise(struct ir_module *module,
                    const struct pass_options *options, struct ir_diag *diag);

/* ------------------------------------------------------ channels_last.c -- */
/* Conv and the pools, maps and concats that follow have channels last; views
 * turn an image where it comes in and where it is needed otherwise. */
bool pass_channels_last(struct ir_module *module,
                        const struct pass_options *options,
                        struct ir_diag *diag);

/* ------------------------------------------------------ fuse_epilogue.c -- */
/* A map that alone reads what a gemm or conv makes goes into it. */
bool pass_fuse_epilogue(struct ir_module *module,
                        const struct pass_options *options,
                        struct ir_diag *diag);

/* ------------------------------------------------------------- phases.c -- */
/* A transposed convolution becomes a convolution for each of its phases. */
bool pass_phases(struct ir_module *module, const struct pass_options *options,
                 struct ir_diag *diag);

/* ---------------------------------------------------------- precision.c -- */
/* Fewer bits for the weights of nets, and for what they are multiplied with.
 * That is another model, with other answers: so these are no passes of the
 * table, and run before them. */
enum pass_precision { PASS_BF16, PASS_INT8 };
/* The numbers that an op reads, but for those that are not finite. */
struct pass_range {
    double low, high; /* low > high: there were none */
};
struct pass_lowered {
    int n_ops, n_lowered;           /* with weights of f32 */
    int64_t bytes_before, bytes_after; /* of those weights */
    struct ir_text notes; /* a line for each op that stays as it is; owned */
};
/* Whether the op has weights that could have fewer bits. */
bool pass_has_weights(const struct ir_op *op);
/* range[i] is what op i of the module, one that pass_has_weights(), reads as
 * its first operand; NULL for bf16. */
bool pass_lower_precision(struct ir_module *module,
                          enum pass_precision precision,
                          const struct pass_range *range,
                          struct pass_lowered *lowered, struct ir_diag *diag);

/* ---------------------------------------------------- choose_winograd.c -- */
/* Gives convs the attribute `winograd` where that is reckoned to be faster, and
 * where weights do not grow by much unless they may be of any size; how many.
 * Answers change by some roundings, so that it is no pass of the table: it runs
 * before them, on MODEL ops. */
int pass_choose_winograd(struct ir_module *module, bool of_any_size);
/* The same where the model keeps its step: convs that do not go over time. 0 of
 * a model that has none. */
int pass_choose_winograd_of_steps(struct ir_module *module, bool of_any_size);
/* Whether a conv goes so; else `why` is what stands in the way, in words, also
 * where only those of steps were asked for. */
bool pass_has_winograd(const struct ir_module *module, bool of_steps,
                       struct ir_text *why);

/* --------------------------------------------------------------- tile.c -- */
/* Chooses tile_rows of the ops of nets. */
bool pass_tile(struct ir_module *module, const struct pass_options *options,
               struct ir_diag *diag);

/* ----------------------------------------------------------- quantise.c -- */
/* Gives each forest code columns, cuts and node codes (see IR_FOREST_ATTRS):
 * 8 bits when every numeric column has at most 255 cuts and every tree at most
 * 256 leaves, else 16 bits when at most 65535 of either, else none. */
/* Tables from categories to codes take at most so much, in all. */
#define PASS_MAX_CATEGORY_BYTES (INT64_C(64) << 20)
bool pass_quantise(struct ir_module *module, const struct pass_options *options,
                   struct ir_diag *diag);

/* ------------------------------------------------------ narrow_leaves.c -- */
/* Sets leaf_dtype of forests whose leaf values are numbers of a narrower dtype,
 * where it pays. */
bool pass_narrow_leaves(struct ir_module *module,
                        const struct pass_options *options,
                        struct ir_diag *diag);

/* ----------------------------------------------------------- schedule.c -- */
/* Chooses strategy, row_strategy, tile_rows, few_rows and chunk_nodes of each
 * forest: what an option forces, or the module's facts name as measured, where
 * the forest can have it, or what the cost model finds the cheapest. */
/* Whether there is a strategy of that name (NULL: any) for batches, or for one
 * row. */
bool pass_check_strategy(const char *name, bool one_row, struct ir_diag *diag);
#define PASS_TUNED_STRATEGY "tuned_strategy"
#define PASS_TUNED_ROW_STRATEGY "tuned_row_strategy"
#define PASS_TUNED_FEW_ROWS "tuned_few_rows"
/* From how many rows on a tile is cheaper than rows one by one, or however few
 * rows are done by `row`, the strategy for one; the costs are those of struct
 * pass_costs, of the two strategies. */
int64_t pass_few_rows(double batch, double one, double few,
                      enum ir_strategy row);
bool pass_schedule(struct ir_module *module, const struct pass_options *options,
                   struct ir_diag *diag);
/* Whether the strategy compiles in proportion: only then it is chosen. */
bool pass_in_bounds(const struct ir_forest *f, enum ir_strategy s);

/* -------------------------------------------------------------- costs.c -- */
/* What the cost model reads off a forest. Sums over the trees: nodes (times
 * the bytes of a code); different tests (likewise); leaf values added; the
 * mean depth of a leaf, by nodes that compare and by set tests; the mean
 * number of clusters on the way to a leaf, and those after the first; shuffles
 * and loads of codes there (or of numbers), words of sets, and set tests one
 * by one; `far_` is such a sum times log2(1 + bytes / 32 KB) of the tables
 * read, for caches. And the levels of the searches that write codes; set
 * columns (in bytes); the numbers that are read of a row, times log2(1 + its
 * KB / 4). */
#define PASS_TERMS(X)                                                         \
    X(one) X(trees) X(adds) X(far_adds) X(nodes) X(tests) X(blends)           \
    X(levels) X(set_levels) X(far_levels) X(steps) X(more_steps) X(far_steps) \
    X(shuffles) X(loads) X(words) X(sets) X(cut_columns) X(set_columns)       \
    X(far_row)
enum pass_term {
#define PASS_TERM(name) PASS_##name,
    PASS_TERMS(PASS_TERM)
#undef PASS_TERM
    PASS_N_TERMS
};
extern const char *const pass_term_name[PASS_N_TERMS];
/* A row of a batch; one alone; all of a tile with one row in it, where the
 * strategy has tiles. */
enum pass_rows { PASS_BATCH, PASS_ONE, PASS_FEW, PASS_N_ROWS };
/* Whose registers have 16 or 32 bytes, and whose have 64 and masks. */
enum pass_machine { PASS_PLAIN, PASS_MASKED, PASS_N_MACHINES };
struct pass_costs {
    double term[IR_N_STRATEGIES][PASS_N_TERMS];
    /* INFINITY where it cannot be had. */
    double ns[PASS_N_MACHINES][PASS_N_ROWS][IR_N_STRATEGIES];
};
/* Of an op `forest` that has its codes. */
void pass_estimate(const struct ir_forest *f, struct pass_costs *costs);

/* -------------------------------------------------------- plan_memory.c -- */
/* Gives each KERNEL op its `slots` (see IR_SLOTS_ATTR): buffers whose lifetimes
 * are apart share one. */
bool pass_plan_memory(struct ir_module *module,
                      const struct pass_options *options,
                      struct ir_diag *diag);

/* -------------------------------------------------------------- stream.c -- */
/* What a model of a whole sequence computes of one time step, as MODEL ops,
 * with the bits of the whole; the model is numbered anew. NULL, with the reason
 * in `why`, when it looks at later steps or remembers nothing. To be freed; its
 * weights are the model's, which has to outlive it. */
struct ir_stream *pass_stream(struct ir_module *model, struct ir_text *why);
/* pass_run_all() on all that there is of it. */
bool pass_stream_run(struct ir_stream *stream,
                     const struct pass_options *options, struct ir_diag *diag);
void pass_stream_free(struct ir_stream *stream);

#endif
