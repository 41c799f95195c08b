/* trainer.h: data -> module.
 *
 * A CSV file becomes a typed column frame; a frame is split; a learner fits
 * it; the result is an IR module built through the same calls as the
 * importers use. The CSV reader also serves prediction: it turns a file into
 * dense rows of any model's columns.
 *
 *     tr_frame_read -> tr_split_rows -> tr_frame_take -> tr_fit -> ir_module
 *
 * A learner, a parameter, an objective and a metric are each one line in one
 * table. Everything is a function of the data, the parameters and the seed:
 * the number of threads changes no bit.
 *
 * Sections below are headed by the file that implements them.
 */
#ifndef TREENAIL_TRAINER_H
#define TREENAIL_TRAINER_H

#include "ir/ir.h"

/* Limits: checked before memory is taken. */
#define TR_MAX_CATEGORIES 65536 /* distinct texts of one column */
#define TR_MAX_CLASSES 1024
#define TR_MAX_TARGET 1e100 /* of targets and weights: squares are finite */
#define TR_MAX_THREADS 64
#define TR_MAX_EPOCHS 1000000

/* ----------------------------------------------------- csv.c, reader.c -- */

enum tr_header { TR_HEADER_DETECT, TR_HEADER_YES, TR_HEADER_NO };

/* How to read a file of separated values. All zero is the usual way. Strings
 * and arrays belong to the caller. Columns of a file without a header are
 * named by position: "c1", "c2", ... */
/* Names that the file's header does not go with: those in a list of the
 * options, or the columns that are wanted of it. */
enum tr_csv_fault {
    TR_FAULT_NONE,
    TR_FAULT_IGNORE,
    TR_FAULT_CATEGORY,
    TR_FAULT_NUMBER,
    TR_FAULT_COLUMNS
};

struct tr_csv_options {
    char delimiter;        /* 0: detected among comma, semicolon and tab */
    enum tr_header header; /* detected: a first row without any number */
    int n_missing;         /* texts that stand for a missing value */
    const char *const *missing; /* NULL: tr_csv_missing */
    int n_ignore;               /* columns that are not read, by name */
    const char *const *ignore;
    /* Where kinds are inferred: columns that are categories though they look
     * like numbers, and such that a text in them is an error. */
    int n_category, n_number;
    const char *const *category, *const *number;
    enum tr_csv_fault *fault; /* or NULL: where to put which names are wrong */
};

/* The texts that stand for a missing value unless told otherwise:
 * "", NA, N/A, NaN, nan, null, NULL, None, ? and the like. */
extern const char *const tr_csv_missing[];
extern const int tr_csv_n_missing;

/* Reads the rows of a file as a model wants them: one number an element, in
 * the order of `columns`, which are a module's, a frame's, or made from a
 * compiled library's table. They must outlive the reader.
 *
 * With a header, columns are found by name and others are passed over;
 * one that is ignored is none of the model's.
 * Without one, fields (less the ignored ones) are taken by position when they
 * are as many as the row's elements, else by the names c1, c2, ... A tensor
 * column `x` of n elements is the fields x[0] ... x[n-1].
 *
 * A missing value becomes NaN. A category becomes its code; one that is not in
 * the table becomes n_categories (a code past the table, which no set test
 * contains). A category column without a table reads numbers as codes.
 *
 * Quotes follow RFC 4180; blanks around a field are dropped; line ends are LF
 * or CRLF; a byte-order mark and empty lines are skipped. A NUL, a lone CR, an
 * open quote, a row with too few or too many fields, a text in a number column
 * are errors with file:line:column. */
struct tr_reader;
struct tr_reader *tr_reader_open(const char *path,
                                 const struct tr_csv_options *options,
                                 int n_columns,
                                 const struct ir_column *columns,
                                 struct ir_diag *diag);
/* The same for bytes that outlive the reader; `name` is used in messages. */
struct tr_reader *tr_reader_open_bytes(const void *bytes, size_t size,
                                       const char *name,
                                       const struct tr_csv_options *options,
                                       int n_columns,
                                       const struct ir_column *columns,
                                       struct ir_diag *diag);
