/* onnx_conv.c: convolutions, plain and transposed, by constant weights. One of
 * rows [C][d1].. is the IR's `conv`; a batch of fixed size is one after the
 * other. A transposed convolution spreads its input (input dilations) and runs
 * the reversed weights over it.
 */
#include "frontend/onnx.h"

#include <string.h>

/* A convolution with all that is decided. */
struct conv {
    struct fe_onnx_window window;
    int64_t groups;
    int64_t spread[IR_MAX_SPACE];
    bool spreads; /* some of spread is not 1 */
    const struct fe_onnx_tensor *weights; /* [M][C / groups][k1].. */
    const double *bias;                   /* [M], or NULL */
    const struct fe_onnx_whole *whole;    /* or NULL */
    struct ir_attr attrs[10]; /* of the op, the same for each item */
    int n_attrs;
};

static void set_attrs(struct fe_onnx *g, enum ir_dtype dtype, struct conv *c)
{
    const struct fe_onnx_window *w = &c->window;
    const struct fe_onnx_tensor *t = c->weights;
    struct ir_attr *to = c->attrs;
    if (c->whole)
        dtype = IR_F32;
    *to++ = ir_tensor_attr(
        "weights", fe_onnx_tensor(g, c->whole ? IR_I8 : dtype, t->rank,
                                  t->dim, t->real));
    if (c->whole)
        to += fe_onnx_whole_attrs(g, c->whole, t->dim[0], to);
    *to++ = fe_onnx_list(g, "strides", w->n, w->stride);
    *to++ = fe_onnx_list(g, "pads", 2 * w->n, w->pad);
    *to++ = fe_onnx_list(g, "dilations", w->n, w->dilation);
    *to++ = ir_int("groups", c->groups);
    if (c->bias)
        *to++ = ir_tensor_attr("bias",
                               fe_onnx_tensor(g, dtype, 1, t->dim, c->bias));
    if (c->spreads)
        *to++ = fe_onnx_list(g, "input_dilations", w->n, c->spread);
    c->n_attrs = (int)(to - c->attrs);
}

static struct ir_value *conv_item(struct fe_onnx *g, struct ir_value *x,
                                  const void *context)
{
    const struct conv *c = context;
    struct ir_value *const operands[] = {
        x, c->whole ? c->whole->zero_operand : NULL};
    return fe_onnx_op(g, IR_OP_conv, operands[1] ? 2 : 1, operands, c->n_attrs,
                      c->attrs);
}

/* The result of a convolution of x, with x's batch in front. */
static bool build_conv(struct fe_onnx *g, const struct fe_onnx_value *x,
                       struct conv *c, struct fe_onnx_value *y)
{
    if (!fe_onnx_take_elements(g, c->weights->n))
        return false;
    set_attrs(g, x->rows->type.dtype, c);
    *y = *x;
    if (!fe_onnx_each_item(g, x, x->rank - 1, x->dim + 1, conv_item, c,
                           &y->rows))
        return false;
    y->dim[1] = c->weights->dim[0];
    for (int i = 0; i < c->window.n; i++) {
        const struct fe_onnx_window *w = &c->window;
        const int64_t places = (x->dim[2 + i] - 1) * c->spread[i] + 1 +
                               w->pad[i] + w->pad[w->n + i];
        const int64_t reach = (w->kernel[i] - 1) * w->dilation[i] + 1;
        y->dim[2 + i] = (places - reach) / w->stride[i] + 1;
    }
    y->n = fe_onnx_product(y, 0, y->rank);
    return true;
}

/* The bias of input i, one number for each of m channels. */
static bool read_bias(struct fe_onnx *g, size_t i, int64_t m,
                      const double **bias)
{
    *bias = NULL;
    if (!fe_onnx_has_input(g, i))
        return true;
    const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, i);
    if (!t)
        return false;
    if (!t->real || t->n != m)
        return fe_onnx_error(g, "the bias has %lld elements, not %lld",
                             (long long)t->n, (long long)m);
    *bias = t->real;
    return true;
}

