/* eval_nets.c: what gemm, matmul, conv, pool and scan compute. The loops are in
 * eval_nets.inc, once for each dtype:
 *
 *   f32   a multiply-add is fused: rounded once
 *   f64   its product is rounded, and then its sum
 *
 * An element of a result is one chain of these in the order of the loops, which
 * every compiled form keeps. */
#include "ir/ir_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* [m][k] times [k][n], k in blocks. */
struct gemm {
    int64_t m, k, n, block;
};
struct conv {
    struct ir_window window;
    int64_t m, groups; /* channels of the result */
};
struct pool {
    struct ir_window window;
    bool max, count_padding;
};
/* A scan's activations, parsed, and what they are of. */
struct activation {
    struct ir_step steps[IR_MAX_STEPS];
    int n;
};
struct cell {
    struct ir_scan s;
    enum ir_dtype dtype;
    struct activation f, g, h; /* gate, candidate, output */
};

/* Moves to the next of the places below `out`, or below `kernel`, the last dim
 * fastest; false after the last. */
static bool next_window(const struct ir_window *w, int64_t o[IR_MAX_SPACE])
{
    for (int i = IR_MAX_SPACE; i-- > 0;) {
        if (++o[i] < w->dim[i].out)
            return true;
        o[i] = 0;
    }
    return false;
}

static bool next_tap(const struct ir_window *w, int64_t k[IR_MAX_SPACE])
{
    for (int i = IR_MAX_SPACE; i-- > 0;) {
        if (++k[i] < w->dim[i].kernel)
            return true;
        k[i] = 0;
    }
    return false;
}

static int64_t volume_in(const struct ir_window *w)
{
    return w->dim[0].in * w->dim[1].in * w->dim[2].in;
}

static int64_t volume_out(const struct ir_window *w)
{
    return w->dim[0].out * w->dim[1].out * w->dim[2].out;
}

/* Where along the last dim a tap of a window is, and how many windows from this
 * one on have it side by side. */
struct tap {
    int64_t at, n;
};

static void find_taps(const struct ir_window_dim *d, int64_t k,
                      struct tap *tap)
{
    for (int64_t o = d->out; o-- > 0;) {
        const int64_t at = ir_window_at(d, o, k);
        const bool joins =
            at >= 0 && o + 1 < d->out && tap[o + 1].at == at + 1;
        tap[o] = (struct tap){at, joins ? tap[o + 1].n + 1 : 1};
    }
}

static bool is_as_before(const struct ir_window_dim *d)
{
    return d->kernel == 1 && d->stride == 1 && d->spread == 1 &&
           d->out == d->in && d->before == 0;
}

/* Of a kernel of one tap that visits each element, all dims are one line. */
static void join_dims(struct ir_window *w)
{
    struct ir_window_dim *d = w->dim;
    for (int i = 0; i < IR_MAX_SPACE; i++)
        if (!is_as_before(&d[i]))
            return;
    d[2].in = d[2].out = d[0].in * d[1].in * d[2].in;
    d[0].in = d[0].out = d[1].in = d[1].out = 1;
}

/* How many taps of a window are in x or its padding, and not past it. */
static int64_t count_places(const struct ir_window *w,
                            const int64_t o[IR_MAX_SPACE])
{
    int64_t n = 1;
    for (int i = 0; i < IR_MAX_SPACE; i++) {
        const struct ir_window_dim *d = &w->dim[i];
        int64_t along = 0;
        for (int64_t k = 0; k < d->kernel; k++)
            along += o[i] * d->stride + k * d->dilation <
                     d->before + d->in + d->after;
        n *= along;
    }
    return n;
}

static double activate(const struct cell *cell, const struct activation *f,
                       double v)
{
    return ir_program_eval(f->steps, f->n, &v, cell->dtype);
}

/* Of a gate or candidate, which is first clipped; a NaN stays one. */
static double activate_gate(const struct cell *cell,
                            const struct activation *f, double v)
{
    const double clip = cell->s.clip;
    return activate(cell, f, v < -clip ? -clip : v > clip ? clip : v);
}

/* sum[i] = w * x[i] + sum[i]: where the time goes. fmaf() is a call unless the
 * compiler may use the instruction; it gives the same either way. */
#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void
add_row_fma(int64_t n, float w, const float *x, float *sum)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] = fmaf(w, x[i], sum[i]);
}
#endif

