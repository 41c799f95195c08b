/* onnx_resize.c: larger and smaller images. Along each axis by itself: every
 * place of the result is a sum of one (nearest), two (linear) or four (cubic)
 * places of x by constant weights. Repeating by a whole number is a view.
 */
#include "frontend/onnx.h"

#include <math.h>
#include <string.h>

enum { MAX_TAPS = 4 };

struct resize {
    enum { NEAREST, LINEAR, CUBIC } mode;
    enum { HALF_PIXEL, PYTORCH, ALIGN_CORNERS, ASYMMETRIC, CROP, TF_NEAREST,
           SYMMETRIC } place;
    enum { PREFER_FLOOR, PREFER_CEIL, FLOOR, CEIL } round;
    double cubic_a, outside;
    bool exclude_outside;
    double scale[IR_MAX_RANK], start[IR_MAX_RANK], end[IR_MAX_RANK];
    int64_t out[IR_MAX_RANK];
};

/* One place of the result along an axis. */
struct place {
    int n;
    int64_t from[MAX_TAPS];
    double weight[MAX_TAPS];
    bool outside; /* it is the value for what is outside */
};

/* ----------------------------------------------------------- attributes -- */

/* Which of the names the attribute says; the first when it is absent. */
static bool read_name(struct fe_onnx *g, const char *attribute, int n,
                      const char *const *names, int fallback, int *which)
{
    *which = fallback;
    if (!fe_onnx_attribute(g, attribute))
        return true;
    for (int i = 0; i < n; i++)
        if (fe_onnx_says(g, attribute, names[i], false)) {
            *which = i;
            return true;
        }
    return fe_onnx_error(g, "%s is none of those known", attribute);
}

static bool read_names(struct fe_onnx *g, struct resize *r)
{
    static const char *const modes[] = {"nearest", "linear", "cubic"};
    static const char *const places[] = {
        "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric",
        "tf_crop_and_resize", "tf_half_pixel_for_nn", "half_pixel_symmetric"};
    static const char *const rounds[] = {
        "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
    int mode, place, round;
    const bool old = g->opset < 11 || !strcmp(g->node->op_type, "Upsample");
    if (!read_name(g, "mode", 3, modes, 0, &mode) ||
        !read_name(g, "coordinate_transformation_mode", 7, places,
                   old ? ASYMMETRIC : HALF_PIXEL, &place) ||
        !read_name(g, "nearest_mode", 4, rounds, old ? FLOOR : PREFER_FLOOR,
                   &round))
        return false;
    *r = (struct resize){.mode = mode, .place = place, .round = round};
    r->cubic_a = fe_onnx_float(g, "cubic_coeff_a", -0.75);
    r->outside = fe_onnx_float(g, "extrapolation_value", 0);
    r->exclude_outside = fe_onnx_int(g, "exclude_outside", 0);
    return !fe_onnx_int(g, "antialias", 0) ||
           fe_onnx_error(g, "antialias is not read");
}

/* ---------------------------------------------------------------- sizes -- */

/* Input i as n numbers; NULL, with *ok, when it is absent or empty. */
static const double *numbers(struct fe_onnx *g, size_t i, int64_t n, bool *ok)
{
    *ok = true;
    if (!fe_onnx_has_input(g, i))
        return NULL;
    const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, i);
    *ok = t != NULL;
    if (!t || t->n == 0)
        return NULL;
    *ok = (t->n == n && t->real) ||
          fe_onnx_error(g, "input %zu has %lld elements, not %lld", i,
                        (long long)t->n, (long long)n);
    return *ok ? t->real : NULL;
}

