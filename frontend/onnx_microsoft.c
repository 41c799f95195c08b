/* onnx_microsoft.c: ops of the domain com.microsoft that ONNX Runtime's
 * quantiser writes: those of reals between a DequantizeLinear of each input and
 * a QuantizeLinear, in one. They are built as these would be, with the
 * roundings that ONNX Runtime has where it sums whole numbers. Scales and zero
 * points are constants of one number.
 */
#include "frontend/onnx.h"

#include <string.h>

/* Numbers of 8 bits that stand for (byte - zero) * scale. */
struct number {
    double scale, zero; /* the latter as a byte */
    int type;
};

static bool read_scale(struct fe_onnx *g, size_t scale, size_t zero,
                       struct number *n)
{
    const struct fe_onnx_value *s = fe_onnx_input(g, scale);
    const struct fe_onnx_value *z = NULL;
    if (!s || (fe_onnx_has_input(g, zero) && !(z = fe_onnx_input(g, zero))))
        return false;
    *n = (struct number){.type = z ? z->type : FE_ONNX_UINT8};
    if (!s->constant || !s->constant->real || s->n != 1 ||
        (z && (!z->constant || !z->constant->real || z->n != 1)) ||
        (n->type != FE_ONNX_UINT8 && n->type != FE_ONNX_INT8))
        return fe_onnx_error(g, "inputs %zu and %zu are no constants of one "
                             "number", scale, zero);
    n->scale = s->constant->real[0];
    n->zero = (z ? z->constant->real[0] : 0) +
              (n->type == FE_ONNX_INT8 ? 128 : 0);
    return (n->scale >= 0x1p-100 && n->scale <= 0x1p100) ||
           fe_onnx_error(g, "the scale is %g", n->scale);
}

/* Input i as bytes, with its scale and zero point. */
static bool read_bytes(struct fe_onnx *g, size_t i, size_t scale, size_t zero,
                       struct fe_onnx_value *x, struct number *n)
{
    const struct fe_onnx_value *given = fe_onnx_number_input(g, i);
    if (!given || !read_scale(g, scale, zero, n))
        return false;
    if (given->type != FE_ONNX_UINT8 && given->type != FE_ONNX_INT8)
        return fe_onnx_error(g, "input %zu is of type %s", i,
                             fe_onnx_type_name(given->type));
    *x = *given;
    x->type = FE_ONNX_FLOAT;
    x->rows = fe_onnx_bytes_of(g, given);
    return x->rows != NULL;
}

static bool read_real(struct fe_onnx *g, size_t i, size_t scale, size_t zero,
                      struct fe_onnx_value *x)
{
    struct number n;
    if (!read_bytes(g, i, scale, zero, x, &n))
        return false;
    x->rows = fe_onnx_reals_of(g, x->rows, n.zero, n.scale);
    return x->rows != NULL;
}

/* Gives output 0: reals as such numbers. */
static bool give_number(struct fe_onnx *g, const struct number *n,
                        struct ir_value *y, const struct fe_onnx_shape *shape)
{
    struct ir_value *bytes = y ? fe_onnx_map(
        g, ir_sprintf(&g->scratch, "x0 %.9g div rint %.17g add", n->scale,
                      n->zero), IR_U8, y, NULL, NULL) : NULL;
    return fe_onnx_give_bytes(g, n->type, bytes, shape);
}

bool fe_onnx_qgemm(struct fe_onnx *g)
{
    static const struct fe_onnx_places at = {0, 2, 3, 5, 1, 4, 7, 8, 6};
    bool done;
    if (fe_onnx_float(g, "alpha", 1) != 1 || fe_onnx_int(g, "transA", 0))
        return fe_onnx_error(g, "alpha or transA is not read");
    return fe_onnx_sum_scaled(g, &at, false, fe_onnx_int(g, "transB", 0),
                              &done) &&
           (done || fe_onnx_error(g, "its weights, scales or zero points are "
                                  "no constants, or do not fit"));
}

/* The sums of f, times the scales of both, plus a bias: each of the last one
 * number or one for each column. */
