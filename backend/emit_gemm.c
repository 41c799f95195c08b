/* emit_gemm.c: the op `gemm`, and what else is one: tiles of sums in registers.
 *
 * A tile is some rows of x times some vectors of columns; each of its sums is
 * one register, and a step of k multiplies one number of each row, in all
 * lanes, with the vectors of weights of that k. So every sum is made in the
 * order of the definition, whatever the tile.
 *
 * Weights stand in panels of up to `panel` columns, [k][columns]: the last one
 * has as many columns as a power of 2 or a multiple of 16 has, the missing ones
 * being zeros. All levels read the same panels, in parts as wide as their
 * registers.
 *
 * Where weights are deep, all rows go through one block of k before the next,
 * so that a panel's part stays in a near cache; totals wait in the result.
 * Meanwhile tiles fetch the weights of the next part, a line for each k.
 *
 * A sum waits some cycles for the one before: where a tile has few, several
 * blocks of k are summed at once. */
#include "backend/llvm.h"

#include <stdlib.h>
#include <string.h>

enum {
    panel = 64,
    most_rows = 14,    /* of a tile */
    most_vectors = 8,  /* of columns of a tile */
    most_blocks = 8,   /* summed at once */
    chains = 8,        /* of sums that keep the units busy */
    least_sums = 6,    /* fewer are worse than totals out of registers */
    unrolled = 256,    /* multiply-adds of one row that stand in line */
    in_turn = 16,      /* of a loop's turn, at least */
    emulated = 1,      /* the same where each is some 20 instructions */
    least_part = 128,  /* of k, that all rows go through at once */
    cache_line = 64,   /* bytes */
    page = 4096
};

/* ------------------------------------------------------------------- sizes */

int64_t be_panel_width(int64_t columns)
{
    int64_t width = 1;
    if (columns >= panel)
        return panel;
    while (width < columns && width < 16)
        width *= 2;
    return width < columns ? (columns + 15) / 16 * 16 : width;
}

/* The floats of all panels. */
static int64_t packed_columns(int64_t columns)
{
    const int64_t whole = columns / panel * panel;
    return whole +
           (columns > whole ? be_panel_width(columns - whole) : 0);
}

int64_t be_panels_size(int64_t depth, int64_t columns)
{
    return depth * packed_columns(columns);
}

/* One group's panels, which start at `to`. */
static void pack(const uint8_t *from, uint8_t *to, size_t size, int64_t depth,
                 int64_t columns, bool by_column)
{
    for (int64_t first = 0; first < columns; first += panel) {
        const int64_t left = columns - first;
        const int64_t n = left < panel ? left : panel;
        for (int64_t k = 0; k < depth; k++) {
            for (int64_t i = 0; i < n; i++) {
                const int64_t at = by_column ? (first + i) * depth + k
                                             : k * columns + first + i;
                memcpy(to + (size_t)i * size, from + (size_t)at * size, size);
            }
            to += (size_t)be_panel_width(left) * size;
        }
    }
}

LLVMValueRef be_pack_panels(struct be_emitter *e, const char *symbol,
                            const struct ir_tensor *w, int64_t groups,
                            int64_t depth, int64_t columns, bool by_column)
{
    LLVMValueRef found = LLVMGetNamedGlobal(e->llvm, symbol);
    if (found)
        return found;
    const size_t size = ir_dtype_bytes(w->type.dtype);
    const size_t each = (size_t)be_panels_size(depth, columns) * size;
    uint8_t *packed = ir_realloc_array(NULL, (size_t)groups, each);
    memset(packed, 0, (size_t)groups * each);
    for (size_t g = 0; g < (size_t)groups; g++)
        pack((const uint8_t *)w->data + g * (size_t)(depth * columns) * size,
             packed + g * each, size, depth, columns, by_column);
    found = be_bytes(e, symbol, packed, (size_t)groups * each, 64);
    free(packed);
    return found;
}

