/* fold.h: preprocessing folded into forests, in three steps.
 *
 * fold_trace.c finds for a feature the one number that it is computed from and
 * writes the computation down as a function of it. fold_range.c says what that
 * function gives for a number, and what it can give at most for all numbers
 * between two. fold_solve.c finds out by that which numbers pass a node's
 * test, every one of them, and says it as a test of the number itself; fold.c
 * puts such tests into the forest. Nobody outside these files includes this.
 */
#ifndef TREENAIL_PASSES_FOLD_H
#define TREENAIL_PASSES_FOLD_H

#include "passes/rewrite.h"

/* -------------------------------------------------------- fold_trace.c -- */

enum fold_kind {
    FOLD_SOURCE,  /* the number that the function is of */
    FOLD_NUMBER,  /* a constant */
    FOLD_ROUND,   /* x[0] as an f32 */
    FOLD_MAP,     /* a step of a map's program over x */
    FOLD_ELEMENT, /* an element of lookup, bucketize or interp, of x[0] */
};

struct fold_step {
    enum fold_kind kind;
    enum ir_step_kind map; /* of FOLD_MAP */
    enum ir_dtype dtype;   /* that a map's step is rounded to */
    int x[3];              /* operands: numbers of earlier steps */
    const struct ir_op *op; /* of FOLD_ELEMENT */
    bool ascending;         /* of an interp: it rises, and not too steeply */
    double number;          /* of FOLD_NUMBER */
};
#define FOLD_MAX_STEPS 192

/* What is computed from one number; the last step is the result. Steps of
 * constants alone are folded, so that all but FOLD_NUMBER ones depend on it. */
struct fold_function {
    /* It is element `index` of this value; NULL for a constant. */
    const struct ir_value *source;
    int64_t index;
    enum ir_dtype dtype; /* of the numbers that it is a function of */
    int n;
    struct fold_step step[FOLD_MAX_STEPS];
};

/* For every element of every value of a module what it depends on. */
struct fold_graph {
    const struct ir_module *module;
    int64_t row_elements;
    int64_t *first; /* by value id: the number of its first element */
    int64_t *root;  /* by number: an element's, its own, or FOLD_CONSTANT */
    bool *is_f32;   /* by number */
};
#define FOLD_CONSTANT (-1)

/* Returns how many elements there are; -1 when they are too many, or some
 * value's size is not known. All memory is the arena's. */
int64_t pass_fold_graph_init(struct fold_graph *graph,
                             const struct ir_module *module,
                             struct ir_arena *arena);
/* The element's number; elements of the row have one number, whichever op
 * reads them. */
int64_t pass_fold_number(const struct fold_graph *graph,
                         const struct ir_value *value, int64_t index);
/* The value that the element, perhaps moved by gather and concat, is one of;
 * `index` becomes its place there. */
const struct ir_value *pass_fold_origin(const struct ir_value *value,
                                        int64_t *index);
/* The dtype of the number that the element is computed from; f64 when ops read
 * it as either, f32 for a constant. */
enum ir_dtype pass_fold_root_dtype(const struct fold_graph *graph,
                                   const struct ir_value *value, int64_t index);
/* Writes the element as a function of its root as a number of `dtype`, f64 or
 * the root's own. False when it takes more than FOLD_MAX_STEPS. */
bool pass_fold_trace(const struct fold_graph *graph,
                     const struct ir_value *value, int64_t index,
                     enum ir_dtype dtype, struct fold_function *function);

/* -------------------------------------------------------- fold_range.c -- */

/* What a step may give: numbers in [low, high] when `number` is set, a NaN
 * when `nan` is. Both zeros are one number. */
struct fold_range {
    double low, high;
    bool number, nan;
};

/* One step of a map over numbers, as the interpreter computes it. */
double pass_fold_apply(enum ir_step_kind map, enum ir_dtype dtype,
                       const double *x);
/* What step `step` gives for v, exactly. */
double pass_fold_value(const struct fold_function *function, int step,
                       double v);
/* Holds what the last step gives for every number in [low, high], no NaN. */
struct fold_range pass_fold_range(const struct fold_function *function,
                                  double low, double high);
/* About the number for which step `step` gives `target`; a NaN when it cannot
 * be said. Only a hint where to look first. */
double pass_fold_guess(const struct fold_function *function, int step,
                       double target);
/* How many numbers of an ascending tensor are below v, or not above it. */
int64_t pass_fold_count_below(const struct ir_tensor *tensor, double v,
                              bool or_equal);

/* -------------------------------------------------------- fold_solve.c -- */

/* The line of floats in pieces, with what a function can give in each. */
struct fold_piece {
    int64_t first; /* its first place, up to that of the next piece */
    struct fold_range range;
};
struct fold_pieces {
    const struct fold_function *function;
    int64_t n;
    struct fold_piece *piece; /* one more than n, for its place */
    struct fold_range nan;    /* what a NaN gives */
    int64_t *fuel; /* steps that may yet be computed, in all the forest */
};

/* A node's test, said of the source. */
struct fold_test {
    bool swap;        /* the children change places */
    uint8_t flags;    /* enum ir_node_flag */
    double threshold; /* "le", of a numeric test */
    int32_t n_words;
    uint32_t *words; /* of a set test; the arena's */
};

/* Cuts the line where the function has its corners. False when there are too
 * many, or too little fuel. */
bool pass_fold_cut(struct fold_pieces *pieces,
                   const struct fold_function *function, int64_t *fuel,
                   struct ir_arena *arena);
/* Finds the test of the source that passes exactly those numbers (and the NaN)
 * for which the function's value passes `node`. False when there is no single
 * such test, or when that could not be decided at reasonable expense. */
bool pass_fold_solve(const struct fold_pieces *pieces,
                     const struct ir_forest *forest, int64_t node,
                     struct ir_arena *arena, struct fold_test *test);

#endif
