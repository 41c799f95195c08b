/* emit_scan.c: the op `scan`: the steps of a recurrent layer, one after the
 * other, for all rows of the tile at once.
 *
 * Units are in lanes. All gates of some vectors of units are summed together,
 * in registers, for some rows; then the cell's arithmetic (scan_cells.c)
 * follows there, and what comes out is the next state. The state before the
 * step is read until it is done, so there are two, which take turns. Where a
 * gate depends on what another one made of the whole state (gru without
 * linear_before_reset), a step has two passes.
 *
 * Every other step takes the units from the last to the first: the weights that
 * the step before read last are still in L1. Of one row, whose weights come
 * slower than they are multiplied, the cells of some units stand among the
 * first products of the next ones.
 *
 * Weights stand in groups of 16 units, [k][gate][16]; the last group may be
 * narrower. Rows that say how long they are go through their steps alone. */
#include "backend/scan.h"

#include <stdlib.h>
#include <string.h>

enum {
    group = 16,
    most_rows = BE_SCAN_ROWS,
    most_vectors = BE_SCAN_VECTORS,
    most_gates = BE_SCAN_GATES,
    most_sums = 32,
    at_once = 4, /* cells of rows, computed side by side */
    among = 48,  /* products of one gate that have cells among them */
    l1_bytes = 32768
};

int64_t be_scan_work(const struct ir_op *op, int64_t rows)
{
    struct ir_scan s;
    ir_scan_view(op, &s);
    return rows * 5 * s.hidden *
           (int64_t)ir_dtype_bytes(op->operand[0]->type.dtype);
}

/* Units in a group of which so many are left. */
static int64_t group_width(int64_t left)
{
    return left < group ? be_panel_width(left) : group;
}

static LLVMValueRef pack(struct be_emitter *e, const struct ir_op *op,
                         const struct ir_scan *s)
{
    char symbol[64];
    snprintf(symbol, sizeof(symbol), "recurrent_%d", be_op_number(e, op));
    LLVMValueRef found = LLVMGetNamedGlobal(e->llvm, symbol);
    if (found)
        return found;
    const int64_t n = s->hidden, gates = s->n_gates;
    const size_t size =
        ir_dtype_bytes(ir_attr_tensor(op, "recurrent")->type.dtype);
    const size_t bytes =
        (size_t)((n / group * group + group) * n * gates) * size;
    uint8_t *packed = ir_realloc_array(NULL, bytes, 1), *to = packed;
    const uint8_t *from = s->recurrent;
    memset(packed, 0, bytes);
    for (int64_t first = 0; first < n; first += group) {
        const int64_t count = n - first < group ? n - first : group;
        for (int64_t k = 0; k < n; k++)
            for (int64_t g = 0; g < gates; g++) {
                memcpy(to,
                       from + (size_t)((k * gates + g) * n + first) * size,
                       (size_t)count * size);
                to += (size_t)group_width(n - first) * size;
            }
    }
    found = be_bytes(e, symbol, packed, (size_t)(to - packed), 64);
    free(packed);
    return found;
}
/* --------------------------------------------------------------------- sums */

/* The gates that one pass sums, and what numbers it multiplies. */
struct pass {
    int first, n;
    LLVMValueRef from; /* [rows][hidden] */
};

static struct pass pass_of(const struct be_scan *v, int number)
{
    if (!be_scan_two_passes(v))
        return (struct pass){0, v->s.n_gates, v->old};
    return number == 0 ? (struct pass){0, 2, v->old}
                       : (struct pass){2, 1, v->rest};
}

/* Where the weights of vector i begin, from those of the strip on: groups
 * follow one another. */
static int64_t place_of(const struct be_scan *v, const struct be_scan_strip *s,
                        int i)
{
    const int64_t unit = (int64_t)i * s->lanes;
    return unit / group * (group * v->s.hidden * v->s.n_gates) + unit % group;
}