int be_sum_rows(const struct be_emitter *e, int vectors)
{
    const int registers = e->level->registers;
    const int spare = registers - vectors - (registers > 16 ? 2 : 1);
    const int most = registers > 16 ? most_rows : 12;
    const int rows = spare / vectors;
    if (!e->level->has_fma)
        return 2;
    return rows < 1 ? 1 : rows < most ? rows : most;
}

int be_sum_vectors(const struct be_emitter *e, bool one_row, int lanes)
{
    int n = one_row ? most_vectors : e->level->registers > 16 ? 4 : 2;
    /* Whole panels, or a part of one that divides it. */
    while (panel % (n * lanes) && n * lanes % panel)
        n--;
    return e->level->has_fma ? n : 1;
}

/* -------------------------------------------------------------------- tiles */

/* What all tiles of a product share. */
struct product {
    struct be_emitter *e;
    enum ir_dtype dtype, stored; /* of x and y; of the weights */
    LLVMTypeRef type, weight_type;
    int64_t depth, block, columns;
    int64_t x_stride, y_stride; /* from row to row */
    int64_t panel;              /* columns of one; 2^40 where there are none */
    int64_t most, multiple;     /* of rows, where their number is not known */
    LLVMValueRef x, y, packed, bias; /* bias may be NULL */
    const struct be_epilogue *epilogue;
};

/* A block of k that all rows go through at once. */
struct part {
    LLVMValueRef k; /* where it starts; NULL: no such parts */
    int64_t length;
    bool first, last;
};

/* Some columns of one panel, or of two side by side. */
struct strip {
    LLVMValueRef weights; /* of its first column; [k][width] */
    int64_t width;
    LLVMValueRef column; /* the first */
    int lanes, vectors;
    int last; /* lanes of the last vector that are columns */
    struct part part;
};

struct tile {
    const struct product *p;
    const struct strip *s;
    LLVMValueRef row; /* the first; i64 */
    int rows;
    LLVMValueRef ahead; /* weights to fetch meanwhile, or NULL */
    LLVMValueRef sum[most_rows * most_vectors];
};

static LLVMTypeRef vector_of(const struct tile *t)
{
    return be_vector(t->p->type, t->s->lanes);
}

/* Where vector v of a strip begins, from its first column on: those that are
 * past a panel are in the next. */
static int64_t place_of(const struct product *p, const struct strip *s, int v)
{
    const int64_t column = (int64_t)v * s->lanes;
    return column / p->panel * (p->panel * p->depth) + column % p->panel;
}

/* How many weights of a vector there are: panels have zeros at their ends. */
static int weights_of(const struct product *p, const struct strip *s, int v)
{
    return p->panel == panel || v + 1 < s->vectors ? s->lanes : s->last;
}

/* sum[b][row][vector] += x[row][k] * w[k][vector] for k = at + b * block, b
 * below n_blocks. */
static void step(const struct tile *t, LLVMValueRef x, LLVMValueRef w,
                 int64_t at, int n_blocks, LLVMValueRef *sum)
{
    const struct product *p = t->p;
    const struct strip *s = t->s;
    struct be_emitter *e = p->e;
    LLVMValueRef weight[most_vectors];
    for (int b = 0; b < n_blocks; b++) {
        const int64_t k = at + b * p->block;
        for (int v = 0; v < s->vectors; v++) {
            LLVMValueRef from =
                be_at(e, p->weight_type, w,
                      be_i64(e, k * s->width + place_of(p, s, v)));
            weight[v] = be_load_weights(e, p->stored, from, s->lanes,
                                        weights_of(p, s, v));
        }
        for (int r = 0; r < t->rows; r++) {
            LLVMValueRef number = be_load_splat(
                e, p->type, x, r * p->x_stride + k, s->lanes);
            for (int v = 0; v < s->vectors; v++, sum++)
                *sum = be_multiply_add(e, p->dtype, s->lanes, number,
                                       weight[v], *sum);
        }
    }
}

