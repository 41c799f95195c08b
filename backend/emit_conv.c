/* emit_conv.c: the op `conv`, directly: result channels in lanes, and the sums
 * of some places of the image in registers. A step takes one tap of a channel:
 * a number of each place, in all lanes, times the vectors of weights. Channels,
 * then taps, ascend, as the definition has it.
 *
 * The image is read with channels last. Where it comes with channels first, or
 * has padding, it is first copied so, with zeros around it; where the result is
 * wanted with channels first, it is turned at the end. Weights are panels as
 * emit_gemm.c has them, group by group.
 *
 * Where each group has one channel and one result, lanes are groups. With gaps
 * in the image (a transposed convolution) each tap is asked where it is. */
#include "backend/llvm.h"

#include <string.h>

enum {
    most_places = 14,  /* of a tile */
    most_vectors = 4,
    most_in_line = 400, /* multiply-adds */
    most_emulated = 4  /* of them, where each is some 20 instructions */
};

struct conv {
    struct be_emitter *e;
    const struct ir_op *op;
    struct ir_window w;
    enum ir_dtype dtype, stored; /* of x and y; of the weights */
    LLVMTypeRef type, weight_type;
    bool last; /* channels are last in x and in y */
    int64_t groups, channels, columns; /* of a group: of x, of y */
    int64_t all; /* channels of y */
    int64_t space[IR_MAX_SPACE]; /* of the image that is read */
    int64_t far[IR_MAX_SPACE];   /* numbers from place to place */
    LLVMValueRef x, y, packed, bias; /* of this row */
    struct be_epilogue epilogue;
};

static bool is_padded(const struct ir_window *w)
{
    for (int i = 0; i < IR_MAX_SPACE; i++)
        if (w->dim[i].before || w->dim[i].after)
            return true;
    return false;
}

static bool has_gaps(const struct ir_window *w)
{
    for (int i = 0; i < IR_MAX_SPACE; i++)
        if (w->dim[i].spread > 1)
            return true;
    return false;
}

static bool is_depthwise(const struct ir_window *w, int64_t channels,
                         int64_t columns, int64_t groups)
{
    return channels == 1 && columns == 1 && groups > 1 && !has_gaps(w);
}

static bool is_turned(const struct ir_op *op, int64_t channels)
{
    return !ir_attr_int_or(op, "channels_last", 0) && channels > 1;
}

/* With gaps, padding is left to those who ask where taps are. */
static bool is_copied(const struct ir_op *op, const struct ir_window *w)
{
    return is_turned(op, w->channels) || (is_padded(w) && !has_gaps(w));
}

static void space_of(const struct ir_window *w, int64_t space[IR_MAX_SPACE])
{
    for (int i = 0; i < IR_MAX_SPACE; i++)
        space[i] = w->dim[i].in +
                   (has_gaps(w) ? 0 : w->dim[i].before + w->dim[i].after);
}

static int64_t channels_of(const struct ir_op *op)
{
    return ir_attr_tensor(op, "weights")->type.dim[0];
}

static int64_t image_bytes(const struct ir_op *op)
{
    const size_t bytes = ir_dtype_bytes(op->result[0].type.dtype);
    int64_t space[IR_MAX_SPACE];
    struct ir_window w;
    ir_window_view(op, &w);
    space_of(&w, space);
    const int64_t n = is_copied(op, &w)
                          ? space[0] * space[1] * space[2] * w.channels : 0;
    return (n * (int64_t)bytes + 63) / 64 * 64;
}

int64_t be_conv_work(const struct ir_op *op)
{
    const struct ir_type *y = &op->result[0].type;
    if (ir_is_int8(op))
        return be_conv_int8_work(op);
    if (ir_find_attr(op, "winograd"))
        return be_winograd_work(op);
    const int64_t turned = is_turned(op, channels_of(op))
                               ? ir_type_volume(y) : 0;
    return image_bytes(op) + turned * (int64_t)ir_dtype_bytes(y->dtype);
}

/* -------------------------------------------------------------------- image */

