/* onnx_quant.c: whole numbers that stand for reals: q = round(x / scale) +
 * zero. Products that onnx_integer.c does not have are summed as f64, which is
 * exact as long as a sum stays below 2^53; scales are f32, as the standard has
 * them.
 */
#include "frontend/onnx.h"

#include <string.h>

/* ---------------------------------------------------------------- scales -- */

/* Input i as numbers that fit x's dims: a single one, or one for each place
 * along an axis. NULL with a message. */
static struct fe_onnx_value *along(struct fe_onnx *g, size_t i,
                                   const struct fe_onnx_value *x, int axis)
{
    const struct fe_onnx_value *v = fe_onnx_input(g, i);
    struct fe_onnx_value *y = ir_alloc(&g->scratch, sizeof *y);
    if (!v)
        return NULL;
    *y = *v;
    if (v->n == 1) {
        y->rank = v->batched ? v->rank : 0;
        return y;
    }
    if (v->rank != 1 || axis < 0 || axis >= x->rank ||
        v->n != x->dim[axis] || v->batched) {
        fe_onnx_error(g, "input %zu has %lld elements, for '%.200s' of %d "
                      "dims", i, (long long)v->n, x->name, x->rank);
        return NULL;
    }
    y->rank = x->rank - axis;
    for (int d = 1; d < y->rank; d++)
        y->dim[d] = 1;
    return y;
}

/* The same for a zero point, which may be absent: NULL then, with *ok. */
static struct fe_onnx_value *zero_along(struct fe_onnx *g, size_t i,
                                        const struct fe_onnx_value *x,
                                        int axis, bool *ok)
{
    *ok = true;
    if (!fe_onnx_has_input(g, i))
        return NULL;
    struct fe_onnx_value *zero = along(g, i, x, axis);
    *ok = zero && (fe_onnx_is_whole(zero->type) ||
                   fe_onnx_error(g, "input %zu is of type %s", i,
                                 fe_onnx_type_name(zero->type)));
    return zero;
}

/* The numbers that a type can hold. */
static bool type_range(struct fe_onnx *g, int type, double *low, double *high)
{
    const int bits = fe_onnx_bits(type);
    const bool sign = fe_onnx_is_signed(type) || type == FE_ONNX_INT32;
    const double n = (double)(INT64_C(1) << (bits < 33 ? bits : 32));
    if (!fe_onnx_is_whole(type) || type == FE_ONNX_BOOL || bits > 32)
        return fe_onnx_error(g, "numbers of type %s are not read",
                             fe_onnx_type_name(type));
    *low = sign ? -n / 2 : 0;
    *high = (sign ? n / 2 : n) - 1;
    return true;
}

/* Whole numbers as those of `type`, held to what it holds, plus a zero. */
static struct ir_value *saturate(struct fe_onnx *g,
                                 const struct fe_onnx_shape *shape,
                                 struct ir_value *x, int type,
                                 const struct fe_onnx_value *zero)
{
    double low = 0, high = 0;
    if (!x || !type_range(g, type, &low, &high))
        return NULL;
    x = fe_onnx_convert(g, x, IR_F64);
    if (zero && x)
        x = fe_onnx_map(g, "x0 x1 add", IR_F64, x,
                        fe_onnx_spread(g, shape, zero, IR_F64), NULL);
    return x ? fe_onnx_map(
        g, ir_sprintf(&g->scratch, "x0 %.17g max %.17g min", low, high),
        IR_F64, x, NULL, NULL) : NULL;
}

static struct ir_value *less_zero(struct fe_onnx *g,
                                  const struct fe_onnx_value *x,
                                  const struct fe_onnx_value *zero)
{
    const struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    struct ir_value *rows = fe_onnx_spread(g, &shape, x, IR_F64);
    return zero ? fe_onnx_map(g, "x0 x1 sub", IR_F64, rows,
                              fe_onnx_spread(g, &shape, zero, IR_F64), NULL)
                : rows;
}

/* ---------------------------------------------------- to and from reals -- */