/* How many weights a line of the cache has. */
static int64_t line_weights(const struct product *p)
{
    return cache_line / (int64_t)ir_dtype_bytes(p->stored);
}

/* Fetches n lines: number k of those that this tile is to fetch, and so on. */
static void fetch_ahead(const struct tile *t, LLVMValueRef k, int64_t n)
{
    struct be_emitter *e = t->p->e;
    LLVMTypeRef type = t->p->weight_type;
    if (!t->ahead)
        return;
    const int64_t line = line_weights(t->p);
    LLVMValueRef at = be_at_times(e, type, t->ahead, k, line);
    for (int64_t i = 0; i < n; i++)
        be_prefetch(e, be_at(e, type, at, be_i64(e, i * line)), 2);
}

/* Sums over k in [0, length) of each of n_blocks blocks, from `sum` on. */
static void chain(const struct tile *t, LLVMValueRef x, LLVMValueRef w,
                  int64_t length, int n_blocks, LLVMValueRef *sum)
{
    const struct product *p = t->p;
    struct be_emitter *e = p->e;
    const int n = n_blocks * t->rows * t->s->vectors;
    LLVMValueRef phi[most_rows * most_vectors * 2];
    const int most = !e->level->has_fma ? emulated : e->one_row ? unrolled : 32;
    if (length * n <= most) {
        for (int64_t k = 0; k < length; k++)
            step(t, x, w, k, n_blocks, sum);
        return;
    }
    /* Steps in line, so that the loop itself costs little. */
    int64_t in_line = 1;
    while (in_line * n < (e->level->has_fma ? in_turn : emulated) &&
           length % (2 * in_line) == 0)
        in_line *= 2;
    struct be_loop loop;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, length), in_line);
    for (int i = 0; i < n; i++)
        sum[i] = phi[i] = be_carry(e, &loop, sum[i], before);
    LLVMValueRef x_at = be_at(e, p->type, x, loop.index);
    LLVMValueRef w_at = be_at(
        e, p->weight_type, w,
        LLVMBuildNSWMul(e->b, loop.index, be_i64(e, t->s->width), ""));
    fetch_ahead(t, loop.index, in_line);
    for (int64_t k = 0; k < in_line; k++)
        step(t, x_at, w_at, k, n_blocks, sum);
    for (int i = 0; i < n; i++)
        be_carried(e, phi[i], sum[i]);
    be_loop_end_aligned(e, &loop);
    for (int i = 0; i < n; i++)
        sum[i] = phi[i];
}

/* The bias of each vector, or zeros. */
static void load_bias(const struct tile *t, LLVMValueRef *start)
{
    const struct product *p = t->p;
    const struct strip *s = t->s;
    for (int v = 0; v < s->vectors; v++) {
        const int n = v + 1 < s->vectors ? s->lanes : s->last;
        start[v] = LLVMConstNull(vector_of(t));
        if (!p->bias)
            continue;
        LLVMValueRef at =
            LLVMBuildNSWAdd(p->e->b, s->column,
                            be_i64(p->e, (int64_t)v * s->lanes), "");
        start[v] = be_load_part(p->e, p->type,
                                be_at(p->e, p->type, p->bias, at), s->lanes,
                                n);
    }
}

/* Adds the sums of n_blocks blocks to the totals, in order. */
static void add_blocks(const struct tile *t, int n_blocks,
                       const LLVMValueRef *sum, LLVMValueRef *total)
{
    const int n = t->rows * t->s->vectors;
    for (int b = 0; b < n_blocks; b++)
        for (int i = 0; i < n; i++)
            total[i] = LLVMBuildFAdd(t->p->e->b, total[i], sum[b * n + i], "");
}

/* Blocks from `k`, an i64, on: n_blocks of `length`. The first one's sums start
 * at `start`, by vector; the others' at zero. */
