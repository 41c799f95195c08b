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
/* "there is no column named ..." at the header, with those that there are;
 * `what` (or NULL) says what it is for. Always false. */
bool tr_csv_no_column(const struct tr_csv *csv, const struct tr_texts *names,
                      const char *name, const char *what,
                      struct ir_diag *diag);
/* Notes what is at fault, for who asked. Always false. */
bool tr_csv_blame(const struct tr_csv_options *options,
                  enum tr_csv_fault fault);
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
    /* Where the rows come from. */
    const struct tr_frame *frame, *valid_frame; /* NULL without valid rows */
    int n_features;
    const int *columns;        /* [n_features] of the frames */
    const char *const *labels; /* [n_classes] */

    /* Trees in order. One of a single value adds it to output t % n_outputs,
     * others have a value for each output. */
    struct tr_tree *tree;
    int n_trees, capacity;
    double *base;      /* [n_outputs], zeros at first */
    double divisor;    /* of the sums; 1 at first */
    bool has_link;     /* sums are margins, not predictions */

    struct tr_net_fit *net; /* of the learner net, else NULL */
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
/* Says of a fit that fails that a parameter is at fault. False. */
bool tr_blame_parameter(const struct tr_fit_job *job);
/* Early stopping goes by the validation rows' metric: there must be one, which
 * for the predictions of the start is `valid`. */
bool tr_job_check_stopping(const struct tr_fit_job *job, double valid,
                           struct ir_diag *diag);
/* Whether `metric` is better than `best`. */
bool tr_job_better(const struct tr_fit_job *job, double metric, double best);
/* A number that depends on the seed, what it is for, and i. */
enum tr_draw {
    TR_DRAW_BINS, TR_DRAW_ROWS, TR_DRAW_FEATURES, TR_DRAW_WEIGHTS,
    TR_DRAW_ORDER, TR_DRAW_DROPOUT
};
uint64_t tr_draw(const struct tr_params *params, enum tr_draw what, uint64_t i);
/* Chooses `take` of n by chance; chosen[] ascends. `from` is the first number
 * of the stream to use; n are used. */
void tr_draw_some(const struct tr_params *params, enum tr_draw what,
                  uint64_t from, int64_t n, int64_t take, int32_t *chosen);

/* ------------------------------------------------------ boost.c, cart.c -- */

bool tr_fit_boost(struct tr_fit_job *job, struct ir_diag *diag);
bool tr_fit_tree(struct tr_fit_job *job, struct ir_diag *diag);
bool tr_fit_forest(struct tr_fit_job *job, struct ir_diag *diag);

/* ----------------------------------------- nets: the files net_*.c share -- */

/* Layers compute in f32. With TR_NET_F64 the same sources compute in f64, so
 * that unit tests can hold gradients against differences to many digits. */
#ifdef TR_NET_F64
typedef double tr_real;
#define TR_REAL_DTYPE IR_F64
#else
typedef float tr_real;
#define TR_REAL_DTYPE IR_F32
#endif

#define TR_MAX_LAYERS 256
#define TR_MAX_BLOCKS 8 /* arrays of parameters of one layer */
#define TR_MAX_WORK 10
#define TR_MAX_BATCH_ELEMENTS (INT64_C(1) << 29) /* of one value of a batch */

/* What a row is at some place of the net: numbers [F], a series [T][F], or
 * channels [C][L] or [C][H][W]. A batch of n rows lies in memory as
 * [lead][n][inner], where lead is T or C, or 1 for a vector: all rows of a step
 * or of a channel are side by side, and so dense layers, convolutions and
 * recurrences are a few large products. */
enum tr_shape_kind { TR_VECTOR, TR_SERIES, TR_CHANNELS };
struct tr_shape {
    enum tr_shape_kind kind;
    int rank; /* 1 to 3 */
    int64_t dim[3];
    int64_t lead, inner; /* their product is the row's elements */
};

