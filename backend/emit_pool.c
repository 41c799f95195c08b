/* emit_pool.c: the op `pool`. With channels last, channels are in lanes. Taps
 * ascend; those outside of the image are left out: how many there are on each
 * side is known for each window before its taps are read, and where no window
 * has any, all taps stand in line. */
#include "backend/llvm.h"

#include <string.h>

enum { most_in_line = 32 };

struct pool {
    struct be_emitter *e;
    struct ir_window w;
    enum ir_dtype dtype;
    LLVMTypeRef type;
    bool max, count_padding;
    int64_t far[IR_MAX_SPACE], out_far[IR_MAX_SPACE]; /* to the next place */
    LLVMValueRef x, y; /* of this row and its first channel */
    LLVMValueRef o[IR_MAX_SPACE];
    int lanes;
};

/* The taps [from, to) of a window that are in the image along dim i, and how
 * many are not past its padding. */
struct taps {
    LLVMValueRef from, to, places;
};

static LLVMValueRef most_of(struct be_emitter *e, LLVMValueRef a,
                            LLVMValueRef b)
{
    return LLVMBuildSelect(
        e->b, LLVMBuildICmp(e->b, LLVMIntSGT, a, b, ""), a, b, "");
}

/* How many k from 0 on, at most `kernel`, have place + k * dilation < end. */
static LLVMValueRef count_below(struct be_emitter *e,
                                const struct ir_window_dim *d,
                                LLVMValueRef place, int64_t end)
{
    LLVMValueRef room = LLVMBuildNSWSub(
        e->b, be_i64(e, end + d->dilation - 1), place, "");
    room = most_of(e, room, be_i64(e, 0));
    LLVMValueRef n = LLVMBuildUDiv(e->b, room, be_i64(e, d->dilation), "");
    return be_least(e, n, be_i64(e, d->kernel));
}

static struct taps taps_of(const struct pool *p, int i)
{
    struct be_emitter *e = p->e;
    const struct ir_window_dim *d = &p->w.dim[i];
    LLVMValueRef place = LLVMBuildNSWSub(
        e->b, LLVMBuildNSWMul(e->b, p->o[i], be_i64(e, d->stride), ""),
        be_i64(e, d->before), "");
    return (struct taps){count_below(e, d, place, 0),
                         count_below(e, d, place, d->in),
                         count_below(e, d, place, d->in + d->after)};
}

/* Whether every window is in the image. */
static bool is_inside(const struct ir_window *w)
{
    for (int i = 0; i < IR_MAX_SPACE; i++) {
        const struct ir_window_dim *d = &w->dim[i];
        if (d->before || (d->out - 1) * d->stride +
                                 (d->kernel - 1) * d->dilation >= d->in)
            return false;
    }
    return true;
}

/* What is best, or the sum, with one more number. */
static LLVMValueRef take_in(const struct pool *p, LLVMValueRef so_far,
                            LLVMValueRef v)
{
    struct be_emitter *e = p->e;
    if (!p->max)
        return LLVMBuildFAdd(e->b, so_far, v, "");
    LLVMValueRef more =
        p->dtype == IR_U8 ? LLVMBuildICmp(e->b, LLVMIntUGT, v, so_far, "")
                          : LLVMBuildFCmp(e->b, LLVMRealOGT, v, so_far, "");
    return LLVMBuildSelect(e->b, more, v, so_far, "");
}

static LLVMValueRef load(const struct pool *p, LLVMValueRef at)
{
    return be_load(p->e, be_vector(p->type, p->lanes), at);
}

/* Where the window's tap 0 is. */
static LLVMValueRef first_tap(const struct pool *p)
{
    LLVMValueRef at = p->x;
    for (int i = 0; i < IR_MAX_SPACE; i++) {
        const struct ir_window_dim *d = &p->w.dim[i];
        at = be_at_times(p->e, p->type, at, p->o[i], d->stride * p->far[i]);
        at = be_at(p->e, p->type, at, be_i64(p->e, -d->before * p->far[i]));
    }
    return at;
}