static bool read_axis(struct fe_onnx *g, const struct fe_onnx_value *x,
                      int *axis)
{
    const int64_t given = fe_onnx_int(g, "axis", 1);
    *axis = (int)(given < 0 ? given + x->rank : given);
    if (given < -x->rank || given > IR_MAX_RANK)
        return fe_onnx_error(g, "axis %lld is out of range (there are %d "
                             "dims)", (long long)given, x->rank);
    return true;
}

/* x, and the scale and zero point (NULL: none) along its axis. */
static bool read_linear(struct fe_onnx *g, const struct fe_onnx_value **x,
                        const struct fe_onnx_value **scale,
                        const struct fe_onnx_value **zero)
{
    int axis;
    bool ok;
    *x = fe_onnx_number_input(g, 0);
    if (!*x || !read_axis(g, *x, &axis))
        return false;
    *scale = along(g, 1, *x, axis);
    if (!*scale)
        return false;
    *zero = zero_along(g, 2, *x, axis, &ok);
    return ok;
}

bool fe_onnx_quantize(struct fe_onnx *g)
{
    const struct fe_onnx_value *x, *scale, *zero;
    bool done;
    if (fe_onnx_int(g, "block_size", 0))
        return fe_onnx_linear_blocks(g);
    if (!read_linear(g, &x, &scale, &zero))
        return false;
    if (!fe_onnx_quantize_bytes(g, &done) || done)
        return done && fe_onnx_is_good(g);
    const int64_t asked = fe_onnx_int(g, "output_dtype", 0);
    const int type = zero ? zero->type : asked ? (int)asked : FE_ONNX_UINT8;
    const struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    struct ir_value *y = fe_onnx_map(
        g, "x0 x1 div rint", IR_F32, fe_onnx_spread(g, &shape, x, IR_F32),
        fe_onnx_spread(g, &shape, scale, IR_F32), NULL);
    return fe_onnx_give_shape(g, 0, type, saturate(g, &shape, y, type, zero),
                              &shape);
}

bool fe_onnx_dequantize(struct fe_onnx *g)
{
    const struct fe_onnx_value *x, *scale, *zero;
    bool done;
    int axis;
    if (fe_onnx_int(g, "block_size", 0))
        return fe_onnx_linear_blocks(g);
    if (!read_linear(g, &x, &scale, &zero) || !read_axis(g, x, &axis))
        return false;
    if (!fe_onnx_dequantize_bytes(g, &done) || done)
        return done && fe_onnx_is_good(g);
    const struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    return fe_onnx_give_shape(
        g, 0, FE_ONNX_FLOAT,
        fe_onnx_map(g, "x0 x1 mul", IR_F32,
                    fe_onnx_convert(g, less_zero(g, x, zero), IR_F32),
                    fe_onnx_spread(g, &shape, scale, IR_F32), NULL), &shape) &&
           fe_onnx_know_constant(g, axis);
}

/* To uint8, by the smallest and largest of all numbers and 0: of a row, so that
 * it is as a batch of one has it. Of zeros alone the scale is 1, as ONNX
 * Runtime has it. */
bool fe_onnx_quantize_range(struct fe_onnx *g, const struct fe_onnx_value *x,
                            struct fe_onnx_value y[3])
{
    if (x->type != FE_ONNX_FLOAT)
        return fe_onnx_error(g, "its input is of type %s",
                             fe_onnx_type_name(x->type));
    struct ir_value *rows = fe_onnx_numbers(g, x);
    struct ir_value *low = fe_onnx_reduce(g, rows, "low");
    struct ir_value *high = fe_onnx_reduce(g, rows, "high");
    struct ir_value *scale =
        fe_onnx_map(g, "x0 x1 eq 1 x1 x0 sub 255 div where", IR_F32, low,
                    high, NULL);
    struct ir_value *zero =
        fe_onnx_map(g, "0 x0 x1 div sub", IR_U8, low, scale, NULL);
    struct ir_value *bytes = fe_onnx_map(g, "x0 x1 div rint x2 add", IR_U8,
                                         rows, scale, zero);
    y[0] = *x;
    y[0].type = FE_ONNX_UINT8;
    y[0].constant = NULL;
    y[0].rows = fe_onnx_convert(g, bytes, IR_F64);
    y[1] = (struct fe_onnx_value){.type = FE_ONNX_FLOAT, .n = 1, .rows = scale};
    y[2] = (struct fe_onnx_value){.type = FE_ONNX_UINT8, .n = 1,
                                  .rows = fe_onnx_convert(g, zero, IR_F64)};
    return y[0].rows && y[2].rows;
}