static void step(struct be_scan_tile *t, const struct pass *pass,
                 LLVMValueRef x, LLVMValueRef w, int64_t k)
{
    const struct be_scan *v = t->v;
    const struct be_scan_strip *s = t->s;
    struct be_emitter *e = v->e;
    LLVMValueRef weight[most_gates][most_vectors];
    for (int g = 0; g < pass->n; g++)
        for (int i = 0; i < s->vectors; i++) {
            const int64_t at =
                (k * v->s.n_gates + pass->first + g) * s->width +
                place_of(v, s, i);
            weight[g][i] = be_load_weights(
                e, v->stored, be_at(e, v->weight_type, w, be_i64(e, at)),
                s->lanes, s->lanes);
        }
    for (int r = 0; r < t->rows; r++) {
        LLVMValueRef number =
            be_load_splat(e, v->type, x, r * v->s.hidden + k, s->lanes);
        for (int g = 0; g < pass->n; g++)
            for (int i = 0; i < s->vectors; i++) {
                LLVMValueRef *sum = &t->sum[pass->first + g][r][i];
                *sum = be_multiply_add(e, v->dtype, s->lanes, number,
                                       weight[g][i], *sum);
            }
    }
}

/* Adds to the gates what comes from the state's numbers from `first` on. */
static void add_state(struct be_scan_tile *t, const struct pass *pass,
                      int64_t first)
{
    const struct be_scan *v = t->v;
    struct be_emitter *e = v->e;
    const int n = pass->n * t->rows * t->s->vectors;
    LLVMValueRef phi[most_sums];
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    int64_t in_line = 1;
    while (in_line * n < 16 && v->s.hidden % (2 * in_line) == 0)
        in_line *= 2;
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, first), be_i64(e, v->s.hidden), in_line);
    int at = 0;
#define EACH_SUM(what)                                                        \
    for (int g = pass->first; g < pass->first + pass->n; g++)                 \
        for (int r = 0; r < t->rows; r++)                                     \
            for (int i = 0; i < t->s->vectors; i++, at++)                     \
                what
    EACH_SUM(t->sum[g][r][i] = phi[at] =
                 be_carry(e, &loop, t->sum[g][r][i], before);)
    LLVMValueRef x = be_at(
        e, v->type, be_at_times(e, v->type, pass->from, t->row, v->s.hidden),
        loop.index);
    LLVMValueRef w = be_at_times(e, v->weight_type, t->s->weights, loop.index,
                                 v->s.n_gates * t->s->width);
    for (int64_t k = 0; k < in_line; k++)
        step(t, pass, x, w, k);
    at = 0;
    EACH_SUM(be_carried(e, phi[at], t->sum[g][r][i]);)
    be_loop_end(e, &loop);
    at = 0;
    EACH_SUM(t->sum[g][r][i] = phi[at];)
#undef EACH_SUM
}

/* What the gates are before anything is added. */
static void start_gates(struct be_scan_tile *t, const struct pass *pass)
{
    const struct be_scan *v = t->v;
    for (int g = pass->first; g < pass->first + pass->n; g++)
        for (int r = 0; r < t->rows; r++)
            for (int i = 0; i < t->s->vectors; i++) {
                LLVMValueRef start;
                if (g != 2 || !v->s.linear_before_reset)
                    start = be_scan_gate(t, g, r, i);
                else if (v->bias)
                    start = be_scan_table(t, v->bias, 0, i);
                else
                    start =
                        LLVMConstNull(be_vector(v->type, t->s->lanes));
                t->sum[g][r][i] = start;
            }
}
/* Pass `number` of a step, for a tile. */
static void emit_tile(struct be_scan_tile *t, int number)
{
    const struct pass pass = pass_of(t->v, number);
    start_gates(t, &pass);
    add_state(t, &pass, 0);
    for (int i = 0; i < t->s->vectors; i++)
        for (int r = 0, n; r < t->rows; r += n) {
            n = 1; /* a lane alone is no vector to join */
            while (t->s->lanes > 1 && 2 * n <= at_once &&
                   r + 2 * n <= t->rows)
                n *= 2;
            be_scan_emit_cells(&(struct be_scan_cells){t, r, n, i}, number);
        }
}