enum tr_activation {
    TR_RELU, TR_LEAKY_RELU, TR_ELU, TR_GELU, TR_SILU, TR_SOFTPLUS, TR_SIGMOID,
    TR_TANH, TR_N_ACTIVATIONS
};
#define TR_LEAK 0.01 /* slope of leaky_relu below 0 */
#define TR_NORM_EPSILON 1e-5

/* An array of parameters, and where it is among the net's. */
struct tr_block {
    int64_t first, n;
    bool trained; /* false: statistics, which no gradient changes */
    bool decays;  /* weights do, biases and scales do not */
};

struct tr_layer {
    const struct tr_layer_kind *kind;
    int place; /* in the text of layers, from 1; 0: added by the trainer */
    struct tr_shape in, out;
    /* What the text says; which of it counts depends on the kind. Of pairs the
     * first is down (1 for channels of one dim), the second across. */
    int64_t units; /* outputs, channels or hidden units */
    int64_t kernel[2], stride[2], dilation[2];
    int64_t before[2], after[2]; /* elements of padding */
    int64_t groups;
    bool same;     /* pads so that out = ceil(in / stride) */
    bool causal;   /* does so in front alone: no window looks ahead */
    bool global;   /* a pool over all there is */
    bool one_step; /* a recurrent layer gives its last step, not all */
    bool chosen;   /* one_step was */
    bool forward, reverse; /* directions of a recurrent layer */
    enum tr_activation activation;
    double rate;  /* of dropout */
    int n_tables; /* of embed: so many last inputs are codes */
    const int64_t *table_rows, *table_width; /* [n_tables] */

    int n_blocks;
    struct tr_block block[TR_MAX_BLOCKS];
    /* What forward leaves to backward; elements a row. */
    int n_work;
    int64_t work_elements[TR_MAX_WORK];
    tr_real *work[TR_MAX_WORK];
    tr_real *y; /* the result of the batch */
};

/* A net, its parameters, and room for a batch. */
struct tr_net {
    int n_layers;
    struct tr_layer layer[TR_MAX_LAYERS];
    int64_t n_params;      /* of all blocks */
    tr_real *theta, *grad; /* [n_params] */
    struct tr_blas *blas;  /* see net_math.c */
    int64_t max_rows;      /* of a batch; 0: no room yet */
    tr_real *dy[2];        /* gradients of values, by turns */
    tr_real *columns;      /* see net_conv.c */
    uint64_t seed;         /* of all that is drawn */
    uint64_t step;         /* batches trained on so far */
};

/* A kind of layer: its functions stand at the end of its file, and its name in
 * the table of net_spec.c. */
struct tr_words;
struct tr_net_builder;
struct tr_layer_kind {
    const char *name;
    const char *usage; /* what may follow the name */
    /* Reads the words after its name. NULL: there are none. */
    bool (*parse)(struct tr_words *words, struct tr_layer *layer);
    /* layer->in -> out, blocks and work. */
    bool (*shape)(struct tr_layer *layer, struct ir_diag *diag);
    /* Sets the parameters, which are zeros, by draws from `seed`. NULL: zeros
     * do. */
    void (*init)(const struct tr_layer *layer, tr_real *theta,
                 uint64_t seed);
    /* x -> layer->y, n rows. */
    void (*forward)(struct tr_net *net, struct tr_layer *layer,
                    const tr_real *x, int64_t n, bool train);
    /* After a forward to train on: sets the gradients of the layer's blocks
     * and, when dx is not NULL, dx. May spoil dy and its work. */
    void (*backward)(struct tr_net *net, struct tr_layer *layer,
                     const tr_real *x, tr_real *dy, tr_real *dx, int64_t n);
    /* The net's layer of that number as ops on x. */
    struct ir_value *(*build)(struct tr_net_builder *b, int layer,
                              struct ir_value *x);
};

/* ---------------------------------------------------------- net_spec.c -- */

/* The text of layers, word by word. */
struct tr_words {
    const char *text, *at;
    struct tr_layer *layer; /* whose words these are */
    struct ir_diag *diag;
};

