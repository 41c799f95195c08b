/* stream_ops.c: what each op on a series is at one time step.
 *
 * A series lies as [outer][steps][inner], whatever its dims are, so what is
 * reshaped in between keeps its steps. Each function says how the result lies,
 * and builds the op on operands that have one step: [outer][inner]. */
#include "passes/stream.h"

#include <math.h>
#include <string.h>

static const int64_t *ints(const struct ir_op *op, const char *name)
{
    const struct ir_tensor *t = ir_attr_tensor(op, name);
    return t ? t->data : NULL;
}

static int64_t last_dim(const struct ir_value *x)
{
    return x->type.dim[x->type.rank - 1];
}

bool pass_stream_copy_one(struct streamer *s, const struct ir_time *time,
                          int n_attrs, const struct ir_attr *attrs)
{
    struct stream_value *v = &s->value[s->op->result[0].id];
    const struct stream_value *x = pass_stream_operand(s, 0);
    struct ir_value *operand = x->step;
    struct ir_op *op = pass_stream_copy(s, 1, &operand, n_attrs, attrs);
    v->time = *time;
    v->start = x->start;
    v->frames = x->frames;
    if (op)
        v->step = &op->result[0];
    return op != NULL;
}

/* --------------------------------------------------------------- elements */

static bool same_elements(struct streamer *s)
{
    const struct stream_value *x = pass_stream_operand(s, 0);
    return x->start < 0 ? pass_stream_refuse_padding(s)
                        : pass_stream_copy_one(s, &x->time, 0, NULL);
}

static bool take_rows(struct streamer *s)
{
    const struct ir_tensor *table = ir_attr_tensor(s->op, "table");
    const struct stream_value *x = pass_stream_operand(s, 0);
    struct ir_time time = x->time;
    time.inner *= ir_type_volume(&table->type) / table->type.dim[0];
    return x->start < 0 ? pass_stream_refuse_padding(s)
                        : pass_stream_copy_one(s, &time, 0, NULL);
}

/* Of a constant with several places along a dim: so many of them, if they are
 * all the same. */
static struct ir_value *one_place(struct streamer *s,
                                  const struct ir_value *value, int axis,
                                  int64_t frames)
{
    struct ir_type type = value->type;
    const int64_t inner = pass_stream_inner(&type, axis), n = type.dim[axis];
    const size_t bytes = (size_t)inner * ir_dtype_bytes(type.dtype);
    const int64_t outer = ir_type_volume(&type) / (inner * n);
    const uint8_t *from = pass_stream_evaluate(s, value);
    uint8_t *to =
        ir_alloc_array(&s->step->arena, (size_t)(outer * frames), bytes);
    for (int64_t o = 0; o < outer; o++) {
        for (int64_t i = 0; i < frames; i++)
            memcpy(to + (size_t)(o * frames + i) * bytes,
                   from + (size_t)(o * n) * bytes, bytes);
        for (int64_t i = 1; i < n; i++)
            if (memcmp(from + (size_t)(o * n) * bytes,
                       from + (size_t)(o * n + i) * bytes, bytes)) {
                pass_stream_refuse(s,
                                   "has numbers that differ from step to step");
                return NULL;
            }
    }
    struct ir_tensor *tensor = ir_alloc(&s->step->arena, sizeof(*tensor));
    type.dim[axis] = frames;
    *tensor = (struct ir_tensor){type, to};
    const struct ir_attr attr = ir_tensor_attr("value", tensor);
    struct ir_op *op = pass_stream_append(s, IR_OP_constant, 0, NULL, 1, &attr);
    return op ? &op->result[0] : NULL;
}

/* An operand at a step, where time is the dim `from_end` of all, counted from
 * the last: a series that has it there and starts with `like`, or what is
 * still. */