/* x and the weights fit, and the attributes of the windows are such. */
static bool start_conv(struct fe_onnx *g, const struct fe_onnx_value *x,
                       const struct fe_onnx_tensor *t, bool transposed,
                       struct conv *c)
{
    *c = (struct conv){.groups = fe_onnx_int(g, "group", 1), .weights = t,
                       .spread = {1, 1, 1}};
    if (!t->real || t->rank != x->rank || t->rank < 3 || t->n < 1)
        return fe_onnx_error(g, "the weights have %d dims, '%.200s' has %d",
                             t->rank, x->name, x->rank);
    const int64_t in = transposed ? t->dim[0] : t->dim[1] * c->groups;
    if (c->groups < 1 || c->groups > IR_MAX_ELEMENTS ||
        in != x->dim[1] || (!transposed && t->dim[0] % c->groups) ||
        (transposed && t->dim[0] % c->groups))
        return fe_onnx_error(g, "weights %lld x %lld in %lld groups for %lld "
                             "channels", (long long)t->dim[0],
                             (long long)t->dim[1], (long long)c->groups,
                             (long long)x->dim[1]);
    return fe_onnx_read_window(g, x, t->dim + 2, &c->window);
}

bool fe_onnx_convolve(struct fe_onnx *g, const struct fe_onnx_value *x,
                      const struct fe_onnx_tensor *weights,
                      const double *bias, const struct fe_onnx_whole *whole,
                      struct fe_onnx_value *y)
{
    struct conv c;
    if (!start_conv(g, x, weights, false, &c))
        return false;
    fe_onnx_auto_pad(&c.window, x->dim + 2);
    c.bias = bias;
    c.whole = whole;
    return build_conv(g, x, &c, y);
}

bool fe_onnx_conv(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    const struct fe_onnx_tensor *w = x ? fe_onnx_constant_input(g, 1) : NULL;
    const double *bias;
    struct fe_onnx_value y;
    bool done = false;
    if (w && (!fe_onnx_sum_linear(g, true, false, &done) || done))
        return done && fe_onnx_is_good(g);
    if (!w || !read_bias(g, 2, w->rank ? w->dim[0] : 1, &bias))
        return false;
    if (w->type != x->type)
        return fe_onnx_error(g, "weights of type %s for an input of type %s",
                             fe_onnx_type_name(w->type),
                             fe_onnx_type_name(x->type));
    return fe_onnx_convolve(g, x, w, bias, NULL, &y) && fe_onnx_give(g, 0, &y);
}

/* ----------------------------------------------------------- transposed -- */

/* [C][M / groups][k..] as [M][C / groups][k..], taps reversed. */
static struct fe_onnx_tensor *turn_weights(struct fe_onnx *g,
                                           const struct fe_onnx_tensor *t,
                                           int64_t groups)
{
    int64_t dim[IR_MAX_RANK], taps = 1;
    const int64_t m = t->dim[1], in = t->dim[0] / groups;
    memcpy(dim, t->dim, sizeof dim);
    dim[0] = m * groups;
    dim[1] = in;
    for (int i = 2; i < t->rank; i++)
        taps *= t->dim[i];
    struct fe_onnx_tensor *w = fe_onnx_new_tensor(g, t->type, t->rank, dim);
    for (int64_t o = 0; o < dim[0]; o++)
        for (int64_t c = 0; c < in; c++)
            for (int64_t k = 0; k < taps; k++)
                w->real[(o * in + c) * taps + k] =
                    t->real[((o / m * in + c) * m + o % m) * taps + taps - 1 -
                            k];
    return w;
}

