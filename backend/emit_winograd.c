/* emit_winograd.c: a conv by Winograd's way, as ir/winograd.c defines it.
 *
 * Tiles go in blocks: a row of them, or some rows where the image is narrow. Of
 * a block, and in vectors of channels,
 *
 *   ring    rows of the image at the points along dim 2, [row][tile][point]
 *           [channel]: only those that no block before had are made
 *   spread  that at the points along dim 1 too, [point][tile][point][channel]
 *   sums    products of some results, [point][point][tile][result], from
 *           which the windows come
 *
 * so that what is between the steps stays in the first levels of the cache. The
 * products are those of a gemm at each pair of points, its weights in panels as
 * emit_gemm.c has them: tiles of the block by vectors of results. */
#include "backend/llvm.h"

#include <stdlib.h>
#include <string.h>

enum {
    near_weights = 1 << 16, /* numbers: those stay near for the next block */
    few_tiles = 7,      /* of a block whose weights do */
    block_tiles = 14,   /* of others */
    most_tiles = 14,    /* whose sums are in registers */
    most_vectors = 2,
    most_columns = 32,  /* of results that are summed at once, on any level */
    most_in_line = 400, /* multiply-adds */
    most_emulated = 16
};

/* Where things are in the room to work in, in bytes; -1: nowhere. */
struct plan {
    int64_t rows, across; /* tiles of a block: along dim 1 and dim 2 */
    int64_t held;         /* rows of the image in the ring */
    int64_t channels;     /* of x, rounded up to whole vectors */
    int64_t space[2];     /* places of the image that tiles read */
    int64_t image, turned, ring, spread, sums, end;
};

struct winograd {
    struct be_emitter *e;
    const struct ir_op *op;
    struct ir_winograd g;
    struct plan plan;
    LLVMTypeRef type;
    LLVMValueRef x, y, work, packed, bias; /* x and y: of this row */
    struct be_epilogue epilogue;
};

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static bool is_turned(const struct ir_op *op, int64_t channels)
{
    return !ir_attr_int_or(op, "channels_last", 0) && channels > 1;
}

/* Vectors of channels are read whole, so that there is something past the last
 * place, or the channels fill them. */
static bool is_copied(const struct ir_op *op, const struct ir_winograd *g,
                      const struct plan *p)
{
    bool same = g->channels == p->channels && !is_turned(op, g->channels);
    for (int i = 0; i < 2; i++)
        same = same && p->space[i] == g->dim[i].window.in;
    return !same;
}

static int64_t take_room(struct plan *p, int64_t numbers)
{
    const int64_t at = p->end;
    p->end += round_up(numbers * 4, 64);
    return at;
}

static struct plan plan_of(const struct ir_op *op, const struct ir_winograd *g)
{
    const struct ir_winograd_dim *d = g->dim;
    const int64_t wide = d[1].tiles;
    const int64_t weights = g->positions * g->channels * g->results;
    const int64_t most = weights <= near_weights ? few_tiles : block_tiles;
    const int64_t turns = wide <= most * 3 / 2 ? 1 : (wide + most - 1) / most;
    struct plan p = {.across = (wide + turns - 1) / turns, .rows = 1,
                     .channels = round_up(g->channels, 8)};
    while (p.channels / 2 >= g->channels)
        p.channels /= 2;
    if (turns == 1 && most / wide > 1)
        p.rows = most / wide < d[0].tiles ? most / wide : d[0].tiles;
    p.held = (p.rows - 1) * d[0].tile + d[0].points;
    for (int i = 0; i < 2; i++)
        p.space[i] = (d[i].tiles - 1) * d[i].tile + d[i].points;
    const int64_t tiles = p.rows * p.across;
    const int64_t columns =
        g->results < most_columns ? round_up(g->results, 16) : most_columns;
    p.image = is_copied(op, g, &p)
                  ? take_room(&p, p.space[0] * p.space[1] * g->channels +
                                      p.channels - g->channels)
                  : -1;
    p.turned = is_turned(op, g->results)
                   ? take_room(&p, ir_type_volume(&op->result[0].type)) : -1;
    p.ring = take_room(&p, p.held * wide * d[1].points * p.channels);
    p.spread = d[0].points > 1
                   ? take_room(&p, tiles * g->positions * p.channels) : -1;
    p.sums = take_room(&p, tiles * g->positions * columns);
    return p;
}