/* -------------------------------------------------------------- rows, units */

/* How many rows a tile has, of so many sums each. */
static int rows_at_once(const struct be_emitter *e, int sums)
{
    const int spare = e->level->registers - sums - 2;
    const int n = spare / sums;
    if (!e->level->has_fma)
        return 1;
    return n < 1 ? 1 : n < most_rows ? n : most_rows;
}

static void emit_rows(const struct be_scan *v, const struct be_scan_strip *s,
                      int pass)
{
    struct be_emitter *e = v->e;
    struct be_scan_tile t = {.v = v, .s = s, .rows = 1, .row = be_i64(e, 0)};
    if (LLVMIsAConstantInt(v->n_rows)) {
        emit_tile(&t, pass);
        return;
    }
    LLVMValueRef from = be_i64(e, 0);
    int rows = rows_at_once(e, v->s.n_gates * s->vectors);
    while (rows > 0) {
        struct be_loop loop;
        LLVMValueRef end =
            LLVMBuildNSWSub(e->b, v->n_rows, be_i64(e, rows - 1), "");
        be_loop_begin(e, &loop, from, end, rows);
        t.row = loop.index;
        t.rows = rows;
        emit_tile(&t, pass);
        be_loop_end(e, &loop);
        from = loop.index;
        int less = 1;
        while (2 * less < rows)
            less *= 2;
        rows = rows > 1 ? less : 0;
    }
}

/* How many vectors of units are summed at once, of several rows one. Of one row
 * whose weights are in L1, as many as there is room for. Else what L2 gives is
 * the limit, and few are best: while their activations wait for each other, the
 * weights of the next ones come in. But weights stand in groups, and an fma
 * waits four cycles for the one before. */
static int vectors_at_once(const struct be_scan *v, int lanes, int gates)
{
    const struct be_emitter *e = v->e;
    const int room = e->level->registers / 2 / v->s.n_gates;
    const bool in_l1 = v->s.hidden * v->s.hidden * v->s.n_gates *
                           (int64_t)ir_dtype_bytes(v->dtype) <= l1_bytes / 2;
    int n = 1;
    if (!LLVMIsAConstantInt(v->n_rows) || !e->level->has_fma)
        return 1;
    while (2 * n <= room && 2 * n <= most_vectors &&
           (in_l1 || n * gates < 3 || n * lanes < group))
        n *= 2;
    return n;
}

/* Whole strips of units, in groups of the same width. */
struct units {
    LLVMValueRef weights; /* of the first one */
    int64_t first, n;     /* n is a multiple of `strip` */
    int64_t strip;
};

/* The strip that begins at unit `index` of u, or as far from the end when the
 * step goes backwards. */
static void find_strip(const struct be_scan *v, const struct units *u,
                       LLVMValueRef index, struct be_scan_strip *s)
{
    struct be_emitter *e = v->e;
    LLVMValueRef last = be_i64(e, u->n - u->strip);
    LLVMValueRef at =
        LLVMBuildSelect(e->b, v->backwards,
                        LLVMBuildNSWSub(e->b, last, index, ""), index, "");
    LLVMValueRef within = LLVMBuildAnd(e->b, at, be_i64(e, group - 1), "");
    LLVMValueRef whole = LLVMBuildNSWSub(e->b, at, within, "");
    s->weights = be_at(e, v->weight_type,
                       be_at_times(e, v->weight_type, u->weights, whole,
                                   v->s.hidden * v->s.n_gates),
                       within);
    s->unit = LLVMBuildNSWAdd(e->b, at, be_i64(e, u->first), "");
}

static void emit_each_strip(const struct be_scan *v, const struct units *u,
                            struct be_scan_strip *s, int pass)
{
    struct be_emitter *e = v->e;
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, u->n), u->strip);
    find_strip(v, u, loop.index, s);
    emit_rows(v, s, pass);
    be_loop_end(e, &loop);
}

