/* private.h: what the files of this folder share, and nobody outside it.
 *
 * Sections below are headed by the file that implements them.
 */
#ifndef TREENAIL_TRAINER_PRIVATE_H
#define TREENAIL_TRAINER_PRIVATE_H

#include "trainer/trainer.h"

/* ------------------------------------------------------------- texts.c -- */

/* A set of texts, numbered from 0 in the order they came: category tables and
 * columns by name. Bytes are copied to the set's arena. */
struct tr_texts {
    struct ir_arena arena;
    int n, capacity;
    const char **text; /* [n], each ending with a NUL */
    uint32_t *length, *hash;
    int *slot; /* open addressing: a number, or -1; slots are a power of 2 */
    uint32_t n_slots;
};

void tr_texts_init(struct tr_texts *texts);
void tr_texts_release(struct tr_texts *texts);
/* The number of the text, or -1. */
int tr_texts_find(const struct tr_texts *texts, const char *text, size_t n);
/* The number of the text, which is added when it is new. */
int tr_texts_add(struct tr_texts *texts, const char *text, size_t n);

/* --------------------------------------------------------------- csv.c -- */

/* One field of the row that was read last. */
struct tr_field {
    const char *begin, *end; /* within the quotes, when there are some */
    bool doubled;            /* holds "" that stands for one quote */
};

/* Splits bytes into rows of fields; knows nothing of what they mean. */
struct tr_csv {
    const char *name;             /* for messages */
    const char *begin, *end, *at; /* at: the next row's first byte */
    uint64_t line;                /* of `at`, from 1 */
    const char *row;              /* the row that was read last */
    uint64_t row_line;
    char delimiter;
    uint8_t stop[256]; /* bytes that end an unquoted field or are errors */
    int n_fields, capacity;
    struct tr_field *field;
    struct ir_text room; /* of the text that tr_csv_text() returned */
    /* The texts that stand for a missing value. */
    int n_missing;
    const char *const *missing;
    uint8_t missing_first[256]; /* first bytes of those texts */
    bool missing_empty;         /* "" is one of them */
};

/* Detects the delimiter. The bytes and the options' texts must outlive it. */
void tr_csv_init(struct tr_csv *csv, const void *bytes, size_t size,
                 const char *name, const struct tr_csv_options *options);
void tr_csv_release(struct tr_csv *csv);
/* Reads a row: 1, or 0 at the end, or -1 with a message. */
int tr_csv_next(struct tr_csv *csv, struct ir_diag *diag);
/* The field's own text; valid until the next call. */
const char *tr_csv_text(struct tr_csv *csv, int field, size_t *n);
bool tr_csv_is_missing(struct tr_csv *csv, int field);
/* True for a number, which may not be missing. */
bool tr_csv_number(const struct tr_csv *csv, int field, double *value);
/* Where a field of the last row is; past the last one, where the row ends. */
struct ir_loc tr_csv_loc(const struct tr_csv *csv, int field);

/* Reads the header, or finds that there is none and goes back. Fills `names`
 * with a name for each field, in their order; their number is then the width
 * that every row has. False on an error, also when the file has no row. */
bool tr_csv_header(struct tr_csv *csv, const struct tr_csv_options *options,
                   struct tr_texts *names, bool *has_header,
                   struct ir_diag *diag);
/* Whether the last row is `width` fields wide; else an error. */
bool tr_csv_check_width(const struct tr_csv *csv, int width,
                        struct ir_diag *diag);

/* -------------------------------------------------------------- pool.c -- */

/* Threads that wait for work; the caller is one of them. */
struct tr_pool;
/* n_threads 0: one a core. Starts fewer when the system refuses. */
struct tr_pool *tr_pool_new(int n_threads);
void tr_pool_free(struct tr_pool *pool);
int tr_pool_threads(const struct tr_pool *pool);
/* Calls task(user, i, thread) once for each i in [0, n), in any order, and
 * returns when all are done. `thread` is below tr_pool_threads(). */
void tr_pool_run(struct tr_pool *pool, int64_t n,
                 void (*task)(void *user, int64_t i, int thread), void *user);

/* ------------------------------------------------------------- queue.c -- */

/* Leaves that can be split. The one that gains most comes first, the one of
 * the lowest number when several do. */
struct tr_queue {
    struct tr_queued {
        double gain;
        int leaf;
    } *heap;
    int n, capacity; /* n = 0 empties it */
};

void tr_queue_push(struct tr_queue *queue, int leaf, double gain);
int tr_queue_pop(struct tr_queue *queue);
void tr_queue_release(struct tr_queue *queue);

/* ----------------------------------------------------------- binning.c -- */