/* With gaps there is no padding around it. */
static struct be_image image_of(const struct conv *v)
{
    struct be_image image = {
        .e = v->e, .dtype = v->dtype, .window = v->w, .last = v->last};
    memcpy(image.space, v->space, sizeof(image.space));
    for (int i = 0; i < IR_MAX_SPACE && has_gaps(&v->w); i++)
        image.window.dim[i].before = 0;
    return image;
}

/* -------------------------------------------------------------------- tiles */

/* Columns of a group that are summed at once: vectors side by side. */
struct strip {
    LLVMValueRef weights, group, column; /* column: within the group */
    int64_t width; /* of the panel, from tap to tap */
    int lanes, vectors, last;
};

/* Places of a tile: the rows [0, rows) along dim 1 and `across` along dim 2 of
 * each. Their first place is (o0, o1, o2). */
struct tile {
    int rows, across;
    LLVMValueRef o0, o1, o2;
};

static LLVMValueRef place_at(const struct conv *v, const struct tile *t)
{
    struct be_emitter *e = v->e;
    const struct ir_window_dim *d = v->w.dim;
    LLVMValueRef at =
        be_at_times(e, v->type, v->x, t->o0, d[0].stride * v->far[0]);
    at = be_at_times(e, v->type, at, t->o1, d[1].stride * v->far[1]);
    return be_at_times(e, v->type, at, t->o2, d[2].stride * v->far[2]);
}

/* Numbers from the tile's first place to place p. */
static int64_t place_skip(const struct conv *v, const struct tile *t, int p)
{
    const struct ir_window_dim *d = v->w.dim;
    return p / t->across * d[1].stride * v->far[1] +
           p % t->across * d[2].stride * v->far[2];
}

/* Numbers from a window's first tap of channel 0 to tap `k` of `channel`. */
static int64_t tap_skip(const struct conv *v, int64_t channel, int64_t k)
{
    const struct ir_window_dim *d = v->w.dim;
    const int64_t k2 = k % d[2].kernel, k1 = k / d[2].kernel % d[1].kernel,
                  k0 = k / d[2].kernel / d[1].kernel;
    return k0 * d[0].dilation * v->far[0] + k1 * d[1].dilation * v->far[1] +
           k2 * d[2].dilation * v->far[2] + channel;
}

/* Steps k in [from, to) of channels * taps, x being where step `from` reads and
 * w its weights. */
static void steps(const struct conv *v, const struct strip *s,
                  const struct tile *t, LLVMValueRef x, LLVMValueRef w,
                  int64_t from, int64_t to, LLVMValueRef *sum)
{
    struct be_emitter *e = v->e;
    const int n = t->rows * t->across;
    const int64_t base =
        tap_skip(v, from / v->w.taps, from % v->w.taps);
    for (int64_t k = from; k < to; k++) {
        LLVMValueRef weight[most_vectors];
        const int64_t skip =
            tap_skip(v, k / v->w.taps, k % v->w.taps) - base;
        for (int i = 0; i < s->vectors; i++)
            weight[i] = be_load_weights(
                e, v->stored,
                be_at(e, v->weight_type, w,
                      be_i64(e, (k - from) * s->width +
                                    (int64_t)i * s->lanes)),
                s->lanes, s->lanes);
        for (int p = 0; p < n; p++) {
            LLVMValueRef number = be_load_splat(
                e, v->type, x, skip + place_skip(v, t, p), s->lanes);
            for (int i = 0; i < s->vectors; i++) {
                LLVMValueRef *to_sum = &sum[p * s->vectors + i];
                *to_sum = be_multiply_add(e, v->dtype, s->lanes, number,
                                          weight[i], *to_sum);
            }
        }
    }
}

/* Whether each run of n taps, from a multiple of n on, lies in the image as the
 * first does: n is a part of a row of the kernel, or a number of rows that
 * divides those of a plane, or of planes. */
