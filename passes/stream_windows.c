/* stream_windows.c: what ops with windows over time are at one time step: pads,
 * convolutions and pools.
 *
 * Window u of a result reads the frames from `late` - `reach` to `late` after
 * frame u * stride, of which none is after those of its step. So a step's
 * windows see the frames of the step and, in a memory, those that came before.
 */
#include "passes/stream.h"

#include "ir/nets.h"

#include <string.h>

static const int64_t *ints(const struct ir_op *op, const char *name)
{
    const struct ir_tensor *t = ir_attr_tensor(op, name);
    return t ? t->data : NULL;
}

/* Whether there is padding behind a series that ends before the sequence does:
 * the step has a frame where the model has padding. */
static bool pads_early_end(const struct streamer *s,
                           const struct stream_value *x, int64_t back)
{
    return back > 0 && x->start + x->time.steps < s->n_steps * x->frames;
}

/* -------------------------------------------------------------------- pads */

bool pass_stream_pad(struct streamer *s)
{
    const struct ir_op *op = s->op;
    const struct ir_value *old = op->operand[0];
    const struct stream_value *x = pass_stream_operand(s, 0);
    struct stream_value *v = &s->value[op->result[0].id];
    const int axis = pass_stream_axis(old, &x->time), rank = old->type.rank;
    const double fill = old->type.dtype == IR_F32
                            ? (float)ir_attr_float(op, "value")
                            : ir_attr_float(op, "value");
    int64_t before[IR_MAX_RANK], after[IR_MAX_RANK];
    if (axis < 0)
        return pass_stream_refuse(s, "has its steps in several dims");
    memcpy(before, ints(op, "before"), (size_t)rank * sizeof(*before));
    memcpy(after, ints(op, "after"), (size_t)rank * sizeof(*after));
    const int64_t front = before[axis], back = after[axis];
    if (x->start > 0 && front > 0)
        return pass_stream_refuse(s, "pads what begins after some steps");
    if (pads_early_end(s, x, back))
        return pass_stream_refuse(s, "pads what ends before the last step");
    if (x->start < 0 && memcmp(&x->fill, &fill, sizeof(fill)) != 0)
        return pass_stream_refuse_padding(s);
    before[axis] = after[axis] = 0;
    struct ir_time time = x->time;
    time.inner = pass_stream_inner(&op->result[0].type, axis);
    time.steps += front + back;
    time.outer = ir_type_volume(&op->result[0].type) /
                 (time.steps * time.inner);
    const struct ir_attr attrs[] = {pass_stream_ints(s, "before", rank, before),
                                    pass_stream_ints(s, "after", rank, after)};
    if (!pass_stream_copy_one(s, &time, 2, attrs))
        return false;
    v->start = x->start - front;
    v->fill = fill;
    return true;
}

/* ----------------------------------------------------------------- windows */

/* A conv's or pool's windows along time. */
struct windows {
    int axis; /* of the operand, that is time */
    int64_t stride, reach, front; /* in frames of the operand */
    int64_t late; /* the newest frame is so many after the first of a stride */
    /* What is before the first frame is as that one: of a max, which begins
     * with the first element that is there, and a NaN stays then. */
    bool edge;
    bool counts; /* averages by how many elements are there */
};

static int64_t divide_up(int64_t a, int64_t b)
{
    return a / b + (a % b > 0);
}

/* Whether so many frames a step become a whole number by the stride; if not it
 * is tried with as many as do. */
static bool has_frames(struct streamer *s, const struct stream_value *x,
                       int64_t stride)
{
    const int64_t times = stride / ir_common_divisor(x->frames, stride);
    if (times == 1)
        return true;
    s->want_frames = times <= s->n_steps / 2 ? s->frames * times : 0;
    return pass_stream_refuse(
        s, "goes in strides of %lld over %lld places along time, which makes "
        "no two steps", (long long)stride,
        (long long)(s->n_steps * x->frames));
}

