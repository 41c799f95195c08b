/* ir.h: the module, and all that may be done with it.
 *
 * A model is an IR module: named columns in, ops in order, named outputs.
 * Importers, the trainer and the text parser build one through the same calls;
 * passes rewrite it; the backend reads it; the interpreter defines it.
 * The batch is implicit: every type is that of one row.
 *
 * Sections below are headed by the file that implements them.
 */
#ifndef TREENAIL_IR_H
#define TREENAIL_IR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#if defined(__GNUC__)
#define IR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define IR_NORETURN __attribute__((noreturn))
#else
#define IR_PRINTF(fmt, args)
#define IR_NORETURN
#endif

#define IR_VERSION "0.1.0"

/* Limits: checked before memory is taken, by every importer and the parser. */
#define IR_MAX_RANK 6
#define IR_MAX_OPERANDS 65536
#define IR_MAX_COLUMNS (1 << 20)
#define IR_MAX_ELEMENTS (1 << 24)    /* numbers in a row, or in a value */
#define IR_MAX_VALUES (1 << 26)      /* numbers in all values of a row */
#define IR_MAX_NODES (1 << 28)       /* inner nodes of one forest */
#define IR_MAX_WORK 68719476736      /* steps of the loops of a row: 2^36 */
#define IR_MAX_FILE ((size_t)1 << 34) /* bytes of a file that is read */
#define IR_MAX_NAME 4096             /* bytes of a name */

/* ------------------------------------------------------------- arena.c -- */

/* Memory that is freed all at once. Built with IR_ARENA_MALLOC each object is
 * a malloc of its own, so that sanitizers see its bounds. Running out of
 * memory ends the process through ir_out_of_memory(). */
struct ir_arena {
    struct ir_arena_chunk *chunk; /* newest first */
    size_t used;                  /* bytes taken of the newest chunk */
};

void ir_arena_init(struct ir_arena *arena);
void ir_arena_release(struct ir_arena *arena);

/* `size` bytes, zeroed, aligned to 16. Never NULL. Owned by the arena. */
void *ir_alloc(struct ir_arena *arena, size_t size);
/* n * size bytes; an overflow of the product counts as out of memory. */
void *ir_alloc_array(struct ir_arena *arena, size_t n, size_t size);
char *ir_strdup(struct ir_arena *arena, const char *s);
char *ir_strndup(struct ir_arena *arena, const char *s, size_t n);
char *ir_sprintf(struct ir_arena *arena, const char *fmt, ...) IR_PRINTF(2, 3);

/* realloc of n * size bytes that never returns NULL; free() owns the result. */
void *ir_realloc_array(void *old, size_t n, size_t size);

IR_NORETURN void ir_out_of_memory(void);

/* Reports a broken invariant of our own and aborts. */
#define ir_bug(...) ir_bug_at(__FILE__, __LINE__, __VA_ARGS__)
IR_NORETURN void ir_bug_at(const char *file, int line, const char *fmt, ...)
    IR_PRINTF(3, 4);

/* -------------------------------------------------------------- diag.c -- */

/* Where in the input a message points. A text position has line >= 1 and
 * column >= 1 (or 0 when only the line is known); a binary position has line 0
 * and an offset; IR_NO_OFFSET with line 0 means the file as a whole. */
#define IR_NO_OFFSET UINT64_MAX
struct ir_loc {
    const char *file; /* NULL when the message is about no file */
    uint32_t line;
    uint32_t column; /* in bytes, from 1 */
    uint64_t offset; /* in bytes, from 0 */
};

static inline struct ir_loc ir_loc_file(const char *file)
{
    return (struct ir_loc){.file = file, .offset = IR_NO_OFFSET};
}
static inline struct ir_loc ir_loc_line(const char *file, uint32_t line,
                                        uint32_t column)
{
    return (struct ir_loc){.file = file, .line = line, .column = column,
                           .offset = IR_NO_OFFSET};
}
static inline struct ir_loc ir_loc_offset(const char *file, uint64_t offset)
{
    return (struct ir_loc){.file = file, .offset = offset};
}

/* Messages about bad input, in the order they came. Functions that take one
 * append and return false or NULL; nothing exits, nothing asserts. */
struct ir_diag {
    struct ir_arena arena;
    const char **message; /* n_messages lines, without a newline */
    unsigned n_messages;
    unsigned n_dropped; /* messages past IR_MAX_MESSAGES */
};
#define IR_MAX_MESSAGES 20

void ir_diag_init(struct ir_diag *diag);
void ir_diag_release(struct ir_diag *diag);
/* Appends "file:line:column: text" (or "file:+offset: text", "file: text",
 * "text"). Bytes of the text that are not printable ASCII are escaped.
 * Always returns false, so that `return ir_error(...)` reads well. */
bool ir_error(struct ir_diag *diag, struct ir_loc loc, const char *fmt, ...)
    IR_PRINTF(3, 4);
bool ir_verror(struct ir_diag *diag, struct ir_loc loc, const char *fmt,
               va_list args);
/* Adds what is `said` about `file`: with its name, where it lacks that. */
void ir_diag_add(struct ir_diag *diag, const struct ir_diag *said,
                 const char *file);
/* Writes each message as a line to `to`. */
void ir_diag_print(const struct ir_diag *diag, FILE *to);

/* -------------------------------------------------------------- text.c -- */

