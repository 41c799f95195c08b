/* onnx.h: what the files of the ONNX importer share: the file, its constants,
 * the values that names stand for, and what builders of ops call.
 *
 * Private, and apart from internal.h because of the types of protobuf-c, which
 * only these files see. Sections below are headed by the file that implements
 * them; onnx.c is where to start. Beside it are onnx_rows.h (ops on rows, and
 * dims), onnx_loop.h (loops) and onnx_tree.h (ensembles).
 */
#ifndef TREENAIL_FRONTEND_ONNX_H
#define TREENAIL_FRONTEND_ONNX_H

#include "frontend/internal.h"
#include "frontend/onnx_rows.h"

#include "onnx.pb-c.h"

/* ---------------------------------------------------------- onnx_wire.c -- */

/* The file as protobuf-c's structs, which fe_onnx_discard() frees; NULL with a
 * message. No deeper than 64 messages; at most some 200 times the file's
 * bytes, and those only where the file is made of empty messages. */
Onnx__ModelProto *fe_onnx_decode(const struct ir_file *file,
                                 struct ir_diag *diag);
void fe_onnx_discard(Onnx__ModelProto *model);

/* -------------------------------------------------------- onnx_tensor.c -- */

/* TensorProto.DataType, as far as it is read. */
enum fe_onnx_type {
    FE_ONNX_FLOAT = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
    FE_ONNX_UINT16 = ONNX__TENSOR_PROTO__DATA_TYPE__UINT16,
    FE_ONNX_INT16 = ONNX__TENSOR_PROTO__DATA_TYPE__INT16,
    FE_ONNX_UINT32 = ONNX__TENSOR_PROTO__DATA_TYPE__UINT32,
    FE_ONNX_UINT64 = ONNX__TENSOR_PROTO__DATA_TYPE__UINT64,
    FE_ONNX_UINT8 = ONNX__TENSOR_PROTO__DATA_TYPE__UINT8,
    FE_ONNX_INT8 = ONNX__TENSOR_PROTO__DATA_TYPE__INT8,
    FE_ONNX_INT32 = ONNX__TENSOR_PROTO__DATA_TYPE__INT32,
    FE_ONNX_INT64 = ONNX__TENSOR_PROTO__DATA_TYPE__INT64,
    FE_ONNX_STRING = ONNX__TENSOR_PROTO__DATA_TYPE__STRING,
    FE_ONNX_BOOL = ONNX__TENSOR_PROTO__DATA_TYPE__BOOL,
    FE_ONNX_DOUBLE = ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE,
    FE_ONNX_FLOAT16 = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16,
    FE_ONNX_BFLOAT16 = ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16,
    FE_ONNX_UINT4 = 21, /* since ONNX 1.16 */
    FE_ONNX_INT4 = 22
};

/* "FLOAT"; "unknown" for a number that is none of a type's. */
const char *fe_onnx_type_name(int type);
/* What a type is here: FLOAT for the two of half precision, whose numbers all
 * floats are; the type itself for others. */
int fe_onnx_widened(int type);
/* Whole numbers and booleans. */
bool fe_onnx_is_whole(int type);
/* Bits of a whole number; 64 of all others. */
int fe_onnx_bits(int type);
/* Whole numbers below 0, of 16 bits at most, are of it. */
bool fe_onnx_is_signed(int type);

/* A constant. */
struct fe_onnx_tensor {
    int type; /* enum fe_onnx_type */
    int rank;
    int64_t dim[IR_MAX_RANK], n;
    double *real;      /* [n], of all but strings */
    int64_t *whole;    /* [n], of whole numbers and booleans */
    const char **text; /* [n], of strings */
};

struct fe_onnx;
/* The same, but of a number that is none the number. */
const char *fe_onnx_type_text(struct fe_onnx *g, int64_t type);
/* Reads a tensor; `what` names it in messages. NULL with a message. It lives
 * in the importer's scratch arena. */
const struct fe_onnx_tensor *fe_onnx_read_tensor(
    struct fe_onnx *g, const Onnx__TensorProto *proto, const char *what);
/* An empty one of this shape, for what builders compute. */
struct fe_onnx_tensor *fe_onnx_new_tensor(struct fe_onnx *g, int type,
                                          int rank, const int64_t *dim);
/* A string of the file as C has them: NULL with a message when it holds a NUL
 * or is longer than a name may be. */