/* The dims that sizes, scales and roi are about. */
static bool read_axes(struct fe_onnx *g, const struct fe_onnx_value *x,
                      int *n, int *axis)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, "axes");
    *n = x->rank;
    for (int i = 0; i < x->rank; i++)
        axis[i] = i;
    if (!a)
        return true;
    if (a->n_ints > (size_t)x->rank)
        return fe_onnx_error(g, "%zu axes for an input of %d dims",
                             a->n_ints, x->rank);
    *n = (int)a->n_ints;
    for (int i = 0; i < *n; i++)
        if (!fe_onnx_axis(g, a->ints[i], x->rank, &axis[i]))
            return false;
    return true;
}

/* All axes by the smallest (or largest) of their scales. */
static bool keep_ratio(struct fe_onnx *g, struct resize *r, int n,
                       const int *axis, const struct fe_onnx_value *x)
{
    const bool smaller = fe_onnx_says(g, "keep_aspect_ratio_policy",
                                      "not_larger", false);
    if (!smaller && fe_onnx_says(g, "keep_aspect_ratio_policy", "stretch",
                                 true))
        return true;
    double scale = r->scale[axis[0]];
    for (int i = 1; i < n; i++)
        scale = smaller ? fmin(scale, r->scale[axis[i]])
                        : fmax(scale, r->scale[axis[i]]);
    for (int i = 0; i < n; i++) {
        r->scale[axis[i]] = scale;
        r->out[axis[i]] =
            (int64_t)floor(scale * (double)x->dim[axis[i]] + 0.5);
    }
    return true;
}

static bool read_sizes(struct fe_onnx *g, const struct fe_onnx_value *x,
                       size_t scales_input, struct resize *r)
{
    bool ok, sizes_ok, roi_ok;
    int n, axis[IR_MAX_RANK];
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, "scales");
    if (!read_axes(g, x, &n, axis))
        return false;
    const double *scales = numbers(g, scales_input, n, &ok);
    const double *sizes =
        scales_input == 2 ? numbers(g, 3, n, &sizes_ok)
                          : (sizes_ok = true, NULL);
    const double *roi = scales_input == 2 && r->place == CROP
                            ? numbers(g, 1, 2 * n, &roi_ok)
                            : (roi_ok = true, NULL);
    if (!ok || !sizes_ok || !roi_ok)
        return false;
    if (a && a->n_floats != (size_t)n)
        return fe_onnx_error(g, "scales has %zu elements, not %d",
                             a->n_floats, n);
    if (!scales && !sizes && !a)
        return fe_onnx_error(g, "there are no scales and no sizes");
    for (int i = 0; i < x->rank; i++) {
        r->out[i] = x->dim[i];
        r->scale[i] = r->end[i] = 1;
    }
    for (int i = 0; i < n; i++) {
        const int d = axis[i];
        double size = (double)x->dim[d];
        /* A size of the batch is the batch's own. */
        if (sizes && !(x->batched && d == x->batch))
            size = sizes[i];
        r->scale[d] = sizes ? size / (double)x->dim[d]
                      : scales ? scales[i] : (double)a->floats[i];
        if (!(r->scale[d] > 0))
            return fe_onnx_error(g, "scale %d is %g", i, r->scale[d]);
        if (roi) {
            r->start[d] = roi[i];
            r->end[d] = roi[n + i];
        }
        const double out =
            sizes ? size
                  : floor((double)x->dim[d] *
                          (roi ? r->end[d] - r->start[d] : 1) * r->scale[d]);
        if (!(out >= 1 && out <= IR_MAX_ELEMENTS))
            return fe_onnx_error(g, "dim %d of the result is %g", d, out);
        r->out[d] = (int64_t)out;
    }
    return !sizes || keep_ratio(g, r, n, axis, x);
}

/* --------------------------------------------------------------- places -- */

