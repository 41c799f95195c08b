/* onnx_rows.h: what is of each row: ops of the IR on it, within a budget, and
 * the dims that the file has of it.
 *
 * A value's rows are its elements in row-major order, whatever dims the IR's
 * value has; the dims of the file, with the batch, are beside them. Ops here
 * make rows of rows and know nothing of batches; shapes, views and broadcasting
 * do. Included by onnx.h.
 */
#ifndef TREENAIL_FRONTEND_ONNX_ROWS_H
#define TREENAIL_FRONTEND_ONNX_ROWS_H

#include "frontend/internal.h"

struct fe_onnx;
struct fe_onnx_tensor;
struct fe_onnx_value;
struct fe_onnx_words;

/* ---------------------------------------------------------- onnx_rows.c -- */

/* Takes n elements, of what is computed here and of tensors, from what the
 * file's size allows in all. */
bool fe_onnx_take_elements(struct fe_onnx *g, int64_t n);
/* Allows more of them, for so many bytes that were read. */
void fe_onnx_allow_elements(struct fe_onnx *g, size_t bytes);
/* The product of dims, each at least `least`; -1 with a message when it is
 * more than a value may have. */
int64_t fe_onnx_volume(struct fe_onnx *g, int rank, const int64_t *dim,
                       int64_t least);

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
/* The same of each slice: x seen as [outer][size][inner]. */
struct ir_value *fe_onnx_reduce_slices(struct fe_onnx *g, struct ir_value *x,
                                       const char *kind, int64_t size,
                                       int64_t inner);
/* values[i] where x is keys[i], which need no order but differ. */
struct ir_value *fe_onnx_lookup(struct fe_onnx *g, struct ir_value *x,
                                int64_t n, const double *keys,
                                const double *values, double fallback,
                                enum ir_dtype to);

/* Numbers as a tensor of the module. */
const struct ir_tensor *fe_onnx_tensor(struct fe_onnx *g, enum ir_dtype dtype,
                                       int rank, const int64_t *dim,
                                       const double *numbers);
/* An attribute that is a list of i64. */
struct ir_attr fe_onnx_list(struct fe_onnx *g, const char *name, int n,
                            const int64_t *list);
/* x with these dims, its elements in their order. */
struct ir_value *fe_onnx_shaped(struct fe_onnx *g, struct ir_value *x,
                                int rank, const int64_t *dim);
/* Element offset + sum of index * stride, for each index below dim. */
struct ir_value *fe_onnx_strided(struct fe_onnx *g, struct ir_value *x,
                                 int rank, const int64_t *dim,
                                 const int64_t *stride, int64_t offset);
/* `count` elements from `first` on, as these dims. */
struct ir_value *fe_onnx_part(struct fe_onnx *g, struct ir_value *x,
                              int64_t first, int rank, const int64_t *dim);
/* The strides of dims that are dense. */
void fe_onnx_strides(int rank, const int64_t *dim, int64_t *stride);

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

/* ---------------------------------------------------------- onnx_dims.c -- */

/* The dims of a result, with the batch, as a value has them. */
struct fe_onnx_shape {
    int rank;
    int64_t dim[IR_MAX_RANK], n;
    bool batched;
    int batch;
    int64_t ahead;
};

struct fe_onnx_shape fe_onnx_shape_of(const struct fe_onnx_value *x);
/* What n values broadcast to, as numpy's do. */
bool fe_onnx_broadcast(struct fe_onnx *g, size_t n,
                       struct fe_onnx_value *const *x,
                       struct fe_onnx_shape *shape);
/* x's numbers as a map takes them, for a result of that shape: of this dtype,
 * and with dims that fit from the last one on. */
struct ir_value *fe_onnx_spread(struct fe_onnx *g,
                                const struct fe_onnx_shape *shape,
                                const struct fe_onnx_value *x,
                                enum ir_dtype dtype);
/* Whether dim i is the batch and nothing else: the IR does not have it. */
bool fe_onnx_is_bare_batch(const struct fe_onnx_shape *shape, int i);
/* Sets n from the dims; false with a message when it is too large. */
bool fe_onnx_size(struct fe_onnx *g, struct fe_onnx_shape *shape);
bool fe_onnx_give_shape(struct fe_onnx *g, size_t i, int type,
                        struct ir_value *rows,
                        const struct fe_onnx_shape *shape);
/* Gives x other dims, of as many elements in the same order. */
void fe_onnx_reshaped(struct fe_onnx *g, struct fe_onnx_value *x,
                      const struct fe_onnx_shape *shape);
/* The same of a copy, which output i becomes. */
bool fe_onnx_give_shaped(struct fe_onnx *g, size_t i,
                         const struct fe_onnx_value *x,
                         const struct fe_onnx_shape *shape);
/* The elements offset + sum of index * stride of x, for each index below the
 * shape's dims: rows, constants and strings alike. */
bool fe_onnx_view(struct fe_onnx *g, const struct fe_onnx_value *x,
                  const struct fe_onnx_shape *shape, const int64_t *stride,
                  int64_t offset, struct fe_onnx_value *y);
/* The shape's elements as those with these numbers of x. */
bool fe_onnx_pick(struct fe_onnx *g, const struct fe_onnx_value *x,
                  const struct fe_onnx_shape *shape, const int32_t *index,
                  struct fe_onnx_value *y);
/* An axis that may count from the end, of `rank` dims. */
bool fe_onnx_axis(struct fe_onnx *g, int64_t given, int rank, int *axis);
/* The same of x's dims, which may not be the batch. */
bool fe_onnx_own_axis(struct fe_onnx *g, const struct fe_onnx_value *x,
                      int64_t given, int *axis);
/* The product of x's dims [from, to). */
int64_t fe_onnx_product(const struct fe_onnx_value *x, int from, int to);
/* The list of whole numbers that is an attribute, or a constant input. NULL
 * without a message when it is neither; *ok false after one. */
const struct fe_onnx_tensor *fe_onnx_whole_list(struct fe_onnx *g,
                                                const char *name, size_t input,
                                                bool *ok);

/* ---------------------------------------------------------- onnx_move.c -- */

/* Parts side by side along an axis of theirs. */
struct ir_value *fe_onnx_join(struct fe_onnx *g, int n,
                              struct ir_value *const *parts, int axis);

#endif