static void add_row_f32(int64_t n, float w, const float *x, float *sum)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        add_row_fma(n, w, x, sum);
        return;
    }
#endif
    for (int64_t i = 0; i < n; i++)
        sum[i] = fmaf(w, x[i], sum[i]);
}

void ir_add_row(int64_t n, float w, const float *x, float *sum)
{
    add_row_f32(n, w, x, sum);
}

static void add_row_f64(int64_t n, double w, const double *x, double *sum)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] = w * x[i] + sum[i];
}

#define REAL float
#define NAME(name) name##_f32
#define MUL_ADD(a, b, c) fmaf(a, b, c)
#include "ir/eval_nets.inc"
#undef REAL
#undef NAME
#undef MUL_ADD
#define REAL double
#define NAME(name) name##_f64
#define MUL_ADD(a, b, c) ((a) * (b) + (c))
#include "ir/eval_nets.inc"

static const void *data_of(const struct ir_op *op, const char *name)
{
    const struct ir_tensor *t = ir_attr_tensor(op, name);
    return t ? t->data : NULL;
}

static bool is_f32(const struct ir_op *op)
{
    return op->operand[0]->type.dtype == IR_F32;
}

/* Room for n numbers of 8 bytes, zeros at first. */
static void *room_for(int64_t n)
{
    void *room = calloc((size_t)n, 8);
    if (!room)
        ir_out_of_memory();
    return room;
}

/* ----------------------------------------------------------------- weights */

/* Weights as the loops read them: those of bf16 as f32, those of i8 as f64. */
struct weights {
    const void *data;
    void *own; /* to be freed; NULL where data is the tensor's */
};

static struct weights read_weights(const struct ir_tensor *t)
{
    const enum ir_dtype dtype = t->type.dtype;
    const size_t n = ir_tensor_bytes(t) / ir_dtype_bytes(dtype);
    if (dtype != IR_BF16 && dtype != IR_I8)
        return (struct weights){.data = t->data};
    void *own = room_for((int64_t)n);
    if (dtype == IR_BF16)
        for (size_t i = 0; i < n; i++)
            ((float *)own)[i] = ir_from_bf16(((const uint16_t *)t->data)[i]);
    else
        for (size_t i = 0; i < n; i++)
            ((double *)own)[i] = ((const int8_t *)t->data)[i];
    return (struct weights){own, own};
}

static bool is_int8(const struct ir_op *op)
{
    return ir_attr_tensor(op, "weights")->type.dtype == IR_I8;
}

/* Where an op puts what its epilogue, or the rounding to u8, then reads: the
 * result itself where that is of the same dtype. To be freed if it is not. */
static void *room_to_make(struct ir_eval_context *c, const struct ir_op *op)
{
    const struct ir_value *y = &op->result[0];
    return y->type.dtype == IR_U8 ? room_for(ir_type_volume(&y->type))
                                  : ir_eval_data(c, y);
}

static void finish(struct ir_eval_context *c, const struct ir_op *op,
                   void *made)
{
    ir_eval_epilogue(c, op, made);
    if (made != ir_eval_data(c, &op->result[0]))
        free(made);
}

/* The whole number that stands for v, less the one that stands for 0. */
static double quantise(float v, float scale, float zero)
{
    const float scaled = v * scale;
    const float moved = rintf(scaled) + zero;
    const float above = moved > 0 ? moved : 0;
    return (double)(above < 255 ? above : 255) - (double)zero;
}

/* The whole number that 0 is. */
static float zero_of(struct ir_eval_context *c, const struct ir_op *op)
{
    return ir_has_zero_operand(op)
               ? (float)*(const uint8_t *)ir_eval_data(c, op->operand[1])
               : (float)ir_attr_int(op, "input_zero");
}

/* An op on f32 or u8 with weights of i8, by product(context, op, x, y), its
 * loops for f64: sums of so many whole numbers are exact there. Column i / each
 * % n of element i has its own start, scale and bias. */
