/* onnx_integer.c: products of whole numbers of 8 bits, as quantised nets have
 * them: QLinearConv and its kin, or Conv, MatMul and Gemm of what
 * DequantizeLinear gives. Values of u8 are multiplied by weights of i8 in the
 * IR's gemm and conv; sums are exact.
 *
 * What a number of the file stands for is (number - zero) * scale. Here numbers
 * are bytes: those of INT8 are moved by 128. A sum of products, whose scale is
 * that of x times that of the weights, is rounded to f32 and multiplied once:
 * by that scale, or, where it is made whole numbers of 8 bits again, by that
 * scale divided by theirs, which is what ONNX Runtime does in both cases.
 *
 * What does not fit (scales that are computed, weights of more than 9 bits,
 * other types) is left to the ops on reals: the functions say that they built
 * nothing. */
#include "frontend/onnx.h"

#include <math.h>
#include <string.h>

enum { most_terms = INT32_MAX / (255 * 128), exact_in_f32 = 1 << 24 };

struct fe_onnx_sum {
    const Onnx__NodeProto *node; /* whose attributes a conv has */
    bool is_conv;
    int64_t size; /* not 0: the average of so many, without weights */
    struct fe_onnx_value x; /* its rows are bytes */
    int64_t zero;           /* the byte that 0 is; or, if not NULL, */
    struct ir_value *zero_operand;
    struct fe_onnx_tensor *weights; /* [M][C / groups].. or [K][N], of i8 */
    double *start;          /* of each column, or NULL */
    int64_t columns;
    const float *scale;     /* of each column */
};

/* ----------------------------------------------------------------- bytes -- */

static bool is_byte(int type)
{
    return type == FE_ONNX_UINT8 || type == FE_ONNX_INT8;
}

static int64_t low_of(int type)
{
    return type == FE_ONNX_INT8 ? -128 : 0;
}

static struct ir_value *plus(struct fe_onnx *g, struct ir_value *x, int64_t n,
                             enum ir_dtype to)
{
    return fe_onnx_map(g, n ? ir_sprintf(&g->scratch, "x0 %lld add",
                                         (long long)n) : "x0", to, x, NULL,
                       NULL);
}

struct ir_value *fe_onnx_bytes_of(struct fe_onnx *g,
                                  const struct fe_onnx_value *x)
{
    struct ir_value *rows = fe_onnx_numbers(g, x);
    return rows ? plus(g, rows, -low_of(x->type), IR_U8) : NULL;
}

/* The same for one that is to be read where it is a constant, too. */
static bool read_bytes(struct fe_onnx *g, size_t i, struct fe_onnx_value *x)
{
    const struct fe_onnx_value *given = fe_onnx_input(g, i);
    if (!given || given->constant || !is_byte(given->type))
        return false;
    *x = *given;
    x->rows = fe_onnx_bytes_of(g, given);
    return x->rows != NULL;
}

struct ir_value *fe_onnx_reals_of(struct fe_onnx *g, struct ir_value *bytes,
                                  double zero, double scale)
{
    return fe_onnx_map(g, ir_sprintf(&g->scratch, "x0 %.17g sub %.9g mul",
                                     zero, scale),
                       IR_F32, bytes, NULL, NULL);
}

bool fe_onnx_give_bytes(struct fe_onnx *g, int type, struct ir_value *bytes,
                        const struct fe_onnx_shape *shape)
{
    return bytes && fe_onnx_give_shape(
        g, 0, type, plus(g, bytes, low_of(type), IR_F64), shape);
}

/* Input i, if it is one number that is known. */
static bool read_number(struct fe_onnx *g, size_t i, double *number)
{
    const struct fe_onnx_value *v =
        fe_onnx_has_input(g, i) ? fe_onnx_input(g, i) : NULL;
    if (!v || !v->constant || v->n != 1 || !v->constant->real)
        return false;
    *number = v->constant->real[0];
    return true;
}