/* A growing string. `data` is NUL-terminated once anything was appended, and
 * belongs to the struct. */
struct ir_text {
    char *data;
    size_t length, capacity;
};

void ir_text_init(struct ir_text *text);
void ir_text_release(struct ir_text *text);
void ir_text_append(struct ir_text *text, const void *bytes, size_t n);
void ir_text_puts(struct ir_text *text, const char *s);
void ir_text_printf(struct ir_text *text, const char *fmt, ...)
    IR_PRINTF(2, 3);
/* The shortest decimal that reads back as the same double (or float), but that
 * whole numbers below 1e9 are written in full and some powers of two get a
 * digit more; "nan", "inf", "-inf" otherwise. */
void ir_text_double(struct ir_text *text, double value);
void ir_text_float(struct ir_text *text, float value);
/* Bytes of the character of UTF-8 at s, which ends with a NUL; 0 when there is
 * none: overlong forms, surrogates and what is past U+10FFFF are none. */
size_t ir_utf8_length(const char *s);
/* A double-quoted string with \\ \" \n \t \xHH escapes; the latter also for
 * bytes that are no UTF-8, so that the text always is. */
void ir_text_quoted(struct ir_text *text, const char *s);

/* Reads a whole number or decimal in [s, end) without locale and without
 * needing a NUL; true only when all of it was read. Accepts nan, inf, -inf,
 * and decimal or hexadecimal floats; rounds correctly. */
bool ir_parse_double(const char *s, const char *end, double *value);
bool ir_parse_float(const char *s, const char *end, float *value);
bool ir_parse_int(const char *s, const char *end, int64_t *value);

/* For tables of names that come from files (keyed_hash.c): by a key that is
 * another one in each process, so no file can make names meet. */
uint64_t ir_keyed_hash(const char *text, size_t n);

/* -------------------------------------------------------------- file.c -- */

/* A file's bytes, mapped read-only. */
struct ir_file {
    const char *path; /* as given; belongs to the caller */
    const uint8_t *data;
    size_t size;
    bool borrowed; /* the bytes are someone else's: close leaves them alone */
};

/* Maps `path`. Refuses what is no regular file or larger than IR_MAX_FILE. */
bool ir_file_open(struct ir_file *file, const char *path, struct ir_diag *diag);
void ir_file_close(struct ir_file *file);

/* Writes to a temporary beside `path`, fsyncs, renames over it and fsyncs the
 * directory, so that `path` is either the old file or the whole new one. */
bool ir_file_write(const char *path, const void *bytes, size_t n,
                   struct ir_diag *diag);
/* The same for a file that some other program wrote at `temporary`, which
 * must be in the same directory. */
bool ir_file_commit(const char *temporary, const char *path,
                    struct ir_diag *diag);

/* SHA-256 of n bytes as 64 hex digits and a NUL. */
void ir_sha256(const void *bytes, size_t n, char hex[65]);

/* -------------------------------------------------------------- type.c -- */

enum ir_dtype {
    IR_F32,
    IR_F64,
    IR_U8,
    IR_U16,
    IR_U32,
    IR_I32,
    IR_I64,
    /* Of weights only. A bf16 is the upper half of an f32. Values are of f32,
     * f64, i32, and u8. */
    IR_BF16,
    IR_I8,
    IR_N_DTYPES
};

const char *ir_dtype_name(enum ir_dtype dtype); /* "f32" */
size_t ir_dtype_bytes(enum ir_dtype dtype);
bool ir_dtype_parse(const char *name, enum ir_dtype *dtype);

/* The bf16 nearest to v, of two the one whose last bit is 0; a NaN stays one.
 * And what a bf16 is. */
uint16_t ir_to_bf16(float v);
float ir_from_bf16(uint16_t v);
/* The nearest of 0 to 255, of two the even one; 0 for a NaN. */
uint8_t ir_to_u8(double v);

/* The type of one row's value; rank 0 is a scalar. A dim of -1 is the time
 * dimension, known only at run time. */
struct ir_type {
    enum ir_dtype dtype;
    int rank;
    int64_t dim[IR_MAX_RANK];
};

struct ir_type ir_type_scalar(enum ir_dtype dtype);
struct ir_type ir_type_vector(enum ir_dtype dtype, int64_t n);
bool ir_type_equal(const struct ir_type *a, const struct ir_type *b);
/* Elements in all, or -1 when a dim is unknown or IR_MAX_ELEMENTS is passed. */
int64_t ir_type_volume(const struct ir_type *type);

/* A constant array, row-major, little-endian, aligned to its dtype. `data`
 * belongs to the module's arena or to a mapped file that outlives it. */
struct ir_tensor {
    struct ir_type type; /* all dims known */
    const void *data;
};

size_t ir_tensor_bytes(const struct ir_tensor *tensor);

/* ------------------------------------------------------------ module.c -- */

enum ir_level { IR_MODEL = 1, IR_KERNEL = 2, IR_BOTH = 3 };

enum ir_op_kind {
#define OP(name, ...) IR_OP_##name,
#define MAP(name, ...) IR_OP_##name,
#include "ops.def"
#undef OP
#undef MAP
    IR_N_OPS
};

enum ir_attr_kind { IR_INT, IR_FLOAT, IR_STRING, IR_TENSOR };

struct ir_attr {
    const char *name;
    enum ir_attr_kind kind;
    union {
        int64_t i;
        double f;
        const char *s;
        const struct ir_tensor *t;
    };
};