bool fe_onnx_dynamic_quantize(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    struct fe_onnx_value y[3];
    return x && fe_onnx_quantize_range(g, x, y) && fe_onnx_give(g, 0, &y[0]) &&
           fe_onnx_give(g, 1, &y[1]) && fe_onnx_give(g, 2, &y[2]);
}

/* -------------------------------------------------------------- products -- */

static const struct fe_onnx_places plain = {0, 2, 1, 3, 0, 0, 0, 0, 0};
static const struct fe_onnx_places scaled = {0, 2, 3, 5, 1, 4, 6, 7, 8};

/* x less its zero point, as reals of f64. */
static bool read_factor(struct fe_onnx *g, size_t i, size_t zero_at, int axis,
                        struct fe_onnx_value *y)
{
    bool ok;
    const struct fe_onnx_value *x = fe_onnx_number_input(g, i);
    if (!x)
        return false;
    const struct fe_onnx_value *zero = zero_along(g, zero_at, x, axis, &ok);
    if (!ok || !fe_onnx_is_whole(x->type))
        return ok ? fe_onnx_error(g, "input %zu is of type %s", i,
                                  fe_onnx_type_name(x->type)) : false;
    *y = *x;
    y->type = FE_ONNX_DOUBLE;
    y->rows = less_zero(g, x, zero);
    return y->rows != NULL;
}

/* The same of a constant, which stays one. */
static struct fe_onnx_tensor *read_weights(struct fe_onnx *g, size_t i,
                                           size_t zero_at)
{
    const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, i);
    const struct fe_onnx_tensor *zero = NULL;
    if (!t || (fe_onnx_has_input(g, zero_at) &&
               !(zero = fe_onnx_constant_input(g, zero_at))))
        return NULL;
    if (!t->whole || t->rank < 1 || (zero && (!zero->whole || zero->n < 1 ||
        (zero->n != 1 && zero->n != t->dim[0]))) ||
        !fe_onnx_take_elements(g, t->n)) {
        fe_onnx_error(g, "weights of type %s, or their zero points",
                      fe_onnx_type_name(t->type));
        return NULL;
    }
    struct fe_onnx_tensor *y =
        fe_onnx_new_tensor(g, FE_ONNX_DOUBLE, t->rank, t->dim);
    const int64_t each = t->dim[0] ? t->n / t->dim[0] : 1;
    for (int64_t k = 0; k < t->n; k++)
        y->real[k] = t->real[k] -
                     (zero ? zero->real[zero->n == 1 ? 0 : k / each] : 0);
    return y;
}

/* Sums as numbers of y's scale: round(sum * (x_scale * w_scale / y_scale)) +
 * y_zero, with a scale of w for each place along an axis. */