const char *fe_onnx_string(struct fe_onnx *g, const ProtobufCBinaryData *s,
                           const char *what);

/* --------------------------------------------------------- onnx_graph.c -- */

/* The strings that a value may hold: string i is code i. Those of an input are
 * collected from the ops that look at it, and become its categories. */
struct fe_onnx_words {
    struct fe_onnx_words *next; /* of those of columns */
    int column;                 /* of the module */
    int n, capacity;
    const char **word; /* [n] */
    int *table;        /* [2 * capacity] codes by hash of the word, or -1 */
};

/* Among the numbers of a constant: as many as there are rows, which only the
 * caller of the library knows; FE_ONNX_BATCH - (k - 1) stands for k times as
 * many. Shape gives it; it may be moved about, multiplied, and stand in a new
 * shape, and nothing else can be computed with it. */
#define FE_ONNX_BATCH (-INT64_C(0x5eedba7c0ffee000))
/* The k of such a number, or 0. */
static inline int64_t fe_onnx_batches(int64_t number)
{
    return number <= FE_ONNX_BATCH && number > FE_ONNX_BATCH - IR_MAX_ELEMENTS
               ? FE_ONNX_BATCH - number + 1 : 0;
}

/* What a name of the graph stands for: a constant, or something of each row.
 * All dims are counted, also the batch's, as a row has it. A value need have no
 * batch: docs/formats.md says when that is. */
struct fe_onnx_value {
    const char *name;
    int type;                              /* enum fe_onnx_type */
    const struct fe_onnx_tensor *constant; /* or NULL: */
    struct ir_value *rows; /* of n elements in row-major order, whatever its
                              own dims: f32 for FLOAT, i32 with labels, else
                              f64; codes for strings */
    int rank;
    int64_t dim[IR_MAX_RANK], n;
    bool batched;
    int batch; /* which dim is the batch, when batched */
    /* That dim has the size that a row has of it: 1, or more where a reshape
     * made one of it and of others. Then it is [ahead + 1][batch][the rest]. */
    int64_t ahead;
    /* A copy without its batch, which has come first: fe_onnx_row_input()
     * gives those, and fe_onnx_give() puts the batch back. */
    bool is_row;
    struct fe_onnx_words **words; /* [n] of a string that has no labels */
    /* Of a class, n = 1: rows is its index in these, as i32, and `index` the
     * same as f64. */
    const struct fe_onnx_tensor *labels;
    struct ir_value *index;
    bool is_probability; /* the scores of a classifier */
    struct fe_onnx_linear *linear; /* see fe_onnx_linear_of() */
};

struct fe_onnx_sum;

/* What is known of reals that whole numbers stand for; onnx_integer.c. */
struct fe_onnx_linear {
    /* What this is said of: not of a copy that became something else. */
    const struct ir_value *rows;
    const struct fe_onnx_tensor *constant;
    /* (byte - zero) * scale; or NULL, */
    struct ir_value *bytes;
    int64_t zero;
    float scale;
    /* (whole - zeros) * scales, the latter (zeros: NULL for none) one number or
     * one for each place along an axis; or NULL, */
    const struct fe_onnx_tensor *whole, *scales, *zeros;
    int axis;
    /* a sum of products, or of these what is above 0; or NULL. */
    const struct fe_onnx_sum *sum;
    bool is_relu;
    /* Of whole numbers: the f32 next to them; or NULL. */
    struct ir_value *real;
};
/* Sums of products of whole numbers, as gemm and conv have them: the byte that
 * 0 is, if no operand says so; what sums start at, or
 * NULL; a scale for each column. */
struct fe_onnx_whole {
    int64_t zero;
    struct ir_value *zero_operand;
    const double *start;
    const float *scale;
};

/* Which rows a library computes: docs/formats.md. */
enum fe_onnx_batch {
    FE_ONNX_UNKNOWN,
    FE_ONNX_OPEN,  /* those of the dim that is open in the inputs */
    FE_ONNX_FIRST, /* those of the inputs' first dim, whose size is given */
    FE_ONNX_WHOLE  /* one is all that the inputs hold */
};

/* A file beside the model that has data of tensors. */
enum { FE_ONNX_MAX_FILES = 64 };
struct fe_onnx_file {
    const char *name;
    struct ir_file file;
};

/* The names of a graph. A subgraph sees those around it as well, and a name
 * that both give is its own. */