static struct ir_value *beside(struct streamer *s, int i, int from_end,
                               const struct stream_value *like)
{
    const struct ir_value *old = s->op->operand[i];
    const struct stream_value *x = pass_stream_operand(s, i);
    const int axis = old->type.rank - from_end;
    if (x->kind == STREAM_SERIES) {
        if (pass_stream_axis(old, &x->time) == axis &&
            x->start == like->start && x->frames == like->frames &&
            x->time.steps == like->time.steps)
            return x->step;
        pass_stream_refuse(s, "has operands of different steps");
        return NULL;
    }
    if (axis < 0 || old->type.dim[axis] == 1 || ir_type_volume(&old->type) == 1)
        return pass_stream_given(s, i, -1, 1);
    return x->kind == STREAM_OTHER
               ? pass_stream_given(s, i, axis, like->frames)
               : one_place(s, old, axis, like->frames);
}

static const struct stream_value *first_series(const struct streamer *s,
                                               int *number)
{
    for (*number = 0;; ++*number)
        if (pass_stream_operand(s, *number)->kind == STREAM_SERIES)
            return pass_stream_operand(s, *number);
}

/* The op on all operands, in which time is one dim, as it is of the result. */
static bool copy_beside(struct streamer *s, int from_end,
                        const struct stream_value *like)
{
    const struct ir_op *old = s->op;
    struct stream_value *v = &s->value[old->result[0].id];
    struct ir_value **x = ir_alloc_array(
        &s->scratch, (size_t)old->n_operands + 1, sizeof(*x));
    for (int i = 0; i < old->n_operands; i++)
        if (!(x[i] = beside(s, i, from_end, like)))
            return false;
    struct ir_op *op = pass_stream_copy(s, old->n_operands, x, 0, NULL);
    if (!op)
        return false;
    const struct ir_type *type = &old->result[0].type;
    v->time = like->time;
    v->time.inner = pass_stream_inner(type, type->rank - from_end);
    v->time.outer =
        ir_type_volume(type) / (v->time.inner * v->time.steps);
    v->start = like->start;
    v->frames = like->frames;
    v->step = &op->result[0];
    return true;
}

/* What a map makes of the padding before the first step. */
static bool map_fill(struct streamer *s, const struct stream_value *x)
{
    struct stream_value *v = &s->value[s->op->result[0].id];
    struct ir_step steps[IR_MAX_STEPS];
    const enum ir_dtype dtype = s->op->operand[0]->type.dtype;
    if (s->op->n_operands > 1 || s->op->result[0].type.dtype != dtype ||
        dtype == IR_U8)
        return pass_stream_refuse_padding(s);
    const int n = ir_program_parse(ir_attr_string(s->op, "program"), s->op,
                                   steps, &s->diag);
    v->fill = ir_program_eval(steps, n, &x->fill, dtype);
    return true;
}

static bool map_steps(struct streamer *s)
{
    const struct ir_op *op = s->op;
    int first;
    const struct stream_value *x = first_series(s, &first);
    const struct ir_value *old = op->operand[first];
    if (x->start < 0 && !map_fill(s, x))
        return false;
    if (op->n_operands == 1)
        return pass_stream_copy_one(s, &x->time, 0, NULL);
    const int axis = pass_stream_axis(old, &x->time);
    if (axis < 0)
        return pass_stream_refuse(s, "has its steps in several dims");
    return copy_beside(s, old->type.rank - axis, x);
}

static bool concat_steps(struct streamer *s)
{
    int first;
    const struct stream_value *x = first_series(s, &first);
    const struct ir_value *old = s->op->operand[first];
    const int axis = pass_stream_axis(old, &x->time);
    if (x->start < 0)
        return pass_stream_refuse_padding(s);
    if (axis < 0 || ir_attr_int_or(s->op, "axis", 0) == axis)
        return pass_stream_refuse(s, "puts steps beside each other");
    return copy_beside(s, old->type.rank - axis, x);
}