int64_t be_winograd_work(const struct ir_op *op)
{
    struct ir_winograd g;
    ir_winograd_view(op, &g);
    return plan_of(op, &g).end;
}

static LLVMValueRef room(const struct winograd *v, int64_t at)
{
    return be_offset(v->e, v->work, be_i64(v->e, at));
}

/* --------------------------------------------------------------- transforms */

static LLVMValueRef add(struct be_emitter *e, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildFAdd(e->b, a, b, "");
}

static LLVMValueRef subtract(struct be_emitter *e, LLVMValueRef a,
                             LLVMValueRef b)
{
    return LLVMBuildFSub(e->b, a, b, "");
}

/* factor * a + b, rounded once. */
static LLVMValueRef add_times(struct be_emitter *e, int lanes, float factor,
                              LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef all =
        be_splat(e, be_real(e, IR_F32, (double)factor), lanes);
    if (factor == 1)
        return add(e, a, b);
    return be_multiply_add(e, IR_F32, lanes, all, a, b);
}

/* to_points() and from_points() of ir/winograd.c, of vectors. */
static void to_points(struct be_emitter *e, int points, int lanes,
                      LLVMValueRef *d)
{
    LLVMValueRef v[IR_WINOGRAD_POINTS] = {NULL};
    if (points == 1)
        return;
    if (points == 4) {
        v[0] = subtract(e, d[0], d[2]);
        v[1] = add(e, d[2], d[1]);
        v[2] = subtract(e, d[2], d[1]);
        v[3] = subtract(e, d[3], d[1]);
    } else {
        v[0] = add_times(e, lanes, -2.5f, d[2], add(e, d[0], d[4]));
        for (int k = 0; k < 2; k++) {
            const float root = ir_winograd_root[k];
            const float other = ir_winograd_other[k];
            LLVMValueRef even = add_times(e, lanes, -other, d[2], d[4]);
            LLVMValueRef odd = add_times(e, lanes, -other, d[1], d[3]);
            v[1 + 2 * k] = add_times(e, lanes, root, odd, even);
            v[2 + 2 * k] = add_times(e, lanes, -root, odd, even);
        }
        v[5] = add_times(e, lanes, -2.5f, d[3], add(e, d[1], d[5]));
    }
    memcpy(d, v, (size_t)points * sizeof(*v));
}

static void from_points(struct be_emitter *e, const struct ir_winograd_dim *dim,
                        int lanes, LLVMValueRef *m)
{
    const int points = dim->points, pairs = (points - 2) / 2;
    LLVMValueRef same[2], apart[2], y[IR_WINOGRAD_POINTS];
    if (points == 1)
        return;
    for (int k = 0; k < pairs; k++) {
        same[k] = add(e, m[1 + 2 * k], m[2 + 2 * k]);
        apart[k] = subtract(e, m[1 + 2 * k], m[2 + 2 * k]);
    }
    for (int o = 0; o < dim->tile; o++) {
        LLVMValueRef *of = o % 2 ? apart : same;
        const float power = ir_winograd_power(points, 0, o);
        if (o == 0)
            y[o] = add(e, m[0], of[0]);
        else if (o == dim->tile - 1)
            y[o] = add_times(e, lanes, power, of[0], m[points - 1]);
        else
            y[o] = LLVMBuildFMul(
                e->b, of[0],
                be_splat(e, be_real(e, IR_F32, (double)power), lanes), "");
        if (pairs > 1)
            y[o] = add_times(e, lanes, ir_winograd_power(points, 1, o), of[1],
                             y[o]);
    }
    memcpy(m, y, (size_t)dim->tile * sizeof(*m));
}