#define TR_MAX_BINS 255
#define TR_GROUP 4 /* features whose bins of a row stand side by side */

/* How one feature is cut into bins. The bin n_bins is for missing values. */
struct tr_feature {
    int column; /* of the frame */
    int input;  /* of the module */
    bool categorical, has_missing;
    int n_bins;
    /* Numbers: bin b holds v with upper[b - 1] < v <= upper[b]. The last of
     * the 256 that is used is upper[n_bins - 2]; infinities follow. */
    double *upper;
    /* Categories: the most frequent ones have a bin each; the last bin is for
     * all others, seen in training or not, and never goes left. */
    int n_codes;
    uint8_t *bin_of_code; /* [n_codes] */
    int *code_of_bin;     /* [n_bins - 1] */
};

struct tr_bins {
    int n_features; /* those on which rows differ */
    struct tr_feature *feature;
    int *first_slot; /* [n_features + 1] where histograms hold its bins */
};

/* Rows as bins: bin of feature f in row r is
 * code[((f / TR_GROUP) * n_rows + r) * TR_GROUP + f % TR_GROUP]. */
struct tr_binned {
    int64_t n_rows;
    int n_groups;
    uint8_t *code;
};

static inline const uint8_t *tr_binned_feature(const struct tr_binned *rows,
                                               int feature)
{
    return rows->code +
           (int64_t)(feature / TR_GROUP) * rows->n_rows * TR_GROUP +
           feature % TR_GROUP;
}

/* Cuts the given columns (n of them) by the frame's values. */
void tr_bins_init(struct tr_bins *bins, const struct tr_frame *frame, int n,
                  const int *columns, int max_bin, uint64_t seed,
                  struct tr_pool *pool);
void tr_bins_release(struct tr_bins *bins);
/* The bins of a frame's values; it has the same columns. */
void tr_binned_init(struct tr_binned *rows, const struct tr_bins *bins,
                    const struct tr_frame *frame, struct tr_pool *pool);
void tr_binned_release(struct tr_binned *rows);

/* ------------------------------------------------------------- grown.c -- */

/* 256 bits, one a bin. */
struct tr_bin_set {
    uint64_t word[4];
};

static inline bool tr_bin_set_has(const struct tr_bin_set *set, unsigned bin)
{
    return set->word[bin >> 6] >> (bin & 63) & 1;
}

static inline void tr_bin_set_add(struct tr_bin_set *set, unsigned bin)
{
    set->word[bin >> 6] |= UINT64_C(1) << (bin & 63);
}

struct tr_node {
    int feature; /* of the bins */
    int bin;     /* of a number: the last that goes left */
    struct tr_bin_set left_bins; /* that of missing values included */
    int left, right; /* as the IR has them: a node, or ~leaf */
    double gain;
};

/* A tree over bins. */
struct tr_tree {
    int n_nodes, n_leaves, capacity;
    int n_values; /* of a leaf: one, or one a class */
    struct tr_node *node;
    double *value; /* [n_leaves][n_values] */
    double *cover; /* [n_leaves]: rows that were learned from */
};

void tr_tree_init(struct tr_tree *tree, int n_values);
void tr_tree_release(struct tr_tree *tree);
/* Makes leaf `leaf` a node with two leaves: `leaf` again, on its left, and a
 * new one, whose number is returned. `parent` is the node above and `on_left`
 * the side of it that the leaf is on; -1 for the root. */
int tr_tree_split(struct tr_tree *tree, int leaf, int parent, bool on_left,
                  const struct tr_node *node);
/* The leaf of each of the `n` rows from `first` on. */
void tr_tree_leaves(const struct tr_tree *tree, const struct tr_binned *rows,
                    int64_t first, int64_t n, int32_t *leaf);
/* Appends the tree with the values numbered `value` to the module's forest. */
void tr_tree_emit(const struct tr_tree *tree, const struct tr_bins *bins,
                  struct ir_forest_builder *forest, int target, int value);

/* -------------------------------------------------------------- grow.c -- */

/* Grows trees by gradients, best leaf first; keeps its memory between trees. */
struct tr_grower;
struct tr_grower *tr_grower_new(const struct tr_bins *bins,
                                const struct tr_binned *rows,
                                const struct tr_params *params,
                                struct tr_pool *pool);
void tr_grower_free(struct tr_grower *grower);
/* Grows `tree`, which is a single leaf, on the n rows given (at least one,
 * ascending), where a row has gradient g[row] and hessian h[row] >= 0. Splits
 * are on features with use[feature] (NULL: all). Leaves have their Newton step,
 * -G / (H + l2), for a value. */