static void add_chains(const struct tile *t, LLVMValueRef k, int64_t length,
                       int n_blocks, const LLVMValueRef *start,
                       LLVMValueRef *total)
{
    const struct product *p = t->p;
    struct be_emitter *e = p->e;
    const int n = t->rows * t->s->vectors;
    LLVMValueRef sum[most_rows * most_vectors * 2];
    for (int i = 0; i < n_blocks * n; i++)
        sum[i] = i < n && start ? start[i % t->s->vectors]
                                : LLVMConstNull(vector_of(t));
    LLVMValueRef x_row =
        LLVMBuildNSWMul(e->b, t->row, be_i64(e, p->x_stride), "");
    LLVMValueRef x = be_at(e, p->type, p->x,
                           LLVMBuildNSWAdd(e->b, x_row, k, ""));
    LLVMValueRef w = be_at(
        e, p->weight_type, t->s->weights,
        LLVMBuildNSWMul(e->b, k, be_i64(e, t->s->width), ""));
    chain(t, x, w, length, n_blocks, sum);
    add_blocks(t, n_blocks, sum, total);
}

/* How many blocks are summed at once: there are `whole` of them. */
static int at_once(const struct tile *t, int64_t whole)
{
    const int n = t->rows * t->s->vectors;
    int blocks = 1;
    if (!t->p->e->level->has_fma)
        return 1; /* units are busy as it is */
    while (blocks < whole && blocks < most_blocks && blocks * n < chains)
        blocks++;
    return blocks;
}

/* -0 plus a sum is that sum, so that all blocks can be added. */
static LLVMValueRef minus_zero(const struct tile *t)
{
    const struct product *p = t->p;
    return be_splat(p->e, be_real(p->e, p->dtype, -0.0), t->s->lanes);
}

/* Where vector v of the tile's row r is in the result: its address, its number,
 * its column and how many lanes count. */
struct place {
    LLVMValueRef at, number, column;
    int n;
};

/* The tile's first number is found once: what follows is at constant
 * distances, which are part of an instruction. */
static struct place place_in_result(const struct tile *t, int r, int v)
{
    const struct product *p = t->p;
    const struct strip *s = t->s;
    struct be_emitter *e = p->e;
    const int64_t within = (int64_t)v * s->lanes;
    LLVMValueRef further = be_i64(e, r * p->y_stride + within);
    LLVMValueRef first = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, t->row, be_i64(e, p->y_stride), ""),
        s->column, "");
    return (struct place){
        be_at(e, p->type, be_at(e, p->type, p->y, first), further),
        LLVMBuildNSWAdd(e->b, first, further, ""),
        LLVMBuildNSWAdd(e->b, s->column, be_i64(e, within), ""),
        v + 1 < s->vectors ? s->lanes : s->last};
}

/* Where the next part's weights begin: a part follows the one before, and the
 * next panel the last one. */
static LLVMValueRef next_part(const struct tile *t)
{
    const struct product *p = t->p;
    const struct part *part = &t->s->part;
    struct be_emitter *e = p->e;
    return be_at_times(
        e, p->weight_type, t->s->weights,
        LLVMBuildNSWAdd(e->b, part->k, be_i64(e, part->length), ""),
        t->s->width);
}

/* A line of each of its pages, so that page tables are walked side by side and
 * not whenever fetching comes to a new page. */
static void fetch_pages(const struct tile *t, LLVMValueRef next)
{
    const struct product *p = t->p;
    const int64_t bytes = t->s->part.length * t->s->width *
                          (int64_t)ir_dtype_bytes(p->stored);
    for (int64_t at = 0; at < bytes; at += page)
        be_prefetch(p->e, be_offset(p->e, next, be_i64(p->e, at)), 2);
}

/* What this tile is to fetch of the next part, a line for each k: tiles take
 * turns. NULL: nothing, as it has not all the rows that one can have. */