/* Where place `o` of the result is among x's. */
static double origin(const struct resize *r, int d, int64_t in, int64_t o)
{
    const double scale = r->scale[d], at = (double)o;
    const double out = (double)r->out[d], n = (double)in;
    switch (r->place) {
    case HALF_PIXEL: return (at + 0.5) / scale - 0.5;
    case PYTORCH: return out > 1 ? (at + 0.5) / scale - 0.5 : 0;
    case ALIGN_CORNERS: return out > 1 ? at * (n - 1) / (n * scale - 1) : 0;
    case ASYMMETRIC: return at / scale;
    case TF_NEAREST: return (at + 0.5) / scale;
    case SYMMETRIC: {
        const double adjust = out / (scale * n), centre = n / 2;
        return centre * (1 - adjust) + (at + 0.5) / scale - 0.5;
    }
    default:
        return out > 1 ? r->start[d] * (n - 1) +
                             at * (r->end[d] - r->start[d]) * (n - 1) /
                                 (out - 1)
                       : 0.5 * (r->start[d] + r->end[d]) * (n - 1);
    }
}

static double nearest(const struct resize *r, double at)
{
    switch (r->round) {
    case PREFER_FLOOR: return at - floor(at) == 0.5 ? floor(at) : round(at);
    case PREFER_CEIL: return floor(at + 0.5);
    case FLOOR: return floor(at);
    default: return ceil(at);
    }
}