/* What is behind the last frame, of padding. */
static int64_t back_of(const struct ir_op *op, int axis)
{
    const int n = op->operand[0]->type.rank - 1, d = axis - 1;
    const int64_t *extra = op->kind == IR_OP_pool ? ints(op, "extra") : NULL;
    return ints(op, "pads")[n + d] + (extra ? extra[d] : 0);
}

/* Sets when its results are. */
static bool place(struct streamer *s, struct windows *w)
{
    const struct ir_type *type = &s->op->result[0].type;
    const struct stream_value *x = pass_stream_operand(s, 0);
    struct stream_value *v = &s->value[s->op->result[0].id];
    const int64_t newest = x->start - w->front + w->reach;
    if (!has_frames(s, x, w->stride))
        return false;
    if (x->start > 0 && w->front > 0)
        return pass_stream_refuse(s, "pads what begins after some steps");
    if (pads_early_end(s, x, back_of(s->op, w->axis)))
        return pass_stream_refuse(s, "pads what ends before the last step");
    v->start = divide_up(newest - (w->stride - 1), w->stride);
    v->frames = x->frames / w->stride;
    w->late = newest - v->start * w->stride;
    v->time.steps = type->dim[w->axis];
    v->time.inner = pass_stream_inner(type, w->axis);
    v->time.outer = ir_type_volume(type) / (v->time.inner * v->time.steps);
    return v->start >= 0 ||
           pass_stream_refuse(s, "begins before the first step");
}

/* -------------------------------------------------------------- the memory */

/* What is remembered before the first step: [frames][each] numbers, padding as
 * the model has it. Of what comes before the padding no result of the model is
 * made. */
static const void *first_window(struct streamer *s,
                                const struct stream_value *x,
                                enum ir_dtype dtype, int64_t frames,
                                int64_t each)
{
    const size_t n = (size_t)(frames * each);
    void *first =
        ir_alloc_array(&s->step->arena, n, ir_dtype_bytes(dtype));
    for (size_t i = 0; i < n; i++) {
        const bool padded = (int64_t)i / each - frames >= x->start;
        if (dtype == IR_F32)
            ((float *)first)[i] = padded ? (float)x->fill : 0;
        else
            ((double *)first)[i] = padded ? x->fill : 0;
    }
    return first;
}

/* The step's frames as [frames][d1]..[C], time in front and channels last. */
static struct ir_value *frames_of(struct streamer *s, int axis,
                                  int64_t *dims)
{
    const struct ir_type *type = &s->op->operand[0]->type;
    const struct stream_value *x = pass_stream_operand(s, 0);
    const struct ir_type *step = &x->step->type;
    int64_t strides[IR_MAX_RANK];
    int n = 1;
    dims[0] = x->frames;
    strides[0] = x->frames > 1 ? pass_stream_inner(step, axis) : 0;
    for (int i = 1; i < type->rank; i++)
        if (i != axis) {
            dims[n] = type->dim[i];
            strides[n++] = pass_stream_inner(step, i);
        }
    dims[n] = type->dim[0];
    strides[n] = pass_stream_inner(step, 0);
    return pass_stream_view(s, x->step, type->rank, dims, strides, 0);
}

/* `old` frames, or in the first step as many times the first of `now`. */
static struct ir_value *edge_of(struct streamer *s, struct ir_value *old,
                                struct ir_value *now)
{
    int64_t strides[IR_MAX_RANK] = {0};
    for (int i = 1; i < old->type.rank; i++)
        strides[i] = pass_stream_inner(&old->type, i);
    struct ir_value *edge = pass_stream_view(s, now, old->type.rank,
                                             old->type.dim, strides, 0);
    return edge ? pass_stream_begun(s, 0, old, edge) : NULL;
}

/* What is remembered of the frames before the step, at least `old` of them, and
 * then those of the step. A place of the memory is of the frames of a step. */
