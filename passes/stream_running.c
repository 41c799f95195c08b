/* stream_running.c: reductions over all of time, one step after the other.
 *
 * What is remembered is the result so far; a step reduces it and its own
 * frames, in the order of the whole. So after each step there is the result of
 * a sequence that ends there. A mean is a sum and how many it is of, for which
 * the model has the number of the whole. */
#include "passes/stream.h"

#include <string.h>

/* -------------------------------------------------------------- beginnings */

struct ir_value *pass_stream_map(struct streamer *s, const char *program,
                                 enum ir_dtype dtype, int n,
                                 struct ir_value *const *x)
{
    const struct ir_attr attrs[] = {ir_string("program", program),
                                    ir_string("dtype", ir_dtype_name(dtype))};
    struct ir_op *op = pass_stream_append(s, IR_OP_map, n, x, 2, attrs);
    return op ? &op->result[0] : NULL;
}

struct ir_value *pass_stream_counter(struct streamer *s, enum ir_dtype dtype,
                                     int64_t n, const double *first,
                                     const char *program,
                                     struct ir_value **next)
{
    void *start = ir_alloc_array(&s->step->arena, (size_t)n, 8);
    int memory;
    for (int64_t i = 0; i < n; i++)
        if (dtype == IR_F32)
            ((float *)start)[i] = (float)first[i];
        else
            ((double *)start)[i] = first[i];
    struct ir_value *v =
        pass_stream_remember(s, dtype, 1, &n, start, &memory);
    *next = v ? pass_stream_map(s, program, dtype, 1, &v) : NULL;
    if (*next)
        s->kept[memory] = *next;
    return *next ? v : NULL;
}

struct ir_value *pass_stream_begun(struct streamer *s, int64_t start,
                                   struct ir_value *after,
                                   struct ir_value *before)
{
    const double first = (double)start;
    const enum ir_dtype dtype = after->type.dtype;
    struct ir_value *next;
    struct ir_value *left =
        pass_stream_counter(s, dtype, 1, &first, "x0 1 sub -1 max", &next);
    struct ir_value *x[] = {after, left, before};
    return left ? pass_stream_map(s, "x1 0 lt x0 x2 where", dtype, 3, x)
                : NULL;
}

/* ------------------------------------------------------------- reductions */

static struct ir_value *number(struct streamer *s, enum ir_dtype dtype,
                               double v)
{
    const float narrow = (float)v;
    struct ir_tensor *tensor = ir_alloc(&s->step->arena, sizeof(*tensor));
    void *data = ir_alloc(&s->step->arena, 8);
    memcpy(data, dtype == IR_F32 ? (const void *)&narrow : &v,
           ir_dtype_bytes(dtype));
    *tensor = (struct ir_tensor){ir_type_vector(dtype, 1), data};
    const struct ir_attr attr = ir_tensor_attr("value", tensor);
    struct ir_op *op = pass_stream_append(s, IR_OP_constant, 0, NULL, 1, &attr);
    return op ? &op->result[0] : NULL;
}

/* The result before the step, [outer][1][inner]; before the first that counts,
 * what changes nothing: of the largest and the smallest the first there is. */
static struct ir_value *so_far(struct streamer *s,
                               const struct pass_stream_slices *slices,
                               struct ir_value *x, int64_t start, int *memory)
{
    const bool sum = !strcmp(slices->kind, "sum");
    const bool adds = sum || !strcmp(slices->kind, "prod");
    const enum ir_dtype dtype = x->type.dtype;
    const int64_t dims[] = {slices->outer, 1, slices->inner};
    const int64_t strides[] = {slices->each * slices->inner, slices->inner, 1};
    const int64_t n = slices->outer * slices->inner;
    void *first = ir_alloc_array(&s->step->arena, (size_t)n, 8);
    if (!pass_stream_has_room(s, n, 1))
        return NULL;
    for (int64_t i = 0; i < n && adds && !sum; i++)
        if (dtype == IR_F32)
            ((float *)first)[i] = 1;
        else
            ((double *)first)[i] = 1;
    struct ir_value *old =
        pass_stream_remember(s, dtype, 1, &n, first, memory);
    old = old ? pass_stream_part(s, old, 3, dims, 0) : NULL;
    if (!old || (adds && start == 0))
        return old;
    struct ir_value *before =
        adds ? number(s, dtype, sum ? 0 : 1)
             : pass_stream_view(s, x, 3, dims, strides, 0);
    return before ? pass_stream_begun(s, start, old, before) : NULL;
}