struct fe_onnx_scope {
    struct fe_onnx_scope *outer;
    struct fe_onnx_value **table; /* by hash of the name, NULL: free */
    size_t size;                  /* a power of 2 */
    bool is_closed;               /* sees only constants around it */
};

/* A node that has the subgraph that is being built. */
struct fe_onnx_place {
    const struct fe_onnx_place *outer;
    const Onnx__NodeProto *node;
    size_t index;
};

struct fe_onnx {
    struct ir_diag *diag;
    unsigned n_messages; /* that were there before */
    const char *path;
    const char *module_path; /* the same, in the module's arena */
    struct ir_arena scratch;
    const Onnx__ModelProto *model;
    struct ir_module *module;
    int64_t opset, ml_opset;
    enum fe_onnx_batch batch;
    int64_t batch_size; /* that of FE_ONNX_FIRST */
    int64_t steps; /* of an open dim of time; 0: the user has not said */
    bool has_time; /* there is such a dim */
    const Onnx__NodeProto *node; /* that is being built, or NULL */
    size_t node_index;
    bool rows_batched; /* an input that fe_onnx_row_input() gave has a batch */
    const struct fe_onnx_place *within; /* around the node, in a subgraph */
    struct fe_onnx_scope *scope;        /* that names are given in */
    int64_t subgraphs_left; /* of FE_ONNX_MAX_SUBGRAPHS */
    struct fe_onnx_read *reads; /* tensors of subgraphs, by hash */
    size_t n_reads, reads_size;
    struct fe_onnx_use *uses;     /* by hash as well */
    size_t use_size;
    struct fe_onnx_words *words; /* of the columns, newest first */
    int64_t elements_left, elements_limit; /* of what is computed here */
    int64_t trials_left; /* of elements as well, for loops that may be cells */
    int64_t values_left;                   /* elements of the row's values */
    bool is_memory; /* the model is no file, and so has none beside it */
    int n_files;
    struct fe_onnx_file files[FE_ONNX_MAX_FILES];
    struct ir_arena kept; /* what outlives the scratch arena */
    struct fe_onnx_moved *moved; /* [n_moved] by the node's address */
    size_t n_moved;
    int n_ensembles;
    struct ir_value *raw, *leaf; /* of the last ensemble */
};

/* Builds what g->node says, whose attributes and counts of inputs and outputs
 * fit the table in onnx_graph.c. */
typedef bool fe_onnx_builder(struct fe_onnx *g);

/* A message about the node that is being built, or the graph; none when there
 * is one already. False. */
bool fe_onnx_error(struct fe_onnx *g, const char *fmt, ...) IR_PRINTF(2, 3);
/* Whether there is none yet: of what may fail with one, or fit without. */
bool fe_onnx_is_good(const struct fe_onnx *g);
/* Messages of what is only tried go into a diag that is thrown away. */
struct fe_onnx_trial {
    struct ir_diag *diag, tried;
    unsigned n_messages;
};
void fe_onnx_start_trial(struct fe_onnx *g, struct fe_onnx_trial *trial);
void fe_onnx_end_trial(struct fe_onnx *g, struct fe_onnx_trial *trial);
/* A text of the file: "" where there is none. */
static inline const char *fe_onnx_text(const char *s)
{
    return s ? s : "";
}

/* The node's attributes, of the kinds that the table of ops gives. */
const Onnx__AttributeProto *fe_onnx_attribute(const struct fe_onnx *g,
                                              const char *name);
int64_t fe_onnx_int(const struct fe_onnx *g, const char *name,
                    int64_t fallback);
double fe_onnx_float(const struct fe_onnx *g, const char *name,
                     double fallback);
/* Whether it is there and says `text`; `fallback` when it is not there. */
bool fe_onnx_says(const struct fe_onnx *g, const char *name, const char *text,
                  bool fallback);
/* A list of strings as a constant; NULL, without a message, when absent. */
struct fe_onnx_tensor *fe_onnx_strings(struct fe_onnx *g, const char *name,
                                       bool *ok);

/* The value that input i names; an error when there is none. */
struct fe_onnx_value *fe_onnx_input(struct fe_onnx *g, size_t i);
bool fe_onnx_has_input(const struct fe_onnx *g, size_t i);
/* The same, which has to be a constant. */
const struct fe_onnx_tensor *fe_onnx_constant_input(struct fe_onnx *g,
                                                    size_t i);
