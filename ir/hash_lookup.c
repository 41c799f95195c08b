/* hash_lookup.c: the op hash_lookup: its type, rules and meaning. What a model
 * keeps by a 64-bit hash of several numbers, as CatBoost its counts of
 * combined categories, is found by computing that hash. */
#include "ir/ir_impl.h"

#include <math.h>
#include <string.h>

#define MAX_PARTS 64

#define bad(...) ir_op_error(__VA_ARGS__)

static bool is_vector(const struct ir_tensor *t, enum ir_dtype dtype)
{
    return t->type.rank == 1 && t->type.dtype == dtype &&
           t->type.dim[0] >= 1 && t->type.dim[0] <= IR_MAX_ELEMENTS;
}

bool ir_infer_hash_lookup(const struct ir_module *module, struct ir_op *op,
                          struct ir_diag *diag)
{
    const struct ir_type *x = &op->operand[0]->type;
    const struct ir_tensor *keys = ir_attr_tensor(op, "keys");
    const struct ir_tensor *values = ir_attr_tensor(op, "values");
    const struct ir_tensor *other = ir_attr_tensor(op, "default");
    const enum ir_dtype dtype = other->type.dtype;
    (void)module;
    if (x->dtype != IR_F64 || x->rank > 1 || ir_type_volume(x) > MAX_PARTS)
        return bad(op, diag, "the operand is not at most %d f64", MAX_PARTS);
    if (!is_vector(keys, IR_I64))
        return bad(op, diag, "keys are no vector of i64");
    if (dtype != IR_F32 && dtype != IR_F64)
        return bad(op, diag, "default is of %s, not f32 or f64",
                   ir_dtype_name(dtype));
    if (!is_vector(other, dtype) || !is_vector(values, dtype))
        return bad(op, diag, "values and default are no vectors of one dtype");
    const int64_t n = keys->type.dim[0], width = other->type.dim[0];
    if (values->type.dim[0] / width != n || values->type.dim[0] % width != 0)
        return bad(op, diag, "there are %lld values, not %lld for each of "
                   "%lld keys", (long long)values->type.dim[0],
                   (long long)width, (long long)n);
    op->result[0].type = ir_type_vector(dtype, width);
    return true;
}

bool ir_verify_hash_lookup(const struct ir_module *module,
                           const struct ir_op *op, struct ir_diag *diag)
{
    const struct ir_tensor *t = ir_attr_tensor(op, "keys");
    const int64_t *keys = t->data;
    (void)module;
    for (int64_t i = 1; i < t->type.dim[0]; i++)
        if (keys[i - 1] >= keys[i])
            return bad(op, diag, "keys[%lld] is %lld, after %lld",
                       (long long)i, (long long)keys[i],
                       (long long)keys[i - 1]);
    return true;
}

/* The row of `values` for the operand's numbers; -1 when there is none. */
static int64_t find_row(struct ir_eval_context *c, const struct ir_op *op)
{
    const uint64_t m = (uint64_t)ir_attr_int(op, "multiplier");
    const struct ir_value *x = op->operand[0];
    const struct ir_tensor *t = ir_attr_tensor(op, "keys");
    const int64_t *keys = t->data;
    uint64_t hash = 0;
    for (int64_t i = 0; i < ir_type_volume(&x->type); i++) {
        const double v = ir_eval_get(c, x, i);
        if (!(fabs(v) < 0x1p53))
            return -1;
        hash = m * (hash + m * (uint64_t)(int64_t)v);
    }
    int64_t low = 0, high = t->type.dim[0];
    while (low < high) {
        const int64_t mid = low + (high - low) / 2;
        if (keys[mid] < (int64_t)hash)
            low = mid + 1;
        else
            high = mid;
    }
    return low < t->type.dim[0] && keys[low] == (int64_t)hash ? low : -1;
}

void ir_eval_hash_lookup(struct ir_eval_context *c, const struct ir_op *op)
{
    const struct ir_tensor *values = ir_attr_tensor(op, "values");
    const struct ir_tensor *other = ir_attr_tensor(op, "default");
    const size_t bytes = ir_tensor_bytes(other);
    const int64_t row = find_row(c, op);
    const uint8_t *from = row < 0 ? other->data : values->data;
    memcpy(ir_eval_data(c, &op->result[0]),
           from + (row < 0 ? 0 : (size_t)row * bytes), bytes);
}