static LLVMValueRef in_line(const struct pool *p)
{
    struct be_emitter *e = p->e;
    const struct ir_window_dim *d = p->w.dim;
    LLVMValueRef first = first_tap(p), so_far = NULL;
    for (int64_t k = 0; k < p->w.taps; k++) {
        const int64_t at[] = {k / d[2].kernel / d[1].kernel,
                              k / d[2].kernel % d[1].kernel, k % d[2].kernel};
        int64_t skip = 0;
        for (int i = 0; i < IR_MAX_SPACE; i++)
            skip += at[i] * d[i].dilation * p->far[i];
        LLVMValueRef v =
            load(p, be_at(e, p->type, first, be_i64(e, skip)));
        if (!so_far)
            so_far = p->max ? v : LLVMConstNull(LLVMTypeOf(v));
        so_far = take_in(p, so_far, v);
    }
    return so_far;
}

/* Three loops, of which each takes over what is so far from the one around. */
static LLVMValueRef in_loops(const struct pool *p, const struct taps *taps)
{
    struct be_emitter *e = p->e;
    struct be_loop loop[IR_MAX_SPACE];
    LLVMValueRef phi[IR_MAX_SPACE], at = first_tap(p), first = at;
    LLVMTypeRef vector = be_vector(p->type, p->lanes);
    LLVMValueRef any = NULL;
    for (int i = 0; i < IR_MAX_SPACE; i++) {
        LLVMValueRef some = LLVMBuildICmp(e->b, LLVMIntSLT, taps[i].from,
                                          taps[i].to, "");
        any = any ? LLVMBuildAnd(e->b, any, some, "") : some;
        first = be_at_times(e, p->type, first, taps[i].from,
                            p->w.dim[i].dilation * p->far[i]);
    }
    /* A window without any: -infinity, as the interpreter has it, or 0. */
    LLVMValueRef so_far = LLVMConstNull(vector);
    if (p->max) {
        LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
        LLVMBasicBlockRef read = be_block(e, "read"), go = be_block(e, "go");
        LLVMBuildCondBr(e->b, any, read, go);
        LLVMPositionBuilderAtEnd(e->b, read);
        LLVMValueRef values[] = {
            p->dtype == IR_U8
                ? so_far
                : be_splat(e, be_real(e, p->dtype, -1.0 / 0.0), p->lanes),
            load(p, first)};
        LLVMBuildBr(e->b, go);
        LLVMPositionBuilderAtEnd(e->b, go);
        LLVMBasicBlockRef blocks[] = {here, read};
        so_far = LLVMBuildPhi(e->b, vector, "");
        LLVMAddIncoming(so_far, values, blocks, 2);
    }
    for (int i = 0; i < IR_MAX_SPACE; i++) {
        LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
        be_loop_begin(e, &loop[i], taps[i].from, taps[i].to, 1);
        so_far = phi[i] = be_carry(e, &loop[i], so_far, before);
        at = be_at_times(e, p->type, at, loop[i].index,
                         p->w.dim[i].dilation * p->far[i]);
    }
    so_far = take_in(p, so_far, load(p, at));
    for (int i = IR_MAX_SPACE; i-- > 0; so_far = phi[i]) {
        be_carried(e, phi[i], so_far);
        be_loop_end(e, &loop[i]);
    }
    return so_far;
}

static LLVMValueRef product(struct be_emitter *e, const struct taps *taps,
                            bool places)
{
    LLVMValueRef n = be_i64(e, 1);
    for (int i = 0; i < IR_MAX_SPACE; i++)
        n = LLVMBuildNSWMul(
            e->b, n,
            places ? taps[i].places
                   : LLVMBuildNSWSub(e->b, taps[i].to, taps[i].from, ""),
            "");
    return n;
}