/* Numbers in a row: the sum of the columns' n_elements. */
int64_t tr_reader_elements(const struct tr_reader *reader);
/* Reads up to max_rows rows into `rows`, densely packed and row-major, and
 * returns how many; 0 at the end of the file, -1 with a message on an error
 * (the rows before it are lost). */
int64_t tr_reader_next(struct tr_reader *reader, double *rows,
                       int64_t max_rows, struct ir_diag *diag);
/* Bytes consumed and in all, for progress. */
void tr_reader_progress(const struct tr_reader *reader, uint64_t *done,
                        uint64_t *total);
void tr_reader_close(struct tr_reader *reader);

/* ------------------------------------------------------------- frame.c -- */

/* A column that nobody said to be of categories, though most of its values are
 * numbers: a slip of the pen, it may be. */
struct tr_mixed {
    int column;
    int64_t n_numbers, n_texts; /* that are not missing */
    struct ir_loc first;        /* text that is no number */
    const char *text;           /* itself, or its first 64 bytes */
};

/* Named, typed columns in memory, about 8 bytes a value. */
struct tr_frame {
    struct ir_arena arena; /* names and category tables */
    int64_t n_rows;
    int n_columns;
    struct ir_column *columns; /* number or category, one element each;
                                  categories ascend by their bytes */
    double **values; /* [n_columns][n_rows]: the number, or the category's
                        code; NaN when missing */
    char sha256[65]; /* of the file */
    int n_mixed;     /* only where kinds were inferred */
    struct tr_mixed *mixed;
};

/* Reads a whole file. Without `schema` a column is a number when every value
 * that is not missing is one, else a category. With it (say, the columns of
 * the frame that a model is trained on) the file must have those columns, and
 * they are read as tr_reader_open() says. Release the frame only when true
 * was returned. */
bool tr_frame_read(struct tr_frame *frame, const char *path,
                   const struct tr_csv_options *options, int n_schema,
                   const struct ir_column *schema, struct ir_diag *diag);
bool tr_frame_parse(struct tr_frame *frame, const void *bytes, size_t size,
                    const char *name, const struct tr_csv_options *options,
                    int n_schema, const struct ir_column *schema,
                    struct ir_diag *diag);
void tr_frame_release(struct tr_frame *frame);
/* The column named `name`, or -1. */
int tr_frame_find(const struct tr_frame *frame, const char *name);
/* Where a frame's value stands in the file that it was read from; the file as a
 * whole when it is no longer there. */
struct ir_loc tr_frame_place(const char *path,
                             const struct tr_csv_options *options,
                             int64_t row, const char *column);
/* Copies the given rows of `from`, in that order, to a frame of its own that
 * has the same columns, tables and hash. */
void tr_frame_take(struct tr_frame *frame, const struct tr_frame *from,
                   int64_t n_rows, const int64_t *rows);

/* ------------------------------------------------------------- split.c -- */

enum tr_part { TR_TRAIN, TR_VALID, TR_TEST, TR_N_PARTS };

/* Which rows go where; each list ascends. */
struct tr_split {
    int64_t n[TR_N_PARTS];
    int64_t *rows[TR_N_PARTS];
};

/* Splits n rows by a seed: round(fraction * rows) of them for valid and test,
 * the rest to train. With `stratify` (a column of `frame`, -1: none) this is
 * done for each of its distinct values apart, so that classes keep their
 * shares, but the last row of a value is always one to train on. Row i's place
 * depends on the seed and the frame's rows alone. Errors: a fraction outside
 * [0, 1), or nothing left to train on. */
bool tr_split_rows(struct tr_split *split, const struct tr_frame *frame,
                   int stratify, double valid_fraction, double test_fraction,
                   uint64_t seed, struct ir_diag *diag);
void tr_split_release(struct tr_split *split);

/* ----------------------------------------------------------- metrics.c -- */

enum tr_task { TR_REGRESSION = 1, TR_BINARY = 2, TR_MULTICLASS = 4 };

/* What a metric looks at. */
struct tr_scored {
    enum tr_task task;
    int64_t n_rows;
    int n_classes;            /* 2 for binary, 0 for regression */
    const double *target;     /* [n_rows]: the number, or the class's code */
    const double *prediction; /* [n_rows]: the value, or class 1's
                                 probability; [n_rows][n_classes]
                                 probabilities for multiclass */
    const double *weight;     /* [n_rows], none negative; or NULL for ones */
};

