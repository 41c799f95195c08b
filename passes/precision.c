/* precision.c: nets with weights of fewer bits, and what that does to each op.
 *
 * bf16: weights of gemm, conv and scan are rounded to the nearest, and that is
 * all: they are read as f32, and sums are as before.
 *
 * int8: gemm and conv multiply whole numbers. Those of the operand go from 0 to
 * 255, one scale and zero for all of it, so that the range that was seen just
 * fits; 0 is always exact, as padding is. Those of the weights go from -127 to
 * 127, with a scale for each column. Sums are exact, so that the result does
 * not depend on their order.
 *
 * What an op cannot do, or would be slower by, it is left out of, and a note
 * says why. */
#include "passes/rewrite.h"

#include <math.h>
#include <string.h>

enum {
    most_weight = 127,
    most_number = 255,
    least_channels = 4 /* of a group: sums are of 4 products at a time */
};

static const char *weights_name(const struct ir_op *op)
{
    return op->kind == IR_OP_scan ? "recurrent" : "weights";
}

bool pass_has_weights(const struct ir_op *op)
{
    if (op->kind != IR_OP_gemm && op->kind != IR_OP_conv &&
        op->kind != IR_OP_scan)
        return false;
    return ir_attr_tensor(op, weights_name(op))->type.dtype == IR_F32;
}

static int64_t count(const struct ir_tensor *t)
{
    return (int64_t)(ir_tensor_bytes(t) / ir_dtype_bytes(t->type.dtype));
}

/* A tensor of the same dims. */
static void set_weights(struct ir_module *module, struct ir_op *op,
                        enum ir_dtype dtype, const void *data)
{
    const struct ir_tensor *old = ir_attr_tensor(op, weights_name(op));
    struct ir_tensor *t = ir_alloc(&module->arena, sizeof(*t));
    *t = (struct ir_tensor){.type = old->type, .data = data};
    t->type.dtype = dtype;
    pass_drop_attr(op, "winograd"); /* which only f32 can have */
    ir_set_attr(module, op, ir_tensor_attr(weights_name(op), t));
}

/* ------------------------------------------------------------------- bf16 */

/* Why it cannot be done, or NULL. */
static const char *lower_bf16(struct ir_module *module, struct ir_op *op)
{
    const struct ir_tensor *t = ir_attr_tensor(op, weights_name(op));
    const float *w = t->data;
    const int64_t n = count(t);
    uint16_t *to = ir_alloc_array(&module->arena, (size_t)n, sizeof(*to));
    for (int64_t i = 0; i < n; i++) {
        to[i] = ir_to_bf16(w[i]);
        if (isfinite(w[i]) && !isfinite(ir_from_bf16(to[i])))
            return "a weight is too large";
    }
    set_weights(module, op, IR_BF16, to);
    return NULL;
}

/* ------------------------------------------------------------------- int8 */

/* Weights as columns: that of number n has `terms` weights, `step` apart, from
 * n * skip on. */
struct columns {
    int64_t n, terms, skip, step;
};

static struct columns columns_of(const struct ir_op *op)
{
    const struct ir_tensor *t = ir_attr_tensor(op, "weights");
    const int64_t *dim = t->type.dim;
    if (op->kind == IR_OP_gemm)
        return (struct columns){dim[1], dim[0], 1, dim[1]};
    const int64_t terms = count(t) / dim[0];
    return (struct columns){dim[0], terms, terms, 1};
}

static bool has_gaps(const struct ir_op *op)
{
    struct ir_window w;
    ir_window_view(op, &w);
    for (int i = 0; i < IR_MAX_SPACE; i++)
        if (w.dim[i].spread > 1)
            return true;
    return false;
}