/* A reduction of all steps of each slice, in their order. */
static bool all_steps(struct streamer *s, const struct ir_slices *slices)
{
    const struct stream_value *x = pass_stream_operand(s, 0);
    const struct ir_time *time = &x->time;
    const char *kind = s->op->kind == IR_OP_reduce
                           ? ir_attr_string(s->op, "kind") : "arg";
    if (strncmp(kind, "arg", 3) == 0 || ir_find_attr(s->op, "sum_dtype") ||
        time->inner * time->steps != slices->size * slices->inner ||
        time->inner % slices->inner)
        return pass_stream_refuse(s, "takes all steps together");
    const struct pass_stream_slices step = {
        kind, time->outer, time->inner / slices->inner * x->frames,
        slices->inner};
    return pass_stream_running(s, &step);
}

/* Softmax, argmax and reduce: steps are to lie apart from the slices. */
static bool slice_steps(struct streamer *s)
{
    const struct stream_value *x = pass_stream_operand(s, 0);
    const struct ir_slices slices = ir_slices_of(s->op);
    struct ir_time time = x->time;
    int64_t inner = slices.inner;
    if (x->start < 0)
        return pass_stream_refuse_padding(s);
    if (time.inner % (slices.size * slices.inner) == 0) {
        if (s->op->kind != IR_OP_softmax)
            time.inner /= slices.size;
    } else if (inner % (time.inner * time.steps) == 0) {
        inner = inner / time.steps * x->frames;
        if (s->op->kind != IR_OP_softmax)
            time.outer /= slices.size;
    } else {
        return all_steps(s, &slices);
    }
    const struct ir_attr attrs[] = {ir_int("size", slices.size),
                                    ir_int("inner", inner)};
    return pass_stream_copy_one(s, &time, 2, attrs);
}

/* ---------------------------------------------------------------- products */

static bool gemm_steps(struct streamer *s)
{
    const struct stream_value *x = pass_stream_operand(s, 0);
    const int64_t k = last_dim(s->op->operand[0]);
    struct ir_time time = x->time;
    if (x->start < 0)
        return pass_stream_refuse_padding(s);
    if (s->op->n_operands > 1)
        return pass_stream_refuse(s, "is not as a model has it");
    s->wrong_dim = time.inner % k != 0;
    if (s->wrong_dim)
        return pass_stream_refuse(s, "takes all steps together");
    time.inner = time.inner / k * last_dim(&s->op->result[0]);
    return pass_stream_copy_one(s, &time, 0, NULL);
}

/* Rows of the one or columns of the other may be of different steps, or both
 * are stacks of matrices, one or more of each step. */
static bool matmul_steps(struct streamer *s)
{
    const struct ir_op *op = s->op;
    const struct stream_value *a = pass_stream_operand(s, 0);
    const struct stream_value *b = pass_stream_operand(s, 1);
    const int rank = op->operand[0]->type.rank;
    const int a_axis = a->kind == STREAM_SERIES
                           ? pass_stream_axis(op->operand[0], &a->time)
                           : -1;
    const int b_axis = b->kind == STREAM_SERIES
                           ? pass_stream_axis(op->operand[1], &b->time)
                           : -1;
    const bool both = a->kind == b->kind;
    if (both ? a_axis < 0 || a_axis != b_axis || a_axis >= rank - 2 ||
                   a->start != b->start || a->frames != b->frames ||
                   a->time.steps != b->time.steps
             : a_axis != rank - 2 && b_axis != rank - 1)
        return pass_stream_refuse(s, "takes several steps together");
    const struct stream_value *x = a_axis >= 0 ? a : b;
    if (x->start < 0)
        return pass_stream_refuse_padding(s);
    struct ir_value *pair[] = {
        a->kind == STREAM_SERIES ? a->step : pass_stream_given(s, 0, -1, 1),
        b->kind == STREAM_SERIES ? b->step : pass_stream_given(s, 1, -1, 1)};
    struct ir_op *made =
        pair[0] && pair[1] ? pass_stream_copy(s, 2, pair, 0, NULL) : NULL;
    if (!made)
        return false;
    struct stream_value *v = &s->value[op->result[0].id];
    v->time = x->time;
    v->time.inner =
        pass_stream_inner(&op->result[0].type, a_axis >= 0 ? a_axis : b_axis);
    v->time.outer = ir_type_volume(&op->result[0].type) /
                    (v->time.inner * v->time.steps);
    v->start = x->start;
    v->frames = x->frames;
    v->step = &made->result[0];
    return true;
}