static bool give_requantized(struct fe_onnx *g, const struct fe_onnx_value *y,
                             const struct fe_onnx_places *at, int axis)
{
    bool ok;
    const struct fe_onnx_shape shape = fe_onnx_shape_of(y);
    const struct fe_onnx_value *xs = along(g, at->x_scale, y, -1);
    const struct fe_onnx_value *ws =
        xs ? along(g, at->w_scale, y, axis) : NULL;
    const struct fe_onnx_value *ys = ws ? along(g, at->y_scale, y, -1) : NULL;
    const struct fe_onnx_value *zero =
        ys ? zero_along(g, at->y_zero, y, -1, &ok) : NULL;
    if (!ys || !ok)
        return false;
    const int type = zero ? zero->type : FE_ONNX_UINT8;
    struct ir_value *factor =
        fe_onnx_map(g, "x0 x1 mul x2 div", IR_F32,
                    fe_onnx_spread(g, &shape, xs, IR_F32),
                    fe_onnx_spread(g, &shape, ws, IR_F32),
                    fe_onnx_spread(g, &shape, ys, IR_F32));
    struct ir_value *q = fe_onnx_map(
        g, "x0 x1 mul rint", IR_F32,
        fe_onnx_convert(g, fe_onnx_spread(g, &shape, y, IR_F64), IR_F32),
        factor, NULL);
    return fe_onnx_give_shape(g, 0, type, saturate(g, &shape, q, type, zero),
                              &shape);
}

static bool convolve(struct fe_onnx *g, const struct fe_onnx_places *at,
                     struct fe_onnx_value *y)
{
    struct fe_onnx_value x;
    if (!read_factor(g, at->x, at->x_zero, -1, &x))
        return false;
    const struct fe_onnx_tensor *w = read_weights(g, at->w, at->w_zero);
    const struct fe_onnx_tensor *b = NULL;
    if (!w || (at == &scaled && fe_onnx_has_input(g, 8) &&
               !(b = fe_onnx_constant_input(g, 8))))
        return false;
    if (b && (!b->whole || b->n != w->dim[0]))
        return fe_onnx_error(g, "the bias has %lld elements of type %s",
                             (long long)b->n, fe_onnx_type_name(b->type));
    return fe_onnx_convolve(g, &x, w, b ? b->real : NULL, NULL, y);
}

bool fe_onnx_conv_integer(struct fe_onnx *g)
{
    struct fe_onnx_value y;
    bool done;
    if (!fe_onnx_sum_integers(g, true, &done) || done)
        return done && fe_onnx_is_good(g);
    if (!convolve(g, &plain, &y))
        return false;
    y.type = FE_ONNX_INT32;
    return fe_onnx_give(g, 0, &y);
}

bool fe_onnx_qlinear_conv(struct fe_onnx *g)
{
    struct fe_onnx_value y;
    bool done;
    if (!fe_onnx_sum_scaled(g, &scaled, true, false, &done) || done)
        return done && fe_onnx_is_good(g);
    return convolve(g, &scaled, &y) && give_requantized(g, &y, &scaled, 1);
}

/* Zero points of a: one for each of its rows; of b: one for each column. */
static bool multiply(struct fe_onnx *g, const struct fe_onnx_places *at,
                     struct fe_onnx_value *y)
{
    struct fe_onnx_value a, b;
    const struct fe_onnx_value *given = fe_onnx_input(g, at->x);
    const struct fe_onnx_value *by = given ? fe_onnx_input(g, at->w) : NULL;
    if (!by)
        return false;
    if (!read_factor(g, at->x, at->x_zero, given->rank - 2, &a))
        return false;
    if (by->constant && by->rank == 2 && !fe_onnx_has_input(g, at->w_zero)) {
        b = *by;
        return fe_onnx_multiply(g, &a, &b, y);
    }
    return read_factor(g, at->w, at->w_zero, by->rank - 1, &b) &&
           fe_onnx_multiply(g, &a, &b, y);
}

bool fe_onnx_matmul_integer(struct fe_onnx *g)
{
    struct fe_onnx_value y;
    bool done;
    if (!fe_onnx_sum_integers(g, false, &done) || done)
        return done && fe_onnx_is_good(g);
    if (!multiply(g, &plain, &y))
        return false;
    y.type = FE_ONNX_INT32;
    return fe_onnx_give(g, 0, &y);
}

bool fe_onnx_qlinear_matmul(struct fe_onnx *g)
{
    struct fe_onnx_value y;
    bool done;
    if (!fe_onnx_sum_scaled(g, &scaled, false, false, &done) || done)
        return done && fe_onnx_is_good(g);
    return multiply(g, &scaled, &y) &&
           give_requantized(g, &y, &scaled, y.rank - 1);
}