/* The first step that counts; -1 when the series is not all of the sequence. */
static int64_t first_step(struct streamer *s, const struct stream_value *x)
{
    if (x->start < 0) {
        pass_stream_refuse_padding(s);
        return -1;
    }
    if (x->start + x->time.steps != s->n_steps * x->frames ||
        x->start % x->frames) {
        pass_stream_refuse(s, "takes a part of the steps together");
        return -1;
    }
    return x->start / x->frames;
}

bool pass_stream_running(struct streamer *s,
                         const struct pass_stream_slices *slices)
{
    const struct stream_value *x = pass_stream_operand(s, 0);
    struct stream_value *v = &s->value[s->op->result[0].id];
    const int64_t start = first_step(s, x);
    const int64_t dims[] = {slices->outer, slices->each, slices->inner};
    const struct ir_attr axis = ir_int("axis", 1);
    const struct ir_attr attrs[] = {ir_string("kind", slices->kind),
                                    ir_int("size", slices->each + 1),
                                    ir_int("inner", slices->inner)};
    int memory;
    if (start < 0)
        return false;
    struct ir_value *now = pass_stream_reshape(s, x->step, 3, dims);
    struct ir_value *all[2] = {
        now ? so_far(s, slices, now, start, &memory) : NULL, now};
    struct ir_op *both =
        all[0] ? pass_stream_append(s, IR_OP_concat, 2, all, 1, &axis) : NULL;
    struct ir_value *joined = both ? &both->result[0] : NULL;
    struct ir_op *op =
        joined ? pass_stream_append(s, IR_OP_reduce, 1, &joined, 3, attrs)
               : NULL;
    if (!op)
        return false;
    s->kept[memory] = &op->result[0];
    *v = (struct stream_value){
        .kind = STREAM_LATEST, .start = start, .frames = 1,
        .step = &op->result[0], .each = slices->each};
    if (!strcmp(slices->kind, "sum"))
        v->total = slices->each * x->time.steps / x->frames;
    return true;
}

/* ------------------------------------------------------------------- means */

bool pass_stream_mean(struct streamer *s, const struct stream_value *sum)
{
    const enum ir_dtype dtype = sum->step->type.dtype;
    struct stream_value *v = &s->value[s->op->result[0].id];
    const double first = -(double)(sum->start * sum->each);
    char grow[32];
    struct ir_value *count;
    snprintf(grow, sizeof(grow), "x0 %lld add", (long long)sum->each);
    if (!pass_stream_counter(s, IR_F64, 1, &first, grow, &count))
        return false;
    struct ir_value *x[] = {
        sum->step, dtype == IR_F64
                       ? count
                       : pass_stream_map(s, "x0", dtype, 1, &count)};
    *v = (struct stream_value){.kind = STREAM_LATEST, .start = sum->start,
                               .frames = 1};
    v->step = x[1] ? pass_stream_map(s, "x0 x1 div", dtype, 2, x) : NULL;
    return v->step != NULL;
}

bool pass_stream_is_mean(struct streamer *s)
{
    const struct stream_value *x =
        s->op->n_operands == 1 ? pass_stream_operand(s, 0) : NULL;
    char program[40];
    if (!x || x->kind != STREAM_LATEST || !x->total ||
        s->op->kind != IR_OP_map ||
        s->op->result[0].type.dtype != s->op->operand[0]->type.dtype)
        return false;
    snprintf(program, sizeof(program), "x0 %lld div", (long long)x->total);
    return !strcmp(ir_attr_string(s->op, "program"), program);
}