static void by_int8(void *context, const struct ir_op *op, float zero,
                    const void *x, float *y, int64_t n, int64_t each,
                    void product(void *, const struct ir_op *, const void *,
                                 void *))
{
    const int64_t n_x = ir_type_volume(&op->operand[0]->type);
    const int64_t n_y = ir_type_volume(&op->result[0].type);
    const bool is_u8 = op->operand[0]->type.dtype == IR_U8;
    const float scale =
        is_u8 ? 1 : (float)ir_find_attr(op, "input_scale")->f;
    const int32_t *start = data_of(op, "start");
    const float *scales = ir_attr_tensor(op, "scale")->data;
    const struct ir_tensor *bias = ir_attr_tensor(op, "bias");
    double *q = room_for(n_x), *sum = room_for(n_y);
    for (int64_t i = 0; i < n_x; i++)
        q[i] = is_u8 ? (double)((const uint8_t *)x)[i] - (double)zero
                     : quantise(((const float *)x)[i], scale, zero);
    product(context, op, q, sum);
    for (int64_t i = 0; i < n_y; i++) {
        const int64_t column = i / each % n;
        const double whole = sum[i] + (start ? (double)start[column] : 0);
        const float scaled = (float)whole * scales[column];
        y[i] = bias ? scaled + ((const float *)bias->data)[column] : scaled;
    }
    free(q);
    free(sum);
}

static void gemm_int8(void *work, const struct ir_op *op, const void *x,
                      void *y)
{
    const struct ir_tensor *t = ir_attr_tensor(op, "weights");
    const struct gemm g = {
        .m = ir_type_volume(&op->operand[0]->type) / t->type.dim[0],
        .k = t->type.dim[0], .n = t->type.dim[1], .block = t->type.dim[0]};
    const struct weights w = read_weights(t);
    gemm_f64(&g, x, w.data, NULL, y, work);
    free(w.own);
}

void ir_eval_gemm(struct ir_eval_context *c, const struct ir_op *op)
{
    const int64_t *dim = ir_attr_tensor(op, "weights")->type.dim;
    const struct gemm g = {
        .m = ir_type_volume(&op->operand[0]->type) / dim[0],
        .k = dim[0], .n = dim[1], .block = ir_attr_int(op, "block")};
    const void *x = ir_eval_data(c, op->operand[0]);
    void *y = room_to_make(c, op), *work = room_for(g.n);
    if (is_int8(op)) {
        by_int8(work, op, zero_of(c, op), x, y, g.n, 1, gemm_int8);
    } else {
        const struct weights w = read_weights(ir_attr_tensor(op, "weights"));
        (is_f32(op) ? gemm_f32 : gemm_f64)(&g, x, w.data, data_of(op, "bias"),
                                           y, work);
        free(w.own);
    }
    free(work);
    finish(c, op, y);
}

/* One matrix after the other is a gemm of a single block. */
void ir_eval_matmul(struct ir_eval_context *c, const struct ir_op *op)
{
    const struct ir_type *a = &op->operand[0]->type;
    const struct ir_type *y = &op->result[0].type;
    struct gemm g = {.m = a->dim[a->rank - 2], .k = a->dim[a->rank - 1],
                     .n = y->dim[y->rank - 1]};
    g.block = g.k;
    const int64_t bytes = (int64_t)ir_dtype_bytes(a->dtype);
    const char *x = ir_eval_data(c, op->operand[0]);
    const char *w = ir_eval_data(c, op->operand[1]);
    char *to = ir_eval_data(c, &op->result[0]);
    void *work = room_for(g.n);
    for (int64_t i = 0; i < ir_type_volume(y) / (g.m * g.n); i++)
        (is_f32(op) ? gemm_f32 : gemm_f64)(
            &g, x + i * g.m * g.k * bytes, w + i * g.k * g.n * bytes, NULL,
            to + i * g.m * g.n * bytes, work);
    free(work);
}

static struct conv conv_of(const struct ir_op *op)
{
    struct conv v;
    ir_window_view(op, &v.window);
    v.m = ir_attr_tensor(op, "weights")->type.dim[0];
    v.groups = ir_attr_int(op, "groups");
    join_dims(&v.window);
    return v;
}

static void conv_int8(void *taps, const struct ir_op *op, const void *x,
                      void *y)
{
    const struct conv v = conv_of(op);
    const struct weights w = read_weights(ir_attr_tensor(op, "weights"));
    conv_f64(&v, x, w.data, NULL, y, taps);
    free(w.own);
}