static void emit_window(const struct pool *p)
{
    struct be_emitter *e = p->e;
    const bool simple = is_inside(&p->w) && p->w.taps <= most_in_line;
    struct taps taps[IR_MAX_SPACE];
    LLVMValueRef v, n = be_i64(e, p->w.taps);
    if (simple) {
        v = in_line(p);
    } else {
        for (int i = 0; i < IR_MAX_SPACE; i++)
            taps[i] = taps_of(p, i);
        v = in_loops(p, taps);
        n = product(e, taps, p->count_padding);
    }
    if (!p->max)
        v = LLVMBuildFDiv(
            e->b, v,
            be_splat(e, LLVMBuildSIToFP(e->b, n, p->type, ""), p->lanes), "");
    LLVMValueRef to = p->y;
    for (int i = 0; i < IR_MAX_SPACE; i++)
        to = be_at_times(e, p->type, to, p->o[i], p->out_far[i]);
    be_store(e, v, to);
}

/* All windows of `lanes` channels. */
static void emit_windows(struct pool *p)
{
    struct be_emitter *e = p->e;
    struct be_loop loop[IR_MAX_SPACE];
    for (int i = 0; i < IR_MAX_SPACE; i++) {
        be_loop_begin(e, &loop[i], be_i64(e, 0), be_i64(e, p->w.dim[i].out),
                      1);
        p->o[i] = loop[i].index;
    }
    emit_window(p);
    for (int i = IR_MAX_SPACE; i-- > 0;)
        be_loop_end(e, &loop[i]);
}

/* Channels [from, end) in steps of `lanes`, which divide them. `far` and
 * `out_far` are from channel to channel. */
static void emit_channels(struct pool *p, int64_t from, int64_t end, int lanes,
                          int64_t far, int64_t out_far)
{
    struct be_emitter *e = p->e;
    struct be_loop loop;
    LLVMValueRef x = p->x, y = p->y;
    be_loop_begin(e, &loop, be_i64(e, from), be_i64(e, end), lanes);
    p->lanes = lanes;
    p->x = be_at_times(e, p->type, x, loop.index, far);
    p->y = be_at_times(e, p->type, y, loop.index, out_far);
    emit_windows(p);
    be_loop_end(e, &loop);
    p->x = x;
    p->y = y;
}

static void emit_row(struct pool *p, bool last)
{
    const struct ir_window_dim *d = p->w.dim;
    const int64_t n = p->w.channels;
    int64_t far = last ? n : 1, out_far = far;
    for (int i = IR_MAX_SPACE; i-- > 0;) {
        p->far[i] = far;
        p->out_far[i] = out_far;
        far *= d[i].in;
        out_far *= d[i].out;
    }
    if (!last) {
        emit_channels(p, 0, n, 1, far, out_far);
        return;
    }
    int64_t from = 0;
    for (int lanes = be_lanes(p->e, p->dtype); lanes > 0; lanes /= 2) {
        const int64_t end = from + (n - from) / lanes * lanes;
        if (end > from)
            emit_channels(p, from, end, lanes, 1, 1);
        from = end;
    }
}

static void pool_body(struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    const struct ir_type *y = &k->op->result[0].type;
    struct pool p = {.e = e, .dtype = y->dtype, .type = be_type(e, y->dtype),
                     .max = !strcmp(ir_attr_string(k->op, "kind"), "max"),
                     .count_padding = ir_attr_int(k->op, "count_padding")};
    struct be_loop row;
    ir_window_view(k->op, &p.w);
    be_loop_begin(e, &row, be_i64(e, 0), k->n_rows, 1);
    p.x = be_at_times(e, p.type, k->x[0].base, row.index, k->x[0].stride);
    p.y = be_at_times(e, p.type, k->y[0], row.index, ir_type_volume(y));
    emit_row(&p, ir_attr_int_or(k->op, "channels_last", 0));
    be_loop_end(e, &row);
}

void be_lower_pool(struct be_emitter *e, const struct ir_op *op)
{
    be_kernel_call(e, op, pool_body);
}
