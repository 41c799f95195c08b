/* elements.c: ops that look at the elements of a value: constant, gather,
 * lookup, bucketize, interp, dense: their types, rules and meaning. */
#include "ir/ir_impl.h"

#include <math.h>
#include <string.h>

#define bad(...) ir_op_error(__VA_ARGS__)

static bool is_value(enum ir_dtype dtype)
{
    return ir_is_real(dtype) || dtype == IR_I32;
}

/* The operand is real; its dtype. */
static bool check_operand(const struct ir_op *op, struct ir_diag *diag)
{
    const enum ir_dtype dtype = op->operand[0]->type.dtype;
    return ir_is_real(dtype) ||
           bad(op, diag, "the operand is of %s, not f32 or f64",
               ir_dtype_name(dtype));
}

static double number_at(const struct ir_tensor *t, int64_t i)
{
    if (t->type.dtype == IR_I32)
        return ((const int32_t *)t->data)[i];
    return ir_real(t->data, t->type.dtype, (size_t)i);
}

/* Neither falls nor holds a NaN; a strict one rises, and may end in a NaN. */
static bool check_ascending(const struct ir_op *op, const char *name,
                            bool strict, struct ir_diag *diag)
{
    const struct ir_tensor *t = ir_attr_tensor(op, name);
    const int64_t n = t->type.dim[0];
    for (int64_t i = 0; i < n; i++) {
        const double v = number_at(t, i);
        if (isnan(v) && !(strict && i == n - 1))
            return bad(op, diag, "%s[%lld] is a NaN", name, (long long)i);
        if (i == 0 || isnan(v))
            continue;
        const double before = number_at(t, i - 1);
        if (strict ? !(v > before) : !(v >= before))
            return bad(op, diag, "%s[%lld] is %.17g, after %.17g", name,
                       (long long)i, v, before);
    }
    return true;
}

/* ---------------------------------------------------------------- constant */

bool ir_infer_constant(const struct ir_module *module, struct ir_op *op,
                       struct ir_diag *diag)
{
    const struct ir_type *type = &ir_attr_tensor(op, "value")->type;
    (void)module;
    if (!is_value(type->dtype))
        return bad(op, diag, "the value is of %s, not f32, f64 or i32",
                   ir_dtype_name(type->dtype));
    if (!ir_check_size(op, type, diag))
        return false;
    op->result[0].type = *type;
    return true;
}

bool ir_verify_constant(const struct ir_module *module, const struct ir_op *op,
                        struct ir_diag *diag)
{
    (void)module;
    (void)op;
    (void)diag;
    return true;
}

void ir_eval_constant(struct ir_eval_context *c, const struct ir_op *op)
{
    const struct ir_tensor *value = ir_attr_tensor(op, "value");
    memcpy(ir_eval_data(c, &op->result[0]), value->data,
           ir_tensor_bytes(value));
}

/* ------------------------------------------------------------------ gather */

bool ir_infer_gather(const struct ir_module *module, struct ir_op *op,
                     struct ir_diag *diag)
{
    const struct ir_type *x = &op->operand[0]->type;
    (void)module;
    if (x->rank > 1)
        return bad(op, diag, "the operand has rank %d, not 0 or 1", x->rank);
    if (!ir_check_vector(op, "index", IR_I32, -1, diag))
        return false;
    op->result[0].type = ir_type_vector(
        x->dtype, ir_attr_tensor(op, "index")->type.dim[0]);
    return true;
}

bool ir_verify_gather(const struct ir_module *module, const struct ir_op *op,
                      struct ir_diag *diag)
{
    const struct ir_tensor *index = ir_attr_tensor(op, "index");
    const int64_t n = ir_type_volume(&op->operand[0]->type);
    (void)module;
    for (int64_t i = 0; i < index->type.dim[0]; i++) {
        const int32_t at = ((const int32_t *)index->data)[i];
        if (at < 0 || at >= n)
            return bad(op, diag, "index[%lld] is %d (there are %lld elements)",
                       (long long)i, at, (long long)n);
    }
    return true;
}

void ir_eval_gather(struct ir_eval_context *c, const struct ir_op *op)
{
    const struct ir_value *x = op->operand[0];
    const struct ir_tensor *index = ir_attr_tensor(op, "index");
    const size_t bytes = ir_dtype_bytes(x->type.dtype);
    const uint8_t *from = ir_eval_data(c, x);
    uint8_t *to = ir_eval_data(c, &op->result[0]);
    for (int64_t i = 0; i < index->type.dim[0]; i++)
        memcpy(to + (size_t)i * bytes,
               from + (size_t)((const int32_t *)index->data)[i] * bytes,
               bytes);
}