extern const struct tr_layer_kind *const tr_layer_kinds[];
extern const int tr_layer_kind_count;
extern const char *const tr_activation_name[TR_N_ACTIVATIONS];

/* Takes the next word when it is `word`. */
bool tr_words_take(struct tr_words *words, const char *word);
/* The next word as a whole number within [least, most], as a pair of them such
 * as 3x5 (one number makes both), or as a real number. False with a message in
 * which `what` names it. */
bool tr_words_int(struct tr_words *words, const char *what, int64_t least,
                  int64_t most, int64_t *number);
bool tr_words_pair(struct tr_words *words, const char *what, int64_t least,
                   int64_t most, int64_t pair[2]);
bool tr_words_real(struct tr_words *words, const char *what, double *number);
/* A message at the layer's place. Always false. */
bool tr_layer_error(const struct tr_layer *layer, struct ir_diag *diag,
                    const char *fmt, ...) IR_PRINTF(3, 4);

struct tr_shape tr_shape_vector(int64_t n);
struct tr_shape tr_shape_series(int64_t steps, int64_t features);
struct tr_shape tr_shape_channels(int rank, const int64_t *dim);
int64_t tr_shape_elements(const struct tr_shape *shape);
/* "28x28", as messages have it. The text is the arena's. */
const char *tr_shape_text(const struct tr_shape *shape,
                          struct ir_arena *arena);
/* Gives the layer a block of n parameters, or room for n elements a row. */
void tr_layer_block(struct tr_layer *layer, int64_t n, bool trained,
                    bool decays);
void tr_layer_work(struct tr_layer *layer, int64_t n);

/* Whether a text can be one of layers, whatever the rows' shape. */
bool tr_layers_check(const char *text, struct ir_diag *diag);
/* "1x28x28" -> its rank, or -1 with a message. */
int tr_shape_parse(const char *text, int64_t dim[3], struct ir_diag *diag);
/* Reads the layers, puts those in between that make their shapes fit, and ends
 * with a dense layer of n_outputs. Rows have the given dims; of rank 2 they are
 * a series or channels by the first layer that tells. Layers that the net has
 * already come first. */
bool tr_net_parse(struct tr_net *net, const char *text, int rank,
                  const int64_t *dim, int64_t n_outputs,
                  struct ir_diag *diag);

/* --------------------------------------------------------------- net.c -- */

/* Draws the parameters. */
void tr_net_init(struct tr_net *net, uint64_t seed);
/* Makes room for batches of max_rows. False with a message when that is more
 * than TR_MAX_BATCH_ELEMENTS for one value. */
bool tr_net_reserve(struct tr_net *net, int64_t max_rows,
                    struct ir_diag *diag);
void tr_net_release(struct tr_net *net);
/* The outputs, [n][n_outputs], of n rows that lie as the net's `in` says. */
const tr_real *tr_net_forward(struct tr_net *net, const tr_real *x, int64_t n,
                              bool train);
/* From the outputs' gradients, which it spoils: sets net->grad. `x` is what
 * forward was given. dx may be NULL. */
void tr_net_backward(struct tr_net *net, const tr_real *x, tr_real *dy,
                     tr_real *dx, int64_t n);

/* ---------------------------------------------------------- net_math.c -- */

/* Gives the net what tr_gemm() works by: OpenBLAS, on one thread. */
bool tr_blas_load(struct tr_net *net, struct ir_diag *diag);
/* c = op(a) op(b) + beta * c, where c is [m][n] and op(a) [m][k], row-major;
 * strides are elements from row to row. */
void tr_gemm(const struct tr_net *net, bool transpose_a, bool transpose_b,
             int64_t m, int64_t n, int64_t k, const tr_real *a,
             int64_t a_stride, const tr_real *b, int64_t b_stride,
             tr_real beta, tr_real *c, int64_t c_stride);