static double cubic(double a, double t)
{
    t = fabs(t);
    if (t <= 1)
        return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

static int64_t held(double at, int64_t n)
{
    return !(at > 0) ? 0 : at > (double)(n - 1) ? n - 1 : (int64_t)at;
}

static struct place find_place(const struct resize *r, int d, int64_t in,
                               int64_t o)
{
    struct place p = {.n = r->mode == NEAREST ? 1 : r->mode == LINEAR ? 2 : 4};
    const double at = origin(r, d, in, o), low = floor(at);
    p.outside = r->place == CROP && !(at >= 0 && at <= (double)(in - 1));
    if (r->mode == NEAREST) {
        p.from[0] = held(nearest(r, at), in);
        p.weight[0] = 1;
        return p;
    }
    double sum = 0;
    for (int k = 0; k < p.n; k++) {
        const double tap = low + k - (p.n == 4);
        p.weight[k] = p.n == 2 ? (k ? at - low : 1 - (at - low))
                               : cubic(r->cubic_a, at - tap);
        if (r->exclude_outside && !(tap >= 0 && tap <= (double)(in - 1)))
            p.weight[k] = 0;
        p.from[k] = held(tap, in);
        sum += p.weight[k];
    }
    for (int k = 0; r->exclude_outside && k < p.n; k++)
        p.weight[k] /= sum;
    return p;
}

/* ---------------------------------------------------------------- build -- */

/* Every element repeated `times` times along the middle of dim. */
static struct ir_value *repeat(struct fe_onnx *g, struct ir_value *x,
                               const int64_t dim[3], int64_t times)
{
    const int64_t to[] = {dim[0], dim[1], times, dim[2]};
    const int64_t stride[] = {dim[1] * dim[2], dim[2], 0, 1};
    return fe_onnx_strided(g, x, 4, to, stride, 0);
}

/* How often each element comes, when it is equally often and in order; or 0. */
static int64_t times_of(const struct place *p, int64_t in, int64_t out)
{
    const int64_t times = out / in;
    if (p[0].n != 1 || out % in)
        return 0;
    for (int64_t o = 0; o < out; o++)
        if (p[o].from[0] != o / times || p[o].outside)
            return 0;
    return times;
}

/* Tap k of each place: the elements of x, [outer][out][inner]. */
static struct ir_value *tap(struct fe_onnx *g, struct ir_value *x,
                            const int64_t dim[3], int64_t out,
                            const struct place *p, int k)
{
    const int64_t n = dim[0] * out * dim[2], to[] = {dim[0], out, dim[2]};
    const int64_t all = dim[0] * dim[1] * dim[2];
    if (!fe_onnx_take_elements(g, n))
        return NULL;
    int32_t *index = ir_alloc_array(&g->scratch, (size_t)n, sizeof *index);
    int64_t at = 0;
    for (int64_t i = 0; i < dim[0]; i++)
        for (int64_t o = 0; o < out; o++)
            for (int64_t j = 0; j < dim[2]; j++)
                index[at++] = (int32_t)((i * dim[1] + p[o].from[k]) * dim[2] +
                                        j);
    return fe_onnx_shaped(
        g, fe_onnx_gather(g, fe_onnx_shaped(g, x, 1, &all), n, index), 3, to);
}

static struct ir_value *weights(struct fe_onnx *g, enum ir_dtype dtype,
                                int64_t out, const struct place *p, int k)
{
    const int64_t dim[] = {out, 1};
    double *list = ir_alloc_array(&g->scratch, (size_t)out, sizeof *list);
    for (int64_t o = 0; o < out; o++)
        list[o] = k < 0 ? p[o].outside : p[o].weight[k];
    return fe_onnx_shaped(g, fe_onnx_vector(g, dtype, out, list), 2, dim);
}

/* x along one axis: [outer][in][inner] -> [outer][out][inner]. */
static struct ir_value *resample(struct fe_onnx *g, struct ir_value *x,
                                 const int64_t dim[3], int64_t out,
                                 const struct place *p, double outside)
{
    const enum ir_dtype dtype = x->type.dtype;
    const int64_t times = times_of(p, dim[1], out);
    if (times)
        return repeat(g, x, dim, times);
    struct ir_value *sum = tap(g, x, dim, out, p, 0);
    if (p[0].n > 1)
        sum = fe_onnx_map(g, "x0 x1 mul", dtype, sum,
                          weights(g, dtype, out, p, 0), NULL);
    for (int k = 1; k < p[0].n && sum; k++)
        sum = fe_onnx_map(g, "x0 x1 x2 mul add", dtype, sum,
                          tap(g, x, dim, out, p, k),
                          weights(g, dtype, out, p, k));
    bool any = false;
    for (int64_t o = 0; o < out; o++)
        any |= p[o].outside;
    return any && sum ? fe_onnx_map(g, ir_sprintf(&g->scratch,
                                                  "x1 %.17g x0 where",
                                                  outside),
                                    dtype, sum,
                                    weights(g, dtype, out, p, -1), NULL)
                      : sum;
}

static bool resize(struct fe_onnx *g, size_t scales_input)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    struct resize r;
    if (!x || !read_names(g, &r) || !read_sizes(g, x, scales_input, &r))
        return false;
    struct fe_onnx_value y = *x;
    for (int d = 0; d < x->rank && y.rows; d++) {
        const int64_t dim[] = {fe_onnx_product(&y, 0, d), y.dim[d],
                               fe_onnx_product(&y, d + 1, y.rank)};
        if (r.out[d] == x->dim[d] && r.scale[d] == 1 && r.start[d] == 0 &&
            r.end[d] == 1)
            continue;
        if (x->batched && d == x->batch)
            return fe_onnx_error(g, "axis %d is the batch", d);
        if (!fe_onnx_take_elements(g, r.out[d]))
            return false;
        struct place *p = ir_alloc_array(&g->scratch, (size_t)r.out[d],
                                         sizeof *p);
        for (int64_t o = 0; o < r.out[d]; o++)
            p[o] = find_place(&r, d, y.dim[d], o);
        y.dim[d] = r.out[d];
        y.n = fe_onnx_volume(g, y.rank, y.dim, 1);
        y.rows = y.n > 0 ? resample(g, y.rows, dim, r.out[d], p, r.outside)
                         : NULL;
    }
    const struct fe_onnx_shape shape = fe_onnx_shape_of(&y);
    return fe_onnx_give_shape(g, 0, x->type, y.rows, &shape);
}

/* Until opset 10 scales come first; then a region, scales, sizes. */
bool fe_onnx_resize(struct fe_onnx *g)
{
    return resize(g, g->opset < 11 ? 1 : 2);
}

bool fe_onnx_upsample(struct fe_onnx *g)
{
    return resize(g, 1);
}