static LLVMValueRef lines_ahead(const struct tile *t)
{
    const struct product *p = t->p;
    const struct strip *s = t->s;
    struct be_emitter *e = p->e;
    const int64_t line = line_weights(p);
    const int64_t turns = (s->width + line - 1) / line;
    if (!e->level->has_fma || t->rows < be_sum_rows(e, s->vectors))
        return NULL;
    LLVMValueRef next = next_part(t);
    fetch_pages(t, next);
    LLVMValueRef tile = LLVMBuildUDiv(e->b, t->row, be_i64(e, t->rows), "");
    return be_at_times(e, p->weight_type, next,
                       LLVMBuildURem(e->b, tile, be_i64(e, turns), ""),
                       s->part.length * line);
}

/* One block of k: the total so far is in the result. It is read when the sums
 * are made, which want all registers. */
static void sum_part(struct tile *t, const LLVMValueRef *bias)
{
    const struct product *p = t->p;
    const struct part *part = &t->s->part;
    const int n = t->rows * t->s->vectors;
    for (int i = 0; i < n; i++)
        t->sum[i] = minus_zero(t);
    t->ahead = lines_ahead(t);
    add_chains(t, part->k, part->length, 1, part->first ? bias : NULL,
               t->sum);
    for (int i = 0; i < n && !part->first; i++) {
        const struct place place =
            place_in_result(t, i / t->s->vectors, i % t->s->vectors);
        LLVMValueRef total = be_load_part(p->e, p->type, place.at,
                                          t->s->lanes, place.n);
        t->sum[i] = LLVMBuildFAdd(p->e->b, total, t->sum[i], "");
    }
}

static void sum_tile(struct tile *t)
{
    const struct product *p = t->p;
    struct be_emitter *e = p->e;
    const int n = t->rows * t->s->vectors, n_start = t->s->vectors;
    const int64_t whole = p->depth / p->block, rest = p->depth % p->block;
    LLVMValueRef start[most_vectors], *total = t->sum;
    load_bias(t, start);
    if (t->s->part.k) {
        sum_part(t, start);
        return;
    }
    for (int i = 0; i < n; i++)
        total[i] = minus_zero(t);
    if (whole == 0) {
        add_chains(t, be_i64(e, 0), rest, 1, start, total);
        return;
    }
    const int once = at_once(t, whole);
    const int64_t turns = whole / once;
    if (turns == 1) {
        add_chains(t, be_i64(e, 0), p->block, once, start, total);
    } else {
        struct be_loop loop;
        LLVMValueRef phi[most_rows * most_vectors];
        LLVMValueRef first[most_vectors] = {0};
        LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
        be_loop_begin(e, &loop, be_i64(e, 0),
                      be_i64(e, turns * once * p->block), once * p->block);
        for (int i = 0; i < n; i++)
            total[i] = phi[i] = be_carry(e, &loop, total[i], before);
        for (int v = 0; v < n_start; v++)
            first[v] = be_carry(e, &loop, start[v], before);
        add_chains(t, loop.index, p->block, once, first, total);
        for (int i = 0; i < n; i++)
            be_carried(e, phi[i], total[i]);
        for (int v = 0; v < n_start; v++)
            be_carried(e, first[v], LLVMConstNull(vector_of(t)));
        be_loop_end(e, &loop);
        for (int i = 0; i < n; i++)
            total[i] = phi[i];
    }
    const int64_t done = turns * once;
    if (whole > done)
        add_chains(t, be_i64(e, done * p->block), p->block,
                   (int)(whole - done), NULL, total);
    if (rest)
        add_chains(t, be_i64(e, whole * p->block), rest, 1, NULL, total);
}

