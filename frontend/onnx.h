/* onnx.h: what the files of the ONNX importer share.
 *
 * Private, and apart from internal.h because of the types of protobuf-c, which
 * only these files see. Sections below are headed by the file that implements
 * them; onnx.c is where to start.
 */
#ifndef TREENAIL_FRONTEND_ONNX_H
#define TREENAIL_FRONTEND_ONNX_H

#include "frontend/internal.h"

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
    FE_ONNX_UINT8 = ONNX__TENSOR_PROTO__DATA_TYPE__UINT8,
    FE_ONNX_INT8 = ONNX__TENSOR_PROTO__DATA_TYPE__INT8,
    FE_ONNX_INT32 = ONNX__TENSOR_PROTO__DATA_TYPE__INT32,
    FE_ONNX_INT64 = ONNX__TENSOR_PROTO__DATA_TYPE__INT64,
    FE_ONNX_STRING = ONNX__TENSOR_PROTO__DATA_TYPE__STRING,
    FE_ONNX_BOOL = ONNX__TENSOR_PROTO__DATA_TYPE__BOOL,
    FE_ONNX_DOUBLE = ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE
};

/* "FLOAT"; for others their number. */
const char *fe_onnx_type_name(int type);
/* Whole numbers and booleans. */
bool fe_onnx_is_whole(int type);

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
/* Reads a tensor; `what` names it in messages. NULL with a message. It lives
 * in the importer's scratch arena. */
struct fe_onnx_tensor *fe_onnx_read_tensor(struct fe_onnx *g,
                                           const Onnx__TensorProto *proto,
                                           const char *what);
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

/* What a name of the graph stands for: a constant, or something of each row.
 * The batch is the first dim of the latter and is not among its dims. */
struct fe_onnx_value {
    const char *name;
    int type;                              /* enum fe_onnx_type */
    const struct fe_onnx_tensor *constant; /* or NULL: */
    struct ir_value *rows; /* of n elements: f32 for FLOAT, i32 with labels,
                              else f64; codes for strings */
    int rank;
    int64_t dim[IR_MAX_RANK], n;
    struct fe_onnx_words **words; /* [n] of a string that has no labels */
    /* Of a class, n = 1: rows is its index in these, as i32, and `index` the
     * same as f64. */
    const struct fe_onnx_tensor *labels;
    struct ir_value *index;
    bool is_probability; /* the scores of a classifier */
    /* As many values of these dims, one behind the other, with a dim for them
     * before the batch: how converters average over estimators. 0: none. Only
     * fe_onnx_any_input() gives such a value. */
    int64_t stacked;
    /* What Shape gives: the value whose shape it is, and nothing else. */
    const struct fe_onnx_value *shape_of;
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
    const Onnx__NodeProto *node; /* that is being built, or NULL */
    size_t node_index;
    struct fe_onnx_value **table; /* by hash of the name, NULL: free */
    size_t table_size;            /* a power of 2 */
    struct fe_onnx_words *words; /* of the columns, newest first */
    int64_t elements_left, elements_limit;
    int n_ensembles;
    struct ir_value *raw, *leaf; /* of the last ensemble */
};

/* A message about the node that is being built, or the graph; none when there
 * is one already. False. */
bool fe_onnx_error(struct fe_onnx *g, const char *fmt, ...) IR_PRINTF(2, 3);

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
/* The same, also for what is stacked, or a shape. */
struct fe_onnx_value *fe_onnx_any_input(struct fe_onnx *g, size_t i);
/* The same, which has to be a constant or of the row. */
const struct fe_onnx_tensor *fe_onnx_constant_input(struct fe_onnx *g,
                                                    size_t i);
struct fe_onnx_value *fe_onnx_row_input(struct fe_onnx *g, size_t i);

/* Gives output i of the node: a copy of `value` under the output's name.
 * Nothing when the node does not name that output. */
bool fe_onnx_give(struct fe_onnx *g, size_t i,
                  const struct fe_onnx_value *value);