/* The largest power of 2 that divides n and that a register holds. */
static int lanes_for(const struct winograd *v, int64_t n)
{
    int lanes = be_lanes(v->e, IR_F32);
    while (n % lanes)
        lanes /= 2;
    return lanes;
}

/* Row `row` of the image at the points along dim 2, in its slot of the ring. */
static void emit_ring_row(const struct winograd *v, LLVMValueRef row)
{
    struct be_emitter *e = v->e;
    const struct ir_winograd_dim *d = &v->g.dim[1];
    const int64_t channels = v->plan.channels;
    const int lanes = lanes_for(v, channels);
    LLVMTypeRef vector = be_vector(v->type, lanes);
    LLVMValueRef number[IR_WINOGRAD_POINTS];
    struct be_loop tile, part;
    LLVMValueRef slot =
        LLVMBuildURem(e->b, row, be_i64(e, v->plan.held), "");
    LLVMValueRef to = be_at_times(e, v->type, room(v, v->plan.ring), slot,
                                  d->tiles * d->points * channels);
    LLVMValueRef from = be_at_times(e, v->type, v->x, row,
                                    v->plan.space[1] * v->g.channels);
    be_loop_begin(e, &tile, be_i64(e, 0), be_i64(e, d->tiles), 1);
    from = be_at_times(e, v->type, from, tile.index,
                       d->tile * v->g.channels);
    to = be_at_times(e, v->type, to, tile.index, d->points * channels);
    be_loop_begin(e, &part, be_i64(e, 0), be_i64(e, channels), lanes);
    from = be_at(e, v->type, from, part.index);
    to = be_at(e, v->type, to, part.index);
    for (int k = 0; k < d->points; k++)
        number[k] = be_load(
            e, vector, be_at(e, v->type, from, be_i64(e, k * v->g.channels)));
    to_points(e, d->points, lanes, number);
    for (int k = 0; k < d->points; k++)
        be_store(e, number[k],
                 be_at(e, v->type, to, be_i64(e, k * channels)));
    be_loop_end(e, &part);
    be_loop_end(e, &tile);
}

/* Tiles of a block: rows along dim 1 from t0 on, and `across` along dim 2 from
 * t1 on. `spread` is where they are at all points, `far` apart along dim 1. */
struct block {
    int64_t rows, across;
    LLVMValueRef t0, t1, spread;
};

static int64_t tiles_of(const struct block *b)
{
    return b->rows * b->across;
}

/* Numbers of a tile at the points along dim 2. */
static int64_t tile_size(const struct winograd *v)
{
    return v->g.dim[1].points * v->plan.channels;
}

/* The rows of the image that the block has and those before had not. */
static void emit_ring(const struct winograd *v, const struct block *b)
{
    struct be_emitter *e = v->e;
    const struct ir_winograd_dim *d = &v->g.dim[0];
    struct be_loop row;
    LLVMValueRef first =
        LLVMBuildNSWMul(e->b, b->t0, be_i64(e, d->tile), "");
    LLVMValueRef is_first =
        LLVMBuildICmp(e->b, LLVMIntEQ, b->t0, be_i64(e, 0), "");
    LLVMValueRef next = LLVMBuildNSWAdd(
        e->b, first, be_i64(e, d->points - d->tile), "");
    LLVMValueRef end = LLVMBuildNSWAdd(
        e->b, first, be_i64(e, (b->rows - 1) * d->tile + d->points), "");
    be_loop_begin(e, &row,
                  LLVMBuildSelect(e->b, is_first, be_i64(e, 0), next, ""), end,
                  1);
    emit_ring_row(v, row.index);
    be_loop_end(e, &row);
}

/* From the ring to the points along dim 1: all numbers of a row of tiles are
 * side by side in both. */