static bool is_regular(const struct ir_window *w, int64_t n)
{
    int64_t whole = 1;
    for (int i = IR_MAX_SPACE; i-- > 0; whole *= w->dim[i].kernel) {
        if (n % whole)
            return false;
        if (n <= whole * w->dim[i].kernel)
            return w->dim[i].kernel % (n / whole) == 0;
    }
    return true;
}

/* How many steps stand in line: a regular part of the taps, or the taps of a
 * number of channels that divides all. LLVM reads the weights of the next step
 * ahead: where there is no room for them, sums would go through memory, so that
 * there is one step a turn. */
static int64_t steps_in_line(const struct conv *v, const struct strip *s, int n)
{
    const int most = v->e->level->has_fma ? most_in_line : most_emulated;
    const bool tight = n + 2 * s->vectors + 3 > v->e->level->registers;
    const int64_t room = tight || most < n ? 1 : most / n;
    const int64_t taps = v->w.taps, all = v->channels * taps;
    if (all <= room)
        return all;
    int64_t best = 1;
    for (int64_t i = 1; i <= room; i++)
        if (i <= taps ? is_regular(&v->w, i)
                      : i % taps == 0 && v->channels % (i / taps) == 0)
            if (i <= taps || i * n <= 64)
                best = i;
    return best;
}

/* Where the image is read by each turn of `in_line` steps, as a table. */
static LLVMValueRef turn_skips(const struct conv *v, int64_t in_line)
{
    struct be_emitter *e = v->e;
    const int64_t n = v->channels * v->w.taps / in_line;
    char symbol[64];
    snprintf(symbol, sizeof(symbol), "skips_%d_%lld",
             be_op_number(e, v->op), (long long)in_line);
    LLVMValueRef found = LLVMGetNamedGlobal(e->llvm, symbol);
    if (found)
        return found;
    int64_t *skip = ir_alloc_array(&e->arena, (size_t)n, sizeof(*skip));
    for (int64_t i = 0; i < n; i++)
        skip[i] = tap_skip(v, i * in_line / v->w.taps,
                           i * in_line % v->w.taps);
    return be_bytes(e, symbol, skip, (size_t)n * sizeof(*skip), 8);
}

static void sum_tile(const struct conv *v, const struct strip *s,
                     const struct tile *t, LLVMValueRef *sum)
{
    struct be_emitter *e = v->e;
    const int n = t->rows * t->across * s->vectors;
    const int64_t all = v->channels * v->w.taps;
    const int64_t in_line = steps_in_line(v, s, n);
    LLVMValueRef x = place_at(v, t);
    x = be_at_times(e, v->type, x, s->group, v->channels);
    if (in_line == all) {
        steps(v, s, t, x, s->weights, 0, all, sum);
        return;
    }
    LLVMValueRef phi[most_places * most_vectors];
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, all / in_line), 1);
    for (int i = 0; i < n; i++)
        sum[i] = phi[i] = be_carry(e, &loop, sum[i], before);
    LLVMValueRef at;
    if (in_line % v->w.taps == 0)
        at = be_at_times(e, v->type, x, loop.index, in_line / v->w.taps);
    else
        at = be_at(e, v->type, x,
                   be_load(e, e->i64,
                           be_at(e, e->i64, turn_skips(v, in_line),
                                 loop.index)));
    LLVMValueRef w = be_at_times(e, v->weight_type, s->weights, loop.index,
                                 in_line * s->width);
    steps(v, s, t, at, w, 0, in_line, sum);
    for (int i = 0; i < n; i++)
        be_carried(e, phi[i], sum[i]);
    be_loop_end_aligned(e, &loop);
    memcpy(sum, phi, (size_t)n * sizeof(*sum));
}

/* The number of the tile's place p in y. */
static LLVMValueRef place_number(const struct conv *v, const struct tile *t,
                                 int p)
{
    struct be_emitter *e = v->e;
    const struct ir_window_dim *d = v->w.dim;
    LLVMValueRef at = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, t->o0, be_i64(e, d[1].out), ""), t->o1,
        "");
    at = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, at, be_i64(e, d[2].out), ""), t->o2, "");
    return LLVMBuildNSWAdd(
        e->b, at,
        be_i64(e, p / t->across * d[2].out + p % t->across), "");
}