static bool is_scale(double scale)
{
    return scale >= 0x1p-100 && scale <= 0x1p100;
}

/* Zero points are of the type of what they are the zero of. */
static bool has_zero_of(struct fe_onnx *g, size_t i, int type)
{
    return !fe_onnx_has_input(g, i) || fe_onnx_input(g, i)->type == type;
}

static const struct fe_onnx_value *input_or_none(struct fe_onnx *g, size_t i)
{
    return fe_onnx_has_input(g, i) ? fe_onnx_input(g, i) : NULL;
}

/* ---------------------------------------------------------------- linear -- */

const struct fe_onnx_linear *fe_onnx_linear_of(const struct fe_onnx_value *v)
{
    const struct fe_onnx_linear *l = v->linear;
    const bool own = l && (v->constant ? l->constant == v->constant
                                       : l->rows && l->rows == v->rows);
    return own ? l : NULL;
}

/* Gives output 0 what is known of it, after it was given. */
static bool know(struct fe_onnx *g, struct fe_onnx_linear known)
{
    const char *name = g->node->n_output ? g->node->output[0] : "";
    struct fe_onnx_value *y = *name ? fe_onnx_find(g, name) : NULL;
    if (!y)
        return true;
    known.rows = y->rows;
    known.constant = y->constant;
    y->linear = ir_alloc(&g->scratch, sizeof *y->linear);
    *y->linear = known;
    return true;
}

/* DequantizeLinear of bytes by one scale: *done when it is. */
bool fe_onnx_dequantize_bytes(struct fe_onnx *g, bool *done)
{
    struct fe_onnx_linear l = {.zero = 0};
    struct fe_onnx_value x;
    double scale, zero = 0;
    *done = false;
    if (!read_number(g, 1, &scale) || !is_scale(scale) ||
        (fe_onnx_has_input(g, 2) && !read_number(g, 2, &zero)) ||
        !read_bytes(g, 0, &x) || !has_zero_of(g, 2, x.type))
        return true;
    *done = true;
    l.bytes = x.rows;
    l.zero = (int64_t)zero - low_of(x.type);
    l.scale = (float)scale;
    const struct fe_onnx_shape shape = fe_onnx_shape_of(&x);
    struct ir_value *y = fe_onnx_reals_of(g, x.rows, (double)l.zero,
                                          (double)l.scale);
    return fe_onnx_give_shape(g, 0, FE_ONNX_FLOAT, y, &shape) && know(g, l);
}

/* Of a constant: kept beside the reals that it stands for. */
bool fe_onnx_know_constant(struct fe_onnx *g, int axis)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_value *scale = fe_onnx_input(g, 1);
    const struct fe_onnx_value *zero =
        fe_onnx_has_input(g, 2) ? fe_onnx_input(g, 2) : NULL;
    if (!x->constant || !x->constant->whole || !scale->constant ||
        (zero && !zero->constant))
        return true;
    return know(g, (struct fe_onnx_linear){
                       .whole = x->constant, .scales = scale->constant,
                       .zeros = zero ? zero->constant : NULL, .axis = axis});
}

void fe_onnx_keep_linear(struct fe_onnx_value *value)
{
    if (value->linear && value->linear->whole) {
        value->linear->rows = NULL;
        value->linear->constant = value->constant;
    }
}

bool fe_onnx_know_relu(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_linear *l = fe_onnx_linear_of(x);
    if (!l || !l->sum)
        return true;
    return know(g, (struct fe_onnx_linear){.sum = l->sum, .is_relu = true});
}

bool fe_onnx_know_average(struct fe_onnx *g, int64_t size)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_linear *l = fe_onnx_linear_of(x);
    if (!l || !l->bytes || size * 255 >= exact_in_f32)
        return true;
    struct fe_onnx_sum *s = ir_alloc(&g->scratch, sizeof *s);
    *s = (struct fe_onnx_sum){.node = g->node, .size = size, .x = *x,
                              .zero = l->zero, .columns = 1};
    s->x.rows = l->bytes;
    float *scale = ir_alloc(&g->scratch, sizeof *scale);
    *scale = l->scale;
    s->scale = scale;
    return know(g, (struct fe_onnx_linear){.sum = s});
}