static void emit_spread(const struct winograd *v, const struct block *b)
{
    struct be_emitter *e = v->e;
    const struct ir_winograd_dim *d = &v->g.dim[0];
    const int64_t n = b->across * tile_size(v);
    const int lanes = lanes_for(v, n);
    LLVMTypeRef vector = be_vector(v->type, lanes);
    LLVMValueRef from[IR_WINOGRAD_POINTS], number[IR_WINOGRAD_POINTS];
    struct be_loop row, part;
    be_loop_begin(e, &row, be_i64(e, 0), be_i64(e, b->rows), 1);
    LLVMValueRef first = LLVMBuildNSWMul(
        e->b, LLVMBuildNSWAdd(e->b, b->t0, row.index, ""),
        be_i64(e, d->tile), "");
    for (int k = 0; k < d->points; k++) {
        LLVMValueRef slot = LLVMBuildURem(
            e->b, LLVMBuildNSWAdd(e->b, first, be_i64(e, k), ""),
            be_i64(e, v->plan.held), "");
        from[k] = be_at_times(e, v->type, room(v, v->plan.ring), slot,
                              v->g.dim[1].tiles * tile_size(v));
        from[k] = be_at_times(e, v->type, from[k], b->t1, tile_size(v));
    }
    LLVMValueRef to = be_at_times(e, v->type, b->spread, row.index, n);
    be_loop_begin(e, &part, be_i64(e, 0), be_i64(e, n), lanes);
    for (int k = 0; k < d->points; k++)
        number[k] =
            be_load(e, vector, be_at(e, v->type, from[k], part.index));
    to_points(e, d->points, lanes, number);
    to = be_at(e, v->type, to, part.index);
    for (int k = 0; k < d->points; k++)
        be_store(e, number[k],
                 be_at(e, v->type, to, be_i64(e, k * b->rows * n)));
    be_loop_end(e, &part);
    be_loop_end(e, &row);
}

/* ----------------------------------------------------------------- products */

/* Results that are summed at once: vectors side by side. */
struct strip {
    LLVMValueRef weights, column; /* of the first: at point 0; which it is */
    int64_t width;                /* of the panel */
    int lanes, vectors, last;     /* last: lanes of the last vector */
};

static int64_t strip_size(const struct strip *s)
{
    return (int64_t)s->vectors * s->lanes;
}

/* Channels [0, n) from those that x and w are at, for n_tiles tiles. */
static void add_channels(const struct winograd *v, const struct strip *s,
                         int n_tiles, LLVMValueRef x, LLVMValueRef w,
                         int64_t n, LLVMValueRef *sum)
{
    struct be_emitter *e = v->e;
    for (int64_t c = 0; c < n; c++) {
        LLVMValueRef weight[most_vectors];
        for (int i = 0; i < s->vectors; i++)
            weight[i] = be_load(
                e, be_vector(v->type, s->lanes),
                be_at(e, v->type, w,
                      be_i64(e, c * s->width + (int64_t)i * s->lanes)));
        for (int t = 0; t < n_tiles; t++) {
            LLVMValueRef number = be_load_splat(
                e, v->type, x, t * tile_size(v) + c, s->lanes);
            for (int i = 0; i < s->vectors; i++)
                sum[t * s->vectors + i] =
                    be_multiply_add(e, IR_F32, s->lanes, number, weight[i],
                                    sum[t * s->vectors + i]);
        }
    }
}

/* As emit_conv.c's: one channel a turn where the next one's weights have no
 * room. */
static int64_t channels_in_line(const struct winograd *v,
                                const struct strip *s, int n)
{
    const struct be_level *level = v->e->level;
    const int most = level->has_fma ? most_in_line : most_emulated;
    const bool tight = n + 2 * s->vectors + 3 > level->registers;
    int64_t in_line = tight || most < n ? 1 : most / n;
    in_line = in_line < v->g.channels ? in_line : v->g.channels;
    while (v->g.channels % in_line)
        in_line--;
    return in_line;
}