/* Stores a vector of place p, from `channel` of y on. */
static void store(const struct conv *v, const struct tile *t, int p,
                  LLVMValueRef channel, LLVMValueRef sum, int lanes, int n)
{
    struct be_emitter *e = v->e;
    LLVMValueRef at = LLVMBuildNSWAdd(
        e->b,
        LLVMBuildNSWMul(e->b, place_number(v, t, p), be_i64(e, v->all), ""),
        channel, "");
    sum = be_epilogue_apply(e, &v->epilogue, sum, at, channel, lanes, n);
    be_store_part(e, v->type, sum, be_at(e, v->type, v->y, at), lanes, n);
}

/* The channel of y that vector i of a strip starts with. */
static LLVMValueRef channel_of(const struct conv *v, const struct strip *s,
                               int i)
{
    struct be_emitter *e = v->e;
    LLVMValueRef first = LLVMBuildNSWMul(e->b, s->group,
                                         be_i64(e, v->columns), "");
    LLVMValueRef column = LLVMBuildNSWAdd(
        e->b, s->column, be_i64(e, (int64_t)i * s->lanes), "");
    return LLVMBuildNSWAdd(e->b, first, column, "");
}

static LLVMValueRef load_bias(const struct conv *v, LLVMValueRef channel,
                              int lanes, int n)
{
    if (!v->bias)
        return LLVMConstNull(be_vector(v->type, lanes));
    return be_load_part(v->e, v->type,
                        be_at(v->e, v->type, v->bias, channel), lanes, n);
}

static void emit_tile(const struct conv *v, const struct strip *s,
                      const struct tile *t)
{
    LLVMValueRef sum[most_places * most_vectors];
    const int n = t->rows * t->across;
    for (int i = 0; i < s->vectors; i++) {
        const int part = i + 1 < s->vectors ? s->lanes : s->last;
        sum[i] = load_bias(v, channel_of(v, s, i), s->lanes, part);
    }
    for (int i = s->vectors; i < n * s->vectors; i++)
        sum[i] = sum[i - s->vectors];
    sum_tile(v, s, t, sum);
    for (int p = 0; p < n; p++)
        for (int i = 0; i < s->vectors; i++)
            store(v, t, p, channel_of(v, s, i), sum[p * s->vectors + i],
                  s->lanes, i + 1 < s->vectors ? s->lanes : s->last);
}

/* -------------------------------------------------------------- all places */

typedef void emit_fn(const struct conv *v, const struct strip *s,
                     const struct tile *t);

/* Places along dim 2 of `rows` rows from o1 on, `across` at a time. */
static void emit_across(const struct conv *v, const struct strip *s,
                        struct tile t, int rows, int most, emit_fn *emit)
{
    struct be_emitter *e = v->e;
    const int64_t out = v->w.dim[2].out;
    const int64_t turns = (out + most - 1) / most;
    t.rows = rows;
    t.across = (int)((out + turns - 1) / turns);
    const int64_t whole = out / t.across;
    if (whole > 1) {
        struct be_loop loop;
        be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, whole * t.across),
                      t.across);
        t.o2 = loop.index;
        emit(v, s, &t);
        be_loop_end(e, &loop);
    } else {
        t.o2 = be_i64(e, 0);
        emit(v, s, &t);
    }
    if (out > whole * t.across) {
        t.o2 = be_i64(e, whole * t.across);
        t.across = (int)(out - whole * t.across);
        emit(v, s, &t);
    }
}