/* ------------------------------------------------------------------ sums -- */

int fe_onnx_whole_attrs(struct fe_onnx *g, const struct fe_onnx_whole *whole,
                        int64_t n, struct ir_attr *attrs)
{
    int many = 0;
    attrs[many++] = whole->zero_operand ? ir_int("zero_operand", 1)
                                        : ir_int("input_zero", whole->zero);
    if (whole->start)
        attrs[many++] = ir_tensor_attr(
            "start", fe_onnx_tensor(g, IR_I32, 1, &n, whole->start));
    const struct ir_tensor *scale =
        ir_tensor_copy(g->module, IR_F32, n, whole->scale);
    attrs[many++] = ir_tensor_attr("scale", scale);
    return many;
}

/* x[..][K] times weights[K][N]. */
static bool multiply(struct fe_onnx *g, const struct fe_onnx_sum *s,
                     const struct fe_onnx_whole *whole, const double *bias,
                     struct fe_onnx_value *y)
{
    const int last = s->x.rank - 1;
    *y = s->x;
    y->dim[last] = s->columns;
    y->n = s->x.n / s->x.dim[last] * s->columns;
    if (y->n > IR_MAX_ELEMENTS)
        return fe_onnx_error(g, "its result has too many elements");
    y->rows = fe_onnx_gemm_op(g, s->x.rows, s->x.dim[last], s->columns,
                              s->weights->real, bias, whole);
    return y->rows != NULL;
}

struct ir_value *fe_onnx_sum_bytes(struct fe_onnx *g, struct ir_value *bytes,
                                   double zero, int64_t size, float factor)
{
    struct ir_value *y = fe_onnx_map(
        g, ir_sprintf(&g->scratch, "x0 %.17g sub", zero), IR_F32, bytes, NULL,
        NULL);
    y = y ? fe_onnx_reduce_slices(g, y, "sum", size, 1) : NULL;
    return y ? fe_onnx_map(g, ir_sprintf(&g->scratch, "x0 %.9g mul",
                                         (double)factor),
                           IR_F32, y, NULL, NULL) : NULL;
}

/* Where a group has so few channels that bytes are slower, and sums so few
 * terms that those of f32 are exact, whatever their order. */
static bool is_thin(const struct fe_onnx *g, const struct fe_onnx_sum *s)
{
    int64_t most = 0;
    if (!s->is_conv || s->weights->dim[1] >= 4 ||
        fe_onnx_int(g, "group", 1) == 1)
        return false;
    for (int64_t i = 0; s->start && i < s->columns; i++)
        most = fabs(s->start[i]) > (double)most ? (int64_t)fabs(s->start[i])
                                                : most;
    return s->weights->n / s->columns * 255 * 128 + most < exact_in_f32;
}

static bool convolve_thin(struct fe_onnx *g, const struct fe_onnx_sum *s,
                          const float *scale, struct fe_onnx_value *y)
{
    struct fe_onnx_value x = s->x;
    bool is_scaled = false;
    double *numbers =
        ir_alloc_array(&g->scratch, (size_t)s->columns, sizeof *numbers);
    for (int64_t i = 0; i < s->columns; i++) {
        numbers[i] = (double)scale[i];
        is_scaled = is_scaled || numbers[i] != 1;
    }
    x.rows = s->zero_operand
                 ? fe_onnx_map(g, "x0 x1 sub", IR_F32, x.rows,
                               s->zero_operand, NULL)
                 : plus(g, x.rows, -s->zero, IR_F32);
    if (!x.rows || !fe_onnx_convolve(g, &x, s->weights, s->start, NULL, y))
        return false;
    if (!is_scaled)
        return true;
    int64_t dim[IR_MAX_RANK] = {s->columns, 1, 1, 1, 1, 1};
    struct fe_onnx_shape shape = fe_onnx_shape_of(y);
    struct ir_value *factor =
        fe_onnx_vector(g, IR_F32, s->columns, numbers);
    factor = factor ? fe_onnx_shaped(g, factor, y->rank - 1, dim) : NULL;
    y->rows = factor ? fe_onnx_map(g, "x0 x1 mul", IR_F32,
                                   fe_onnx_spread(g, &shape, y, IR_F32),
                                   factor, NULL) : NULL;
    return y->rows != NULL;
}