/* One result of an op. */
struct ir_value {
    struct ir_type type;
    struct ir_op *op; /* that defines it */
    int index;        /* which of the op's results */
    int id; /* its number in order of definition, kept by the builders */
};

/* All of it lives in the module's arena. */
struct ir_op {
    enum ir_op_kind kind;
    int n_operands, n_results, n_attrs;
    struct ir_value **operand; /* results of ops that come earlier */
    struct ir_value *result;
    struct ir_attr *attr; /* in the order of the op's schema */
    struct ir_loc loc;    /* where it was read, for messages */
};

enum ir_column_kind { IR_NUMBER, IR_CATEGORY, IR_TENSOR_COLUMN };

/* A named input. The columns in order, end to end, are the row. */
struct ir_column {
    const char *name;
    enum ir_column_kind kind;
    int64_t n_elements;      /* 1 but for a tensor */
    int n_categories;        /* 0 when codes are the user's own numbers */
    const char **categories; /* code c is named categories[c] */
};

struct ir_output {
    const char *name; /* unique; output 0 is what the model's user means */
    struct ir_value *value;
    int n_labels; /* names of the classes, for a class output */
    const char **labels;
};

/* A fact about the model that changes no number, kept in the file and put in
 * the header: source_format, source_version, source_sha256, objective... */
struct ir_fact {
    const char *key, *value;
};

struct ir_module {
    struct ir_arena arena;
    const char *name;
    int n_columns, n_ops, n_outputs, n_facts;
    struct ir_column *columns;
    struct ir_op **ops; /* operands come before their users */
    struct ir_output *outputs;
    struct ir_fact *facts;
    struct ir_file file; /* what tensors may point into; else all zero */
};

/* What ops.def says of an op. */
struct ir_op_info {
    const char *name;
    enum ir_level level;
    int min_operands, max_operands, n_results;
    const char *schema;  /* the attributes, as ops.def has them */
    const char *program; /* of a MAP, else NULL */
    const char *semantics;
};
extern const struct ir_op_info ir_op_table[IR_N_OPS];
/* The kind named `name`, or IR_N_OPS. */
enum ir_op_kind ir_op_find(const char *name);

struct ir_module *ir_module_new(const char *name);
void ir_module_free(struct ir_module *module);
/* A deep copy that shares nothing with `module`. */
struct ir_module *ir_module_clone(const struct ir_module *module);

/* The builders. Strings and arrays are copied into the module's arena, except
 * for tensor data, which is only pointed to (see ir_tensor_copy). */
struct ir_column *ir_add_column(struct ir_module *module, const char *name,
                                enum ir_column_kind kind, int64_t n_elements);
void ir_set_categories(struct ir_module *module, struct ir_column *column,
                       int n, const char *const *names);
struct ir_output *ir_add_output(struct ir_module *module, const char *name,
                                struct ir_value *value);
void ir_set_labels(struct ir_module *module, struct ir_output *output, int n,
                   const char *const *labels);
void ir_set_fact(struct ir_module *module, const char *key, const char *value);
const char *ir_get_fact(const struct ir_module *module, const char *key);

/* Appends an op, infers its result types and returns it; NULL with a message
 * when the types do not fit. Attributes may come in any order. */
struct ir_op *ir_add_op(struct ir_module *module, enum ir_op_kind kind,
                        int n_operands, struct ir_value *const *operands,
                        int n_attrs, const struct ir_attr *attrs,
                        struct ir_diag *diag);
/* The same, but put in the place of `old`, whose uses become uses of the new
 * op's results, one by one; `old` leaves the module. */
struct ir_op *ir_replace_op(struct ir_module *module, struct ir_op *old,
                            enum ir_op_kind kind, int n_operands,
                            struct ir_value *const *operands, int n_attrs,
                            const struct ir_attr *attrs, struct ir_diag *diag);
/* Puts a new op just before `before`. */
struct ir_op *ir_insert_op(struct ir_module *module, struct ir_op *before,
                           enum ir_op_kind kind, int n_operands,
                           struct ir_value *const *operands, int n_attrs,
                           const struct ir_attr *attrs, struct ir_diag *diag);
void ir_replace_uses(struct ir_module *module, struct ir_value *old,
                     struct ir_value *with);
bool ir_value_used(const struct ir_module *module,
                   const struct ir_value *value);
/* Drops the ops that no output needs; returns how many. */
int ir_remove_dead_ops(struct ir_module *module);
/* Drops every output that is not among `names` (n of them). An unknown name
 * is an error that lists those there are. */
bool ir_keep_outputs(struct ir_module *module, int n,
                     const char *const *names, struct ir_diag *diag);

static inline struct ir_attr ir_int(const char *name, int64_t i)
{
    return (struct ir_attr){.name = name, .kind = IR_INT, .i = i};
}
static inline struct ir_attr ir_float(const char *name, double f)
{
    return (struct ir_attr){.name = name, .kind = IR_FLOAT, .f = f};
}
static inline struct ir_attr ir_string(const char *name, const char *s)
{
    return (struct ir_attr){.name = name, .kind = IR_STRING, .s = s};
}
static inline struct ir_attr ir_tensor_attr(const char *name,
                                            const struct ir_tensor *t)
{
    return (struct ir_attr){.name = name, .kind = IR_TENSOR, .t = t};
}
/* A rank-1 tensor in the module's arena; `data` copied, or only pointed to. */
const struct ir_tensor *ir_tensor_copy(struct ir_module *module,
                                       enum ir_dtype dtype, int64_t n,
                                       const void *data);
