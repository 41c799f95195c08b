/* moves.c: ops that move elements and compute nothing: concat, view, pad, take:
 * their types, rules and meaning. An element is copied with all of its bits. */
#include "ir/ir_impl.h"

#include <math.h>
#include <string.h>

#define bad(...) ir_op_error(__VA_ARGS__)

static const int64_t *ints(const struct ir_op *op, const char *name)
{
    return ir_attr_tensor(op, name)->data;
}

/* Moves `at` to the next place of `type` in row-major order. */
static void step(const struct ir_type *type, int64_t at[IR_MAX_RANK])
{
    for (int i = type->rank; i-- > 0;) {
        if (++at[i] < type->dim[i])
            return;
        at[i] = 0;
    }
}

/* ------------------------------------------------------------------ concat */

/* Without an axis: numbers and vectors, end to end. */
static bool infer_flat(struct ir_op *op, struct ir_diag *diag)
{
    const enum ir_dtype dtype = op->operand[0]->type.dtype;
    int64_t n = 0;
    for (int i = 0; i < op->n_operands; i++) {
        const struct ir_type *x = &op->operand[i]->type;
        if (x->rank > 1 || x->dtype != dtype)
            return bad(op, diag, "operand %d is of %s and rank %d, not a "
                       "number or vector of %s", i, ir_dtype_name(x->dtype),
                       x->rank, ir_dtype_name(dtype));
        n += ir_type_volume(x);
        if (n > IR_MAX_ELEMENTS)
            return bad(op, diag, "more than %d elements", IR_MAX_ELEMENTS);
    }
    op->result[0].type = ir_type_vector(dtype, n);
    return true;
}

/* Whether the types differ at most along the axis. */
static bool are_alike(const struct ir_type *a, const struct ir_type *b,
                      int64_t axis)
{
    if (a->rank != b->rank || a->dtype != b->dtype)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (i != axis && a->dim[i] != b->dim[i])
            return false;
    return true;
}

bool ir_infer_concat(const struct ir_module *module, struct ir_op *op,
                     struct ir_diag *diag)
{
    struct ir_type type = op->operand[0]->type;
    (void)module;
    if (!ir_find_attr(op, "axis"))
        return infer_flat(op, diag);
    const int64_t axis = ir_attr_int(op, "axis");
    if (axis < 0 || axis >= type.rank)
        return bad(op, diag, "axis %lld is out of range (the rank is %d)",
                   (long long)axis, type.rank);
    type.dim[axis] = 0;
    for (int i = 0; i < op->n_operands; i++) {
        const struct ir_type *x = &op->operand[i]->type;
        if (!are_alike(x, &op->operand[0]->type, axis))
            return bad(op, diag, "operand %d and the first differ in more than "
                       "dim %lld", i, (long long)axis);
        type.dim[axis] += x->dim[axis];
    }
    op->result[0].type = type;
    return ir_check_size(op, &type, diag);
}

IR_NO_MORE_RULES(concat)

/* How many pieces each operand is in: one for each place before the axis. */
static int64_t count_pieces(const struct ir_op *op)
{
    int64_t n = 1;
    for (int64_t i = 0; i < ir_attr_int_or(op, "axis", 0); i++)
        n *= op->result[0].type.dim[i];
    return n;
}

bool ir_is_plain_concat(const struct ir_op *op)
{
    return count_pieces(op) == 1;
}

void ir_eval_concat(struct ir_eval_context *c, const struct ir_op *op)
{
    const int64_t n = count_pieces(op);
    uint8_t *to = ir_eval_data(c, &op->result[0]);
    for (int64_t piece = 0; piece < n; piece++)
        for (int o = 0; o < op->n_operands; o++) {
            const struct ir_value *x = op->operand[o];
            const size_t bytes = (size_t)(ir_type_volume(&x->type) / n) *
                                 ir_dtype_bytes(x->type.dtype);
            const uint8_t *from = ir_eval_data(c, x);
            memcpy(to, from + (size_t)piece * bytes, bytes);
            to += bytes;
        }
}

/* -------------------------------------------------------------------- view */

/* The type of a shape: 1 to IR_MAX_RANK dims. */
static bool infer_shape(struct ir_op *op, struct ir_diag *diag)
{
    const struct ir_tensor *shape = ir_attr_tensor(op, "shape");
    struct ir_type type = {.dtype = op->operand[0]->type.dtype};
    if (shape->type.rank != 1 || shape->type.dtype != IR_I64 ||
        shape->type.dim[0] < 1 || shape->type.dim[0] > IR_MAX_RANK)
        return bad(op, diag, "shape is no vector of 1 to %d i64", IR_MAX_RANK);
    type.rank = (int)shape->type.dim[0];
    for (int i = 0; i < type.rank; i++)
        type.dim[i] = ints(op, "shape")[i];
    op->result[0].type = type;
    return ir_check_size(op, &type, diag);
}

bool ir_infer_view(const struct ir_module *module, struct ir_op *op,
                   struct ir_diag *diag)
{
    (void)module;
    return infer_shape(op, diag) &&
           ir_check_ints(op, "strides", op->result[0].type.rank,
                         -IR_MAX_ELEMENTS, IR_MAX_ELEMENTS, diag);
}