/* ------------------------------------------------------------------ search */

static double rounded(enum ir_dtype dtype, double v)
{
    return dtype == IR_F32 ? (double)(float)v : v;
}

/* Element by element what ir_element() says. */
static void eval_elements(struct ir_eval_context *c, const struct ir_op *op)
{
    for (int64_t i = 0; i < ir_type_volume(&op->operand[0]->type); i++)
        ir_eval_set(c, &op->result[0], i,
                    ir_element(op, ir_eval_get(c, op->operand[0], i)));
}

/* How many of the n ascending numbers are below v, or not above it. */
static int64_t count_below(const struct ir_tensor *t, int64_t n, double v,
                           bool or_equal)
{
    int64_t low = 0, high = n;
    while (low < high) {
        const int64_t mid = (low + high) / 2;
        const double at = number_at(t, mid);
        if (or_equal ? at <= v : at < v)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* ------------------------------------------------------------------ lookup */

bool ir_infer_lookup(const struct ir_module *module, struct ir_op *op,
                     struct ir_diag *diag)
{
    const struct ir_type *x = &op->operand[0]->type;
    const struct ir_tensor *keys = ir_attr_tensor(op, "keys");
    const struct ir_tensor *values = ir_attr_tensor(op, "values");
    (void)module;
    if (!check_operand(op, diag) ||
        !ir_check_vector(op, "keys", x->dtype, -1, diag))
        return false;
    if (!is_value(values->type.dtype))
        return bad(op, diag, "values are of %s, not f32, f64 or i32",
                   ir_dtype_name(values->type.dtype));
    if (!ir_check_vector(op, "values", values->type.dtype, keys->type.dim[0],
                      diag))
        return false;
    op->result[0].type = *x;
    op->result[0].type.dtype = values->type.dtype;
    return true;
}

bool ir_verify_lookup(const struct ir_module *module, const struct ir_op *op,
                      struct ir_diag *diag)
{
    const double other = ir_attr_float(op, "default");
    (void)module;
    if (op->result[0].type.dtype == IR_I32 &&
        !(other == floor(other) && fabs(other) <= INT32_MAX))
        return bad(op, diag, "default is %g, no i32", other);
    return check_ascending(op, "keys", true, diag);
}

static double look_up(const struct ir_op *op, double v)
{
    const struct ir_tensor *keys = ir_attr_tensor(op, "keys");
    const struct ir_tensor *values = ir_attr_tensor(op, "values");
    const int64_t n = keys->type.dim[0];
    const bool has_nan = isnan(number_at(keys, n - 1));
    const int64_t at = isnan(v) ? n - 1
                                : count_below(keys, n - has_nan, v, false);
    const bool found = isnan(v) ? has_nan : at < n && number_at(keys, at) == v;
    return found ? number_at(values, at)
                 : rounded(values->type.dtype, ir_attr_float(op, "default"));
}

void ir_eval_lookup(struct ir_eval_context *c, const struct ir_op *op)
{
    eval_elements(c, op);
}

/* --------------------------------------------------------------- bucketize */

bool ir_infer_bucketize(const struct ir_module *module, struct ir_op *op,
                        struct ir_diag *diag)
{
    const struct ir_type *x = &op->operand[0]->type;
    (void)module;
    if (!check_operand(op, diag) ||
        !ir_check_vector(op, "edges", x->dtype, -1, diag))
        return false;
    op->result[0].type = *x;
    return true;
}

bool ir_verify_bucketize(const struct ir_module *module,
                         const struct ir_op *op, struct ir_diag *diag)
{
    const int64_t right = ir_attr_int(op, "right");
    (void)module;
    if (right != 0 && right != 1)
        return bad(op, diag, "right is %lld, not 0 or 1", (long long)right);
    return check_ascending(op, "edges", false, diag);
}

static double bucket_of(const struct ir_op *op, double v)
{
    const struct ir_tensor *edges = ir_attr_tensor(op, "edges");
    const int64_t n = edges->type.dim[0];
    const bool or_equal = ir_attr_int(op, "right") == 1;
    return rounded(edges->type.dtype,
                   (double)(isnan(v) ? n
                                     : count_below(edges, n, v, or_equal)));
}

void ir_eval_bucketize(struct ir_eval_context *c, const struct ir_op *op)
{
    eval_elements(c, op);
}

/* ------------------------------------------------------------------ interp */

bool ir_infer_interp(const struct ir_module *module, struct ir_op *op,
                     struct ir_diag *diag)
{
    const struct ir_type *x = &op->operand[0]->type;
    (void)module;
    if (!check_operand(op, diag) ||
        !ir_check_vector(op, "x", x->dtype, -1, diag) ||
        !ir_check_vector(op, "y", x->dtype,
                      ir_attr_tensor(op, "x")->type.dim[0], diag))
        return false;
    op->result[0].type = *x;
    return true;
}

bool ir_verify_interp(const struct ir_module *module, const struct ir_op *op,
                      struct ir_diag *diag)
{
    const struct ir_tensor *y = ir_attr_tensor(op, "y");
    (void)module;
    for (int64_t i = 0; i < y->type.dim[0]; i++)
        if (!isfinite(number_at(y, i)))
            return bad(op, diag, "y[%lld] is not finite", (long long)i);
    const struct ir_tensor *x = ir_attr_tensor(op, "x");
    for (int64_t i = 0; i < x->type.dim[0]; i++)
        if (!isfinite(number_at(x, i)))
            return bad(op, diag, "x[%lld] is not finite", (long long)i);
    return check_ascending(op, "x", false, diag);
}

/* numpy's interp, each step rounded to the dtype. */
static double interpolate(const struct ir_tensor *x, const struct ir_tensor *y,
                          double v)
{
    const enum ir_dtype d = x->type.dtype;
    const int64_t n = x->type.dim[0];
    if (isnan(v))
        return v;
    const int64_t at = count_below(x, n, v, true) - 1;
    if (at < 0)
        return number_at(y, 0);
    const double x0 = number_at(x, at), y0 = number_at(y, at);
    if (at == n - 1 || x0 == v)
        return y0;
    const double x1 = number_at(x, at + 1), y1 = number_at(y, at + 1);
    const double slope =
        rounded(d, rounded(d, y1 - y0) / rounded(d, x1 - x0));
    return rounded(d, rounded(d, slope * rounded(d, v - x0)) + y0);
}

void ir_eval_interp(struct ir_eval_context *c, const struct ir_op *op)
{
    eval_elements(c, op);
}

double ir_element(const struct ir_op *op, double v)
{
    switch (op->kind) {
    case IR_OP_lookup:
        return look_up(op, v);
    case IR_OP_bucketize:
        return bucket_of(op, v);
    case IR_OP_interp:
        return interpolate(ir_attr_tensor(op, "x"), ir_attr_tensor(op, "y"),
                           v);
    default:
        ir_bug("%s gives no element by itself", ir_op_table[op->kind].name);
    }
}

/* ------------------------------------------------------------------- dense */

bool ir_infer_dense(const struct ir_module *module, struct ir_op *op,
                    struct ir_diag *diag)
{
    const struct ir_type *x = &op->operand[0]->type;
    const struct ir_type *w = &ir_attr_tensor(op, "weights")->type;
    (void)module;
    if (!check_operand(op, diag))
        return false;
    if (w->rank != 2 || w->dtype != x->dtype)
        return bad(op, diag, "weights are no matrix of %s",
                   ir_dtype_name(x->dtype));
    if (w->dim[1] != ir_type_volume(x) || w->dim[0] < 1 ||
        w->dim[0] > IR_MAX_ELEMENTS)
        return bad(op, diag, "weights are %lld x %lld, the operand has %lld "
                   "elements", (long long)w->dim[0], (long long)w->dim[1],
                   (long long)ir_type_volume(x));
    if (!ir_check_vector(op, "bias", x->dtype, w->dim[0], diag))
        return false;
    op->result[0].type = ir_type_vector(x->dtype, w->dim[0]);
    return true;
}

bool ir_verify_dense(const struct ir_module *module, const struct ir_op *op,
                     struct ir_diag *diag)
{
    return ir_verify_constant(module, op, diag);
}

void ir_eval_dense(struct ir_eval_context *c, const struct ir_op *op)
{
    const struct ir_value *x = op->operand[0];
    const struct ir_tensor *w = ir_attr_tensor(op, "weights");
    const struct ir_tensor *bias = ir_attr_tensor(op, "bias");
    const int64_t n = w->type.dim[1];
    const enum ir_dtype d = x->type.dtype;
    for (int64_t j = 0; j < w->type.dim[0]; j++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum = rounded(d, sum + rounded(d, ir_eval_get(c, x, i) *
                                                  number_at(w, j * n + i)));
        ir_eval_set(c, &op->result[0], j,
                    bias ? sum + number_at(bias, j) : sum);
    }
}