static const char *int8_obstacle(const struct ir_op *op,
                                 const struct pass_range *range)
{
    if (op->kind == IR_OP_scan)
        return "a recurrent layer's state is not quantised";
    const struct ir_tensor *t = ir_attr_tensor(op, "weights");
    const float *w = t->data;
    for (int64_t i = 0, n = count(t); i < n; i++)
        if (!isfinite(w[i]))
            return "a weight is not finite";
    if (columns_of(op).terms > INT32_MAX / (255 * 128))
        return "its sums have too many terms";
    if (op->kind == IR_OP_conv && has_gaps(op))
        return "it is a transposed convolution";
    if (op->kind == IR_OP_conv && ir_attr_int(op, "groups") > 1 &&
        t->type.dim[1] < least_channels)
        return "its groups have few channels";
    return range->low > range->high ? "it read no finite number" : NULL;
}

/* The scale of a column, and its weights in steps of that. */
static double quantise_column(const struct columns *c, int64_t n,
                             const float *w, int8_t *to)
{
    double most = 0;
    for (int64_t i = 0; i < c->terms; i++)
        most = fmax(most, fabs(w[n * c->skip + i * c->step]));
    const double scale = most / most_weight;
    for (int64_t i = 0; i < c->terms; i++) {
        const int64_t at = n * c->skip + i * c->step;
        to[at] = most > 0 ? (int8_t)rint(w[at] / scale) : 0;
    }
    return scale;
}

/* How many steps one is, and the step that 0 is. */
static float input_scale(const struct pass_range *range, int64_t *zero)
{
    const double low = fmin(range->low, 0), high = fmax(range->high, 0);
    const double scale = high > low ? most_number / (high - low) : 1;
    const float held = (float)fmin(fmax(scale, 0x1p-120), 0x1p120);
    *zero = (int64_t)fmin(rint(-low * (double)held), most_number);
    return held;
}

static const char *lower_int8(struct ir_module *module, struct ir_op *op,
                              const struct pass_range *range)
{
    const char *obstacle = int8_obstacle(op, range);
    if (obstacle)
        return obstacle;
    const struct columns c = columns_of(op);
    const float *w = ir_attr_tensor(op, "weights")->data;
    int8_t *to = ir_alloc_array(&module->arena, (size_t)c.n, (size_t)c.terms);
    float *scale = ir_alloc_array(&module->arena, (size_t)c.n, sizeof(*scale));
    int64_t zero;
    const float steps = input_scale(range, &zero);
    for (int64_t n = 0; n < c.n; n++)
        scale[n] = (float)(quantise_column(&c, n, w, to) / (double)steps);
    set_weights(module, op, IR_I8, to);
    ir_set_attr(module, op, ir_float("input_scale", (double)steps));
    ir_set_attr(module, op, ir_int("input_zero", zero));
    pass_set_tensor(module, op, "scale", IR_F32, c.n, scale);
    return NULL;
}

/* --------------------------------------------------------------- all of it */

static void lower(struct ir_module *module, struct ir_op *op,
                  enum pass_precision precision,
                  const struct pass_range *range, struct pass_lowered *lowered)
{
    lowered->n_ops++;
    lowered->bytes_before +=
        (int64_t)ir_tensor_bytes(ir_attr_tensor(op, weights_name(op)));
    const char *obstacle = precision == PASS_BF16
                               ? lower_bf16(module, op)
                               : lower_int8(module, op, range);
    lowered->bytes_after +=
        (int64_t)ir_tensor_bytes(ir_attr_tensor(op, weights_name(op)));
    if (obstacle)
        ir_text_printf(&lowered->notes, "%%%d, a %s, keeps f32: %s\n",
                       op->result[0].id, ir_op_table[op->kind].name,
                       obstacle);
    else
        lowered->n_lowered++;
}

bool pass_lower_precision(struct ir_module *module,
                          enum pass_precision precision,
                          const struct pass_range *range,
                          struct pass_lowered *lowered, struct ir_diag *diag)
{
    *lowered = (struct pass_lowered){0};
    ir_text_init(&lowered->notes);
    for (int i = 0; i < module->n_ops; i++)
        if (pass_has_weights(module->ops[i]))
            lower(module, module->ops[i], precision, range ? &range[i] : NULL,
                  lowered);
    return ir_verify(module, diag);
}