/* The same as numbers: constants become an op. */
struct fe_onnx_value *fe_onnx_number_input(struct fe_onnx *g, size_t i);
/* The same without the batch, which has to come first or, where there is none,
 * be a dim of 1: for ops that look at one row after the other. */
struct fe_onnx_value *fe_onnx_row_input(struct fe_onnx *g, size_t i);

/* Gives output i of the node: a copy of `value` under the output's name.
 * Nothing when the node does not name that output. */
bool fe_onnx_give(struct fe_onnx *g, size_t i,
                  const struct fe_onnx_value *value);
/* The same for rows of this type and shape, without the batch. */
bool fe_onnx_give_rows(struct fe_onnx *g, size_t i, int type,
                       struct ir_value *rows, int rank, const int64_t *dim);
/* The same for one that has the dims, and the batch, of `like`. */
bool fe_onnx_give_like(struct fe_onnx *g, size_t i, int type,
                       struct ir_value *rows,
                       const struct fe_onnx_value *like);
/* Whether nothing but the node uses its input i: no other node, no output. */
bool fe_onnx_is_only_use(const struct fe_onnx *g, size_t i);
/* Whether nothing uses the node's output 0 but casts to FLOAT. */
bool fe_onnx_is_only_cast(const struct fe_onnx *g);

/* Gives output 0: a constant; false, without a message, for NULL. */
bool fe_onnx_give_constant(struct fe_onnx *g, const struct fe_onnx_tensor *t);

/* The value named so, or NULL. */
struct fe_onnx_value *fe_onnx_find(const struct fe_onnx *g, const char *name);
/* Names a new value; an error when there is one of that name. */
bool fe_onnx_define(struct fe_onnx *g, const char *name,
                    const struct fe_onnx_value *value);
size_t fe_onnx_hash(const char *name);

/* A scope for n names, within g->scope, which it becomes. */
void fe_onnx_open_scope(struct fe_onnx *g, struct fe_onnx_scope *scope,
                        size_t n, bool is_closed);
/* The names that a graph can give. */
size_t fe_onnx_count_names(const Onnx__GraphProto *graph);
bool fe_onnx_define_initializers(struct fe_onnx *g,
                                 const Onnx__GraphProto *graph);
/* Builds a node of any graph; `index` is its place there, for messages. */
bool fe_onnx_build_node(struct fe_onnx *g, const Onnx__NodeProto *node,
                        size_t index);
/* One message for all ops that are not read, with how often they come. */
bool fe_onnx_check_ops(struct fe_onnx *g);
/* Reads and builds the whole graph. */
bool fe_onnx_build(struct fe_onnx *g);

/* -------------------------------------------------------- onnx_opset.c -- */

/* Sets g->opset and g->ml_opset, of versions that are known. */
bool fe_onnx_read_opsets(struct fe_onnx *g);
/* Whether the node's op is one that g->opset has as later ones do. */
bool fe_onnx_check_version(struct fe_onnx *g);

/* -------------------------------------------------------- onnx_order.c -- */

/* Puts the nodes of all graphs in an order that they can be built in. */
bool fe_onnx_sort(struct fe_onnx *g);
/* The number of a node in its graph of the file; it is `index` now. */
size_t fe_onnx_index_of(const struct fe_onnx *g, const Onnx__NodeProto *node,
                        size_t index);

/* ----------------------------------------------------- onnx_external.c -- */

/* A tensor's data of so many bytes, in a file beside the model; NULL with a
 * message. It stays mapped until fe_onnx_close_files(). */
const uint8_t *fe_onnx_external(struct fe_onnx *g, const Onnx__TensorProto *p,
                                const char *what, int64_t bytes);
void fe_onnx_close_files(struct fe_onnx *g);

/* --------------------------------------------------------- onnx_fold.c -- */

/* A module that is set aside while another one is built, which is thrown away
 * afterwards: what was built in it must not be used any more. */
struct fe_onnx_aside {
    struct ir_module *module;
    int64_t values_left;
    int n_ensembles;
    struct ir_value *raw, *leaf;
};
struct fe_onnx_aside fe_onnx_set_aside(struct fe_onnx *g, const char *name);
void fe_onnx_take_back(struct fe_onnx *g, const struct fe_onnx_aside *aside);

/* Builds the node, whose inputs are all constants, and makes constants of what
 * it gives, as the interpreter computes them. */