/* The sum times a scale of each column, plus a bias. */
static bool build_sum(struct fe_onnx *g, const struct fe_onnx_sum *s,
                      const float *scale, const double *bias,
                      struct fe_onnx_value *y)
{
    const Onnx__NodeProto *node = g->node;
    const struct fe_onnx_whole whole = {s->zero, s->zero_operand, s->start,
                                        scale};
    g->node = s->node;
    if (s->size) {
        y->rows = fe_onnx_sum_bytes(g, s->x.rows, (double)s->zero, s->size,
                                    *scale);
        g->node = node;
        return y->rows != NULL;
    }
    const bool good =
        !s->is_conv ? multiply(g, s, &whole, bias, y)
        : is_thin(g, s) && !bias
            ? convolve_thin(g, s, scale, y)
            : fe_onnx_convolve(g, &s->x, s->weights, bias, &whole, y);
    g->node = node;
    y->type = FE_ONNX_FLOAT;
    y->linear = NULL;
    return good;
}

/* Scales or zero points of n columns, or one for all. */
static bool fits(const struct fe_onnx_tensor *t, int64_t n)
{
    return !t || (t->real && (t->n == 1 || t->n == n));
}

static double number_of(const struct fe_onnx_tensor *t, int64_t column)
{
    return t ? t->real[t->n == 1 ? 0 : column] : 0;
}

/* Weights less their zero points, as a sum has them: of a conv as they are, of
 * others as [K][N] where by_row says that they are [N][K]. False, without a
 * message, when they do not fit. */
static bool take_weights(struct fe_onnx *g, struct fe_onnx_sum *s,
                         const struct fe_onnx_tensor *w,
                         const struct fe_onnx_tensor *zeros, bool by_row)
{
    const bool first = s->is_conv || by_row; /* columns are the first dim */
    const int64_t terms = w->n / s->columns;
    const int64_t turned[] = {terms, s->columns};
    if (!fe_onnx_take_elements(g, w->n))
        return false;
    s->weights = fe_onnx_new_tensor(g, FE_ONNX_FLOAT, s->is_conv ? w->rank : 2,
                                    s->is_conv ? w->dim : turned);
    for (int64_t c = 0; c < s->columns; c++)
        for (int64_t i = 0; i < terms; i++) {
            const int64_t from = first ? c * terms + i : i * s->columns + c;
            const int64_t to =
                s->is_conv ? c * terms + i : i * s->columns + c;
            s->weights->real[to] = w->real[from] - number_of(zeros, c);
        }
    return true;
}

/* How many numbers of i8 a weight is the sum of; 0 for too many. */
static int parts_of(const struct fe_onnx_tensor *weights)
{
    double low = 0, high = 0;
    for (int64_t i = 0; i < weights->n; i++) {
        low = fmin(low, weights->real[i]);
        high = fmax(high, weights->real[i]);
    }
    if (low < -255 || high > 255)
        return 0;
    return high > 2 * 127 ? 3 : low < -128 || high > 127 ? 2 : 1;
}

/* Weights of 9 bits, as those of UINT8 are less a zero point, become some of 8,
 * each of as many terms of a sum: x stands that often beside itself. */