/* y[i] = f(x[i]); x and y may be the same. */
void tr_vector_sigmoid(int64_t n, const tr_real *x, tr_real *y);
void tr_vector_tanh(int64_t n, const tr_real *x, tr_real *y);
/* sum[j] = the sum over the rows of a [rows][n]. */
void tr_column_sums(int64_t rows, int64_t n, const tr_real *a, tr_real *sum);
/* y[r][j] = row[j] for all rows. */
void tr_fill_rows(int64_t rows, int64_t n, const tr_real *row, tr_real *y);
/* [a][n][b] -> [n][a][b]. */
void tr_swap_leads(int64_t a, int64_t n, int64_t b, const tr_real *x,
                   tr_real *y);
/* Number i of stream `seed`, within [-1, 1). */
double tr_draw_even(uint64_t seed, uint64_t i);
/* Draws n of them, times `most`. */
void tr_draw_reals(uint64_t seed, double most, int64_t n, tr_real *out);
/* Zeros, aligned to 64 bytes; free() owns them. */
tr_real *tr_reals(int64_t n);

/* ------------- net_layers.c, net_norm.c, net_conv.c, net_recurrent.c -- */

extern const struct tr_layer_kind tr_kind_dense, tr_kind_activation,
    tr_kind_dropout, tr_kind_flatten, tr_kind_transpose, tr_kind_laststep,
    tr_kind_embed, tr_kind_batchnorm, tr_kind_conv, tr_kind_maxpool,
    tr_kind_avgpool, tr_kind_rnn, tr_kind_lstm, tr_kind_gru;

/* Elements of net->columns that the layer needs; 0: none. */
int64_t tr_conv_columns(const struct tr_layer *layer);
/* A batch norm by its running statistics: scale[f] * x + shift[f]. */
void tr_norm_affine(const struct tr_layer *layer, const tr_real *theta,
                    tr_real *scale, tr_real *shift);
/* First weights are drawn within +-1 / sqrt(what is summed up), as PyTorch has
 * them: small enough that outputs begin near 0. */
double tr_init_reach(int64_t inputs);

/* ----------------------------------------------------- net_optimizer.c -- */

struct tr_optimizer {
    const struct tr_params *params;
    int64_t n_steps;        /* in all, that schedules go by */
    int64_t steps_an_epoch;
    int64_t n_params;
    tr_real *first, *second; /* [n_params] moments; NULL: none are needed */
};

void tr_optimizer_init(struct tr_optimizer *o, const struct tr_params *params,
                       int64_t n_params, int64_t steps_an_epoch);
void tr_optimizer_release(struct tr_optimizer *o);
/* The learning rate of a step, counted from 0. */
double tr_optimizer_rate(const struct tr_optimizer *o, uint64_t step);
/* Clips net->grad and changes net->theta by it; counts net->step. Returns the
 * norm of the gradient before it was clipped. */
double tr_optimizer_step(struct tr_optimizer *o, struct tr_net *net);

/* ---------------------------------------------------------- net_loss.c -- */

/* The sum over n rows of the loss times the row's weight, by the task's
 * objective; sets the gradients of their mean over `n`. target is the number or
 * the class; weight may be NULL. */
double tr_net_loss(const struct tr_objective *objective, int64_t n,
                   int n_outputs, const tr_real *y, const double *target,
                   const double *weight, tr_real *dy);
/* Sets weight[] (n_classes of them) by params->class_weight. */
bool tr_class_weights(const char *text, const struct tr_rows *rows,
                      int n_classes, const char *const *labels,
                      double *weight, struct ir_diag *diag);

/* --------------------------------------------------------- net_input.c -- */

/* One column of the frame as the net sees it. */
struct tr_net_column {
    int column; /* of the frame */
    bool is_category;
    bool has_missing;    /* in the training rows: a number says so */
    double mean, scale;  /* of numbers: (v - mean) * scale; missing: 0 */
    int n_codes;         /* of categories; one more is for all others */
    int width;           /* of its embedding; 0: one number a category */
};

/* Rows of a frame -> rows of the net: the numbers, then 1 where one is missing
 * for each that ever is, then one-hot categories, then codes to embed. */