static struct ir_value *window_of(struct streamer *s, const struct windows *w,
                                  int64_t old)
{
    const struct stream_value *x = pass_stream_operand(s, 0);
    const enum ir_dtype dtype = s->op->operand[0]->type.dtype;
    const int rank = s->op->operand[0]->type.rank;
    const int64_t places = divide_up(old, x->frames) + 1;
    int64_t dims[IR_MAX_RANK];
    int memory;
    struct ir_value *now = frames_of(s, w->axis, dims);
    if (!now)
        return NULL;
    const int64_t each = ir_type_volume(&now->type);
    if (!pass_stream_has_room(s, places, each))
        return NULL;
    dims[0] = places * x->frames;
    struct ir_value *past = pass_stream_remember(
        s, dtype, rank, dims,
        first_window(s, x, dtype, dims[0], each / x->frames), &memory);
    dims[0] -= x->frames;
    past = past ? pass_stream_part(s, past, rank, dims, each) : NULL;
    if (past && w->edge)
        past = edge_of(s, past, now);
    struct ir_value *all = past ? pass_stream_join(s, past, now) : NULL;
    if (!all)
        return NULL;
    s->kept[memory] = all;
    s->stream->memory[memory].steps = places;
    return all;
}

/* ----------------------------------------------------------------- the op */

/* The op on x; nothing is padded along time. */
static struct ir_value *windows_of(struct streamer *s, const struct windows *w,
                                   struct ir_value *x, bool channels_last)
{
    const struct ir_op *old = s->op;
    const int n = old->operand[0]->type.rank - 1, d = w->axis - 1;
    int64_t pads[2 * IR_MAX_RANK], extra[IR_MAX_RANK];
    struct ir_attr attrs[3];
    int n_attrs = 0;
    memcpy(pads, ints(old, "pads"), (size_t)(2 * n) * sizeof(*pads));
    pads[d] = pads[n + d] = 0;
    attrs[n_attrs++] = pass_stream_ints(s, "pads", 2 * n, pads);
    if (channels_last)
        attrs[n_attrs++] = ir_int("channels_last", 1);
    if (old->kind == IR_OP_pool && ints(old, "extra")) {
        memcpy(extra, ints(old, "extra"), (size_t)n * sizeof(*extra));
        extra[d] = 0;
        attrs[n_attrs++] = pass_stream_ints(s, "extra", n, extra);
    }
    struct ir_op *op = pass_stream_copy(s, 1, &x, n_attrs, attrs);
    return op ? &op->result[0] : NULL;
}

/* The op on frames which have time in front and channels last, from frame
 * `first` on, as the model has its dims: channels first, and time among the
 * others. */
static struct ir_value *of_window(struct streamer *s, const struct windows *w,
                                  struct ir_value *window, int64_t first)
{
    const int rank = s->op->operand[0]->type.rank, n = rank - 1;
    int64_t dims[IR_MAX_RANK], strides[IR_MAX_RANK];
    /* Time goes to its place. */
    for (int i = 0, from = 1; i < n; i++) {
        const int at = i == w->axis - 1 ? 0 : from++;
        dims[i] = window->type.dim[at] - (at ? 0 : first);
        strides[i] = pass_stream_inner(&window->type, at);
    }
    dims[n] = s->op->operand[0]->type.dim[0];
    strides[n] = 1;
    struct ir_value *x =
        pass_stream_view(s, window, rank, dims, strides,
                         first * pass_stream_inner(&window->type, 0));
    struct ir_value *y = x ? windows_of(s, w, x, true) : NULL;
    if (!y)
        return NULL;
    for (int i = 0; i < rank; i++) {
        dims[i] = y->type.dim[i ? i - 1 : rank - 1];
        strides[i] = i ? pass_stream_inner(&y->type, i - 1) : 1;
    }
    return pass_stream_view(s, y, rank, dims, strides, 0);
}