static bool split_weights(struct fe_onnx *g, struct fe_onnx_sum *s)
{
    const struct fe_onnx_tensor *old = s->weights;
    const int parts = parts_of(old), at = s->is_conv ? 1 : 0;
    const int64_t block = s->is_conv ? old->n / s->columns : old->n;
    struct fe_onnx_value *x = &s->x;
    const int axis = s->is_conv ? 1 : x->rank - 1; /* of x */
    int64_t dim[IR_MAX_RANK], own[2];
    if (parts <= 1)
        return parts == 1;
    if (s->is_conv && (x->dim[0] != 1 || old->dim[1] != x->dim[1]))
        return false;
    if (!fe_onnx_take_elements(g, parts * old->n))
        return false;
    memcpy(dim, old->dim, sizeof dim);
    dim[at] *= parts;
    s->weights = fe_onnx_new_tensor(g, FE_ONNX_FLOAT, old->rank, dim);
    for (int64_t i = 0; i < old->n; i++) {
        double left = old->real[i];
        for (int p = 0; p < parts; p++) {
            const double part = fmin(fmax(left, -128), 127);
            s->weights->real[(i / block * parts + p) * block + i % block] =
                part;
            left -= part;
        }
    }
    own[1] = s->is_conv ? x->n : x->dim[axis];
    own[0] = x->n / own[1];
    struct ir_value *one = fe_onnx_shaped(g, x->rows, 2, own);
    struct ir_value *const beside[] = {one, one, one};
    x->rows = one ? fe_onnx_join(g, parts, beside, 1) : NULL;
    x->dim[axis] *= parts;
    x->n *= parts;
    return x->rows != NULL;
}

/* Whether all sums can be had; their terms, and what they start at. */
static bool is_bounded(const struct fe_onnx_sum *s)
{
    const int64_t terms = s->weights->n / s->columns;
    if (terms > most_terms || s->zero < 0 || s->zero > 255)
        return false;
    for (int64_t i = 0; s->start && i < s->columns; i++)
        if (fabs(s->start[i]) > (double)(INT32_MAX - terms * 255 * 128))
            return false;
    return true;
}

static const float *scales_of(struct fe_onnx *g, int64_t n, float x_scale,
                              const struct fe_onnx_tensor *w_scales)
{
    float *scale = ir_alloc_array(&g->scratch, (size_t)n, sizeof *scale);
    for (int64_t i = 0; i < n; i++) {
        scale[i] = x_scale * (float)number_of(w_scales, i);
        if (!is_scale((double)scale[i]))
            return NULL;
    }
    return scale;
}

/* A bias of whole numbers in the sum's scale as what sums start at. */
static double *take_bias(struct fe_onnx *g, const struct fe_onnx_value *b,
                         const struct fe_onnx_sum *s)
{
    const struct fe_onnx_linear *l = fe_onnx_linear_of(b);
    if (!l || !l->whole || l->whole->n != s->columns ||
        !fits(l->scales, s->columns) || !fits(l->zeros, s->columns))
        return NULL;
    double *start =
        ir_alloc_array(&g->scratch, (size_t)s->columns, sizeof *start);
    for (int64_t i = 0; i < s->columns; i++) {
        const double scale = (double)s->scale[i];
        if (number_of(l->zeros, i) != 0 ||
            fabs(number_of(l->scales, i) - scale) > 1e-5 * scale)
            return NULL;
        start[i] = l->whole->real[i];
    }
    return start;
}

/* ------------------------------------------------- Conv, MatMul and Gemm -- */

/* What a Conv (is_conv), or a MatMul or Gemm, of dequantised numbers sums up;
 * false, without a message, when it is none. */