/* All that is read is there. */
bool ir_verify_view(const struct ir_module *module, const struct ir_op *op,
                    struct ir_diag *diag)
{
    const struct ir_type *type = &op->result[0].type;
    const int64_t n = ir_type_volume(&op->operand[0]->type);
    const int64_t offset = ir_attr_int(op, "offset");
    int64_t low = 0, high = 0;
    (void)module;
    for (int i = 0; i < type->rank; i++) {
        const int64_t far = (type->dim[i] - 1) * ints(op, "strides")[i];
        low += far < 0 ? far : 0;
        high += far > 0 ? far : 0;
    }
    if (offset < -low || offset > n - 1 - high)
        return bad(op, diag, "elements %lld to %lld from %lld on are read, "
                   "there are %lld", (long long)low, (long long)high,
                   (long long)offset, (long long)n);
    return true;
}

void ir_eval_view(struct ir_eval_context *c, const struct ir_op *op)
{
    const struct ir_type *type = &op->result[0].type;
    const size_t bytes = ir_dtype_bytes(type->dtype);
    const uint8_t *from = ir_eval_data(c, op->operand[0]);
    uint8_t *to = ir_eval_data(c, &op->result[0]);
    int64_t at[IR_MAX_RANK] = {0};
    for (int64_t i = 0; i < ir_type_volume(type); i++) {
        int64_t index = ir_attr_int(op, "offset");
        for (int d = 0; d < type->rank; d++)
            index += at[d] * ints(op, "strides")[d];
        memcpy(to + (size_t)i * bytes, from + (size_t)index * bytes, bytes);
        step(type, at);
    }
}

/* --------------------------------------------------------------------- pad */

bool ir_infer_pad(const struct ir_module *module, struct ir_op *op,
                  struct ir_diag *diag)
{
    struct ir_type type = op->operand[0]->type;
    (void)module;
    if (!ir_check_reals(op, diag))
        return false;
    if (type.rank == 0)
        return bad(op, diag, "the operand has rank 0");
    if (!ir_check_ints(op, "before", type.rank, 0, IR_MAX_ELEMENTS, diag) ||
        !ir_check_ints(op, "after", type.rank, 0, IR_MAX_ELEMENTS, diag))
        return false;
    for (int i = 0; i < type.rank; i++)
        type.dim[i] += ints(op, "before")[i] + ints(op, "after")[i];
    op->result[0].type = type;
    return ir_check_size(op, &type, diag);
}

IR_NO_MORE_RULES(pad)

void ir_eval_pad(struct ir_eval_context *c, const struct ir_op *op)
{
    const struct ir_value *x = op->operand[0], *y = &op->result[0];
    int64_t at[IR_MAX_RANK] = {0};
    for (int64_t i = 0; i < ir_type_volume(&y->type); i++) {
        int64_t index = 0;
        bool inside = true;
        for (int d = 0; d < y->type.rank; d++) {
            const int64_t j = at[d] - ints(op, "before")[d];
            inside = inside && j >= 0 && j < x->type.dim[d];
            index = index * x->type.dim[d] + j;
        }
        ir_eval_set(c, y, i, inside ? ir_eval_get(c, x, index)
                                    : ir_attr_float(op, "value"));
        step(&y->type, at);
    }
}

/* -------------------------------------------------------------------- take */

bool ir_infer_take(const struct ir_module *module, struct ir_op *op,
                   struct ir_diag *diag)
{
    const struct ir_type *table = &ir_attr_tensor(op, "table")->type;
    struct ir_type type = op->operand[0]->type;
    (void)module;
    if (!ir_is_real(table->dtype) && table->dtype != IR_I32)
        return bad(op, diag, "the table is of %s, not f32, f64 or i32",
                   ir_dtype_name(table->dtype));
    if (table->rank < 1 || table->dim[0] < 1 ||
        table->dim[0] > IR_MAX_ELEMENTS)
        return bad(op, diag, "the table has no rows, or more than %d",
                   IR_MAX_ELEMENTS);
    if (type.rank + table->rank - 1 > IR_MAX_RANK)
        return bad(op, diag, "the result has rank %d (the limit is %d)",
                   type.rank + table->rank - 1, IR_MAX_RANK);
    for (int i = 1; i < table->rank; i++)
        type.dim[type.rank++] = table->dim[i];
    type.dtype = table->dtype;
    op->result[0].type = type;
    return ir_check_size(op, &type, diag);
}

IR_NO_MORE_RULES(take)

/* The row of n that the number v is of: cut off to a whole number, one below 0
 * counted from the end, and then the nearest that there is; 0 for a NaN. */
static int64_t row_of(double v, int64_t n)
{
    const double whole = trunc(v);
    const double at = whole < 0 ? whole + (double)n : whole;
    if (!(at > 0))
        return 0;
    return at < (double)n ? (int64_t)at : n - 1;
}

void ir_eval_take(struct ir_eval_context *c, const struct ir_op *op)
{
    const struct ir_tensor *table = ir_attr_tensor(op, "table");
    const struct ir_value *x = op->operand[0];
    const size_t bytes = ir_tensor_bytes(table) / (size_t)table->type.dim[0];
    const uint8_t *from = table->data;
    uint8_t *to = ir_eval_data(c, &op->result[0]);
    for (int64_t i = 0; i < ir_type_volume(&x->type); i++) {
        const double v = x->type.dtype == IR_I32
                             ? (double)((int32_t *)ir_eval_data(c, x))[i]
                             : ir_eval_get(c, x, i);
        const int64_t row = row_of(v, table->type.dim[0]);
        memcpy(to + (size_t)i * bytes, from + (size_t)row * bytes, bytes);
    }
}