static void store_tile(struct tile *t)
{
    const struct product *p = t->p;
    const struct strip *s = t->s;
    struct be_emitter *e = p->e;
    for (int r = 0; r < t->rows; r++)
        for (int v = 0; v < s->vectors; v++) {
            const struct place place = place_in_result(t, r, v);
            LLVMValueRef sum = t->sum[r * s->vectors + v];
            if (!s->part.k || s->part.last)
                sum = be_epilogue_apply(e, p->epilogue, sum, place.number,
                                        place.column, s->lanes, place.n);
            be_store_part(e, p->type, sum, place.at, s->lanes, place.n);
        }
}

static void emit_tile(const struct product *p, const struct strip *s,
                      LLVMValueRef row, int rows)
{
    struct tile t = {.p = p, .s = s, .row = row, .rows = rows};
    sum_tile(&t);
    store_tile(&t);
}

/* ------------------------------------------------------------ rows, columns */

/* How many rows a tile has. Where sums are of several blocks, one after the
 * other, the totals want registers too. */
static int tile_rows(const struct product *p, const struct strip *s)
{
    struct be_emitter *e = p->e;
    const int most = be_sum_rows(e, s->vectors);
    const bool totals = !s->part.k && p->depth > p->block;
    const int with_totals =
        (e->level->registers - s->vectors - 2) / (2 * s->vectors);
    if (!totals || with_totals * s->vectors < least_sums || !e->level->has_fma)
        return most;
    return with_totals < most ? with_totals : most;
}

/* All rows of a strip: whole tiles, then smaller ones. */
static void emit_rows(const struct product *p, const struct strip *s,
                      LLVMValueRef n_rows)
{
    struct be_emitter *e = p->e;
    LLVMValueRef from = be_i64(e, 0);
    if (LLVMIsAConstantInt(n_rows)) {
        const int64_t n = LLVMConstIntGetSExtValue(n_rows);
        const int most = tile_rows(p, s);
        const int rows = n < most ? (int)n : most;
        if (n >= 2 * rows) {
            struct be_loop loop;
            be_loop_begin(e, &loop, from, be_i64(e, n / rows * rows), rows);
            emit_tile(p, s, loop.index, rows);
            be_loop_end(e, &loop);
        } else {
            emit_tile(p, s, from, rows);
        }
        if (n % rows)
            emit_tile(p, s, be_i64(e, n / rows * rows), (int)(n % rows));
        return;
    }
    /* What is left is less than a tile, and a multiple of `unit`. */
    int64_t left = p->most, unit = p->multiple;
    for (int rows = tile_rows(p, s); left > 0;) {
        struct be_loop loop;
        rows = left < rows ? (int)left : rows;
        LLVMValueRef end =
            LLVMBuildNSWSub(e->b, n_rows, be_i64(e, rows - 1), "");
        be_loop_begin(e, &loop, from, end, rows);
        emit_tile(p, s, loop.index, rows);
        be_loop_end(e, &loop);
        from = loop.index;
        unit = ir_common_divisor(unit, rows);
        left = rows - unit;
        int less = 1;
        while (2 * less < rows)
            less *= 2;
        rows = less;
    }
}

/* The same, block by block where these are large. */
static void emit_strip(const struct product *p, struct strip *s,
                       LLVMValueRef n_rows)
{
    struct be_emitter *e = p->e;
    const int64_t n = (p->depth + p->block - 1) / p->block;
    if (LLVMIsAConstantInt(n_rows) || p->block < least_part || n == 1) {
        emit_rows(p, s, n_rows);
        return;
    }
    s->part = (struct part){be_i64(e, 0), p->block, true, false};
    emit_rows(p, s, n_rows);
    if (n > 2) {
        struct be_loop loop;
        be_loop_begin(e, &loop, be_i64(e, p->block),
                      be_i64(e, (n - 1) * p->block), p->block);
        s->part = (struct part){loop.index, p->block, false, false};
        emit_rows(p, s, n_rows);
        be_loop_end(e, &loop);
    }
    s->part = (struct part){be_i64(e, (n - 1) * p->block),
                            p->depth - (n - 1) * p->block, false, true};
    emit_rows(p, s, n_rows);
}