static bool read_sum(struct fe_onnx *g, bool is_conv, bool by_row,
                     struct fe_onnx_sum *s)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_value *w = x ? fe_onnx_input(g, 1) : NULL;
    const struct fe_onnx_linear *xl = w ? fe_onnx_linear_of(x) : NULL;
    const struct fe_onnx_linear *wl = xl ? fe_onnx_linear_of(w) : NULL;
    if (!wl || !xl->bytes || !wl->whole || !is_byte(wl->whole->type) ||
        wl->whole->n < 1 || x->type != FE_ONNX_FLOAT)
        return false;
    const struct fe_onnx_tensor *t = wl->whole;
    const int axis = is_conv || by_row ? 0 : 1;
    if (is_conv ? t->rank != x->rank || t->rank < 3
                : t->rank != 2 || x->rank < 1 ||
                      (x->batched && x->batch == x->rank - 1) ||
                      t->dim[!axis] != x->dim[x->rank - 1])
        return false;
    *s = (struct fe_onnx_sum){.node = g->node, .is_conv = is_conv, .x = *x,
                              .zero = xl->zero, .columns = t->dim[axis]};
    s->x.rows = xl->bytes;
    if (!fits(wl->scales, s->columns) || !fits(wl->zeros, s->columns) ||
        ((wl->scales->n > 1 || (wl->zeros && wl->zeros->n > 1)) &&
         wl->axis != axis))
        return false;
    s->scale = scales_of(g, s->columns, xl->scale, wl->scales);
    return s->scale && take_weights(g, s, t, wl->zeros, by_row) &&
           split_weights(g, s);
}

bool fe_onnx_sum_linear(struct fe_onnx *g, bool is_conv, bool by_row,
                        bool *done)
{
    struct fe_onnx_sum *s = ir_alloc(&g->scratch, sizeof *s);
    const struct fe_onnx_value *b = NULL;
    const double *bias = NULL;
    struct fe_onnx_value y;
    *done = false;
    if (!read_sum(g, is_conv, by_row, s))
        return fe_onnx_is_good(g);
    if (fe_onnx_has_input(g, 2)) {
        b = fe_onnx_input(g, 2);
        if (!b || !b->constant || !b->constant->real || b->n != s->columns ||
            b->rank < 1 || b->dim[b->rank - 1] != s->columns)
            return true;
        s->start = take_bias(g, b, s);
        bias = s->start ? NULL : b->constant->real;
    }
    if (!is_bounded(s))
        return true;
    *done = true;
    if (!build_sum(g, s, s->scale, bias, &y) || !fe_onnx_give(g, 0, &y))
        return false;
    return bias || know(g, (struct fe_onnx_linear){.sum = s});
}

/* -------------------------------------------------------- QuantizeLinear -- */

/* Sums in steps of a scale, rounded to even, from the byte `zero` on. */
static struct ir_value *quantise_sum(struct fe_onnx *g,
                                     const struct fe_onnx_sum *s,
                                     double step, int64_t zero,
                                     struct fe_onnx_value *y)
{
    float *scale =
        ir_alloc_array(&g->scratch, (size_t)s->columns, sizeof *scale);
    for (int64_t i = 0; i < s->columns; i++) {
        scale[i] = s->scale[i] / (s->size ? (float)step * (float)s->size
                                          : (float)step);
        if (!is_scale((double)scale[i]))
            return NULL;
    }
    if (!build_sum(g, s, scale, NULL, y))
        return NULL;
    return fe_onnx_map(g, ir_sprintf(&g->scratch, "x0 rint %lld add",
                                     (long long)zero),
                       IR_U8, y->rows, NULL, NULL);
}