/* The sums of n_tiles tiles at one pair of points. */
static void emit_sums(const struct winograd *v, const struct strip *s,
                      int n_tiles, LLVMValueRef x, LLVMValueRef w,
                      LLVMValueRef to)
{
    struct be_emitter *e = v->e;
    const int n = n_tiles * s->vectors;
    const int64_t in_line = channels_in_line(v, s, n);
    LLVMValueRef sum[most_tiles * most_vectors], phi[most_tiles * most_vectors];
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    struct be_loop loop;
    for (int i = 0; i < n; i++)
        sum[i] = LLVMConstNull(be_vector(v->type, s->lanes));
    if (in_line == v->g.channels) {
        add_channels(v, s, n_tiles, x, w, in_line, sum);
    } else {
        be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, v->g.channels),
                      in_line);
        for (int i = 0; i < n; i++)
            sum[i] = phi[i] = be_carry(e, &loop, sum[i], before);
        add_channels(v, s, n_tiles, be_at(e, v->type, x, loop.index),
                     be_at_times(e, v->type, w, loop.index, s->width),
                     in_line, sum);
        for (int i = 0; i < n; i++)
            be_carried(e, phi[i], sum[i]);
        be_loop_end(e, &loop);
        memcpy(sum, phi, (size_t)n * sizeof(*sum));
    }
    for (int i = 0; i < n; i++)
        be_store(e, sum[i],
                 be_at(e, v->type, to, be_i64(e, (int64_t)i * s->lanes)));
}

/* All tiles of the block at one pair of points. */
static void emit_tiles(const struct winograd *v, const struct strip *s,
                       const struct block *b, LLVMValueRef x, LLVMValueRef w,
                       LLVMValueRef to)
{
    struct be_emitter *e = v->e;
    const int64_t tiles = tiles_of(b);
    int most = be_sum_rows(e, s->vectors);
    most = most < most_tiles ? most : most_tiles;
    const int64_t turns = (tiles + most - 1) / most;
    const int64_t each = (tiles + turns - 1) / turns;
    const int64_t whole = tiles / each;
    if (whole > 1) {
        struct be_loop loop;
        be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, whole * each), each);
        emit_sums(v, s, (int)each,
                  be_at_times(e, v->type, x, loop.index, tile_size(v)), w,
                  be_at_times(e, v->type, to, loop.index, strip_size(s)));
        be_loop_end(e, &loop);
    } else {
        emit_sums(v, s, (int)each, x, w, to);
    }
    if (tiles > whole * each)
        emit_sums(
            v, s, (int)(tiles - whole * each),
            be_at(e, v->type, x, be_i64(e, whole * each * tile_size(v))), w,
            be_at(e, v->type, to, be_i64(e, whole * each * strip_size(s))));
}

static void emit_products(const struct winograd *v, const struct strip *s,
                          const struct block *b)
{
    struct be_emitter *e = v->e;
    const int64_t points = v->g.dim[1].points;
    const int64_t panels = be_panels_size(v->g.channels, v->g.results);
    struct be_loop outer, inner;
    be_loop_begin(e, &outer, be_i64(e, 0), be_i64(e, v->g.dim[0].points), 1);
    be_loop_begin(e, &inner, be_i64(e, 0), be_i64(e, points), 1);
    LLVMValueRef position = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, outer.index, be_i64(e, points), ""),
        inner.index, "");
    LLVMValueRef x = be_at_times(e, v->type, b->spread, outer.index,
                                 tiles_of(b) * tile_size(v));
    x = be_at_times(e, v->type, x, inner.index, v->plan.channels);
    emit_tiles(v, s, b, x,
               be_at_times(e, v->type, s->weights, position, panels),
               be_at_times(e, v->type, room(v, v->plan.sums), position,
                           tiles_of(b) * strip_size(s)));
    be_loop_end(e, &inner);
    be_loop_end(e, &outer);
}

/* ------------------------------------------------------------------ windows */