const struct ir_tensor *ir_tensor_view(struct ir_module *module,
                                       enum ir_dtype dtype, int64_t n,
                                       const void *data);

/* The attribute `name`, or NULL. The typed ones call ir_bug() when the
 * attribute is missing, except with a fallback. */
const struct ir_attr *ir_find_attr(const struct ir_op *op, const char *name);
int64_t ir_attr_int(const struct ir_op *op, const char *name);
double ir_attr_float(const struct ir_op *op, const char *name);
const char *ir_attr_string(const struct ir_op *op, const char *name);
const struct ir_tensor *ir_attr_tensor(const struct ir_op *op,
                                       const char *name); /* NULL if absent */
int64_t ir_attr_int_or(const struct ir_op *op, const char *name,
                       int64_t fallback);
/* Sets or replaces an attribute that the op's schema has. */
void ir_set_attr(struct ir_module *module, struct ir_op *op,
                 struct ir_attr attr);

/* Gives each value its number anew, after module->ops was changed by hand. */
void ir_renumber(struct ir_module *module);
/* How many values there are: one more than the largest id. */
int ir_value_count(const struct ir_module *module);

/* Numbers in a row. */
int64_t ir_row_elements(const struct ir_module *module);
/* The first element of column `column` in the row. */
int64_t ir_column_offset(const struct ir_module *module, int column);
/* The output named `name`, or -1. */
int ir_find_output(const struct ir_module *module, const char *name);

/* ------------------------------------------------------------- trees.c -- */

/* A forest, as attributes of `trees` and `forest`.
 *
 * Tree t has the inner nodes [tree_start[t], tree_start[t+1]) and the leaves
 * [leaf_start[t], leaf_start[t+1]), at least one leaf. Its root is its first
 * node; without inner nodes it is its one leaf. A child >= 0 is a node and a
 * child < 0 is leaf ~child, both counted within the tree; every node but the
 * root and every leaf has at most one parent.
 *
 * With value v of the node's feature (in the operand's dtype):
 *   - v is missing when it is a NaN, or, with IR_NODE_ZERO_MISSING, when
 *     |v| <= zero_bound; it goes left when IR_NODE_MISSING_LEFT is set;
 *   - a categorical node makes a whole number of v: by default it truncates
 *     towards zero, so that -0.5 is 0; with IR_NODE_FLOOR it rounds down; with
 *     IR_NODE_EXACT a fraction is no number of any set. Left when the number is
 *     a member of set[node], right when not (so also for negative numbers, and
 *     for those past the set's bits);
 *   - else left when v <= threshold (compare "le") or v < threshold ("lt").
 *
 * cover, when it is there, is how much of the training data came through each
 * node and then each leaf (rows, or their weights); only contributions read it.
 *
 * margin[k] starts as base[k]; then, tree by tree, the leaf's value is added
 * to margin[target[t]] in the dtype of leaf_value; at the end each is divided
 * by divisor, when there is one. With a leaf_width of w a leaf has w values,
 * leaf_value[l * w] on, which are added to the w margins from target[t] on;
 * then targets are multiples of w. The second result is the number in its tree
 * of the leaf that each tree leads to, or that leaf's leaf_id.
 *
 * With stop_every, trees come in iterations of one for each target, and after
 * every stop_every of these a row is done when it is sure of its class: when
 * twice |margin[0]|, or of several targets the largest less the second largest,
 * is more than stop_margin. What was summed so far is then its margins. The leaves
 * are those of all trees nevertheless.
 *
 * A linear leaf l (of width 1) with coefficients yields
 * leaf_const[l] + sum of coef[i] * v[coef_feature[i]] for i in
 * [coef_start[l], coef_start[l+1]), f64, in that order, each product rounded
 * before it is added; if one of those v is a NaN, leaf_value[l] instead. With
 * a zero_bound, such a v with |v| <= zero_bound counts as 0. */
#define IR_TREES_ATTRS                                                        \
    "compare:string tree_start:tensor leaf_start:tensor feature:tensor "      \
    "threshold:tensor left:tensor right:tensor flags:tensor "                 \
    "leaf_value:tensor target:tensor base:tensor divisor:float? "             \
    "zero_bound:float? set:tensor? set_start:tensor? set_words:tensor? "      \
    "leaf_const:tensor? coef_start:tensor? coef_feature:tensor? "             \
    "coef:tensor? leaf_width:int? leaf_id:tensor? cover:tensor? "           \
    "stop_every:int? stop_margin:float? "

/* What plan_memory gives every KERNEL op: i32[n_results + 1], for each result
 * and then for the op's own work the slot of the workspace that it is in, or
 * -1: a result without one goes to the caller's memory alone. */
#define IR_SLOTS_ATTR "slots:tensor?"
#define IR_MAX_SLOTS 65536

/* Of ops that look at slices: x is taken for [outer][size][inner], and a slice
 * is the `size` elements of one outer and inner number. Without them there is
 * one, of all elements. */
#define IR_SLICE_ATTRS "size:int? inner:int? "