bool fe_onnx_quantize_bytes(struct fe_onnx *g, bool *done)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    double step, number = 0;
    int64_t type = fe_onnx_int(g, "output_dtype", 0);
    *done = false;
    if (!x || x->constant || x->type != FE_ONNX_FLOAT ||
        !read_number(g, 1, &step) || !is_scale(step))
        return true;
    if (fe_onnx_has_input(g, 2)) {
        if (!read_number(g, 2, &number))
            return true;
        type = fe_onnx_input(g, 2)->type;
    }
    type = type ? type : FE_ONNX_UINT8;
    if (!is_byte((int)type))
        return true;
    *done = true;
    const int64_t zero = (int64_t)number - low_of((int)type);
    const struct fe_onnx_linear *l = fe_onnx_linear_of(x);
    const struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    struct fe_onnx_value y;
    /* What is below 0 is 0 anyway where that is the least byte. */
    struct ir_value *bytes =
        l && l->sum && (!l->is_relu || zero == 0)
            ? quantise_sum(g, l->sum, step, zero, &y) : NULL;
    if (!bytes)
        bytes = fe_onnx_map(
            g, ir_sprintf(&g->scratch, "x0 %.9g div rint %lld add", step,
                          (long long)zero),
            IR_U8, fe_onnx_spread(g, &shape, x, IR_F32), NULL, NULL);
    return fe_onnx_give_bytes(g, (int)type, bytes, &shape);
}

/* ------------------------------------------- QLinearConv, QLinearMatMul -- */

/* The byte that 0 is, of numbers of x's type: known, or known when it runs. */
static bool read_zero(struct fe_onnx *g, const struct fe_onnx_value *zero,
                      struct fe_onnx_sum *s)
{
    const int64_t low = low_of(s->x.type);
    s->zero = -low;
    if (!zero)
        return true;
    if (zero->type != s->x.type || zero->n != 1 || zero->batched)
        return false;
    if (zero->constant)
        s->zero = (int64_t)zero->constant->real[0] - low;
    else
        s->zero_operand = fe_onnx_bytes_of(g, zero);
    return zero->constant || s->zero_operand;
}

/* What a product of bytes sums up; false, without a message, when it does not
 * fit. */
static bool read_factors(struct fe_onnx *g, const struct fe_onnx_factors *f,
                         bool is_conv, bool by_row, struct fe_onnx_sum *s)
{
    const struct fe_onnx_value *x = f->x, *w = f->w, *wz = f->w_zero;
    const int axis = is_conv || by_row ? 0 : 1;
    *s = (struct fe_onnx_sum){.node = g->node, .is_conv = is_conv};
    if (!x || !w || x->constant || !is_byte(x->type) || !w->constant ||
        !w->constant->whole || !is_byte(w->type) || w->n < 1 ||
        (wz && (!wz->constant || wz->type != w->type)))
        return false;
    if (is_conv ? w->rank != x->rank || w->rank < 3
                : w->rank != 2 || x->rank < 1 ||
                      (x->batched && x->batch == x->rank - 1) ||
                      w->dim[!axis] != x->dim[x->rank - 1])
        return false;
    s->x = *x;
    s->x.rows = fe_onnx_bytes_of(g, x);
    s->columns = w->dim[axis];
    return s->x.rows && read_zero(g, f->x_zero, s) &&
           (!wz || fits(wz->constant, s->columns)) &&
           take_weights(g, s, w->constant, wz ? wz->constant : NULL, by_row) &&
           split_weights(g, s);
}