/* One vector of results of a tile's windows. */
struct windows {
    LLVMValueRef first[2], column; /* the first window; the first result */
    int lanes, n;                  /* n: that are results */
    LLVMValueRef sum[IR_WINOGRAD_POINTS][IR_WINOGRAD_POINTS];
};

static void store_window(const struct winograd *v, const struct windows *w,
                         int i, int j)
{
    struct be_emitter *e = v->e;
    LLVMValueRef sum = w->sum[i][j];
    LLVMValueRef place = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, w->first[0],
                              be_i64(e, v->g.dim[1].window.out), ""),
        w->first[1], "");
    place = LLVMBuildNSWAdd(
        e->b, place, be_i64(e, i * v->g.dim[1].window.out + j), "");
    LLVMValueRef at = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, place, be_i64(e, v->g.results), ""),
        w->column, "");
    if (v->bias)
        sum = add(e, sum,
                  be_load_part(e, v->type,
                               be_at(e, v->type, v->bias, w->column), w->lanes,
                               w->n));
    sum = be_epilogue_apply(e, &v->epilogue, sum, at, w->column, w->lanes,
                            w->n);
    be_store_part(e, v->type, sum, be_at(e, v->type, v->y, at), w->lanes,
                  w->n);
}

/* Goes to the block that is returned where window `more` of a tile along a dim
 * is none; NULL where it always is one. */
static LLVMBasicBlockRef skip_outside(const struct winograd *v,
                                      const struct windows *w, int dim,
                                      int more)
{
    struct be_emitter *e = v->e;
    const struct ir_winograd_dim *d = &v->g.dim[dim];
    if (more < d->window.out - (d->tiles - 1) * d->tile)
        return NULL;
    LLVMBasicBlockRef inside = be_block(e, "inside");
    LLVMBasicBlockRef outside = be_block(e, "outside");
    LLVMValueRef is_inside =
        LLVMBuildICmp(e->b, LLVMIntSLT, w->first[dim],
                      be_i64(e, d->window.out - more), "");
    LLVMBuildCondBr(e->b, is_inside, inside, outside);
    LLVMPositionBuilderAtEnd(e->b, inside);
    return outside;
}

static void end_outside(const struct winograd *v, LLVMBasicBlockRef outside)
{
    if (!outside)
        return;
    LLVMBuildBr(v->e->b, outside);
    LLVMPositionBuilderAtEnd(v->e->b, outside);
}

static void store_windows(const struct winograd *v, const struct windows *w)
{
    for (int i = 0; i < v->g.dim[0].tile; i++) {
        LLVMBasicBlockRef below = skip_outside(v, w, 0, i);
        for (int j = 0; j < v->g.dim[1].tile; j++) {
            LLVMBasicBlockRef right = skip_outside(v, w, 1, j);
            store_window(v, w, i, j);
            end_outside(v, right);
        }
        end_outside(v, below);
    }
}

/* Of vector `i` of the strip, whose sums at the first point are at `from`. */
static void emit_vector(const struct winograd *v, const struct strip *s,
                        const struct block *b, struct windows *w, int i,
                        LLVMValueRef from)
{
    struct be_emitter *e = v->e;
    const struct ir_winograd_dim *d = v->g.dim;
    const int64_t far = tiles_of(b) * strip_size(s);
    w->n = i + 1 < s->vectors ? s->lanes : s->last;
    w->column = LLVMBuildNSWAdd(
        e->b, s->column, be_i64(e, (int64_t)i * s->lanes), "");
    for (int j = 0; j < d[1].points; j++) {
        LLVMValueRef m[IR_WINOGRAD_POINTS];
        for (int k = 0; k < d[0].points; k++)
            m[k] = be_load(
                e, be_vector(v->type, s->lanes),
                be_at(e, v->type, from,
                      be_i64(e, (k * d[1].points + j) * far +
                                    (int64_t)i * s->lanes)));
        from_points(e, &d[0], s->lanes, m);
        for (int k = 0; k < d[0].tile; k++)
            w->sum[k][j] = m[k];
    }
    for (int k = 0; k < d[0].tile; k++)
        from_points(e, &d[1], s->lanes, w->sum[k]);
    store_windows(v, w);
}