struct tr_metric {
    const char *name;
    const char *summary;
    unsigned tasks; /* enum tr_task, or-ed */
    bool larger_is_better;
    /* NaN where it is not defined, as the AUC of one class. Sums are exact to
     * a few ulp whatever the number of rows. */
    double (*compute)(const struct tr_scored *scored);
};

extern const struct tr_metric tr_metrics[];
extern const int tr_metric_count;
/* NULL when there is none of that name. */
const struct tr_metric *tr_metric_find(const char *name);
/* The usual one: rmse, logloss. */
const struct tr_metric *tr_metric_default(enum tr_task task);

/* ------------------------------------------------------------ params.c -- */

/* Parameters of all learners. Set by name with tr_params_set(); the table
 * gives each one's range and meaning. */
struct tr_params {
    const struct tr_learner *learner;
    const char *objective; /* "auto", "regression", "regression_l1",
                              "binary", "multiclass" */
    const char *metric;    /* for early stopping and reports; "auto" */
    const char *criterion; /* of tree and forest: "gini", "entropy" */
    int rounds;            /* of boosting, or trees of a forest */
    int num_leaves;        /* 0: no limit */
    int max_depth;         /* 0: no limit */
    int min_child_rows;
    int max_bin;
    int early_stopping_rounds; /* 0: never */
    int threads;               /* 0: one a core */
    double learning_rate;
    double min_child_weight; /* sum of hessians */
    double lambda_l1, lambda_l2;
    double min_gain;
    double bagging_fraction; /* rows drawn for each tree */
    double feature_fraction; /* columns drawn for each tree; for each split
                                in tree and forest; 0: the square root */
    bool bootstrap;          /* forest: draw with replacement */
    int max_cat_to_onehot;   /* up to so many categories: one against rest */
    int max_cat_threshold;   /* categories on the smaller side of a split */
    int min_cat_rows;        /* rows that a category needs to be split on */
    double cat_smooth, cat_l2; /* caution in splits on categories */
    uint64_t seed;

    /* Of nets. Texts belong to the caller. */
    const char *layers;      /* net_spec.c has their grammar */
    const char *input_shape; /* as "1x28x28"; empty: the columns are a vector */
    const char *standardize; /* which columns share a mean and a spread */
    const char *optimizer, *schedule;
    const char *class_weight;  /* "none", "balanced", "a:2,b:0.5" */
    const char *checkpoint;    /* a file that is written; empty: none */
    const char *resume;        /* one that the fit goes on from */
    int epochs, batch_size;    /* rows of a batch, at most */
    int checkpoint_epochs;     /* between two checkpoints */
    int max_one_hot;           /* categories; of more an embedding is learned */
    int embedding_size;        /* numbers a category; 0: by how many */
    int decay_epochs;          /* of schedule step */
    double decay;              /* of schedules step and exponential */
    double warmup;             /* share of the steps in which the rate rises */
    double momentum, beta1, beta2, epsilon;
    double weight_decay, clip_norm; /* 0: none */
};

enum tr_param_kind { TR_INT, TR_FLOAT, TR_BOOL, TR_CHOICE, TR_SEED, TR_TEXT };

struct tr_param {
    const char *name;
    const char *aliases; /* LightGBM's other names, separated by spaces */
    const char *learners; /* those that heed it, separated by spaces */
    enum tr_param_kind kind;
    size_t offset;        /* in struct tr_params */
    double min, max;      /* both allowed, but for min when min_open */
    bool min_open;
    const char *choices;  /* separated by spaces; of a TR_CHOICE */
    const char *fallback; /* the default, as text */
    const char *summary;
};

extern const struct tr_param tr_param_table[];
extern const int tr_param_count;

/* Whether the learner has a use for it. */
bool tr_param_heeds(const struct tr_param *param,
                    const struct tr_learner *learner);
/* Defaults for a learner. */
void tr_params_init(struct tr_params *params,
                    const struct tr_learner *learner);
/* Whether a text is a whole number, of any length. */
bool tr_is_whole(const char *text);
/* Sets one parameter from text, which one of kind TR_TEXT only points to.
 * Errors name the parameter, the text and the range; an unknown name lists
 * those there are. */