/* How many of the state's numbers are multiplied with cells in between; 0:
 * cells follow their products. That wants registers for both, and other units
 * to come. */
static int64_t products_among(const struct be_scan *v, const struct units *u)
{
    const int64_t n = v->s.hidden / 16 * 16 - 16;
    if (!LLVMIsAConstantInt(v->n_rows) || !v->e->level->has_fma ||
        v->e->level->registers <= 16 || be_scan_two_passes(v) ||
        u->n < 3 * u->strip)
        return 0;
    return n < among ? n : among;
}

/* The cells of `past`, and evenly between their instructions the first n
 * products of `t`. LLVM leaves their order about as it is. */
static void emit_among(struct be_scan_tile *t, const struct be_scan_tile *past,
                       int64_t n)
{
    struct be_emitter *e = t->v->e;
    const struct pass pass = pass_of(t->v, 0);
    LLVMBasicBlockRef block = LLVMGetInsertBlock(e->b);
    LLVMValueRef at = LLVMGetLastInstruction(block);
    int64_t count = 0, done = 0;
    for (int i = 0; i < t->s->vectors; i++)
        be_scan_emit_cells(&(struct be_scan_cells){past, 0, 1, i}, 0);
    at = LLVMGetNextInstruction(at);
    for (LLVMValueRef i = at; i; i = LLVMGetNextInstruction(i))
        count++;
    for (int64_t k = 0; k < n; k++) {
        for (; done < (k + 1) * count / (n + 1); done++)
            at = LLVMGetNextInstruction(at);
        LLVMPositionBuilderBefore(e->b, at);
        step(t, &pass, pass.from, t->s->weights, k);
    }
    LLVMPositionBuilderAtEnd(e->b, block);
}

/* Of one row: the cells of each strip while the next one is summed. */
static void emit_in_turns(const struct be_scan *v, const struct units *u,
                          struct be_scan_strip *s, int64_t n)
{
    struct be_emitter *e = v->e;
    const struct pass pass = pass_of(v, 0);
    struct be_scan_strip before = *s;
    struct be_scan_tile t = {.v = v, .s = s, .row = be_i64(e, 0), .rows = 1};
    struct be_scan_tile past = {.v = v, .s = &before, .row = t.row, .rows = 1};
    find_strip(v, u, be_i64(e, 0), s);
    start_gates(&t, &pass);
    add_state(&t, &pass, 0);
    LLVMBasicBlockRef entry = LLVMGetInsertBlock(e->b);
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, u->strip), be_i64(e, u->n), u->strip);
    before.unit = be_carry(e, &loop, s->unit, entry);
    for (int g = 0; g < pass.n; g++)
        for (int i = 0; i < s->vectors; i++)
            past.sum[g][0][i] = be_carry(e, &loop, t.sum[g][0][i], entry);
    find_strip(v, u, loop.index, s);
    start_gates(&t, &pass);
    emit_among(&t, &past, n);
    add_state(&t, &pass, n);
    be_carried(e, before.unit, s->unit);
    for (int g = 0; g < pass.n; g++)
        for (int i = 0; i < s->vectors; i++)
            be_carried(e, past.sum[g][0][i], t.sum[g][0][i]);
    be_loop_end(e, &loop);
    for (int i = 0; i < s->vectors; i++)
        be_scan_emit_cells(&(struct be_scan_cells){&past, 0, 1, i}, 0);
}