/* The same for rows of this type and shape, or one that is `like`'s. */
bool fe_onnx_give_rows(struct fe_onnx *g, size_t i, int type,
                       struct ir_value *rows, int rank, const int64_t *dim);
bool fe_onnx_give_like(struct fe_onnx *g, size_t i, int type,
                       struct ir_value *rows,
                       const struct fe_onnx_value *like);

/* The value named so, or NULL. */
struct fe_onnx_value *fe_onnx_find(const struct fe_onnx *g, const char *name);
/* Names a new value; an error when there is one of that name. */
bool fe_onnx_define(struct fe_onnx *g, const char *name,
                    const struct fe_onnx_value *value);
size_t fe_onnx_hash(const char *name);

/* Reads and builds the whole graph. */
bool fe_onnx_build(struct fe_onnx *g);

/* ------------------------------------------------------------ onnx_io.c -- */

/* Columns of the graph's inputs; outputs of its outputs. */
bool fe_onnx_build_inputs(struct fe_onnx *g);
bool fe_onnx_build_outputs(struct fe_onnx *g);

/* ---------------------------------------------------------- onnx_rows.c -- */

/* Takes n elements, of values and of ops' tensors, from what the file's size
 * allows in all. */
bool fe_onnx_take_elements(struct fe_onnx *g, int64_t n);

/* Ops on what is of each row. All return NULL with a message, and NULL for a
 * NULL operand, so that calls can be nested. */
struct ir_value *fe_onnx_op(struct fe_onnx *g, enum ir_op_kind kind, int n,
                            struct ir_value *const *operands, int n_attrs,
                            const struct ir_attr *attrs);
/* A map of dtype `to`; x1 may be NULL where the program has one operand. */
struct ir_value *fe_onnx_map(struct fe_onnx *g, const char *program,
                             enum ir_dtype to, struct ir_value *x0,
                             struct ir_value *x1, struct ir_value *x2);
struct ir_value *fe_onnx_convert(struct fe_onnx *g, struct ir_value *x,
                                 enum ir_dtype to);
struct ir_value *fe_onnx_vector(struct fe_onnx *g, enum ir_dtype dtype,
                                int64_t n, const double *numbers);
struct ir_value *fe_onnx_gather(struct fe_onnx *g, struct ir_value *x,
                                int64_t n, const int32_t *index);
struct ir_value *fe_onnx_concat(struct fe_onnx *g, int n,
                                struct ir_value *const *parts);
struct ir_value *fe_onnx_reduce(struct fe_onnx *g, struct ir_value *x,
                                const char *kind);
/* values[i] where x is keys[i], which need no order but differ. */
struct ir_value *fe_onnx_lookup(struct fe_onnx *g, struct ir_value *x,
                                int64_t n, const double *keys,
                                const double *values, double fallback,
                                enum ir_dtype to);

/* How the rows of a type are kept. */
enum ir_dtype fe_onnx_dtype(int type);
/* A value's numbers as rows of its type's dtype: labels looked up, constants
 * made an op. No strings. */
struct ir_value *fe_onnx_numbers(struct fe_onnx *g,
                                 const struct fe_onnx_value *value);
/* The code of `word` in `words`, where it is put if it is new. */
int fe_onnx_code(struct fe_onnx *g, struct fe_onnx_words *words,
                 const char *word);
struct fe_onnx_words *fe_onnx_new_words(struct fe_onnx *g);

/* ------------------------------------- onnx_tree.c, onnx_tree_{v3,v5}.c -- */

/* How a node tests its feature. */
enum fe_onnx_mode {
    FE_ONNX_LEQ, FE_ONNX_LT, FE_ONNX_GTE, FE_ONNX_GT, FE_ONNX_EQ, FE_ONNX_NEQ,
    FE_ONNX_MEMBER, FE_ONNX_LEAF
};
enum fe_onnx_aggregate {
    FE_ONNX_AVERAGE, FE_ONNX_SUM, FE_ONNX_MIN, FE_ONNX_MAX
};
enum fe_onnx_post {
    FE_ONNX_NONE, FE_ONNX_SOFTMAX, FE_ONNX_LOGISTIC, FE_ONNX_SOFTMAX_ZERO,
    FE_ONNX_PROBIT, FE_ONNX_N_POSTS
};