/* All places, at most so many at a time: parts of a row, or whole rows. */
static void emit_places(const struct conv *v, const struct strip *s, int most,
                        emit_fn *emit)
{
    struct be_emitter *e = v->e;
    const struct ir_window_dim *d = v->w.dim;
    struct be_loop plane, row;
    struct tile t = {0};
    int64_t rows = most / d[2].out;
    rows = rows < 1 ? 1 : rows < d[1].out ? rows : d[1].out;
    be_loop_begin(e, &plane, be_i64(e, 0), be_i64(e, d[0].out), 1);
    t.o0 = plane.index;
    be_loop_begin(e, &row, be_i64(e, 0), be_i64(e, d[1].out / rows * rows),
                  rows);
    t.o1 = row.index;
    emit_across(v, s, t, (int)rows, most, emit);
    be_loop_end(e, &row);
    if (d[1].out % rows) {
        t.o1 = be_i64(e, d[1].out / rows * rows);
        emit_across(v, s, t, (int)(d[1].out % rows), most, emit);
    }
    be_loop_end(e, &plane);
}

/* With few registers one place less: where many taps stand in line, LLVM reads
 * ahead, and what does not fit then goes through memory. */
static void emit_strip(const struct conv *v, const struct strip *s)
{
    int most = be_sum_rows(v->e, s->vectors);
    if (v->e->level->registers <= 16 && most > 5)
        most = s->vectors > 1 ? 5 : 10;
    emit_places(v, s, most, emit_tile);
}

typedef void strip_fn(const struct conv *v, const struct strip *s);

/* The columns [first, first + n) of a group, in panels of `width`, in strips of
 * at most `most` vectors. */
static void emit_columns(const struct conv *v, struct strip s, int64_t first,
                         int64_t n, int64_t width, int most, strip_fn *emit)
{
    struct be_emitter *e = v->e;
    const int64_t depth =
        v->channels * v->w.taps, strip = (int64_t)most * s.lanes;
    LLVMValueRef weights =
        be_at(e, v->weight_type, s.weights, be_i64(e, first * depth));
    s.width = width;
    s.vectors = most;
    s.last = s.lanes;
    if (n >= strip) {
        struct be_loop loop;
        be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, n / strip * strip),
                      strip);
        LLVMValueRef within =
            LLVMBuildAnd(e->b, loop.index, be_i64(e, 63), "");
        LLVMValueRef whole = LLVMBuildNSWSub(e->b, loop.index, within, "");
        s.weights = be_at(
            e, v->weight_type,
            be_at_times(e, v->weight_type, weights, whole, depth), within);
        s.column = LLVMBuildNSWAdd(e->b, loop.index, be_i64(e, first), "");
        emit(v, &s);
        be_loop_end(e, &loop);
    }
    const int64_t done = n / strip * strip, left = n - done;
    if (left == 0)
        return;
    s.weights = be_at(e, v->weight_type, weights,
                      be_i64(e, done / 64 * 64 * depth + done % 64));
    s.column = be_i64(e, first + done);
    s.vectors = (int)((left + s.lanes - 1) / s.lanes);
    s.last = (int)(left - (int64_t)(s.vectors - 1) * s.lanes);
    emit(v, &s);
}

static void emit_group(const struct conv *v, LLVMValueRef group, int most,
                       strip_fn *emit)
{
    struct be_emitter *e = v->e;
    const int64_t depth = v->channels * v->w.taps;
    const int64_t whole = v->columns / 64 * 64;
    struct strip s = {.group = group, .lanes = be_lanes(e, v->dtype)};
    s.weights = be_at_times(e, v->weight_type, v->packed, group,
                            be_panels_size(depth, v->columns));
    if (whole)
        emit_columns(v, s, 0, whole, 64, most, emit);
    if (v->columns == whole)
        return;
    const int64_t width = be_panel_width(v->columns - whole);
    s.lanes = s.lanes < width ? s.lanes : (int)width;
    emit_columns(v, s, whole, v->columns - whole, width, most, emit);
}

/* --------------------------------------------------------------- depthwise */