/* Units [first, first + n), in groups of `width`. */
static void emit_units(const struct be_scan *v, int64_t first, int64_t n,
                       int64_t width, int pass)
{
    struct be_emitter *e = v->e;
    const int64_t each = v->s.hidden * v->s.n_gates; /* numbers a unit */
    struct be_scan_strip s = {.width = width, .lanes = be_lanes(e, v->dtype)};
    s.lanes = s.lanes < width ? s.lanes : (int)width;
    LLVMValueRef weights =
        be_at(e, v->weight_type, v->packed, be_i64(e, first * each));
    int most = vectors_at_once(v, s.lanes, pass_of(v, pass).n);
    while (n < (int64_t)most * s.lanes && most > 1)
        most /= 2;
    const int64_t strip = (int64_t)most * s.lanes;
    s.vectors = most;
    s.last = s.lanes;
    const struct units u = {weights, first, n / strip * strip, strip};
    const int64_t products = products_among(v, &u);
    if (products > 0)
        emit_in_turns(v, &u, &s, products);
    else if (u.n)
        emit_each_strip(v, &u, &s, pass);
    const int64_t done = n / strip * strip, left = n - done;
    if (left == 0)
        return;
    s.weights = be_at(e, v->weight_type, weights,
                      be_i64(e, done / group * group * each + done % group));
    s.unit = be_i64(e, first + done);
    s.vectors = (int)((left + s.lanes - 1) / s.lanes);
    s.last = (int)(left - (int64_t)(s.vectors - 1) * s.lanes);
    emit_rows(v, &s, pass);
}

static void emit_step(const struct be_scan *v)
{
    const int64_t n = v->s.hidden, whole = n / group * group;
    for (int pass = 0; pass < (be_scan_two_passes(v) ? 2 : 1); pass++) {
        if (whole)
            emit_units(v, 0, whole, group, pass);
        if (n > whole)
            emit_units(v, whole, n - whole, group_width(n - whole), pass);
    }
}

/* -------------------------------------------------------------------- steps */

/* Copies [n_rows][n], rows x_stride and y_stride apart. */
static void copy_rows(const struct be_scan *v, LLVMValueRef from,
                      int64_t x_stride, LLVMValueRef to, int64_t y_stride,
                      int64_t n)
{
    struct be_emitter *e = v->e;
    struct be_loop row;
    be_loop_begin(e, &row, be_i64(e, 0), v->n_rows, 1);
    be_copy(e, v->dtype, be_at_times(e, v->type, from, row.index, x_stride),
            be_at_times(e, v->type, to, row.index, y_stride), n);
    be_loop_end(e, &row);
}

/* The v->n_rows rows from `x`, `state` and `y` on, through `steps` steps. */
static void emit_steps(struct be_scan *v, const struct be_kernel *k,
                       LLVMValueRef x, LLVMValueRef state, LLVMValueRef y,
                       LLVMValueRef last, LLVMValueRef steps)
{
    struct be_emitter *e = v->e;
    const int64_t n = v->s.hidden, states = v->s.n_states * n;
    LLVMValueRef one = be_at_times(e, v->type, k->work, v->n_rows, n);
    LLVMValueRef two = be_at_times(e, v->type, one, v->n_rows, n);
    v->c = two;
    v->update = be_at_times(e, v->type, two, v->n_rows, n);
    v->rest = be_at_times(e, v->type, v->update, v->n_rows, n);
    copy_rows(v, state, k->x[1].stride, k->work, n, n);
    if (v->s.n_states > 1)
        copy_rows(v, be_at(e, v->type, state, be_i64(e, n)), k->x[1].stride,
                  v->c, n, n);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), steps, 1);
    v->old = be_carry(e, &loop, k->work, before);
    v->new = be_carry(e, &loop, one, before);
    LLVMValueRef at = loop.index;
    if (v->s.reverse)
        at = LLVMBuildNSWSub(
            e->b, LLVMBuildNSWSub(e->b, steps, be_i64(e, 1), ""), at, "");
    v->z = be_at_times(e, v->type, x, at, v->s.n_gates * n);
    v->y = y ? be_at_times(e, v->type, y, at, n) : NULL;
    v->backwards = LLVMBuildTrunc(e->b, loop.index, e->i1, "");
    emit_step(v);
    LLVMValueRef old = v->old;
    be_carried(e, v->old, v->new);
    be_carried(e, v->new, old);
    be_loop_end(e, &loop);
    if (!last)
        return;
    copy_rows(v, v->old, n, last, states, n);
    if (v->s.n_states > 1)
        copy_rows(v, v->c, n, be_at(e, v->type, last, be_i64(e, n)), states,
                  n);
}