bool fe_onnx_fold(struct fe_onnx *g, fe_onnx_builder *build);

/* ---------------------------------------------------------- onnx_ops.c -- */

/* A line of the table of ops. Attributes as "name:kind", of one letter each: f
 * i s t g, or F I S for lists. `ml`: of ai.onnx.ml. An output past max_outputs
 * is not built: a graph that names it is refused. */
struct fe_onnx_op_info {
    const char *name;
    bool ml;
    int min_inputs, max_inputs, max_outputs;
    fe_onnx_builder *build;
    const char *attributes;
};
/* NULL for an op that is not read. */
const struct fe_onnx_op_info *fe_onnx_find_op(const Onnx__NodeProto *node);
/* The table's ith line and its domain, for who makes models; NULL past it. */
const struct fe_onnx_op_info *fe_onnx_op_at(int i, const char **domain);

/* ------------------------------------------------------------ onnx_io.c -- */

/* What the inputs' dims say of the batch; FE_ONNX_FIRST has to be tried. */
enum fe_onnx_batch fe_onnx_find_batch(struct fe_onnx *g);
/* Columns of the graph's inputs; outputs of its outputs. */
bool fe_onnx_build_inputs(struct fe_onnx *g);
bool fe_onnx_build_outputs(struct fe_onnx *g);

/* ---------------------------------------------------------- onnx_time.c -- */

bool fe_onnx_is_open(const Onnx__TensorShapeProto__Dimension *dim);
/* Which open dim of an input is the batch and which is time, of g->steps steps;
 * -1 where there is none. */
bool fe_onnx_find_open(struct fe_onnx *g, const char *name,
                       const Onnx__TensorShapeProto *shape, int *batch,
                       int *time);

/* ---------------------------------------------------------- onnx_math.c -- */

/* The program of a recurrent layer's activation; alpha and beta are NULL where
 * it has none of its own. NULL, without a message, for an unknown name. */
const char *fe_onnx_activation(struct fe_onnx *g, const char *name,
                               const double *alpha, const double *beta);

/* -------------------------------------------------------- onnx_matmul.c -- */

/* x, as rows of k elements, times weights[k][n], plus bias[n] or NULL: a value
 * [rows][n], or [n] of one row. With `whole` x is of bytes. */
struct ir_value *fe_onnx_gemm_op(struct fe_onnx *g, struct ir_value *x,
                                 int64_t k, int64_t n, const double *weights,
                                 const double *bias,
                                 const struct fe_onnx_whole *whole);
/* x times w as numpy's matmul has it. */
bool fe_onnx_multiply(struct fe_onnx *g, const struct fe_onnx_value *x,
                      const struct fe_onnx_value *w, struct fe_onnx_value *y);

/* -------------------------------------------------------- onnx_window.c -- */

enum fe_onnx_auto_pad {
    FE_ONNX_NOTSET, FE_ONNX_SAME_UPPER, FE_ONNX_SAME_LOWER, FE_ONNX_VALID
};

/* By dim after the first two, n of them. */
struct fe_onnx_window {
    int n;
    enum fe_onnx_auto_pad auto_pad;
    int64_t kernel[IR_MAX_SPACE], stride[IR_MAX_SPACE];
    int64_t dilation[IR_MAX_SPACE];
    int64_t pad[2 * IR_MAX_SPACE]; /* all begins, then all ends */
};

/* Reads the attributes; x is [N][C][d1].., whose batch may only be N. `kernel`
 * is the size of a convolution's weights, else NULL. */
bool fe_onnx_read_window(struct fe_onnx *g, const struct fe_onnx_value *x,
                         const int64_t *kernel, struct fe_onnx_window *w);
/* Sets the pads that auto_pad stands for, of x's dims in[n]. */
void fe_onnx_auto_pad(struct fe_onnx_window *w, const int64_t *in);
/* Padding of `total` along dim i; of an odd one more goes to the end (upper)
 * or to the front. */
void fe_onnx_split_pad(struct fe_onnx_window *w, int64_t total, int i,
                       bool upper);

/* Builds what becomes of one item of x's first dim. */
typedef struct ir_value *fe_onnx_item_builder(struct fe_onnx *g,
                                              struct ir_value *item,
                                              const void *context);
/* *y is what is built of all items, which have these dims, end to end. */
bool fe_onnx_each_item(struct fe_onnx *g, const struct fe_onnx_value *x,
                       int rank, const int64_t *dim,
                       fe_onnx_item_builder *build, const void *context,
                       struct ir_value **y);