/* A recurrent layer of one direction; nets.c says what each is. */
#define IR_SCAN_ATTRS                                                         \
    "cell:string recurrent:tensor recurrent_bias:tensor? peephole:tensor? "   \
    "clip:float? reverse:int linear_before_reset:int? input_forget:int? "     \
    "gate:string candidate:string? output:string? "

/* A quantised forest reads codes. Code column c belongs to feature
 * column_feature[c] and is u8 or u16 (code_bits). Numeric: the code is the
 * number of cuts [cut_start[c], cut_start[c+1]) below v (v > cut); missing is
 * 0 when it goes left, else all ones. Categorical: bit b is set when v is a
 * member of set column_set[column_set_start[c] + b]; missing is all ones when
 * it goes left, else 0. A numeric node goes left when code <= node_code, a
 * categorical one when (code & node_code) != 0. code_bits 0: no codes. */
#define IR_FOREST_ATTRS                                                       \
    "code_bits:int column_feature:tensor? column_flags:tensor? "              \
    "cut_start:tensor? cuts:tensor? column_set_start:tensor? "                \
    "column_set:tensor? node_column:tensor? node_code:tensor? "               \
    "strategy:string? row_strategy:string? tile_rows:int? few_rows:int? "     \
    "batch_ns:int? chunk_nodes:int? leaf_dtype:string? " IR_SLOTS_ATTR

enum ir_node_flag {
    IR_NODE_MISSING_LEFT = 1,
    IR_NODE_ZERO_MISSING = 2,
    IR_NODE_CATEGORICAL = 4,
    IR_NODE_FLOOR = 8, /* of a categorical node, as is */
    IR_NODE_EXACT = 16,
    IR_NODE_ALL = 31
};

/* The same attributes as plain pointers into the op's tensors. */
struct ir_forest {
    int n_trees, n_nodes, n_leaves, n_targets, n_features, n_sets;
    int leaf_width;          /* values of a leaf */
    enum ir_dtype in_dtype;  /* of features and thresholds: f32 or f64 */
    enum ir_dtype sum_dtype; /* of leaf values and margins: f32 or f64 */
    bool strict;             /* compare "lt" */
    double divisor;          /* 1 when there is none */
    double zero_bound;       /* 0 when there is none */
    int64_t stop_every;      /* 0 when rows go through all trees */
    double stop_margin;
    const int32_t *tree_start, *leaf_start; /* [n_trees + 1] */
    const int32_t *feature, *left, *right;  /* [n_nodes] */
    const void *threshold;                  /* [n_nodes] of in_dtype */
    const uint8_t *flags;                   /* [n_nodes] enum ir_node_flag */
    const void *leaf_value; /* [n_leaves][leaf_width] of sum_dtype */
    const int32_t *leaf_id; /* [n_leaves], or NULL */
    const void *cover;      /* [n_nodes + n_leaves] of cover_dtype, or NULL */
    enum ir_dtype cover_dtype;
    const int32_t *target;                  /* [n_trees] */
    const void *base;                       /* [n_targets] of sum_dtype */
    /* NULL without categorical nodes. set is [n_nodes], -1 if numeric; set s
     * is the bits of set_words [set_start[s], set_start[s+1]). */
    const int32_t *set, *set_start;
    const uint32_t *set_words;
    /* NULL without linear leaves. coef_start is [n_leaves + 1]. */
    const double *leaf_const, *coef;
    const int32_t *coef_start, *coef_feature;
    /* Of `forest` only; NULL and 0 on `trees` or without codes. */
    enum ir_dtype leaf_dtype; /* that tables hold leaf values in, exactly */
    int code_bits, n_code_columns;
    const int32_t *column_feature;
    const uint8_t *column_flags; /* enum ir_node_flag, of all its nodes */
    const int32_t *cut_start;
    const void *cuts; /* of in_dtype, ascending in each column */
    const int32_t *column_set_start, *column_set;
    const int32_t *node_column;
    const uint16_t *node_code;
};

/* Fills `forest` from an op of kind trees, forest or contributions that passed
 * the verifier. */
void ir_forest_view(const struct ir_op *op, struct ir_forest *forest);
/* How a forest is computed, of batches and of one row: docs/ir.md says what
 * each does. */
enum ir_strategy {
    IR_BRANCH, IR_WALK, IR_MATCH16, IR_MATCH32, IR_SELECT, IR_SLICE,
    IR_OBLIVIOUS, IR_RAW8, IR_RAW16, IR_N_STRATEGIES
};
extern const char *const ir_strategy_name[IR_N_STRATEGIES];
/* -1 when there is none of that name. */
int ir_strategy_find(const char *name);
/* Places of a tile's bits are 16-bit numbers: room for so many answers. */
enum { IR_SLICE_MOST_NODES = 6656, IR_SLICE_MOST_ROWS = 512 };
/* Why the strategy cannot be had for this forest: the rest of the sentence "it
 * cannot be had for a forest...". NULL when it can. */
const char *ir_strategy_obstacle(const struct ir_forest *f, enum ir_strategy s,
                              bool one_row);
/* The greatest number that a numeric node sends left; a NaN if none is. */
double ir_last_left(const struct ir_forest *f, int64_t node);
/* Whether all leaf values keep their bits as u8, as f32, or as sum_dtype. */
bool ir_leaves_fit(const struct ir_forest *f, enum ir_dtype dtype);
/* The different tests of a tree of a forest with codes, however many nodes ask
 * them: a node of each, numbered in the forest. Returns how many, or -1 for
 * more than IR_MAX_TREE_TESTS. */