static void depth_tile(const struct conv *v, const struct strip *s,
                       const struct tile *t)
{
    struct be_emitter *e = v->e;
    const int n = t->rows * t->across;
    LLVMValueRef sum[most_places];
    sum[0] = load_bias(v, s->column, s->lanes, s->last);
    for (int p = 1; p < n; p++)
        sum[p] = sum[0];
    LLVMValueRef x = be_at(e, v->type, place_at(v, t), s->column);
    for (int64_t k = 0; k < v->w.taps; k++) {
        LLVMValueRef weight = be_load_weights(
            e, v->stored,
            be_at(e, v->weight_type, s->weights, be_i64(e, k * s->width)),
            s->lanes, s->lanes);
        for (int p = 0; p < n; p++) {
            const int64_t skip = tap_skip(v, 0, k) + place_skip(v, t, p);
            LLVMValueRef numbers = be_load_part(
                e, v->type, be_at(e, v->type, x, be_i64(e, skip)), s->lanes,
                s->last);
            sum[p] = be_multiply_add(e, v->dtype, s->lanes, numbers, weight,
                                     sum[p]);
        }
    }
    for (int p = 0; p < n; p++)
        store(v, t, p, s->column, sum[p], s->lanes, s->last);
}

static void depth_strip(const struct conv *v, const struct strip *s)
{
    const int registers = v->e->level->registers;
    const int64_t room = 2 * most_in_line / v->w.taps;
    int64_t most = !v->e->level->has_fma ? 1 : registers > 16 ? most_places : 8;
    most = room < most ? room : most;
    emit_places(v, s, most > 0 ? (int)most : 1, depth_tile);
}

/* Groups in lanes: to panels they are the columns, and taps are the depth. */
static void emit_depthwise(struct conv *v)
{
    struct be_emitter *e = v->e;
    const int64_t n = v->groups, whole = n / 64 * 64;
    struct strip s = {.group = be_i64(e, 0), .lanes = be_lanes(e, v->dtype),
                      .weights = v->packed};
    v->columns = n;
    if (whole)
        emit_columns(v, s, 0, whole, 64, 1, depth_strip);
    if (n == whole)
        return;
    const int64_t width = be_panel_width(n - whole);
    s.lanes = s.lanes < width ? s.lanes : (int)width;
    emit_columns(v, s, whole, n - whole, width, 1, depth_strip);
}

/* -------------------------------------------------------------------- gaps */

/* By tap and dim: k * dilation - before. */
static LLVMValueRef tap_places(const struct conv *v)
{
    const struct ir_window_dim *d = v->w.dim;
    char symbol[64];
    snprintf(symbol, sizeof(symbol), "taps_%d", be_op_number(v->e, v->op));
    LLVMValueRef found = LLVMGetNamedGlobal(v->e->llvm, symbol);
    if (found)
        return found;
    const size_t n = (size_t)v->w.taps;
    int64_t *place = ir_alloc_array(&v->e->arena, n, 3 * sizeof(*place));
    for (int64_t k = 0; k < v->w.taps; k++) {
        const int64_t at[] = {k / d[2].kernel / d[1].kernel,
                              k / d[2].kernel % d[1].kernel, k % d[2].kernel};
        for (int i = 0; i < IR_MAX_SPACE; i++)
            place[3 * k + i] = at[i] * d[i].dilation - d[i].before;
    }
    return be_bytes(v->e, symbol, place, n * 3 * sizeof(*place), 8);
}

/* Where a tap is. */
struct where {
    LLVMValueRef inside, on, at; /* x, not padding; no gap; the number of x */
};