/* ---------------------------------------------------------- onnx_conv.c -- */

/* A convolution of x by the node's attributes; bias may be NULL. With `whole`,
 * or NULL, x is of bytes. */
bool fe_onnx_convolve(struct fe_onnx *g, const struct fe_onnx_value *x,
                      const struct fe_onnx_tensor *weights,
                      const double *bias, const struct fe_onnx_whole *whole,
                      struct fe_onnx_value *y);

/* --------------------------------------------------------- onnx_pool.c -- */

/* The averages of x's windows, by the node's attributes. */
bool fe_onnx_average(struct fe_onnx *g, const struct fe_onnx_value *x,
                     struct fe_onnx_value *y);

/* ------------------------------------------------------- onnx_integer.c -- */

/* Writes the attributes of gemm and conv that say so, of n columns; returns how
 * many. */
int fe_onnx_whole_attrs(struct fe_onnx *g, const struct fe_onnx_whole *whole,
                        int64_t n, struct ir_attr *attrs);
/* NULL when nothing is known. */
const struct fe_onnx_linear *fe_onnx_linear_of(const struct fe_onnx_value *v);
/* These build the node with whole numbers of 8 bits, and *done says whether
 * they could: if not, it is to be built of reals. False with a message. */
bool fe_onnx_quantize_bytes(struct fe_onnx *g, bool *done);
bool fe_onnx_dequantize_bytes(struct fe_onnx *g, bool *done);
/* A product of inputs 0 and 1, plus input 2 if there is one: a Conv's, or a
 * MatMul's, whose weights are [N][K] if by_row says so. */
bool fe_onnx_sum_linear(struct fe_onnx *g, bool is_conv, bool by_row,
                        bool *done);
/* Where the inputs of a product of whole numbers are; a scale of 0: none. */
struct fe_onnx_places {
    size_t x, x_zero, w, w_zero, x_scale, w_scale, y_scale, y_zero, bias;
};
/* What a product is of: numbers and weights, and their zeros or NULL. */
struct fe_onnx_factors {
    const struct fe_onnx_value *x, *x_zero, *w, *w_zero;
};
/* Their sums, rounded to f32: *done as above. */
bool fe_onnx_sum_factors(struct fe_onnx *g, const struct fe_onnx_factors *f,
                         struct fe_onnx_value *y, bool *done);
/* Gives output 0: those of inputs 0 to 3, as whole numbers. */
bool fe_onnx_sum_integers(struct fe_onnx *g, bool is_conv, bool *done);
bool fe_onnx_sum_scaled(struct fe_onnx *g, const struct fe_onnx_places *at,
                        bool is_conv, bool by_row, bool *done);
/* The elements of x, which is of UINT8 or INT8, as bytes: those of INT8 are
 * moved by 128. */
struct ir_value *fe_onnx_bytes_of(struct fe_onnx *g,
                                  const struct fe_onnx_value *x);
/* The reals that bytes stand for. */
struct ir_value *fe_onnx_reals_of(struct fe_onnx *g, struct ir_value *bytes,
                                  double zero, double scale);
/* Gives output 0: bytes as whole numbers of a type of 8 bits. */
bool fe_onnx_give_bytes(struct fe_onnx *g, int type, struct ir_value *bytes,
                        const struct fe_onnx_shape *shape);
/* The sum of each `size` bytes less their zero, which is exact, times a
 * factor. */
struct ir_value *fe_onnx_sum_bytes(struct fe_onnx *g, struct ir_value *bytes,
                                   double zero, int64_t size, float factor);
/* After output 0 was given: what is known of it, as it is the input's Relu, or
 * average of so many, or dequantised from a constant, which may become one
 * itself. */
bool fe_onnx_know_relu(struct fe_onnx *g);
bool fe_onnx_know_average(struct fe_onnx *g, int64_t size);
bool fe_onnx_know_constant(struct fe_onnx *g, int axis);
void fe_onnx_keep_linear(struct fe_onnx_value *value);

/* -------------------------------------------------------- onnx_quant.c -- */

/* DynamicQuantizeLinear of x: bytes, their scale and zero, of UINT8, FLOAT and
 * UINT8. */
bool fe_onnx_quantize_range(struct fe_onnx *g, const struct fe_onnx_value *x,
                            struct fe_onnx_value y[3]);