/* ------------------------------------------------------------------- views */

/* A part of a view's dim: n places, so many numbers apart. */
struct part {
    int64_t n, stride;
};

/* What a view looks at: where in time, and where in a step. */
struct sight {
    int64_t high, first, low; /* the offset, as [outer][steps][inner] */
    int64_t low_from, low_to; /* how far its dims reach within a step */
    int time_dim;             /* of the result, or -1 */
    int64_t n, below; /* steps along it; numbers in its dim after time */
    int64_t dims[IR_MAX_RANK], strides[IR_MAX_RANK]; /* of the step */
};

/* Cuts a dim that runs through inner, steps and outer into these, last first.
 */
static int cut(struct part whole, const struct ir_time *t, struct part *part)
{
    const int64_t limits[] = {t->inner, t->inner * t->steps};
    int n = 0;
    for (int i = 0; i < 2; i++) {
        const int64_t stride = whole.stride;
        const int64_t most =
            stride > 0 && stride < limits[i] && limits[i] % stride == 0
                ? limits[i] / stride : 0;
        if (most > 0 && whole.n > most && whole.n % most == 0) {
            part[n++] = (struct part){most, stride};
            whole = (struct part){whole.n / most, limits[i]};
        }
    }
    part[n++] = whole;
    return n;
}

static bool look_along(struct streamer *s, const struct stream_value *x,
                       int dim, struct part whole, struct sight *sight)
{
    const struct ir_time *t = &x->time;
    const int64_t span = t->inner * t->steps;
    struct part part[3];
    const int n = cut(whole, t, part);
    sight->dims[dim] = 1;
    sight->strides[dim] = 0;
    for (int i = 0; i < n; i++) {
        const int64_t stride = part[i].stride;
        const int64_t far = (part[i].n - 1) * stride;
        if (part[i].n == 1)
            continue;
        if (stride == t->inner && stride < span && sight->time_dim < 0) {
            sight->time_dim = dim;
            sight->n = part[i].n;
            sight->below = sight->dims[dim];
            if (x->frames > 1 && sight->dims[dim] == 1)
                sight->strides[dim] = stride;
            sight->dims[dim] *= x->frames;
            continue;
        }
        const bool high = stride % span == 0;
        if (!high && (stride >= t->inner || -stride >= t->inner))
            return pass_stream_refuse(
                s, stride == -t->inner ? "goes from the last step to the first"
                                       : "takes steps that are apart");
        if (sight->dims[dim] == 1)
            sight->strides[dim] = high ? stride / t->steps * x->frames
                                        : stride;
        sight->dims[dim] *= part[i].n;
        sight->low_from += !high && far < 0 ? far : 0;
        sight->low_to += !high && far > 0 ? far : 0;
    }
    return true;
}