static bool give_scaled(struct fe_onnx *g, const struct fe_onnx_factors *f,
                        const struct fe_onnx_value *x_scale,
                        const struct fe_onnx_value *w_scale, size_t bias)
{
    struct fe_onnx_value y;
    const struct fe_onnx_value *b = NULL;
    bool done;
    if (!w_scale || !x_scale ||
        (fe_onnx_has_input(g, bias) && !(b = fe_onnx_number_input(g, bias))) ||
        !fe_onnx_sum_factors(g, f, &y, &done))
        return false;
    const int64_t n = done ? y.dim[y.rank - 1] : 0;
    if (!done || x_scale->n != 1 || w_scale->rank > 1 || x_scale->batched ||
        w_scale->batched || x_scale->type != FE_ONNX_FLOAT ||
        w_scale->type != FE_ONNX_FLOAT || (w_scale->n != 1 && w_scale->n != n) ||
        (b && (b->type != FE_ONNX_FLOAT || b->rank != 1 || b->n != n ||
               b->batched)))
        return fe_onnx_error(g, "its weights are no constant matrix of 8 bits, "
                             "or its zero points, scales or bias do not fit");
    const struct fe_onnx_shape shape = fe_onnx_shape_of(&y);
    struct ir_value *scale =
        fe_onnx_map(g, "x0 x1 mul", IR_F32, fe_onnx_numbers(g, w_scale),
                    fe_onnx_numbers(g, x_scale), NULL);
    struct ir_value *rows = fe_onnx_map(
        g, "x0 x1 mul", IR_F32, fe_onnx_spread(g, &shape, &y, IR_F32), scale,
        NULL);
    if (b)
        rows = fe_onnx_map(g, "x0 x1 add", IR_F32, rows,
                           fe_onnx_numbers(g, b), NULL);
    return fe_onnx_give_shape(g, 0, FE_ONNX_FLOAT, rows, &shape);
}

/* Input i, or NULL when there is none; also after a message. */
static const struct fe_onnx_value *optional(struct fe_onnx *g, size_t i)
{
    return fe_onnx_has_input(g, i) ? fe_onnx_input(g, i) : NULL;
}

/* MatMulIntegerToFloat. */
bool fe_onnx_matmul_scaled(struct fe_onnx *g)
{
    const struct fe_onnx_factors f = {fe_onnx_input(g, 0), optional(g, 4),
                                      fe_onnx_input(g, 1), optional(g, 5)};
    return give_scaled(g, &f, fe_onnx_number_input(g, 2),
                       fe_onnx_number_input(g, 3), 6);
}

/* DynamicQuantizeMatMul. */
bool fe_onnx_dynamic_matmul(struct fe_onnx *g)
{
    struct fe_onnx_value y[3];
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    if (!x || !fe_onnx_quantize_range(g, x, y))
        return false;
    const struct fe_onnx_factors f = {&y[0], &y[2], fe_onnx_input(g, 1),
                                      optional(g, 3)};
    return give_scaled(g, &f, &y[1], fe_onnx_number_input(g, 2), 4);
}

/* QLinearAdd and QLinearMul. */
bool fe_onnx_qlinear_binary(struct fe_onnx *g)
{
    const bool add = !strcmp(g->node->op_type, "QLinearAdd");
    struct fe_onnx_value a, b, *const both[] = {&a, &b};
    struct fe_onnx_shape shape;
    struct number n;
    return read_real(g, 0, 1, 2, &a) && read_real(g, 3, 4, 5, &b) &&
           read_scale(g, 6, 7, &n) && fe_onnx_broadcast(g, 2, both, &shape) &&
           give_number(g, &n,
                       fe_onnx_map(g, add ? "x0 x1 add" : "x0 x1 mul", IR_F32,
                                   fe_onnx_spread(g, &shape, &a, IR_F32),
                                   fe_onnx_spread(g, &shape, &b, IR_F32),
                                   NULL), &shape);
}

/* QLinearSigmoid and QLinearLeakyRelu. */
bool fe_onnx_qlinear_unary(struct fe_onnx *g)
{
    struct fe_onnx_value x;
    struct number n;
    if (!read_real(g, 0, 1, 2, &x) || !read_scale(g, 3, 4, &n))
        return false;
    const double alpha = fe_onnx_float(g, "alpha", (double)0.01f);
    const char *program =
        !strcmp(g->node->op_type, "QLinearSigmoid")
            ? "x0 sigmoid"
            : ir_sprintf(&g->scratch, "x0 0 ge x0 x0 %.9g mul where", alpha);
    const struct fe_onnx_shape shape = fe_onnx_shape_of(&x);
    return give_number(g, &n, fe_onnx_map(g, program, IR_F32, x.rows, NULL,
                                          NULL), &shape);
}