/* ------------------------------------- onnx_tree.c, onnx_tree_{v3,v5}.c -- */

/* onnx_tree.h has what these share. */

/* ---------------------------------------------------------- onnx_post.c -- */

enum fe_onnx_post {
    FE_ONNX_NONE, FE_ONNX_SOFTMAX, FE_ONNX_LOGISTIC, FE_ONNX_SOFTMAX_ZERO,
    FE_ONNX_PROBIT, FE_ONNX_N_POSTS
};

/* The attribute post_transform. */
bool fe_onnx_read_post(struct fe_onnx *g, enum fe_onnx_post *post);
/* Of two and more scores, in f32 as ONNX Runtime computes it. */
struct ir_value *fe_onnx_post(struct fe_onnx *g, enum fe_onnx_post post,
                              struct ir_value *scores);
/* 1 / (1 + exp(-x)) with the sign handled as ONNX Runtime does. */
struct ir_value *fe_onnx_logistic(struct fe_onnx *g, struct ir_value *x);
struct ir_value *fe_onnx_probit(struct fe_onnx *g, struct ir_value *x);
/* classlabels_strings, classlabels_int64s (or _ints): one of them. */
const struct fe_onnx_tensor *fe_onnx_labels(struct fe_onnx *g);
/* The first largest of the scores, or whether the only one is above a bound,
 * as a class of these labels. */
bool fe_onnx_class_of(struct fe_onnx *g, struct ir_value *scores,
                      double bound, const struct fe_onnx_tensor *labels,
                      struct fe_onnx_value *class);
/* Gives output 0 the class and output 1 its scores, in f32. */
bool fe_onnx_give_classes(struct fe_onnx *g,
                          const struct fe_onnx_value *class,
                          struct ir_value *scores);
/* Gives output 0: element `index` of a list of constants. */
bool fe_onnx_give_from_table(struct fe_onnx *g,
                             const struct fe_onnx_tensor *table,
                             const struct fe_onnx_value *index);

/* --------------------------------------------------------- onnx_apply.c -- */

/* Output 0 of an op applied to n values, with attributes as a text: "axis=-1
 * perm=0,2,1". NULL with a message, or for a NULL operand. Of constants it
 * is a constant. */
struct fe_onnx_value *fe_onnx_apply(struct fe_onnx *g, const char *op, int n,
                                    struct fe_onnx_value *const *x,
                                    const char *fmt, ...) IR_PRINTF(5, 6);
/* Output 0 of an op that has the node's first n inputs and those of its
 * attributes that it knows. */
struct fe_onnx_value *fe_onnx_apply_as(struct fe_onnx *g, const char *op,
                                       size_t n);
/* Without attributes. */
struct fe_onnx_value *fe_onnx_apply_one(struct fe_onnx *g, const char *op,
                                        struct fe_onnx_value *x);
struct fe_onnx_value *fe_onnx_apply_two(struct fe_onnx *g, const char *op,
                                        struct fe_onnx_value *a,
                                        struct fe_onnx_value *b);
/* A constant as a value; one number. */
struct fe_onnx_value *fe_onnx_constant_value(struct fe_onnx *g,
                                             const struct fe_onnx_tensor *t);
struct fe_onnx_value *fe_onnx_number(struct fe_onnx *g, int type,
                                     double number);

/* ----------------------------------------------- the ops, by their file -- */

/* onnx_attention.c */
fe_onnx_builder fe_onnx_attention, fe_onnx_multi_head_attention,
    fe_onnx_self_attention, fe_onnx_rotary_embedding,
    fe_onnx_rotary_embedding_old;
/* onnx_blocks.c: those with block_size */
fe_onnx_builder fe_onnx_linear_blocks;
/* onnx_topk.c, onnx_scatter.c */
fe_onnx_builder fe_onnx_top_k, fe_onnx_gather_nd, fe_onnx_scatter_nd,
    fe_onnx_scatter_elements;
/* onnx_grid.c */
fe_onnx_builder fe_onnx_grid_sample, fe_onnx_eye_like,
    fe_onnx_mean_variance;
/* onnx_fused.c */
fe_onnx_builder fe_onnx_gelu_of, fe_onnx_fused_conv, fe_onnx_fused_gemm,
    fe_onnx_fused_matmul, fe_onnx_skip_normalization,
    fe_onnx_embed_normalization, fe_onnx_matmul_bits;