static struct where find_tap(const struct conv *v, const struct tile *t,
                             LLVMValueRef tap)
{
    struct be_emitter *e = v->e;
    const LLVMValueRef o[] = {t->o0, t->o1, t->o2};
    LLVMValueRef taps = tap_places(v), yes = LLVMConstInt(e->i1, 1, 0);
    struct where where = {yes, yes, be_i64(e, 0)};
    for (int i = 0; i < IR_MAX_SPACE; i++) {
        const struct ir_window_dim *d = &v->w.dim[i];
        LLVMValueRef place = be_load(
            e, e->i64,
            be_at(e, e->i64, be_at_times(e, e->i64, taps, tap, 3),
                  be_i64(e, i)));
        place = LLVMBuildNSWAdd(
            e->b, place,
            LLVMBuildNSWMul(e->b, o[i], be_i64(e, d->stride), ""), "");
        LLVMValueRef spread = be_i64(e, d->spread);
        /* Unsigned: places before the image are past it. */
        LLVMValueRef in = LLVMBuildICmp(
            e->b, LLVMIntULE, place,
            be_i64(e, (d->in - 1) * d->spread), "");
        /* A multiple more, so that no place is below 0. */
        const int64_t more =
            (d->before + d->spread - 1) / d->spread * d->spread;
        LLVMValueRef above =
            LLVMBuildNSWAdd(e->b, place, be_i64(e, more), "");
        LLVMValueRef on = LLVMBuildICmp(
            e->b, LLVMIntEQ, LLVMBuildURem(e->b, above, spread, ""),
            be_i64(e, 0), "");
        LLVMValueRef element = LLVMBuildUDiv(e->b, place, spread, "");
        where.inside = LLVMBuildAnd(e->b, where.inside, in, "");
        where.on = LLVMBuildAnd(e->b, where.on, on, "");
        where.at = LLVMBuildAdd(
            e->b, where.at,
            LLVMBuildMul(e->b, element, be_i64(e, v->far[i]), ""), "");
    }
    return where;
}

static void gap_tile(const struct conv *v, const struct strip *s,
                     const struct tile *t)
{
    struct be_emitter *e = v->e;
    LLVMValueRef channel = channel_of(v, s, 0);
    LLVMValueRef start = load_bias(v, channel, s->lanes, s->last);
    LLVMValueRef first =
        LLVMBuildNSWMul(e->b, s->group, be_i64(e, v->channels), "");
    struct be_loop loop, taps;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, v->channels), 1);
    LLVMValueRef sum = be_carry(e, &loop, start, before);
    LLVMBasicBlockRef outer = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &taps, be_i64(e, 0), be_i64(e, v->w.taps), 1);
    LLVMValueRef inner = be_carry(e, &taps, sum, outer);
    const struct where where = find_tap(v, t, taps.index);
    LLVMValueRef counts = LLVMBuildAnd(e->b, where.inside, where.on, "");
    LLVMValueRef at = LLVMBuildAdd(
        e->b, where.at, LLVMBuildAdd(e->b, first, loop.index, ""), "");
    at = LLVMBuildSelect(e->b, counts, at, be_i64(e, 0), "");
    LLVMValueRef number =
        be_load(e, v->type, be_at(e, v->type, v->x, at));
    number = LLVMBuildSelect(e->b, where.inside, number,
                             LLVMConstNull(v->type), "");
    LLVMValueRef k = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, loop.index, be_i64(e, v->w.taps), ""),
        taps.index, "");
    LLVMValueRef weight =
        be_load_weights(e, v->stored,
                        be_at_times(e, v->weight_type, s->weights, k,
                                    s->width),
                        s->lanes, s->lanes);
    LLVMValueRef next =
        be_multiply_add(e, v->dtype, s->lanes,
                        be_splat(e, number, s->lanes), weight, inner);
    be_carried(e, inner, LLVMBuildSelect(e->b, where.on, next, inner, ""));
    be_loop_end(e, &taps);
    be_carried(e, sum, inner);
    be_loop_end(e, &loop);
    store(v, t, 0, channel, sum, s->lanes, s->last);
}

static void gap_strip(const struct conv *v, const struct strip *s)
{
    emit_places(v, s, 1, gap_tile);
}

/* ------------------------------------------------------------------- the op */

static void emit_image(struct conv *v)
{
    struct be_emitter *e = v->e;
    struct be_loop group;
    if (is_depthwise(&v->w, v->channels, v->columns, v->groups)) {
        emit_depthwise(v);
        return;
    }
    be_loop_begin(e, &group, be_i64(e, 0), be_i64(e, v->groups), 1);
    if (has_gaps(&v->w))
        emit_group(v, group.index, 1, gap_strip);
    else
        emit_group(v, group.index,
                   be_sum_vectors(e, false, be_lanes(e, v->dtype)),
                   emit_strip);
    be_loop_end(e, &group);
}