/* The op on the step's own frames from `first` on. */
static struct ir_value *of_step(struct streamer *s, const struct windows *w,
                                int64_t first)
{
    struct ir_value *x = pass_stream_operand(s, 0)->step;
    int64_t dims[IR_MAX_RANK], strides[IR_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++) {
        dims[i] = x->type.dim[i] - (i == w->axis ? first : 0);
        strides[i] = pass_stream_inner(&x->type, i);
    }
    if (first > 0)
        x = pass_stream_view(s, x, x->type.rank, dims, strides,
                             first * strides[w->axis]);
    return x ? windows_of(s, w, x, false) : NULL;
}

/* ---------------------------------------------------------------- averages */

/* How many elements there are in each of a step's windows, [n][1]. They grow in
 * number until all are there. */
static struct ir_value *counts_of(struct streamer *s, const struct windows *w,
                                  int64_t n)
{
    const struct stream_value *x = pass_stream_operand(s, 0);
    const enum ir_dtype dtype = x->step->type.dtype;
    const int64_t dims[] = {n, 1};
    double *first = ir_alloc_array(&s->scratch, (size_t)n, sizeof(*first));
    struct ir_value *now;
    for (int64_t i = 0; i < n; i++)
        first[i] = (double)(i * w->stride + w->late + 1 - x->frames);
    const char *program =
        ir_sprintf(&s->step->arena, "x0 %lld add %lld min",
                   (long long)x->frames, (long long)w->reach + 1);
    return pass_stream_counter(s, dtype, n, first, program, &now)
               ? pass_stream_reshape(s, now, 2, dims)
               : NULL;
}

/* The averages of windows of which some begin before the first frame, [C][n]:
 * sums over zeros, too, by how many elements there are. `window` is
 * [frames][C]. */
static struct ir_value *averages(struct streamer *s, const struct windows *w,
                                 struct ir_value *window, int64_t first)
{
    const struct ir_type *type = &window->type;
    const int64_t n = pass_stream_operand(s, 0)->frames / w->stride;
    const int64_t taps = w->reach + 1, c = type->dim[1];
    const int64_t dims[] = {n, taps, c}, strides[] = {w->stride * c, c, 1};
    const int64_t flat[] = {n, c}, turned[] = {c, n}, turn[] = {1, c};
    const struct ir_attr attrs[] = {ir_string("kind", "sum"),
                                    ir_int("size", taps), ir_int("inner", c)};
    struct ir_value *each =
        pass_stream_view(s, window, 3, dims, strides, first * c);
    struct ir_op *sum =
        each ? pass_stream_append(s, IR_OP_reduce, 1, &each, 3, attrs) : NULL;
    struct ir_value *x[] = {
        sum ? pass_stream_reshape(s, &sum->result[0], 2, flat) : NULL,
        sum ? counts_of(s, w, n) : NULL};
    struct ir_value *y =
        x[0] && x[1]
            ? pass_stream_map(s, "x0 x1 div", type->dtype, 2, x) : NULL;
    return y ? pass_stream_view(s, y, 2, turned, turn, 0) : NULL;
}

/* ------------------------------------------------------------------- steps */

static bool build(struct streamer *s, const struct windows *w)
{
    const struct stream_value *x = pass_stream_operand(s, 0);
    struct stream_value *v = &s->value[s->op->result[0].id];
    const int64_t old = w->reach - w->late;
    if (old <= 0) {
        v->step = of_step(s, w, -old);
        return v->step != NULL;
    }
    if (s->op->operand[0]->type.dtype == IR_U8)
        return pass_stream_refuse(s, "would remember bytes: windows over "
                                     "time are to be of plain numbers");
    if (ir_find_attr(s->op, "winograd"))
        return pass_stream_refuse(s, "takes several steps at once, by "
                                     "Winograd's way");
    struct ir_value *window = window_of(s, w, old);
    if (window) {
        const int64_t first = window->type.dim[0] - x->frames - old;
        v->step = w->counts ? averages(s, w, window, first)
                            : of_window(s, w, window, first);
    }
    return v->step != NULL;
}

/* Whether dim `axis` of the operand, which is time, is one that the windows of
 * a model's conv or pool go along. */