/* An ensemble, whichever op it comes from. A child or root >= 0 is a node, one
 * < 0 is leaf ~child; a leaf may have several parents, a node one (or, where
 * tests for equality make up a set, those tests). Nothing here is checked but
 * the lengths and the ranges: fe_onnx_forest() does the rest. */
struct fe_onnx_ensemble {
    int64_t n_nodes, n_leaves, n_trees, n_targets;
    int64_t *root; /* [n_trees] */
    uint8_t *mode; /* [n_nodes] enum fe_onnx_mode */
    bool *missing; /* [n_nodes] a NaN goes to `yes` */
    int32_t *feature;
    double *value;         /* [n_nodes] the threshold */
    int64_t *yes, *no;     /* [n_nodes] children */
    /* Of a node of mode FE_ONNX_MEMBER: member[start .. end). */
    int64_t *member_start, *member_end; /* [n_nodes] */
    const double *member;
    int64_t *weight_start; /* [n_leaves + 1] into the weights */
    int32_t *target;       /* of each weight */
    double *weight;
    int32_t *leaf_id;   /* [n_leaves] */
    int64_t *node_name; /* [n_nodes] numbers for messages, */
    int64_t *tree_name; /* [n_trees] or NULL */
    enum fe_onnx_aggregate aggregate;
};

/* The sums of the leaves by target, aggregated, in x's dtype; the op's second
 * result is put in g->leaf. Targets in the order of their numbers. */
struct ir_value *fe_onnx_forest(struct fe_onnx *g,
                                const struct fe_onnx_ensemble *e,
                                struct ir_value *x);
/* Gives output 0: the sums after the post transform, as values of `type`. */
bool fe_onnx_give_targets(struct fe_onnx *g, struct ir_value *sums,
                          enum fe_onnx_post post, int64_t n, int type);
/* x as an ensemble's features: f64 of DOUBLE, else f32. */
struct ir_value *fe_onnx_features(struct fe_onnx *g,
                                  const struct fe_onnx_value *x);

/* ---------------------------------------------------------- onnx_post.c -- */

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

/* ----------------------------------------------- the ops, by their file -- */

/* Builds what g->node says, whose attributes and counts of inputs and outputs
 * fit the table in onnx_graph.c. */
typedef bool fe_onnx_builder(struct fe_onnx *g);

/* onnx_tree_v3.c, onnx_tree_v5.c */
fe_onnx_builder fe_onnx_tree_regressor, fe_onnx_tree_classifier,
    fe_onnx_tree_ensemble;
/* onnx_linear.c */
fe_onnx_builder fe_onnx_linear_classifier, fe_onnx_linear_regressor,
    fe_onnx_gemm, fe_onnx_matmul;
/* onnx_features.c */
fe_onnx_builder fe_onnx_scaler, fe_onnx_imputer, fe_onnx_normalizer,
    fe_onnx_binarizer, fe_onnx_one_hot_encoder, fe_onnx_label_encoder,
    fe_onnx_category_mapper, fe_onnx_feature_vectorizer,
    fe_onnx_array_feature_extractor, fe_onnx_zip_map;
/* onnx_shape.c */
fe_onnx_builder fe_onnx_constant, fe_onnx_identity, fe_onnx_cast,
    fe_onnx_reshape, fe_onnx_flatten, fe_onnx_unsqueeze, fe_onnx_squeeze,
    fe_onnx_shape, fe_onnx_constant_of_shape, fe_onnx_concat_op,
    fe_onnx_split, fe_onnx_slice, fe_onnx_gather_op, fe_onnx_transpose;
/* onnx_math.c */
fe_onnx_builder fe_onnx_unary, fe_onnx_binary, fe_onnx_clip, fe_onnx_where,
    fe_onnx_softmax, fe_onnx_arg_max, fe_onnx_reduce_op, fe_onnx_variadic;

#endif