enum { IR_MAX_TREE_TESTS = 16 };
int ir_tree_tests(const struct ir_forest *f, int tree,
                  int32_t tests[IR_MAX_TREE_TESTS]);
/* Bytes of a table for each tree of 2^tests leaves, as the strategy oblivious
 * has them; -1 when there are none: without codes, with linear leaves, for too
 * many tests, above IR_MAX_TABLE_BYTES. */
#define IR_MAX_TABLE_BYTES (64 << 20)
int64_t ir_table_bytes(const struct ir_forest *f);
/* A tree in clusters of up to 7, 15 or 31 nodes, as raw and match have it, and
 * one exit more. Cluster 0 has the root; a cluster's node 0 is on top. */
enum { IR_MOST_EXITS = 32 };
struct ir_cluster {
    int depth; /* clusters from the root to this one, both included */
    int n_nodes, n_exits;
    int32_t node[IR_MOST_EXITS - 1]; /* numbered in the forest */
    int8_t child[IR_MOST_EXITS - 1][2]; /* left, right: a node here, or ~exit */
    int32_t exit[IR_MOST_EXITS]; /* a cluster, or ~leaf, numbered in the tree */
};
struct ir_cut {
    int n, room, depth; /* of the deepest */
    struct ir_cluster *cluster;
    int32_t *height, *order; /* scratch */
};
/* Cuts one tree into clusters of at most `lanes` exits; `cut` starts
 * as zeros and can be used again. */
void ir_cut_tree(struct ir_cut *cut, const struct ir_forest *f, int tree,
                 int lanes);
void ir_cut_release(struct ir_cut *cut);
/* A tree as a circuit, as the strategy slice has it: the bits of the code of the
 * leaf that a row comes to. An operand is the result of a blend, numbered as a
 * temporary that is taken again once it was read; whether a row goes left at a
 * node of the tree; or always the same. */
enum {
    IR_MOST_CODE_BITS = 16,
    /* Those of one subtree a level of a balanced tree, and of its sibling. */
    IR_MOST_TEMPORARIES = 18 * IR_MOST_CODE_BITS,
    IR_ZEROS = -1, IR_ONES = -2, IR_ANY = -3
};
#define IR_TEST(node) (-4 - (node)) /* its own inverse */
struct ir_blend {
    int32_t node, left, right, to; /* to = goes left at node ? left : right */
};
/* A leaf has all codes that differ from `code` in bits of `any` only. */
struct ir_leaf_code {
    uint16_t code, any;
    bool reached; /* some node leads to it */
};
struct ir_circuit {
    int n_nodes, n_leaves, n_bits, n_blends, n_temporaries;
    int32_t bit[IR_MOST_CODE_BITS]; /* operands, n_bits of them */
    struct ir_blend *blend;         /* in the order to do them in */
    struct ir_leaf_code *leaf;
    struct ir_subtree *subtree; /* scratch, as are the next */
    int32_t *order, free[IR_MOST_TEMPORARIES];
    int n_free;
};
/* `circuit` starts as zeros and can be used again. The tree has at most 2^16
 * leaves. Codes have up to `few_bits`, of 1 to IR_BYTE_BITS, if those are enough;
 * else a byte, if that is. The fewer there are, the more blends it takes. */
enum { IR_BYTE_BITS = 8 };
void ir_make_circuit(struct ir_circuit *circuit, const struct ir_forest *f,
                     int tree, int few_bits);
void ir_circuit_release(struct ir_circuit *circuit);

/* Element i of an array of dtype f32, f64 or u8. */
double ir_real(const void *array, enum ir_dtype dtype, size_t i);

/* Collects trees one node at a time for those who build a forest: importers
 * and learners. Arrays are grown with realloc and copied by finish. */
struct ir_forest_builder;
struct ir_forest_builder *ir_forest_begin(enum ir_dtype in_dtype,
                                          enum ir_dtype sum_dtype,
                                          int n_targets);
/* Gives each leaf `width` values; before the first tree. */
void ir_forest_width(struct ir_forest_builder *b, int width);
/* Starts the next tree. */
void ir_forest_tree(struct ir_forest_builder *b, int target);
/* Adds an inner node and returns its number in the tree. Children may name
 * nodes and leaves that are added later. */
int ir_forest_node(struct ir_forest_builder *b, int feature, double threshold,
                   int left, int right, uint8_t flags);
/* The same for a set test over n_words 32-bit words. */
int ir_forest_set_node(struct ir_forest_builder *b, int feature,
                       const uint32_t *words, int n_words, int left,
                       int right, uint8_t flags);
/* Adds a leaf and returns its number in the tree (its child is ~number). */
int ir_forest_leaf(struct ir_forest_builder *b, double value);
/* The same with as many values as a leaf has. */
int ir_forest_leaf_values(struct ir_forest_builder *b, const double *values);
/* Gives the newest leaf its id; the others have 0 as long as they have none. */
void ir_forest_leaf_id(struct ir_forest_builder *b, int32_t id);
/* Gives the newest node, or leaf, its cover. The forest has covers when each
 * node has one and none is negative, infinite or a NaN. */
void ir_forest_node_cover(struct ir_forest_builder *b, double cover);
void ir_forest_leaf_cover(struct ir_forest_builder *b, double cover);
/* Makes the newest leaf linear. */
void ir_forest_linear(struct ir_forest_builder *b, double constant, int n,
                      const int32_t *features, const double *coefs);