static void eval_conv(struct ir_eval_context *c, const struct ir_op *op,
                      const void *x, void *y)
{
    if (ir_find_attr(op, "winograd")) {
        ir_eval_winograd(op, x, y);
        return;
    }
    const struct conv v = conv_of(op);
    struct tap *taps = room_for(2 * v.window.dim[IR_MAX_SPACE - 1].out);
    if (is_int8(op)) {
        by_int8(taps, op, zero_of(c, op), x, y, v.m, volume_out(&v.window),
                conv_int8);
    } else {
        const struct weights w = read_weights(ir_attr_tensor(op, "weights"));
        (is_f32(op) ? conv_f32 : conv_f64)(&v, x, w.data,
                                           data_of(op, "bias"), y, taps);
        free(w.own);
    }
    free(taps);
}

void ir_eval_conv(struct ir_eval_context *c, const struct ir_op *op)
{
    void *y = room_to_make(c, op);
    ir_eval_turned(c, op, y, ir_dtype_bytes(ir_compute_dtype(op)), eval_conv);
    finish(c, op, y);
}

/* Numbers of u8 by the loops for f32. */
static void pool_u8(const struct ir_op *op, const struct pool *p,
                    const uint8_t *x, uint8_t *y)
{
    const int64_t n_x = ir_type_volume(&op->operand[0]->type);
    const int64_t n_y = ir_type_volume(&op->result[0].type);
    float *from = room_for(n_x), *to = room_for(n_y);
    for (int64_t i = 0; i < n_x; i++)
        from[i] = x[i];
    pool_f32(p, from, to);
    for (int64_t i = 0; i < n_y; i++)
        y[i] = ir_to_u8((double)to[i]);
    free(from);
    free(to);
}

static void eval_pool(struct ir_eval_context *c, const struct ir_op *op,
                      const void *x, void *y)
{
    (void)c;
    struct pool p;
    ir_window_view(op, &p.window);
    p.max = !strcmp(ir_attr_string(op, "kind"), "max");
    p.count_padding = ir_attr_int(op, "count_padding");
    if (op->operand[0]->type.dtype == IR_U8)
        pool_u8(op, &p, x, y);
    else
        (is_f32(op) ? pool_f32 : pool_f64)(&p, x, y);
}

void ir_eval_pool(struct ir_eval_context *c, const struct ir_op *op)
{
    ir_eval_turned(c, op, ir_eval_data(c, &op->result[0]),
                   ir_dtype_bytes(op->result[0].type.dtype), eval_pool);
}

static void parse(const char *program, struct activation *f)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    f->n = program ? ir_program_parse(program, NULL, f->steps, &diag) : 0;
    ir_diag_release(&diag);
}

/* How many steps the row has: as the number says, cut off to a whole one; 0 for
 * a NaN, and never more than there are. */
static int64_t steps_of(struct ir_eval_context *c, const struct ir_op *op,
                        const struct ir_scan *s)
{
    if (op->n_operands < 3)
        return s->steps;
    const struct ir_value *length = op->operand[2];
    const double n = length->type.dtype == IR_I32
                         ? (double)*(int32_t *)ir_eval_data(c, length)
                         : ir_eval_get(c, length, 0);
    if (!(n > 0))
        return 0;
    return n < (double)s->steps ? (int64_t)n : s->steps;
}

void ir_eval_scan(struct ir_eval_context *c, const struct ir_op *op)
{
    struct cell *cell = ir_realloc_array(NULL, 1, sizeof(*cell));
    ir_scan_view(op, &cell->s);
    cell->dtype = op->operand[0]->type.dtype;
    parse(cell->s.program[0], &cell->f);
    parse(cell->s.program[1], &cell->g);
    parse(cell->s.program[2], &cell->h);
    const struct ir_value *y = &op->result[0], *state = &op->result[1];
    const size_t bytes = ir_dtype_bytes(cell->dtype);
    void *work = room_for(cell->s.hidden * 4);
    const struct weights w = read_weights(ir_attr_tensor(op, "recurrent"));
    cell->s.recurrent = w.data;
    memset(ir_eval_data(c, y), 0, (size_t)ir_type_volume(&y->type) * bytes);
    memcpy(ir_eval_data(c, state), ir_eval_data(c, op->operand[1]),
           (size_t)ir_type_volume(&state->type) * bytes);
    (is_f32(op) ? scan_f32 : scan_f64)(
        cell, steps_of(c, op, &cell->s), ir_eval_data(c, op->operand[0]),
        ir_eval_data(c, state), ir_eval_data(c, y), work);
    free(w.own);
    free(work);
    free(cell);
}