/* Sums of whole numbers, which are exact. */
bool fe_onnx_qlinear_global_pool(struct fe_onnx *g)
{
    struct fe_onnx_value x;
    struct number from, to;
    if (!read_bytes(g, 0, 1, 2, &x, &from) || !read_scale(g, 3, 4, &to))
        return false;
    if (fe_onnx_int(g, "channels_last", 0) || x.rank < 3 ||
        (x.batched && x.batch > 1))
        return fe_onnx_error(g, "'%.200s' has %d dims, or channels last",
                             x.name, x.rank);
    const int64_t size = fe_onnx_product(&x, 2, x.rank);
    const float factor =
        (float)from.scale / ((float)to.scale * (float)size);
    struct ir_value *y =
        fe_onnx_sum_bytes(g, x.rows, from.zero, size, factor);
    y = y ? fe_onnx_map(g, ir_sprintf(&g->scratch, "x0 rint %.17g add",
                                      to.zero), IR_U8, y, NULL, NULL) : NULL;
    struct fe_onnx_shape shape = fe_onnx_shape_of(&x);
    for (int i = 2; i < x.rank; i++)
        shape.dim[i] = 1;
    shape.n = x.dim[0] * x.dim[1];
    return fe_onnx_give_bytes(g, to.type, y, &shape);
}

bool fe_onnx_qlinear_average_pool(struct fe_onnx *g)
{
    struct fe_onnx_value x, y;
    struct number n;
    if (!read_real(g, 0, 1, 2, &x) || !read_scale(g, 3, 4, &n))
        return false;
    if (fe_onnx_int(g, "channels_last", 0))
        return fe_onnx_error(g, "channels_last is not read");
    if (!fe_onnx_average(g, &x, &y))
        return false;
    const struct fe_onnx_shape shape = fe_onnx_shape_of(&y);
    return give_number(g, &n, y.rows, &shape);
}

/* Of one slice of elements that are side by side. */
bool fe_onnx_qlinear_softmax(struct fe_onnx *g)
{
    struct fe_onnx_value x;
    struct number n;
    int axis;
    if (!read_real(g, 0, 1, 2, &x) || !read_scale(g, 3, 4, &n) ||
        !fe_onnx_own_axis(g, &x, fe_onnx_int(g, "axis", -1), &axis))
        return false;
    if (axis != x.rank - 1 && fe_onnx_int(g, "opset", 13) < 13)
        return fe_onnx_error(g, "axis %d is not the last", axis);
    const struct ir_attr attrs[] = {
        ir_int("size", x.dim[axis]),
        ir_int("inner", fe_onnx_product(&x, axis + 1, x.rank)),
        ir_string("exp", "fast_exp")};
    const struct fe_onnx_shape shape = fe_onnx_shape_of(&x);
    return give_number(g, &n, fe_onnx_op(g, IR_OP_softmax, 1, &x.rows, 3,
                                         attrs), &shape);
}

/* Inputs 2 + 3 * i: one part, its scale, its zero point. */
bool fe_onnx_qlinear_concat(struct fe_onnx *g)
{
    const size_t n = (g->node->n_input - 2) / 3;
    struct fe_onnx_shape shape;
    struct number to;
    int axis = 0;
    if (g->node->n_input % 3 != 2 || n < 1)
        return fe_onnx_error(g, "it has %zu inputs", g->node->n_input);
    if (!read_scale(g, 0, 1, &to))
        return false;
    struct ir_value **part = ir_alloc_array(&g->scratch, n, sizeof *part);
    for (size_t i = 0; i < n; i++) {
        struct fe_onnx_value x;
        struct number from;
        if (!read_bytes(g, 2 + 3 * i, 3 + 3 * i, 4 + 3 * i, &x, &from))
            return false;
        const struct fe_onnx_shape own = fe_onnx_shape_of(&x);
        if (i == 0 &&
            !fe_onnx_own_axis(g, &x, fe_onnx_int(g, "axis", 1), &axis))
            return false;
        if (i == 0) {
            shape = own;
            shape.dim[axis] = 0;
        }
        bool fits = own.rank == shape.rank && own.batched == shape.batched &&
                    own.batch == shape.batch;
        for (int d = 0; fits && d < own.rank; d++)
            fits = d == axis || own.dim[d] == shape.dim[d];
        if (!fits)
            return fe_onnx_error(g, "input %zu does not fit", 2 + 3 * i);
        shape.dim[axis] += x.dim[axis];
        part[i] = fe_onnx_map(
            g, ir_sprintf(&g->scratch, "x0 %.17g sub %.9g mul %.9g div rint "
                          "%.17g add", from.zero, from.scale, to.scale,
                          to.zero), IR_U8, x.rows, NULL, NULL);
        part[i] = part[i] ? fe_onnx_shaped(g, part[i], x.rank, x.dim) : NULL;
        if (!part[i])
            return false;
    }
    return fe_onnx_size(g, &shape) &&
           fe_onnx_give_bytes(g, to.type, fe_onnx_join(g, (int)n, part, axis),
                              &shape);
}