/* onnx_tree_v3.c, onnx_tree_v5.c */
fe_onnx_builder fe_onnx_tree_regressor, fe_onnx_tree_classifier,
    fe_onnx_tree_ensemble;
/* onnx_linear.c */
fe_onnx_builder fe_onnx_linear_classifier, fe_onnx_linear_regressor;
/* onnx_features.c */
fe_onnx_builder fe_onnx_scaler, fe_onnx_imputer, fe_onnx_normalizer,
    fe_onnx_binarizer, fe_onnx_one_hot_encoder, fe_onnx_label_encoder,
    fe_onnx_category_mapper, fe_onnx_feature_vectorizer, fe_onnx_zip_map;
/* onnx_shape.c */
fe_onnx_builder fe_onnx_constant, fe_onnx_identity, fe_onnx_dropout,
    fe_onnx_cast, fe_onnx_cast_like, fe_onnx_reshape, fe_onnx_flatten, fe_onnx_unsqueeze,
    fe_onnx_squeeze, fe_onnx_shape, fe_onnx_size_op,
    fe_onnx_constant_of_shape, fe_onnx_range;
/* onnx_move.c */
fe_onnx_builder fe_onnx_transpose, fe_onnx_slice, fe_onnx_split,
    fe_onnx_expand, fe_onnx_tile, fe_onnx_depth_to_space,
    fe_onnx_space_to_depth, fe_onnx_concat_op, fe_onnx_trilu;
/* onnx_gather.c */
fe_onnx_builder fe_onnx_gather_op, fe_onnx_gather_elements,
    fe_onnx_array_feature_extractor, fe_onnx_reverse_sequence,
    fe_onnx_one_hot;
/* onnx_einsum.c */
fe_onnx_builder fe_onnx_einsum;
/* onnx_pad.c */
fe_onnx_builder fe_onnx_pad;
/* onnx_math.c */
fe_onnx_builder fe_onnx_unary, fe_onnx_selu, fe_onnx_shrink, fe_onnx_gelu,
    fe_onnx_is_inf, fe_onnx_binary, fe_onnx_mod, fe_onnx_variadic,
    fe_onnx_where, fe_onnx_clip;
/* onnx_reduce.c */
fe_onnx_builder fe_onnx_softmax, fe_onnx_log_softmax, fe_onnx_hardmax,
    fe_onnx_arg_max, fe_onnx_reduce_op, fe_onnx_cum_sum;
/* onnx_matmul.c */
fe_onnx_builder fe_onnx_matmul, fe_onnx_gemm;
/* onnx_conv.c */
fe_onnx_builder fe_onnx_conv, fe_onnx_conv_transpose;
/* onnx_pool.c */
fe_onnx_builder fe_onnx_max_pool, fe_onnx_average_pool, fe_onnx_lp_pool,
    fe_onnx_global_pool;
/* onnx_resize.c */
fe_onnx_builder fe_onnx_resize, fe_onnx_upsample;
/* onnx_norm.c */
fe_onnx_builder fe_onnx_batch_normalization, fe_onnx_layer_normalization,
    fe_onnx_rms_normalization, fe_onnx_instance_normalization,
    fe_onnx_group_normalization, fe_onnx_lp_normalization, fe_onnx_lrn;
/* onnx_recurrent.c */
fe_onnx_builder fe_onnx_lstm, fe_onnx_gru, fe_onnx_rnn;
/* onnx_quant.c */
fe_onnx_builder fe_onnx_quantize, fe_onnx_dequantize,
    fe_onnx_dynamic_quantize, fe_onnx_conv_integer, fe_onnx_qlinear_conv,
    fe_onnx_matmul_integer, fe_onnx_qlinear_matmul;
/* onnx_microsoft.c */
fe_onnx_builder fe_onnx_qgemm, fe_onnx_qlinear_binary, fe_onnx_qlinear_unary,
    fe_onnx_qlinear_global_pool, fe_onnx_qlinear_average_pool,
    fe_onnx_qlinear_softmax, fe_onnx_qlinear_concat,
    fe_onnx_matmul_scaled, fe_onnx_dynamic_matmul;
/* onnx_recurrent.c as well */
fe_onnx_builder fe_onnx_dynamic_lstm;

/* onnx_if.c, onnx_loop.c */
fe_onnx_builder fe_onnx_if, fe_onnx_loop_op, fe_onnx_scan_op;

#endif