static bool view_steps(struct streamer *s)
{
    const struct ir_op *op = s->op;
    const struct stream_value *x = pass_stream_operand(s, 0);
    struct stream_value *v = &s->value[op->result[0].id];
    const struct ir_type *type = &op->result[0].type;
    const struct ir_time *t = &x->time;
    const int64_t offset = ir_attr_int(op, "offset");
    struct sight sight = {.high = offset / (t->inner * t->steps),
                          .first = offset / t->inner % t->steps,
                          .low = offset % t->inner, .time_dim = -1, .n = 1};
    for (int i = 0; i < type->rank; i++)
        if (!look_along(s, x, i,
                        (struct part){type->dim[i], ints(op, "strides")[i]},
                        &sight))
            return false;
    if (sight.low + sight.low_from < 0 ||
        sight.low + sight.low_to >= t->inner ||
        sight.first + sight.n > t->steps)
        return pass_stream_refuse(s, "mixes steps");
    *v = *x;
    v->start = x->start + sight.first;
    v->time = (struct ir_time){1, sight.n, 1};
    if (sight.time_dim >= 0) {
        v->time.inner = pass_stream_inner(type, sight.time_dim) * sight.below;
        v->time.outer = ir_type_volume(type) / (v->time.inner * sight.n);
    }
    const int64_t last = sight.time_dim < 0 ? x->frames - 1 : 0;
    v->step = pass_stream_view(
        s, x->step, type->rank, sight.dims, sight.strides,
        (sight.high * x->frames + last) * t->inner + sight.low);
    return v->step != NULL;
}

/* -------------------------------------------------------------------- scan */

static const char *less_of(struct streamer *s)
{
    return ir_sprintf(&s->step->arena, "x0 %lld sub",
                      (long long)pass_stream_operand(s, 0)->frames);
}

/* Sequences may be shorter than the steps that there are: then a step has how
 * many are left, one less after each. Where nothing is given they have no end.
 * Sets *left to NULL when the steps are all of them. */
static bool length_left(struct streamer *s, int64_t steps,
                        struct ir_value **left)
{
    *left = NULL;
    if (s->op->n_operands < 3)
        return true;
    const struct ir_value *length = s->op->operand[2];
    const enum ir_dtype dtype = length->type.dtype;
    const enum stream_kind kind = pass_stream_operand(s, 2)->kind;
    if (kind == STREAM_STILL) {
        const void *n = pass_stream_evaluate(s, length);
        return (dtype == IR_I32 ? *(const int32_t *)n
                                : ir_real(n, dtype, 0)) >= (double)steps ||
               pass_stream_refuse(s, "ends before the last step");
    }
    if (kind != STREAM_OTHER || dtype == IR_I32)
        return pass_stream_refuse(s, "has a length that is not known before");
    void *endless = ir_alloc(&s->step->arena, 8);
    if (dtype == IR_F32)
        *(float *)endless = INFINITY;
    else
        *(double *)endless = INFINITY;
    int memory;
    const int64_t one = 1;
    *left = pass_stream_remember(s, dtype, 1, &one, endless, &memory);
    const struct ir_attr attrs[] = {ir_string("program", less_of(s)),
                                    ir_string("dtype", ir_dtype_name(dtype))};
    struct ir_op *less =
        *left ? pass_stream_append(s, IR_OP_map, 1, left, 2, attrs) : NULL;
    if (!less)
        return false;
    s->kept[memory] = &less->result[0];
    return pass_stream_start_as(s, memory, length);
}

/* Whether it goes through all steps from the first on. */
static bool goes_along(struct streamer *s, const struct ir_scan *scan)
{
    const struct stream_value *x = pass_stream_operand(s, 0);
    if (s->single)
        return (scan->steps == 1 && !scan->reverse) ||
               pass_stream_refuse(s, scan->reverse
                                      ? "goes from the last step to the first"
                                      : "goes along a dim that is not time");
    if (pass_stream_axis(s->op->operand[0], &x->time) != 0)
        return pass_stream_refuse(s, "goes along a dim that is not time");
    if (scan->reverse)
        return pass_stream_refuse(s, "goes from the last step to the first");
    const int64_t last = s->n_steps * x->frames;
    if (x->time.steps + x->start > last)
        return pass_stream_refuse(s, "takes what looks %lld steps ahead: "
                                  "windows over time are to be padded in "
                                  "front alone",
                                  (long long)(x->time.steps + x->start -
                                              last));
    return (x->start == 0 && x->time.steps == last) ||
           pass_stream_refuse(s,
                              "does not go from the first step to the last");
}