static bool is_along_windows(struct streamer *s, int axis)
{
    if (s->op->n_operands > 1 || ir_attr_int_or(s->op, "channels_last", 0))
        return pass_stream_refuse(s, "is not as a model has it");
    if (axis < 0)
        return pass_stream_refuse(s, "has its steps in several dims");
    s->wrong_dim = axis == 0;
    if (axis == 0)
        return pass_stream_refuse(s, "takes the steps for channels");
    return true;
}

/* ------------------------------------------------------------------- convs */

bool pass_stream_conv(struct streamer *s)
{
    const struct ir_op *op = s->op;
    const struct stream_value *x = pass_stream_operand(s, 0);
    const int axis = pass_stream_axis(op->operand[0], &x->time), d = axis - 1;
    if (!is_along_windows(s, axis))
        return false;
    if (ints(op, "input_dilations") && ints(op, "input_dilations")[d] != 1)
        return pass_stream_refuse(s, "gives more steps than it takes");
    const int64_t taps = ir_attr_tensor(op, "weights")->type.dim[2 + d];
    struct windows w = {.axis = axis, .stride = ints(op, "strides")[d],
                        .reach = (taps - 1) * ints(op, "dilations")[d],
                        .front = ints(op, "pads")[d]};
    return place(s, &w) && build(s, &w);
}

/* ------------------------------------------------------------------- pools */

/* Averages of what is there: of a window that begins before the first frame how
 * many that is differs from step to step. */
static bool counts(const struct ir_op *op)
{
    return strcmp(ir_attr_string(op, "kind"), "average") == 0 &&
           !ir_attr_int(op, "count_padding");
}

/* Whether its one window is of all there is, time before all else. */
static bool is_of_all(const struct ir_op *op, int axis)
{
    const int n = op->operand[0]->type.rank - 1;
    for (int d = 0; d < n; d++)
        if (ints(op, "kernel")[d] != op->operand[0]->type.dim[1 + d] ||
            ints(op, "dilations")[d] != 1 || ints(op, "pads")[d] ||
            ints(op, "pads")[n + d])
            return false;
    return axis == 1;
}

/* That window as a reduction, which goes on after the last step. */
static bool pool_all(struct streamer *s)
{
    const struct ir_op *op = s->op;
    const struct stream_value *x = pass_stream_operand(s, 0);
    struct stream_value *v = &s->value[op->result[0].id];
    const bool max = !strcmp(ir_attr_string(op, "kind"), "max");
    const struct pass_stream_slices slices = {
        max ? "max" : "sum", x->time.outer, x->time.inner * x->frames, 1};
    if (!pass_stream_running(s, &slices))
        return false;
    const struct stream_value sum = *v;
    return max || pass_stream_mean(s, &sum);
}

bool pass_stream_pool(struct streamer *s)
{
    const struct ir_op *op = s->op;
    const struct stream_value *x = pass_stream_operand(s, 0);
    const int axis = pass_stream_axis(op->operand[0], &x->time), d = axis - 1;
    if (!is_along_windows(s, axis))
        return false;
    if (is_of_all(op, axis))
        return pool_all(s);
    struct windows w = {.axis = axis, .stride = ints(op, "strides")[d],
                        .reach = (ints(op, "kernel")[d] - 1) *
                                 ints(op, "dilations")[d],
                        .front = ints(op, "pads")[d]};
    w.edge = w.front > 0 && strcmp(ir_attr_string(op, "kind"), "max") == 0;
    if (w.front > 0 && x->start < 0)
        return pass_stream_refuse_padding(s);
    w.counts = w.front > 0 && counts(op);
    if (w.counts && op->operand[0]->type.rank > 2)
        return pass_stream_refuse(s, "averages over fewer steps at first");
    if ((w.edge || w.counts) && ints(op, "dilations")[d] != 1)
        return pass_stream_refuse(s, "takes steps before the first that are "
                                     "apart");
    return place(s, &w) && build(s, &w);
}