/* The dims of the result, as output_shape gives them, or as they follow. */
static bool read_output(struct fe_onnx *g, const struct fe_onnx_value *x,
                        struct fe_onnx_window *w, int64_t *out)
{
    const Onnx__AttributeProto *shape = fe_onnx_attribute(g, "output_shape");
    const Onnx__AttributeProto *more = fe_onnx_attribute(g, "output_padding");
    const size_t n = (size_t)w->n;
    if ((shape && shape->n_ints != n && shape->n_ints != n + 2) ||
        (more && more->n_ints != n))
        return fe_onnx_error(g, "output_shape or output_padding do not have "
                             "%d elements", w->n);
    for (size_t i = 0; i < n; i++) {
        const int64_t reach = (w->kernel[i] - 1) * w->dilation[i] + 1;
        const int64_t extra = more ? more->ints[i] : 0;
        const int64_t full = (x->dim[2 + i] - 1) * w->stride[i] + reach +
                             (extra > 0 && extra < IR_MAX_ELEMENTS ? extra
                                                                   : 0);
        const bool same = w->auto_pad == FE_ONNX_SAME_UPPER ||
                          w->auto_pad == FE_ONNX_SAME_LOWER;
        if (w->auto_pad == FE_ONNX_VALID)
            w->pad[i] = w->pad[n + i] = 0;
        out[i] = shape ? shape->ints[shape->n_ints - n + i]
                 : same ? x->dim[2 + i] * w->stride[i]
                        : full - w->pad[i] - w->pad[n + i];
        if (out[i] < 1 || out[i] > IR_MAX_ELEMENTS)
            return fe_onnx_error(g, "dim %zu of the result is %lld", i + 2,
                                 (long long)out[i]);
        if (shape || same) {
            const int64_t total = full - out[i];
            fe_onnx_split_pad(w, total > 0 ? total : 0, (int)i,
                              w->auto_pad == FE_ONNX_SAME_UPPER);
        }
    }
    return true;
}

/* The padding that a plain convolution of the spread input has; what is below
 * 0 is cut off of the result. */
static void turn_pads(const struct fe_onnx_value *x,
                      struct fe_onnx_window *w, const int64_t *out,
                      int64_t *cut)
{
    for (int i = 0; i < w->n; i++) {
        const int64_t reach = (w->kernel[i] - 1) * w->dilation[i];
        const int64_t before = reach - w->pad[i];
        const int64_t spread = (x->dim[2 + i] - 1) * w->stride[i] + 1;
        cut[i] = before < 0 ? -before : 0;
        w->pad[i] = before < 0 ? 0 : before;
        const int64_t after = out[i] + cut[i] + reach - spread - w->pad[i];
        w->pad[w->n + i] = after < 0 ? 0 : after;
    }
}

bool fe_onnx_conv_transpose(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    const struct fe_onnx_tensor *t = x ? fe_onnx_constant_input(g, 1) : NULL;
    int64_t out[IR_MAX_SPACE], cut[IR_MAX_SPACE];
    struct fe_onnx_value y, part;
    struct conv c;
    if (!t || !start_conv(g, x, t, true, &c) ||
        !read_output(g, x, &c.window, out) ||
        !read_bias(g, 2, t->dim[1] * c.groups, &c.bias))
        return false;
    if (!fe_onnx_take_elements(g, t->n))
        return false;
    c.weights = turn_weights(g, t, c.groups);
    turn_pads(x, &c.window, out, cut);
    c.spreads = true;
    for (int i = 0; i < c.window.n; i++) {
        c.spread[i] = c.window.stride[i];
        c.window.stride[i] = 1;
    }
    if (!build_conv(g, x, &c, &y))
        return false;
    struct fe_onnx_shape shape = fe_onnx_shape_of(&y);
    int64_t stride[IR_MAX_RANK], offset = 0;
    fe_onnx_strides(y.rank, y.dim, stride);
    for (int i = 0; i < c.window.n; i++) {
        offset += cut[i] * stride[2 + i];
        shape.dim[2 + i] = out[i];
        if (out[i] + cut[i] > y.dim[2 + i])
            return fe_onnx_error(g, "dim %d of the result is %lld, of which "
                                 "%lld are computed", i + 2,
                                 (long long)out[i], (long long)y.dim[2 + i]);
    }
    return fe_onnx_size(g, &shape) &&
           fe_onnx_view(g, &y, &shape, stride, offset, &part) &&
           fe_onnx_give(g, 0, &part);
}