struct tr_net_input {
    enum ir_dtype dtype; /* that numbers are standardised in */
    int n_columns;
    struct tr_net_column *column;
    int64_t n_numbers, n_missing, n_one_hot, n_tables;
    int64_t *table_rows, *table_width; /* [n_tables] */
    int rank;       /* of the rows; more than 1 only for numbers alone */
    int64_t dim[3];
};

/* Looks at the training rows; mean and scale are left. With
 * params->input_shape all columns are numbers of that shape. Memory is the
 * arena's. */
bool tr_net_input_init(struct tr_net_input *input, struct ir_arena *arena,
                       const struct tr_fit_job *job, struct ir_diag *diag);
/* Elements of a row. */
int64_t tr_net_input_elements(const struct tr_net_input *input);
/* All rows of a frame, [n_rows][elements]; free() it. */
tr_real *tr_net_input_rows(const struct tr_net_input *input,
                           const struct tr_frame *frame);
/* Makes the net of params->layers, behind the embeddings. */
bool tr_net_input_start(const struct tr_net_input *input, struct tr_net *net,
                        const struct tr_fit_job *job, struct ir_diag *diag);
/* Then: what numbers are standardised by, which may go by the net's shape. */
void tr_net_input_scale(struct tr_net_input *input, const struct tr_net *net,
                        const struct tr_fit_job *job);

/* ----------------------------------------------------------- net_fit.c -- */

/* What a fit of a net is, and what it leaves to the model. */
struct tr_net_fit {
    struct ir_arena arena;
    struct tr_net_input input;
    struct tr_net net;
    struct tr_optimizer optimizer;
    double target_mean, target_scale; /* value = output * scale + mean */
    int n_epochs;                     /* done */
    char identity[65], data_hash[65]; /* what fit it is; see net_checkpoint.c */
    /* Early stopping. */
    tr_real *best; /* [n_params]: those of best_epoch */
    int best_epoch;
    double best_metric;
};

bool tr_fit_net(struct tr_fit_job *job, struct ir_diag *diag);
void tr_net_fit_free(struct tr_net_fit *fit);
/* The outputs of the frame's rows, [n_rows][n_outputs], as sums of the job's;
 * free() it. */
double *tr_net_predict(struct tr_fit_job *job, const tr_real *rows,
                       int64_t n_rows);

/* ---------------------------------------------------- net_checkpoint.c -- */

/* Writes the state of a fit after an epoch to params->checkpoint; reads it
 * from params->resume. A file of another fit is refused. */
bool tr_checkpoint_write(const struct tr_fit_job *job, struct ir_diag *diag);
bool tr_checkpoint_read(struct tr_fit_job *job, struct ir_diag *diag);

/* -------------------------------------------------------- net_export.c -- */

struct tr_net_builder; /* a module in the making */
typedef struct ir_value *tr_build_fn(struct tr_net_builder *b, int layer,
                                     struct ir_value *x);
tr_build_fn tr_build_dense, tr_build_activation, tr_build_nothing,
    tr_build_flatten, tr_build_transpose, tr_build_laststep, tr_build_embed,
    tr_build_norm, tr_build_conv, tr_build_pool, tr_build_recurrent;

/* ------------------------------------------------------------- model.c -- */

/* A module with the job's columns and facts, and nothing else yet. */
struct ir_module *tr_model_start(const struct tr_fit_job *job,
                                 const char *name);
/* The outputs that are made of the sums: value, and of classes probability and
 * class; then raw. */
bool tr_model_outputs(const struct tr_fit_job *job, struct ir_module *module,
                      struct ir_value *raw, struct ir_diag *diag);
/* What the job found, as a verified module. NULL with a message when it is too
 * large to be one. */
struct ir_module *tr_model_trees(const struct tr_fit_job *job,
                                 const char *name, struct ir_diag *diag);
struct ir_module *tr_model_net(const struct tr_fit_job *job, const char *name,
                               struct ir_diag *diag);

#endif
