/* onnx_pool.c: the largest, or the average, of windows, or of all of a channel.
 * ceil_mode lets windows reach past the padding, as far as one starts within;
 * what is there never counts.
 */
#include "frontend/onnx.h"

#include <string.h>

struct pool {
    struct fe_onnx_window window;
    const char *kind;
    bool count_padding;
    int64_t extra[IR_MAX_SPACE]; /* places past the padding */
    double power;                /* of LpPool, else 0 */
};

/* |x| to the power p, or its p-th root. */
static struct ir_value *raise(struct fe_onnx *g, struct ir_value *x, double p,
                              bool root)
{
    const char *program =
        p == 1 ? (root ? "x0" : "x0 abs")
        : p == 2 ? (root ? "x0 sqrt" : "x0 x0 mul")
                 : ir_sprintf(&g->scratch, "x0 abs %.17g fast_pow",
                              root ? 1 / p : p);
    return x ? fe_onnx_map(g, program, x->type.dtype, x, NULL, NULL) : NULL;
}

static struct ir_value *pool_item(struct fe_onnx *g, struct ir_value *x,
                                  const void *context)
{
    const struct pool *p = context;
    const struct fe_onnx_window *w = &p->window;
    const struct ir_attr attrs[] = {
        ir_string("kind", p->kind), fe_onnx_list(g, "kernel", w->n, w->kernel),
        fe_onnx_list(g, "strides", w->n, w->stride),
        fe_onnx_list(g, "pads", 2 * w->n, w->pad),
        fe_onnx_list(g, "dilations", w->n, w->dilation),
        fe_onnx_list(g, "extra", w->n, p->extra),
        ir_int("count_padding", p->count_padding)};
    if (p->power)
        x = raise(g, x, p->power, false);
    struct ir_value *y = fe_onnx_op(g, IR_OP_pool, 1, &x, 7, attrs);
    if (!p->power)
        return y;
    /* A sum is an average times the number of taps. */
    int64_t taps = 1;
    for (int i = 0; i < w->n; i++)
        taps *= w->kernel[i];
    y = y ? fe_onnx_map(g, ir_sprintf(&g->scratch, "x0 %lld mul",
                                      (long long)taps), y->type.dtype, y,
                        NULL, NULL) : NULL;
    return raise(g, y, p->power, true);
}

/* How many windows there are along a dim, and how far they reach past the
 * padding. */
static int64_t count_windows(const struct fe_onnx_window *w, int i,
                             int64_t in, bool ceil, int64_t *extra)
{
    const int64_t reach = (w->kernel[i] - 1) * w->dilation[i] + 1;
    const int64_t places = in + w->pad[i] + w->pad[w->n + i];
    const int64_t rest = places - reach;
    *extra = 0;
    if (rest < 0)
        return 0;
    int64_t out = rest / w->stride[i] + 1;
    if (!ceil || rest % w->stride[i] == 0)
        return out;
    /* One more, unless it would start in the padding after x. */
    if (out * w->stride[i] < in + w->pad[i]) {
        out++;
        *extra = (out - 1) * w->stride[i] + reach - places;
    }
    return out;
}

static bool build_pool(struct fe_onnx *g, const struct fe_onnx_value *x,
                       struct pool *p, struct fe_onnx_value *y)
{
    *y = *x;
    const bool ceil = fe_onnx_int(g, "ceil_mode", 0);
    fe_onnx_auto_pad(&p->window, x->dim + 2);
    for (int i = 0; i < p->window.n; i++) {
        y->dim[2 + i] = count_windows(&p->window, i, x->dim[2 + i], ceil,
                                      &p->extra[i]);
        if (y->dim[2 + i] < 1)
            return fe_onnx_error(g, "the windows are larger than dim %d, "
                                 "which is %lld", 2 + i,
                                 (long long)x->dim[2 + i]);
    }
    y->n = fe_onnx_product(y, 0, y->rank);
    return fe_onnx_each_item(g, x, x->rank - 1, x->dim + 1, pool_item, p,
                             &y->rows);
}

static bool give_pool(struct fe_onnx *g, struct pool *p)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    struct fe_onnx_value y;
    return x && fe_onnx_read_window(g, x, NULL, &p->window) &&
           build_pool(g, x, p, &y) && fe_onnx_give(g, 0, &y);
}

bool fe_onnx_max_pool(struct fe_onnx *g)
{
    struct pool p = {.kind = "max"};
    return give_pool(g, &p);
}

bool fe_onnx_average(struct fe_onnx *g, const struct fe_onnx_value *x,
                     struct fe_onnx_value *y)
{
    struct pool p = {.kind = "average",
                     .count_padding = fe_onnx_int(g, "count_include_pad", 0)};
    return fe_onnx_read_window(g, x, NULL, &p.window) &&
           build_pool(g, x, &p, y);
}

bool fe_onnx_average_pool(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    struct fe_onnx_value y;
    return x && fe_onnx_average(g, x, &y) && fe_onnx_give(g, 0, &y);
}

bool fe_onnx_lp_pool(struct fe_onnx *g)
{
    struct pool p = {.kind = "average", .count_padding = true,
                     .power = (double)fe_onnx_int(g, "p", 2)};
    if (p.power < 1)
        return fe_onnx_error(g, "p is %g", p.power);
    if (fe_onnx_int(g, "ceil_mode", 0))
        return fe_onnx_error(g, "ceil_mode is not read");
    return give_pool(g, &p);
}

/* All of each channel: a reduction of what comes after it. */
bool fe_onnx_global_pool(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    const bool max = !strcmp(g->node->op_type, "GlobalMaxPool");
    const bool lp = !strcmp(g->node->op_type, "GlobalLpPool");
    const double power = (double)fe_onnx_int(g, "p", 2);
    if (!x)
        return false;
    if (x->rank < 3 || (x->batched && x->batch > 1) || power < 1)
        return fe_onnx_error(g, "'%.200s' has %d dims, or its batch is none "
                             "of the first two", x->name, x->rank);
    const int64_t size = fe_onnx_product(x, 2, x->rank);
    const enum ir_dtype dtype = x->rows->type.dtype;
    struct ir_value *y = lp ? raise(g, x->rows, power, false) : x->rows;
    y = y ? fe_onnx_reduce_slices(g, y, max ? "max" : "sum", size, 1) : NULL;
    if (!max && !lp && y)
        y = fe_onnx_map(g, ir_sprintf(&g->scratch, "x0 %lld div",
                                      (long long)size), dtype, y, NULL, NULL);
    if (lp)
        y = raise(g, y, power, true);
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    for (int i = 2; i < x->rank; i++)
        shape.dim[i] = 1;
    shape.n = x->dim[0] * x->dim[1];
    return fe_onnx_give_shape(g, 0, x->type, y, &shape) &&
           (max || lp || fe_onnx_know_average(g, size));
}