bool tr_params_set(struct tr_params *params, const char *name,
                   const char *value, struct ir_diag *diag);
/* The same for "name=value". */
bool tr_params_assign(struct tr_params *params, const char *assignment,
                      struct ir_diag *diag);

/* ---------------------------------------------------------- net_spec.c -- */

/* How the i-th kind of layer is written in params->layers; NULL after the last
 * one. Activations come last. */
const char *tr_layer_usage(int i);

/* ----------------------------------------------------------- learner.c -- */

/* A metric that will be computed of the model, and the option that asks for it,
 * for the message that the task does not have it. */
struct tr_wanted {
    const char *option;
    const struct tr_metric *metric;
};

/* What to learn from which columns. */
struct tr_task_spec {
    const char *name;   /* of the module; NULL: "model" */
    const char *target; /* column */
    const char *weight; /* column of row weights >= 0, or NULL */
    int n_ignore;       /* columns that are no features */
    const char *const *ignore;
    int n_wanted;
    const struct tr_wanted *wanted;
};

/* A batch of a net's fit, when it is done. */
struct tr_net_step {
    int epoch, n_epochs;       /* from 1 */
    int64_t batch, n_batches;  /* of this epoch, from 1 */
    double loss;               /* the mean of this epoch so far */
    double learning_rate;      /* of the next step */
};

/* How a fit is going. Return false to stop after this round (or epoch) and keep
 * what there is. */
struct tr_progress {
    bool (*call)(void *user, int round, int n_rounds, double train_metric,
                 double valid_metric); /* NaN where not computed */
    void *user;
    void (*step)(void *user, const struct tr_net_step *step); /* or NULL */
};

/* How a fit went. Strings live as long as the program, names as long as the
 * frame. */
struct tr_report {
    const char *learner, *objective, *metric;
    enum tr_task task;
    int n_classes;        /* 0 for regression */
    int64_t n_train_rows, n_valid_rows;
    int n_rounds;         /* fitted; of a net, epochs */
    int best_round;       /* kept in the module, from 1 */
    double *train_metric; /* [n_rounds]; NaN when not computed */
    double *valid_metric; /* [n_rounds]; NaN without validation rows */
    int n_trees, n_leaves; /* of the module */
    int64_t n_parameters;  /* of a net, else 0 */
    int n_features;
    const char **feature; /* [n_features] names, the module's columns */
    double *gain;         /* [n_features] sum of its splits' gains */
    int64_t *splits;      /* [n_features] how many splits use it; both are 0
                             of a net */
    double seconds_bin, seconds_fit;
    int n_threads;
    bool bad_parameter; /* of a fit that failed: a parameter is at fault */
};

void tr_report_release(struct tr_report *report);

/* Fits params->learner on `train` and returns a verified module with the
 * outputs "value" (first), "probability" and "class" (classifiers), "raw" and,
 * of trees, "leaf". `valid`, which may be NULL, is a frame with the same
 * columns; it is only scored, for the report and early stopping. `progress` may
 * be NULL. `report` is filled when the result is not NULL, and then released by
 * the caller; else it only has bad_parameter. Missing features are learned
 * from; a missing target or weight, a target of one class, a class that only
 * `valid` has, a negative weight are errors. */
struct ir_module *tr_fit(const struct tr_frame *train,
                         const struct tr_frame *valid,
                         const struct tr_task_spec *spec,
                         const struct tr_params *params,
                         const struct tr_progress *progress,
                         struct tr_report *report, struct ir_diag *diag);

/* A learner is one file and one line in the table of learner.c. */
struct tr_fit_job; /* private.h */
struct tr_learner {
    const char *name;
    const char *summary;
    const char *defaults; /* "name=value ..." where they are its own */
    bool is_net;          /* else trees, over bins */
    /* Leaves trees, or a net, in the job. */
    bool (*fit)(struct tr_fit_job *job, struct ir_diag *diag);
};

extern const struct tr_learner tr_learners[];
extern const int tr_learner_count;
/* NULL when there is none of that name. */
const struct tr_learner *tr_learner_find(const char *name);

#endif