/* How many nodes and leaves there are so far. */
int64_t ir_forest_size(const struct ir_forest_builder *b);
/* Appends the op `trees` on `x` with all that was added, and frees the
 * builder. base is [n_targets] or NULL for zeros; divisor 1 and zero_bound 0
 * leave those attributes out. NULL with a message when the forest is no
 * forest (the verifier's rules). */
struct ir_op *ir_forest_finish(struct ir_forest_builder *b,
                               struct ir_module *module, struct ir_value *x,
                               const char *compare, const double *base,
                               double divisor, double zero_bound,
                               struct ir_loc loc, struct ir_diag *diag);
void ir_forest_abandon(struct ir_forest_builder *b);

/* Early exit, as LightGBM's pred_early_stop has it: sets stop_every and
 * stop_margin of the trees whose margins are the output "raw". A message when
 * there are none, or the model has no classes to be sure of. */
bool ir_stop_early(struct ir_module *module, int64_t every, double margin,
                   struct ir_diag *diag);

/* ----------------------------------------------------- contributions.c -- */

/* The ways to the leaves of the op `contributions`, leaf by leaf from left to
 * right; a tree that is one leaf has none. Path p leads to leaf[p] of the
 * forest and has the elements [first[p], first[p + 1]), one for each feature
 * that is tested on it: a row stays on the path at element i when it takes each
 * of the steps [step_start[i], step_start[i + 1]). In an arena. */
struct ir_paths {
    int32_t *path_start; /* [n_trees + 1] */
    int32_t *leaf;       /* [n_paths] */
    int32_t *first;      /* [n_paths + 1] */
    int32_t *feature;    /* [n_elements] */
    double *share;       /* [n_elements]: of the cover that stays on the path */
    int32_t *step_start; /* [n_elements + 1] */
    int32_t *step;       /* [n_steps]: node in its tree * 2, + 1 for left */
    double *expected;    /* [n_targets]: the mean margin */
    int32_t n_paths;
    int64_t n_elements, n_steps;
    int longest;    /* elements of one path */
    int most_nodes; /* of one tree */
};
#define IR_MAX_PATH_STEPS (1 << 26) /* of all paths of a forest */
#define IR_MAX_PATH 512             /* elements of one path */
void ir_paths_make(const struct ir_op *op, struct ir_paths *paths,
                   struct ir_arena *arena);

/* Quadrature on [0, 1] by Gauss and Legendre. The rule of `blocks` blocks has
 * 4 * blocks points, and is exact for polynomials of degree 8 * blocks - 1, as
 * the paths of 8 * blocks elements have. It is four arrays, one after another:
 * the points, 1 - them, the weights, and 1 / (1 - points). */
int64_t ir_rule_start(int blocks);
/* What takes an element of that share, whose row stays on the path, out of the
 * product at a point; rest is 1 - point. */
double ir_rule_inverse(double share, double point, double rest);
/* All rules that the paths need, each from its start on. */
const double *ir_rules(const struct ir_paths *paths, struct ir_arena *arena);

/* Appends the op `contributions` for the trees whose margins are the output
 * "raw", or else "value" or "probability", and the output "contribution";
 * nothing when there is one. A message when there are no such trees, or they
 * have no cover or linear leaves. */
bool ir_add_contributions(struct ir_module *module, struct ir_diag *diag);

/* ------------------------------------------------------------ verify.c -- */

/* Checks everything that later stages rely on: order, types, schemas, each
 * op's own rules (trees: acyclic, in range, one parent), unique names. Takes
 * time linear in the module and an explicit stack. */
bool ir_verify(const struct ir_module *module, struct ir_diag *diag);

/* ----------------------------------------------------- print.c, parse.c -- */

/* The text form (docs/ir.md). Tensors are written inline. */
void ir_print(const struct ir_module *module, struct ir_text *text);
/* The same with `@N:dtype[n]` for the tensors, as the container stores it;
 * `tensors` receives them in order (the caller frees the array). */
void ir_print_manifest(const struct ir_module *module, struct ir_text *text,
                       const struct ir_tensor ***tensors, int *n_tensors);
/* Parses and verifies the text form; `file` names it in messages. Tensors
 * written `@N` are taken from `tensors`. NULL with messages on failure. */
struct ir_module *ir_parse(const char *text, size_t n, const char *file,
                           const struct ir_tensor *tensors, int n_tensors,
                           struct ir_diag *diag);

/* -------------------------------------------------------- container.c -- */

/* The .tn file: a safetensors container. Its __metadata__ holds "treenail"
 * (the format's version) and "ir" (the text with @N for tensors); tensor N is
 * named "N". The same module gives the same bytes. */
bool ir_container_write(const struct ir_module *module, const char *path,
                        struct ir_diag *diag);
void ir_container_encode(const struct ir_module *module, struct ir_text *bytes);
/* Takes over `file` (also on failure); tensors point into it. */
struct ir_module *ir_container_read(struct ir_file file, struct ir_diag *diag);
/* Whether the bytes look like a .tn file. */
bool ir_container_detect(const uint8_t *data, size_t size);

/* -------------------------------------------------------- map programs -- */

