/* onnx_pad.c: elements around a value: a constant, or its own, mirrored, from
 * its edges, or from its other side. Negative pads cut off.
 */
#include "frontend/onnx.h"

#include <string.h>

enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };

struct pads {
    enum pad_mode mode;
    int64_t before[IR_MAX_RANK], after[IR_MAX_RANK]; /* by dim of x */
    double value;
};

static bool read_mode(struct fe_onnx *g, enum pad_mode *mode)
{
    static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
    *mode = PAD_CONSTANT;
    if (!fe_onnx_attribute(g, "mode"))
        return true;
    for (int i = 0; i < 4; i++)
        if (fe_onnx_says(g, "mode", names[i], false)) {
            *mode = (enum pad_mode)i;
            return true;
        }
    return fe_onnx_error(g, "mode is not constant, reflect, edge or wrap");
}

static bool read_value(struct fe_onnx *g, double *value)
{
    *value = fe_onnx_float(g, "value", 0);
    if (!fe_onnx_has_input(g, 2))
        return true;
    const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, 2);
    if (!t)
        return false;
    if (t->n != 1 || !t->real)
        return fe_onnx_error(g, "input 2 is no number");
    *value = t->real[0];
    return true;
}

static bool read_pads(struct fe_onnx *g, const struct fe_onnx_value *x,
                      struct pads *p)
{
    bool ok, axes_ok;
    const struct fe_onnx_tensor *pads = fe_onnx_whole_list(g, "pads", 1, &ok);
    const struct fe_onnx_tensor *axes =
        fe_onnx_whole_list(g, "", 3, &axes_ok);
    *p = (struct pads){.mode = PAD_CONSTANT};
    if (!ok || !axes_ok || !read_mode(g, &p->mode) ||
        !read_value(g, &p->value))
        return false;
    const int64_t n = axes ? axes->n : x->rank;
    if (!pads || pads->n != 2 * n || n > x->rank)
        return fe_onnx_error(g, "pads has %lld elements for %lld dims",
                             pads ? (long long)pads->n : 0, (long long)n);
    for (int64_t i = 0; i < n; i++) {
        int axis;
        const int64_t before = pads->whole[i], after = pads->whole[n + i];
        if (!fe_onnx_axis(g, axes ? axes->whole[i] : i, x->rank, &axis))
            return false;
        if (before < -IR_MAX_ELEMENTS || before > IR_MAX_ELEMENTS ||
            after < -IR_MAX_ELEMENTS || after > IR_MAX_ELEMENTS)
            return fe_onnx_error(g, "pads of %lld and %lld",
                                 (long long)before, (long long)after);
        if ((before || after) && x->batched && axis == x->batch)
            return fe_onnx_error(g, "axis %d is the batch", axis);
        p->before[axis] = before;
        p->after[axis] = after;
    }
    return true;
}

/* Cuts off what negative pads say. */
static bool crop(struct fe_onnx *g, const struct fe_onnx_value *x,
                 struct pads *p, struct fe_onnx_value *y)
{
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    int64_t stride[IR_MAX_RANK], offset = 0;
    fe_onnx_strides(x->rank, x->dim, stride);
    for (int i = 0; i < x->rank; i++) {
        if (p->before[i] < 0) {
            shape.dim[i] += p->before[i];
            offset -= p->before[i] * stride[i];
            p->before[i] = 0;
        }
        if (p->after[i] < 0) {
            shape.dim[i] += p->after[i];
            p->after[i] = 0;
        }
    }
    *y = *x;
    return shape.n == x->n && !memcmp(shape.dim, x->dim, sizeof shape.dim)
               ? true
               : fe_onnx_size(g, &shape) &&
                     fe_onnx_view(g, x, &shape, stride, offset, y);
}

static struct ir_value *constant_pad(struct fe_onnx *g,
                                     const struct fe_onnx_value *x,
                                     const struct pads *p)
{
    int64_t dim[IR_MAX_RANK], before[IR_MAX_RANK], after[IR_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < x->rank; i++) {
        if (x->batched && i == x->batch && x->dim[i] == 1)
            continue;
        before[rank] = p->before[i];
        after[rank] = p->after[i];
        dim[rank++] = x->dim[i];
    }
    if (rank == 0)
        return x->rows;
    struct ir_value *rows = fe_onnx_shaped(g, x->rows, rank, dim);
    const struct ir_attr attrs[] = {fe_onnx_list(g, "before", rank, before),
                                    fe_onnx_list(g, "after", rank, after),
                                    ir_float("value", p->value)};
    return fe_onnx_op(g, IR_OP_pad, 1, &rows, 3, attrs);
}

/* `n` elements along the middle of [outer][size][inner], from `first` on by
 * `step`. */
static struct ir_value *strip(struct fe_onnx *g, struct ir_value *x,
                              const int64_t dim[3], int64_t n, int64_t first,
                              int64_t step)
{
    const int64_t part[] = {dim[0], n, dim[2]};
    const int64_t stride[] = {dim[1] * dim[2], step * dim[2], 1};
    return fe_onnx_strided(g, x, 3, part, stride, first * dim[2]);
}

/* x with its own elements before and after along one axis. */
static struct ir_value *own_pad(struct fe_onnx *g, struct ir_value *x,
                                enum pad_mode mode, const int64_t dim[3],
                                int64_t before, int64_t after)
{
    struct ir_value *parts[3];
    const int64_t size = dim[1];
    int n = 0;
    const int64_t most = mode == PAD_EDGE ? IR_MAX_ELEMENTS
                         : mode == PAD_WRAP ? size : size - 1;
    if (before > most || after > most) {
        fe_onnx_error(g, "pads of %lld and %lld around %lld elements",
                      (long long)before, (long long)after, (long long)size);
        return NULL;
    }
    if (before)
        parts[n++] = mode == PAD_EDGE ? strip(g, x, dim, before, 0, 0)
                     : mode == PAD_WRAP
                         ? strip(g, x, dim, before, size - before, 1)
                         : strip(g, x, dim, before, before, -1);
    parts[n++] = fe_onnx_shaped(g, x, 3, dim);
    if (after)
        parts[n++] = mode == PAD_EDGE ? strip(g, x, dim, after, size - 1, 0)
                     : mode == PAD_WRAP ? strip(g, x, dim, after, 0, 1)
                                        : strip(g, x, dim, after, size - 2, -1);
    for (int i = 0; i < n; i++)
        if (!parts[i])
            return NULL;
    return fe_onnx_join(g, n, parts, 1);
}

bool fe_onnx_pad(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    struct fe_onnx_value y;
    struct pads p;
    if (!x || !read_pads(g, x, &p) || !crop(g, x, &p, &y))
        return false;
    struct fe_onnx_shape shape = fe_onnx_shape_of(&y);
    for (int i = 0; i < y.rank; i++)
        shape.dim[i] += p.before[i] + p.after[i];
    if (!fe_onnx_size(g, &shape))
        return false;
    if (p.mode == PAD_CONSTANT)
        return fe_onnx_give_shape(g, 0, x->type, constant_pad(g, &y, &p),
                                  &shape);
    for (int i = 0; i < y.rank && y.rows; i++) {
        const int64_t dim[] = {fe_onnx_product(&y, 0, i), y.dim[i],
                               fe_onnx_product(&y, i + 1, y.rank)};
        if (!p.before[i] && !p.after[i])
            continue;
        y.rows = own_pad(g, y.rows, p.mode, dim, p.before[i], p.after[i]);
        y.dim[i] = shape.dim[i];
    }
    return fe_onnx_give_shape(g, 0, x->type, y.rows, &shape);
}