/* Windows of one number, side by side: as if the image were one row. */
static void flatten(struct conv *v)
{
    struct ir_window_dim *d = v->w.dim;
    for (int i = 0; i < IR_MAX_SPACE; i++)
        if (d[i].kernel > 1 || d[i].stride > 1 || d[i].in != d[i].out)
            return;
    d[2].in = d[2].out = d[0].in * d[1].in * d[2].in;
    d[0].in = d[0].out = d[1].in = d[1].out = 1;
}

static void init(struct conv *v, const struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    const struct ir_tensor *w = ir_attr_tensor(k->op, "weights");
    const enum ir_dtype dtype = k->op->result[0].type.dtype;
    *v = (struct conv){.e = e, .op = k->op, .dtype = dtype,
                       .stored = w->type.dtype, .type = be_type(e, dtype),
                       .weight_type = be_type(e, w->type.dtype),
                       .groups = ir_attr_int(k->op, "groups"),
                       .channels = w->type.dim[1], .all = w->type.dim[0],
                       .last = ir_attr_int_or(k->op, "channels_last", 0)};
    v->columns = v->all / v->groups;
    ir_window_view(k->op, &v->w);
    if (!is_padded(&v->w))
        flatten(v);
    space_of(&v->w, v->space);
    int64_t far = v->w.channels;
    for (int i = IR_MAX_SPACE; i-- > 0; far *= v->space[i])
        v->far[i] = far;
    v->packed = k->weights;
    v->bias = k->bias;
}

/* With one channel and one result a group, groups are the columns. */
static LLVMValueRef conv_weights(struct be_emitter *e, const struct ir_op *op)
{
    const struct ir_tensor *w = ir_attr_tensor(op, "weights");
    const int64_t groups = ir_attr_int(op, "groups"), all = w->type.dim[0];
    const int64_t channels = w->type.dim[1];
    struct ir_window window;
    char symbol[64];
    ir_window_view(op, &window);
    snprintf(symbol, sizeof(symbol), "panels_%d", be_op_number(e, op));
    const int64_t depth = channels * window.taps;
    if (is_depthwise(&window, channels, all / groups, groups))
        return be_pack_panels(e, symbol, w, 1, depth, groups, true);
    return be_pack_panels(e, symbol, w, groups, depth, all / groups, true);
}

static void conv_body(struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    if (ir_is_int8(k->op)) {
        be_conv_int8(k);
        return;
    }
    if (ir_find_attr(k->op, "winograd")) {
        be_winograd(k);
        return;
    }
    const int64_t n = ir_type_volume(&k->op->result[0].type);
    const bool turned = is_turned(k->op, channels_of(k->op));
    const struct be_epilogue epilogue = be_epilogue_of(k);
    struct be_loop row;
    struct conv v;
    init(&v, k);
    const bool copied = is_copied(k->op, &v.w);
    const struct be_image image = image_of(&v);
    if (copied && !has_gaps(&v.w))
        be_image_surround(&image, k->work);
    be_loop_begin(e, &row, be_i64(e, 0), k->n_rows, 1);
    LLVMValueRef y = be_at_times(e, v.type, k->y[0], row.index, n);
    v.epilogue = epilogue;
    be_epilogue_skip(e, &v.epilogue, row.index);
    v.x = be_at_times(e, v.type, k->x[0].base, row.index, k->x[0].stride);
    if (copied) {
        be_image_copy(&image, v.x, k->work);
        v.x = k->work;
    }
    v.y = turned ? be_offset(e, k->work, be_i64(e, image_bytes(k->op))) : y;
    emit_image(&v);
    if (turned)
        be_turn(e, v.dtype, v.y, v.all, y, n / v.all, v.all, n / v.all);
    be_loop_end(e, &row);
}

void be_lower_conv(struct be_emitter *e, const struct ir_op *op)
{
    be_weights_fn *weights = ir_is_int8(op) ? NULL
                             : ir_find_attr(op, "winograd")
                                 ? be_winograd_weights : conv_weights;
    be_weighted_kernel_call(e, op, weights, conv_body);
}