static void emit_windows(const struct winograd *v, const struct strip *s,
                         const struct block *b)
{
    struct be_emitter *e = v->e;
    const struct ir_winograd_dim *d = v->g.dim;
    struct windows w = {.lanes = s->lanes};
    struct be_loop row, tile;
    be_loop_begin(e, &row, be_i64(e, 0), be_i64(e, b->rows), 1);
    w.first[0] = LLVMBuildNSWMul(
        e->b, LLVMBuildNSWAdd(e->b, b->t0, row.index, ""),
        be_i64(e, d[0].tile), "");
    LLVMValueRef from =
        be_at_times(e, v->type, room(v, v->plan.sums), row.index,
                    b->across * strip_size(s));
    be_loop_begin(e, &tile, be_i64(e, 0), be_i64(e, b->across), 1);
    w.first[1] = LLVMBuildNSWMul(
        e->b, LLVMBuildNSWAdd(e->b, b->t1, tile.index, ""),
        be_i64(e, d[1].tile), "");
    from = be_at_times(e, v->type, from, tile.index, strip_size(s));
    for (int i = 0; i < s->vectors; i++)
        emit_vector(v, s, b, &w, i, from);
    be_loop_end(e, &tile);
    be_loop_end(e, &row);
}

/* ------------------------------------------------------------------- blocks */

static void emit_strip(const struct winograd *v, const struct strip *s,
                       const struct block *b)
{
    emit_products(v, s, b);
    emit_windows(v, s, b);
}

/* Results [first, first + n), in panels of `width`. */
static void emit_columns(const struct winograd *v, const struct block *b,
                         int64_t first, int64_t n, int64_t width)
{
    struct be_emitter *e = v->e;
    const int64_t depth = v->g.channels;
    const int lanes = be_lanes(e, IR_F32) < width ? be_lanes(e, IR_F32)
                                                  : (int)width;
    int most = be_sum_vectors(e, false, lanes);
    most = most < most_vectors ? most : most_vectors;
    struct strip s = {.width = width, .lanes = lanes, .vectors = most,
                      .last = lanes};
    const int64_t strip = strip_size(&s), done = n / strip * strip;
    LLVMValueRef weights =
        be_at(e, v->type, v->packed, be_i64(e, first * depth));
    if (done) {
        struct be_loop loop;
        be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, done), strip);
        LLVMValueRef within =
            LLVMBuildAnd(e->b, loop.index, be_i64(e, 63), "");
        LLVMValueRef whole = LLVMBuildNSWSub(e->b, loop.index, within, "");
        s.weights = be_at(e, v->type,
                          be_at_times(e, v->type, weights, whole, depth),
                          within);
        s.column = LLVMBuildNSWAdd(e->b, loop.index, be_i64(e, first), "");
        emit_strip(v, &s, b);
        be_loop_end(e, &loop);
    }
    if (n == done)
        return;
    s.weights = be_at(e, v->type, weights,
                      be_i64(e, done / 64 * 64 * depth + done % 64));
    s.column = be_i64(e, first + done);
    s.vectors = (int)((n - done + lanes - 1) / lanes);
    s.last = (int)(n - done - (int64_t)(s.vectors - 1) * lanes);
    emit_strip(v, &s, b);
}

static void emit_block(const struct winograd *v, struct block b)
{
    struct be_emitter *e = v->e;
    const int64_t whole = v->g.results / 64 * 64, left = v->g.results - whole;
    if (v->g.dim[0].points > 1) {
        b.spread = room(v, v->plan.spread);
        emit_spread(v, &b);
    } else { /* nothing else, and the ring starts anew with each block */
        b.spread = be_at_times(e, v->type, room(v, v->plan.ring), b.t1,
                               tile_size(v));
    }
    if (whole)
        emit_columns(v, &b, 0, whole, 64);
    if (left)
        emit_columns(v, &b, whole, left, be_panel_width(left));
}