static bool is_one(LLVMValueRef n)
{
    return LLVMIsAConstantInt(n) && LLVMConstIntGetSExtValue(n) == 1;
}

/* The columns [first, first + n) that stand in panels of `width` columns, the
 * first of them at `weights`. */
static void emit_columns(const struct product *p, LLVMValueRef n_rows,
                         int64_t first, int64_t n, int64_t width)
{
    struct be_emitter *e = p->e;
    LLVMValueRef weights =
        be_at(e, p->weight_type, p->packed, be_i64(e, first * p->depth));
    struct strip s = {.width = width};
    s.lanes = be_lanes(e, p->dtype);
    if (s.lanes > width && p->panel == panel)
        s.lanes = (int)width;
    const int most = be_sum_vectors(e, is_one(n_rows), s.lanes);
    const int64_t strip = (int64_t)most * s.lanes;
    s.vectors = most;
    s.last = s.lanes;
    if (n >= strip) {
        struct be_loop loop;
        be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, n / strip * strip),
                      strip);
        /* column / panel * panel * depth + column % panel */
        LLVMValueRef within =
            LLVMBuildAnd(e->b, loop.index, be_i64(e, p->panel - 1), "");
        LLVMValueRef whole = LLVMBuildNSWSub(e->b, loop.index, within, "");
        LLVMValueRef at = LLVMBuildNSWAdd(
            e->b, LLVMBuildNSWMul(e->b, whole, be_i64(e, p->depth), ""),
            within, "");
        s.weights = be_at(e, p->weight_type, weights, at);
        s.column = LLVMBuildNSWAdd(e->b, loop.index, be_i64(e, first), "");
        emit_strip(p, &s, n_rows);
        be_loop_end(e, &loop);
    }
    const int64_t done = n / strip * strip, left = n - done;
    if (left == 0)
        return;
    s.weights = be_at(e, p->weight_type, weights,
                      be_i64(e, done / p->panel * p->panel * p->depth +
                                    done % p->panel));
    s.column = be_i64(e, first + done);
    s.vectors = (int)((left + s.lanes - 1) / s.lanes);
    s.last = (int)(left - (int64_t)(s.vectors - 1) * s.lanes);
    emit_strip(p, &s, n_rows);
}

static void emit_product(const struct product *p, LLVMValueRef n_rows)
{
    const int64_t whole = p->columns / panel * panel;
    if (whole)
        emit_columns(p, n_rows, 0, whole, panel);
    if (p->columns > whole)
        emit_columns(p, n_rows, whole, p->columns - whole,
                     be_panel_width(p->columns - whole));
}

/* ----------------------------------------------------------------- the ops */

/* Rows of x and y are end to end; or, when x has another stride, of each row
 * that the module has. */
static void emit_all(struct product *p, const struct be_kernel *k,
                     int64_t rows)
{
    struct be_emitter *e = p->e;
    if (p->epilogue->flat &&
        (rows == 1 || k->x[0].stride == rows * p->x_stride)) {
        if (rows == 1)
            p->x_stride = k->x[0].stride;
        p->most = e->layout->rows * rows;
        p->multiple = rows;
        emit_product(p, LLVMIsAConstantInt(k->n_rows)
                            ? be_i64(e, rows)
                            : LLVMBuildNSWMul(e->b, k->n_rows,
                                              be_i64(e, rows), ""));
        return;
    }
    struct be_epilogue each = *p->epilogue;
    struct be_loop loop;
    LLVMValueRef x = p->x, y = p->y;
    be_loop_begin(e, &loop, be_i64(e, 0), k->n_rows, 1);
    p->x = be_at_times(e, p->type, x, loop.index, k->x[0].stride);
    p->y = be_at_times(e, p->type, y, loop.index, rows * p->y_stride);
    be_epilogue_skip(e, &each, loop.index);
    p->epilogue = &each;
    emit_product(p, be_i64(e, rows));
    be_loop_end(e, &loop);
}