static bool scan_steps(struct streamer *s)
{
    const struct ir_op *op = s->op;
    const struct stream_value *x = pass_stream_operand(s, 0);
    const enum stream_kind state = pass_stream_operand(s, 1)->kind;
    const enum stream_kind kind = s->single ? STREAM_LATEST : STREAM_SERIES;
    struct ir_scan scan;
    int memory;
    ir_scan_view(op, &scan);
    s->wrong_input = x->kind == STREAM_OTHER;
    if (x->kind != kind || (state != STREAM_STILL && state != STREAM_OTHER))
        return pass_stream_refuse(s,
                                  "starts from a state that is made of steps");
    struct ir_value *operands[3] = {x->step};
    if (!goes_along(s, &scan) || !length_left(s, scan.steps, &operands[2]))
        return false;
    const int64_t states = scan.n_states * scan.hidden;
    if (!pass_stream_has_room(s, states, 1))
        return false;
    operands[1] = pass_stream_remember(
        s, op->operand[1]->type.dtype, 1, &states,
        state == STREAM_STILL ? pass_stream_evaluate(s, op->operand[1]) : NULL,
        &memory);
    if (!operands[1] ||
        (state == STREAM_OTHER &&
         !pass_stream_start_as(s, memory, op->operand[1])))
        return false;
    struct ir_op *made =
        pass_stream_copy(s, operands[2] ? 3 : 2, operands, 0, NULL);
    if (!made)
        return false;
    s->kept[memory] = &made->result[1];
    s->value[op->result[0].id] = (struct stream_value){
        .kind = kind, .time = {1, scan.steps, scan.hidden},
        .frames = x->frames,
        .step = &made->result[0]};
    s->value[op->result[1].id] = (struct stream_value){
        .kind = STREAM_LATEST, .step = &made->result[1]};
    return true;
}

/* ------------------------------------------------------------ single steps */

/* Windows may be within the step. One along a dim of 1 is along time, perhaps,
 * as that is somewhere: what it would reach back to is not there to be seen. */
bool pass_stream_single(struct streamer *s)
{
    const struct ir_op *op = s->op;
    if (op->kind != IR_OP_conv && op->kind != IR_OP_pool)
        return true;
    const struct ir_type *x = &op->operand[0]->type;
    for (int d = 0; d + 1 < x->rank; d++) {
        const int64_t taps =
            op->kind == IR_OP_conv
                ? ir_attr_tensor(op, "weights")->type.dim[2 + d]
                : ints(op, "kernel")[d];
        if (x->dim[1 + d] == 1 && taps > 1)
            return pass_stream_refuse(s, "has a window beyond the only step");
    }
    return true;
}

bool pass_stream_op(struct streamer *s, const struct ir_op *op)
{
    switch (op->kind) {
    case IR_OP_map: return map_steps(s);
    case IR_OP_lookup:
    case IR_OP_bucketize:
    case IR_OP_interp: return same_elements(s);
    case IR_OP_take: return take_rows(s);
    case IR_OP_concat: return concat_steps(s);
    case IR_OP_softmax:
    case IR_OP_argmax:
    case IR_OP_reduce: return slice_steps(s);
    case IR_OP_gemm: return gemm_steps(s);
    case IR_OP_matmul: return matmul_steps(s);
    case IR_OP_view: return view_steps(s);
    case IR_OP_pad: return pass_stream_pad(s);
    case IR_OP_pool: return pass_stream_pool(s);
    case IR_OP_conv: return pass_stream_conv(s);
    case IR_OP_scan: return scan_steps(s);
    default:
        if (ir_op_table[op->kind].program)
            return same_elements(s);
        return pass_stream_refuse(s, "takes all steps together");
    }
}