bool fe_onnx_sum_scaled(struct fe_onnx *g, const struct fe_onnx_places *at,
                        bool is_conv, bool by_row, bool *done)
{
    struct fe_onnx_sum *s = ir_alloc(&g->scratch, sizeof *s);
    const struct fe_onnx_value *ws = fe_onnx_input(g, at->w_scale), *b, *z;
    const struct fe_onnx_factors f = {
        input_or_none(g, at->x), input_or_none(g, at->x_zero),
        input_or_none(g, at->w), input_or_none(g, at->w_zero)};
    double x_scale, step = 0, y_zero = 0;
    *done = false;
    const bool to_bytes = fe_onnx_has_input(g, at->y_scale);
    if (!fe_onnx_is_good(g) || !ws || !ws->constant ||
        !read_number(g, at->x_scale, &x_scale) ||
        (to_bytes &&
         (!read_number(g, at->y_scale, &step) || !is_scale(step))) ||
        (fe_onnx_has_input(g, at->y_zero) &&
         !read_number(g, at->y_zero, &y_zero)) ||
        !read_factors(g, &f, is_conv, by_row, s))
        return fe_onnx_is_good(g);
    if (!fits(ws->constant, s->columns) ||
        !(s->scale = scales_of(g, s->columns, (float)x_scale, ws->constant)))
        return true;
    if (at->bias && fe_onnx_has_input(g, at->bias)) {
        b = fe_onnx_input(g, at->bias);
        if (!b || !b->constant || !b->constant->whole || b->n != s->columns)
            return fe_onnx_is_good(g);
        s->start = b->constant->real;
    }
    if (!is_bounded(s))
        return true;
    *done = true;
    struct fe_onnx_value y;
    if (!to_bytes)
        return build_sum(g, s, s->scale, NULL, &y) && fe_onnx_give(g, 0, &y) &&
               know(g, (struct fe_onnx_linear){.sum = s});
    z = fe_onnx_has_input(g, at->y_zero) ? fe_onnx_input(g, at->y_zero) : NULL;
    const int type = z ? z->type : FE_ONNX_UINT8;
    if (!is_byte(type))
        return fe_onnx_error(g, "numbers of type %s are not read",
                             fe_onnx_type_name(type));
    struct ir_value *bytes = quantise_sum(
        g, s, step, (int64_t)y_zero - low_of(type), &y);
    if (!bytes)
        return fe_onnx_error(g, "a scale is out of range");
    const struct fe_onnx_shape shape = fe_onnx_shape_of(&y);
    return fe_onnx_give_bytes(g, type, bytes, &shape);
}

/* ---------------------------------------- MatMulInteger and ConvInteger -- */

/* Sums of whole numbers as they are, rounded to f32. */
static bool build_plain(struct fe_onnx *g, const struct fe_onnx_sum *s,
                        struct fe_onnx_value *y)
{
    float *ones = ir_alloc_array(&g->scratch, (size_t)s->columns, sizeof *ones);
    for (int64_t i = 0; i < s->columns; i++)
        ones[i] = 1;
    return build_sum(g, s, ones, NULL, y);
}

/* Whether no sum of bytes is rounded, whichever they are. */
static bool is_exact(const struct fe_onnx_sum *s)
{
    const struct fe_onnx_tensor *w = s->weights;
    const int64_t terms = w->n / s->columns;
    for (int64_t c = 0; c < s->columns; c++) {
        double most = 0;
        for (int64_t i = 0; i < terms; i++)
            most += fabs(w->real[s->is_conv ? c * terms + i
                                            : i * s->columns + c]);
        if (most * 255 > exact_in_f32)
            return false;
    }
    return true;
}

bool fe_onnx_sum_factors(struct fe_onnx *g, const struct fe_onnx_factors *f,
                         struct fe_onnx_value *y, bool *done)
{
    struct fe_onnx_sum s;
    *done = false;
    if (!read_factors(g, f, false, false, &s) || !is_bounded(&s))
        return fe_onnx_is_good(g);
    *done = true;
    return build_plain(g, &s, y);
}

bool fe_onnx_sum_integers(struct fe_onnx *g, bool is_conv, bool *done)
{
    const struct fe_onnx_factors f = {
        input_or_none(g, 0), input_or_none(g, 2), input_or_none(g, 1),
        input_or_none(g, 3)};
    struct fe_onnx_sum s;
    struct fe_onnx_value y;
    *done = false;
    if (!fe_onnx_is_good(g) ||
        !read_factors(g, &f, is_conv, false, &s) || !is_bounded(&s) ||
        (!is_exact(&s) && !fe_onnx_is_only_cast(g)))
        return fe_onnx_is_good(g);
    *done = true;
    if (!build_plain(g, &s, &y))
        return false;
    const struct fe_onnx_linear known = {.real = y.rows};
    y.type = FE_ONNX_INT32;
    y.rows = fe_onnx_convert(g, y.rows, IR_F64);
    return y.rows && fe_onnx_give(g, 0, &y) && know(g, known);
}