static LLVMValueRef gemm_weights(struct be_emitter *e, const struct ir_op *op)
{
    const struct ir_tensor *w = ir_attr_tensor(op, "weights");
    char symbol[64];
    snprintf(symbol, sizeof(symbol), "panels_%d", be_op_number(e, op));
    return be_pack_panels(e, symbol, w, 1, w->type.dim[0], w->type.dim[1],
                          false);
}

static void gemm_body(struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    if (ir_is_int8(k->op)) {
        be_gemm_int8(k);
        return;
    }
    const struct ir_tensor *w = ir_attr_tensor(k->op, "weights");
    const enum ir_dtype dtype = k->op->result[0].type.dtype;
    struct product p = {.e = e, .dtype = dtype, .stored = w->type.dtype,
                        .type = be_type(e, dtype),
                        .weight_type = be_type(e, w->type.dtype),
                        .depth = w->type.dim[0], .columns = w->type.dim[1],
                        .block = ir_attr_int(k->op, "block"),
                        .panel = panel,
                        .x = k->x[0].base, .y = k->y[0]};
    p.packed = k->weights;
    p.bias = k->bias;
    p.x_stride = p.depth;
    p.y_stride = p.columns;
    const struct be_epilogue epilogue = be_epilogue_of(k);
    p.epilogue = &epilogue;
    emit_all(&p, k, ir_type_volume(&k->op->result[0].type) / p.columns);
}

void be_lower_gemm(struct be_emitter *e, const struct ir_op *op)
{
    be_weighted_kernel_call(e, op, ir_is_int8(op) ? NULL : gemm_weights,
                            gemm_body);
}

/* b is read as it is: [k][n], each matrix of which one of a goes with. */
static void matmul_body(struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    const struct ir_type *a = &k->op->operand[0]->type;
    const struct ir_type *y = &k->op->result[0].type;
    const int64_t m = a->dim[a->rank - 2], depth = a->dim[a->rank - 1];
    const int64_t n = y->dim[y->rank - 1], each = ir_type_volume(y) / (m * n);
    LLVMTypeRef type = be_type(e, y->dtype);
    struct be_epilogue epilogue = be_epilogue_of(k);
    struct product p = {.e = e, .dtype = y->dtype, .type = type,
                        .stored = y->dtype, .weight_type = type,
                        .depth = depth, .block = depth, .columns = n,
                        .panel = INT64_C(1) << 40, .x_stride = depth,
                        .y_stride = n, .epilogue = &epilogue};
    const LLVMValueRef base[] = {k->x[0].base, k->x[1].base, k->y[0]};
    const int64_t row_stride[] = {k->x[0].stride, k->x[1].stride,
                                  ir_type_volume(y)};
    const int64_t stride[] = {m * depth, depth * n, m * n};
    LLVMValueRef at[3];
    struct be_loop row, matrix;
    be_loop_begin(e, &row, be_i64(e, 0), k->n_rows, 1);
    for (int i = 0; i < 3; i++)
        at[i] = be_at_times(e, type, base[i], row.index, row_stride[i]);
    be_loop_begin(e, &matrix, be_i64(e, 0), be_i64(e, each), 1);
    for (int i = 0; i < 3; i++)
        at[i] = be_at_times(e, type, at[i], matrix.index, stride[i]);
    p.x = at[0];
    p.packed = at[1];
    p.y = at[2];
    emit_columns(&p, be_i64(e, m), 0, n, n);
    be_loop_end(e, &matrix);
    be_loop_end(e, &row);
}

void be_lower_matmul(struct be_emitter *e, const struct ir_op *op)
{
    be_kernel_call(e, op, matmul_body);
}