void tr_grow(struct tr_grower *grower, struct tr_tree *tree, int64_t n,
             const int32_t *rows, const double *g, const double *h,
             const bool *use);
/* The rows of a leaf of the tree that was grown last. */
const int32_t *tr_grower_rows(const struct tr_grower *grower, int leaf,
                              int64_t *n);

/* --------------------------------------------------------- objective.c -- */

/* Rows that a fit learns from, or is scored on. */
struct tr_rows {
    int64_t n;
    struct tr_binned bins;
    double *target; /* [n]: the number, or the class */
    double *weight; /* [n], all above 0; NULL for ones */
};

/* What boosting minimises. A row has n_outputs margins, side by side. */
struct tr_objective {
    const char *name;
    enum tr_task task;
    /* The margins that fit all rows best, were they the same for all. */
    void (*start)(const struct tr_rows *rows, int n_outputs, double *base);
    /* For n rows from `first` on: g and h, [n_outputs][rows->n], by their
     * margins, times their weights. */
    void (*derive)(const struct tr_rows *rows, int n_outputs,
                   const double *margin, int64_t first, int64_t n, double *g,
                   double *h);
    /* The value of a leaf from its n rows; NULL: the Newton step does. */
    double (*renew)(const struct tr_rows *rows, const double *margin,
                    const int32_t *in, int64_t n);
};

extern const struct tr_objective tr_objectives[];
extern const int tr_objective_count;
const struct tr_objective *tr_objective_find(const char *name);
/* The weighted median of target - margin over the n rows `in` (NULL: the first
 * n rows; margin NULL: zeros): the least with at least half the weight. */
double tr_median(const struct tr_rows *rows, const double *margin,
                 const int32_t *in, int64_t n);
/* Margins -> what metrics take, for n rows: as the model computes them. */
void tr_link(enum tr_task task, int n_outputs, const double *margin, int64_t n,
             double *prediction);

/* ----------------------------------------------------------- learner.c -- */

/* A fit: what a learner is given, and what it leaves. */
struct tr_fit_job {
    const struct tr_params *params;
    enum tr_task task;
    const struct tr_objective *objective;
    const struct tr_metric *metric;
    int n_classes; /* 0 for regression */
    int n_outputs; /* of the forest: n_classes for multiclass, else 1 */
    struct tr_pool *pool;
    struct tr_bins bins;
    struct tr_rows train, valid; /* valid.n 0: there are none */
    const struct tr_progress *progress; /* NULL: nobody asks */
    struct tr_report *report;           /* its rounds are the learner's */

    /* Trees in order. One of a single value adds it to output t % n_outputs,
     * others have a value for each output. */
    struct tr_tree *tree;
    int n_trees, capacity;
    double *base;      /* [n_outputs], zeros at first */
    double divisor;    /* of the sums; 1 at first */
    bool has_link;     /* sums are margins, not predictions */
};

/* A new tree at the end of the job's, a single leaf. */
struct tr_tree *tr_job_tree(struct tr_fit_job *job, int n_values);
/* The metric of `rows`, whose forest outputs are `sums`; NaN without rows. */
double tr_job_score(const struct tr_fit_job *job, const struct tr_rows *rows,
                    const double *sums);
/* Ends a round in the report; false when the caller of the fit has had
 * enough. */
bool tr_job_round(struct tr_fit_job *job, int n_rounds, double train_metric,
                  double valid_metric);
/* A number that depends on the seed, what it is for, and i. */
enum tr_draw { TR_DRAW_BINS, TR_DRAW_ROWS, TR_DRAW_FEATURES };
uint64_t tr_draw(const struct tr_params *params, enum tr_draw what, uint64_t i);
/* Chooses `take` of n by chance; chosen[] ascends. `from` is the first number
 * of the stream to use; n are used. */
void tr_draw_some(const struct tr_params *params, enum tr_draw what,
                  uint64_t from, int64_t n, int64_t take, int32_t *chosen);

/* ------------------------------------------------------ boost.c, cart.c -- */

bool tr_fit_boost(struct tr_fit_job *job, struct ir_diag *diag);
bool tr_fit_tree(struct tr_fit_job *job, struct ir_diag *diag);
bool tr_fit_forest(struct tr_fit_job *job, struct ir_diag *diag);

/* ------------------------------------------------------------- model.c -- */

/* What the job found, as a verified module. labels: [n_classes]. NULL with a
 * message when it is too large to be one. */
struct ir_module *tr_model_build(const struct tr_fit_job *job,
                                 const char *name,
                                 const struct tr_frame *frame, int n_features,
                                 const int *columns,
                                 const char *const *labels,
                                 struct ir_diag *diag);

#endif