/* One step of a map's postfix program. */
enum ir_step_kind {
    IR_STEP_OPERAND, /* push operand `index` */
    IR_STEP_NUMBER,  /* push `number` */
    IR_STEP_NEG, IR_STEP_ABS, IR_STEP_SIGN, IR_STEP_SQRT, /* of one */
    IR_STEP_EXP, IR_STEP_LOG1P, IR_STEP_LOG, IR_STEP_EXPM1, IR_STEP_TANH,
    IR_STEP_SIGMOID, IR_STEP_SOFTPLUS, IR_STEP_ERF,
    IR_STEP_SIN, IR_STEP_COS, IR_STEP_TAN, IR_STEP_ATAN,
    IR_STEP_FAST_EXP, IR_STEP_FAST_EXPM1, IR_STEP_FAST_LOG,
    IR_STEP_FLOOR, IR_STEP_CEIL, IR_STEP_RINT,
    IR_STEP_ISNAN, /* 1 or 0, as comparisons */
    IR_STEP_ADD, IR_STEP_SUB, IR_STEP_MUL, IR_STEP_DIV, /* of two */
    IR_STEP_MIN, IR_STEP_MAX, IR_STEP_POW, IR_STEP_FAST_POW,
    IR_STEP_GT, IR_STEP_GE, IR_STEP_LT, IR_STEP_LE, IR_STEP_EQ,
    IR_STEP_WHERE, /* of three: c a b gives a when c is not 0, else b */
    IR_N_STEPS
};
struct ir_step {
    enum ir_step_kind kind;
    int index;
    double number;
};
#define IR_MAX_STEPS 256
#define IR_MAX_STEP_DEPTH 16

/* How many values a step takes. */
int ir_step_operands(enum ir_step_kind kind);
/* Whether it is computed by a polynomial or more: exp, tanh, pow, .. */
bool ir_step_is_function(enum ir_step_kind kind);
/* Parses a program; parameters found in `op` (which may be NULL) stand for
 * their value. Returns the number of steps, or -1 with a message. */
int ir_program_parse(const char *program, const struct ir_op *op,
                     struct ir_step steps[IR_MAX_STEPS], struct ir_diag *diag);
/* The program's text with its parameters replaced by numbers. */
char *ir_program_bind(struct ir_arena *arena, const struct ir_op *op);
/* Each step is rounded to dtype, f32 or f64; docs/ir.md says which functions of
 * f32 are those of f64, rounded. With a NaN sign and comparisons give 0, min and
 * max the second value; where takes a NaN condition for true. */
double ir_program_eval(const struct ir_step *steps, int n, const double *x,
                       enum ir_dtype dtype);

/* The step of a map that a softmax takes its powers by. */
const char *ir_softmax_exp(const struct ir_op *op);
/* The dtype that softmax and reduce, on values of `dtype`, sum in. */
enum ir_dtype ir_sum_dtype(const struct ir_op *op, enum ir_dtype dtype);

/* -------------------------------------------------------------- eval.c -- */

/* What an op of kind lookup, bucketize or interp makes of an element of value
 * v, in the dtype of its result. */
double ir_element(const struct ir_op *op, double v);

/* A batch as the ABI has it: dtype f32 or f64, strides in elements. */
struct ir_rows {
    enum ir_dtype dtype;
    const void *data;
    int64_t n_rows, row_stride, column_stride;
};

/* The reference interpreter: evaluates output `output` (an index) for every
 * row, slowly and plainly. `out` is n_rows * volume(output) elements of the
 * output's dtype, densely packed. The module must have passed ir_verify(). */
void ir_eval(const struct ir_module *module, int output,
             const struct ir_rows *rows, void *out);
/* The same of any n values at once: seen(of, i, row, elements of value i) is
 * called for each, row by row. */
typedef void ir_seen_fn(void *of, int value, int64_t row, const void *data);
void ir_eval_values(const struct ir_module *module, int n,
                    const struct ir_value *const *values,
                    const struct ir_rows *rows, ir_seen_fn *seen, void *of);

/* ------------------------------------------------------------- probe.c -- */

/* Rows that try a model where it may break, for verify, --diff-each, golden
 * rows and the fuzzers. Rows [0, ir_probe_count()) are derived from the model:
 * for each numeric node its threshold, one ulp (of f64 and of f32) either
 * side; for each feature NaN, the infinities, zeros of both signs, a denormal,
 * the zero_bound and one ulp past it; for each category the members, their
 * neighbours, fractions, negative and unseen codes. The other features of such
 * a row, and all of those past the count, are drawn: mostly from the
 * thresholds' range, some exactly on a threshold, one ulp off, NaN, infinite,
 * -0 or denormal. Elements that no node tests, as nets read them, are in most
 * rows drawn around 0, in others a few or all of them are odd; of a tensor's many
 * some have derived rows. Numbers of rows of a table and of steps are codes. Row
 * i depends on the model, the seed and i alone. */
struct ir_probe;
struct ir_probe *ir_probe_new(const struct ir_module *module, uint64_t seed);
void ir_probe_free(struct ir_probe *probe);
int64_t ir_probe_count(const struct ir_probe *probe);
/* Writes ir_row_elements() numbers to `row`. */
void ir_probe_row(const struct ir_probe *probe, int64_t i, double *row);

/* A counter-based random number: the same for the same (seed, i). */
uint64_t ir_random(uint64_t seed, uint64_t i);

#include "ir/functions.h"
#include "ir/nets.h"

#endif