/* How many steps the row has; eval_nets.c says it. */
static LLVMValueRef steps_of(struct be_emitter *e, const struct be_scan *v,
                             LLVMValueRef length, enum ir_dtype dtype)
{
    LLVMValueRef n = be_convert(
        e, be_load(e, be_type(e, dtype), length), dtype, IR_F64);
    LLVMValueRef all = be_real(e, IR_F64, (double)v->s.steps);
    LLVMValueRef some =
        LLVMBuildFCmp(e->b, LLVMRealOGT, n, LLVMConstNull(e->f64), "");
    n = LLVMBuildSelect(e->b, some, n, LLVMConstNull(e->f64), "");
    LLVMValueRef few = LLVMBuildFCmp(e->b, LLVMRealOLT, n, all, "");
    return LLVMBuildFPToSI(e->b, LLVMBuildSelect(e->b, few, n, all, ""),
                           e->i64, "");
}

static void emit_each(struct be_scan *v, const struct be_kernel *k)
{
    struct be_emitter *e = v->e;
    const enum ir_dtype dtype = k->op->operand[2]->type.dtype;
    const int64_t n = v->s.steps * v->s.hidden;
    const int64_t states = v->s.n_states * v->s.hidden;
    struct be_loop row;
    be_loop_begin(e, &row, be_i64(e, 0), k->n_rows, 1);
    LLVMValueRef length = be_at_times(e, be_type(e, dtype), k->x[2].base,
                                      row.index, k->x[2].stride);
    LLVMValueRef x =
        be_at_times(e, v->type, k->x[0].base, row.index, k->x[0].stride);
    LLVMValueRef state =
        be_at_times(e, v->type, k->x[1].base, row.index, k->x[1].stride);
    LLVMValueRef y = NULL, last = NULL;
    if (k->y[0]) {
        y = be_at_times(e, v->type, k->y[0], row.index, n);
        be_fill(e, v->dtype, be_real(e, v->dtype, 0), y, n);
    }
    if (k->y[1])
        last = be_at_times(e, v->type, k->y[1], row.index, states);
    v->n_rows = be_i64(e, 1);
    emit_steps(v, k, x, state, y, last, steps_of(e, v, length, dtype));
    be_loop_end(e, &row);
}

static void parse(const char *program, struct be_activation *f)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    f->n = program ? ir_program_parse(program, NULL, f->steps, &diag) : 0;
    ir_diag_release(&diag);
}

static void scan_body(struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    struct be_scan *v = ir_alloc(&e->arena, sizeof(*v));
    v->e = e;
    v->op = k->op;
    ir_scan_view(k->op, &v->s);
    v->dtype = k->op->operand[0]->type.dtype;
    v->type = be_type(e, v->dtype);
    v->stored = ir_attr_tensor(k->op, "recurrent")->type.dtype;
    v->weight_type = be_type(e, v->stored);
    parse(v->s.program[0], &v->f);
    parse(v->s.program[1], &v->g);
    parse(v->s.program[2], &v->h);
    v->packed = pack(e, k->op, &v->s);
    if (v->s.recurrent_bias)
        v->bias = be_attr_table(e, k->op, "recurrent_bias");
    if (v->s.peephole)
        v->peephole = be_attr_table(e, k->op, "peephole");
    v->z_stride = k->x[0].stride;
    v->y_stride = v->s.steps * v->s.hidden;
    if (k->op->n_operands > 2) {
        emit_each(v, k);
        return;
    }
    v->n_rows = k->n_rows;
    emit_steps(v, k, k->x[0].base, k->x[1].base, k->y[0], k->y[1],
               be_i64(e, v->s.steps));
}

void be_lower_scan(struct be_emitter *e, const struct ir_op *op)
{
    be_kernel_call(e, op, scan_body);
}