/* Rows of tiles from b.t0 on, b.rows of them: all that they have across. */
static void emit_rows(const struct winograd *v, struct block b)
{
    struct be_emitter *e = v->e;
    const int64_t tiles = v->g.dim[1].tiles, each = v->plan.across;
    const int64_t whole = tiles / each * each;
    struct be_loop loop;
    emit_ring(v, &b);
    b.across = each;
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, whole), each);
    b.t1 = loop.index;
    emit_block(v, b);
    be_loop_end(e, &loop);
    if (tiles == whole)
        return;
    b.across = tiles - whole;
    b.t1 = be_i64(e, whole);
    emit_block(v, b);
}

static void emit_image(const struct winograd *v)
{
    struct be_emitter *e = v->e;
    const int64_t tiles = v->g.dim[0].tiles, each = v->plan.rows;
    const int64_t whole = tiles / each * each;
    struct block b = {.rows = each};
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, whole), each);
    b.t0 = loop.index;
    emit_rows(v, b);
    be_loop_end(e, &loop);
    if (tiles == whole)
        return;
    b.rows = tiles - whole;
    b.t0 = be_i64(e, whole);
    emit_rows(v, b);
}

/* ------------------------------------------------------------------- the op */

/* The weights at the points, as panels, a pair of points after the other. */
LLVMValueRef be_winograd_weights(struct be_emitter *e, const struct ir_op *op)
{
    struct ir_winograd g;
    char symbol[64];
    ir_winograd_view(op, &g);
    snprintf(symbol, sizeof(symbol), "panels_%d", be_op_number(e, op));
    LLVMValueRef packed = LLVMGetNamedGlobal(e->llvm, symbol);
    if (packed)
        return packed;
    float *weights = ir_winograd_weights(op);
    const struct ir_tensor t = {
        .type = {.dtype = IR_F32, .rank = 3,
                 .dim = {g.positions, g.channels, g.results}},
        .data = weights};
    packed = be_pack_panels(e, symbol, &t, g.positions, g.channels, g.results,
                            false);
    free(weights);
    return packed;
}

static struct be_image image_of(const struct winograd *v)
{
    struct be_image image = {
        .e = v->e, .dtype = IR_F32,
        .last = ir_attr_int_or(v->op, "channels_last", 0),
        .space = {1, v->plan.space[0], v->plan.space[1]}};
    ir_window_view(v->op, &image.window);
    return image;
}

void be_winograd(struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    const struct be_epilogue epilogue = be_epilogue_of(k);
    const int64_t n = ir_type_volume(&k->op->result[0].type);
    struct winograd v = {.e = e, .op = k->op, .type = e->f32, .work = k->work,
                         .packed = k->weights, .bias = k->bias};
    struct be_loop row;
    ir_winograd_view(k->op, &v.g);
    v.plan = plan_of(k->op, &v.g);
    const struct be_image image = image_of(&v);
    if (v.plan.image >= 0)
        be_image_surround(&image, room(&v, v.plan.image));
    be_loop_begin(e, &row, be_i64(e, 0), k->n_rows, 1);
    LLVMValueRef y = be_at_times(e, v.type, k->y[0], row.index, n);
    v.epilogue = epilogue;
    be_epilogue_skip(e, &v.epilogue, row.index);
    v.x = be_at_times(e, v.type, k->x[0].base, row.index, k->x[0].stride);
    if (v.plan.image >= 0) {
        be_image_copy(&image, v.x, room(&v, v.plan.image));
        v.x = room(&v, v.plan.image);
    }
    v.y = v.plan.turned >= 0 ? room(&v, v.plan.turned) : y;
    emit_image(&v);
    if (v.plan.turned >= 0)
        be_turn(e, IR_F32, v.y, v.g.results, y, n / v.g.results, v.g.results,
                n / v.g.results);
    be_loop_end(e, &row);
}
