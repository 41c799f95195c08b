/* scan_cells.c: the cells of recurrent layers: what a step makes of the gates'
 * sums and the state, in the order of the definition. Some rows' cells are
 * computed side by side, as one vector. */
#include "backend/scan.h"

enum { most_rows = BE_SCAN_ROWS };

bool be_scan_two_passes(const struct be_scan *v)
{
    return v->s.cell == IR_GRU && !v->s.linear_before_reset;
}

/* ------------------------------------------------------------------- access */

/* Element `unit` + vector i of row r, of [rows][hidden] at `base`. */
static LLVMValueRef state_at(const struct be_scan_tile *t, LLVMValueRef base,
                             int r, int i)
{
    const struct be_scan *v = t->v;
    struct be_emitter *e = v->e;
    LLVMValueRef row = LLVMBuildNSWAdd(e->b, t->row, be_i64(e, r), "");
    LLVMValueRef at = be_at_times(e, v->type, base, row, v->s.hidden);
    at = be_at(e, v->type, at, t->s->unit);
    return be_at(e, v->type, at, be_i64(e, (int64_t)i * t->s->lanes));
}

static int lanes_in(const struct be_scan_tile *t, int i)
{
    return i + 1 < t->s->vectors ? t->s->lanes : t->s->last;
}

static int lanes_of(const struct be_scan_cells *c)
{
    return c->n * c->t->s->lanes;
}

/* The vectors of c's rows, a power of 2 of them, as one. */
static LLVMValueRef join(const struct be_scan_cells *c, LLVMValueRef *part)
{
    struct be_emitter *e = c->t->v->e;
    LLVMValueRef mask[most_rows * 16];
    int lanes = c->t->s->lanes;
    for (int k = 0; k < lanes_of(c); k++)
        mask[k] = be_i32(e, k);
    for (int n = c->n / 2; n > 0; n /= 2) {
        lanes *= 2;
        for (int k = 0; k < n; k++)
            part[k] = LLVMBuildShuffleVector(
                e->b, part[2 * k], part[2 * k + 1],
                LLVMConstVector(mask, (unsigned)lanes), "");
    }
    return part[0];
}

/* Row number `row` of `all`. */
static LLVMValueRef part_of(const struct be_scan_cells *c, LLVMValueRef all,
                            int row)
{
    struct be_emitter *e = c->t->v->e;
    const int lanes = c->t->s->lanes;
    LLVMValueRef mask[64];
    if (c->n == 1)
        return all;
    for (int k = 0; k < lanes; k++)
        mask[k] = be_i32(e, row * lanes + k);
    return LLVMBuildShuffleVector(e->b, all, LLVMGetPoison(LLVMTypeOf(all)),
                                  LLVMConstVector(mask, (unsigned)lanes), "");
}

static LLVMValueRef load_state(const struct be_scan_cells *c, LLVMValueRef base)
{
    const struct be_scan_tile *t = c->t;
    LLVMValueRef part[most_rows];
    for (int r = 0; r < c->n; r++)
        part[r] = be_load_part(t->v->e, t->v->type,
                               state_at(t, base, c->row + r, c->i),
                               t->s->lanes, lanes_in(t, c->i));
    return join(c, part);
}

static void store_state(const struct be_scan_cells *c, LLVMValueRef base,
                        LLVMValueRef value)
{
    const struct be_scan_tile *t = c->t;
    for (int r = 0; r < c->n; r++)
        be_store_part(t->v->e, t->v->type, part_of(c, value, r),
                      state_at(t, base, c->row + r, c->i), t->s->lanes,
                      lanes_in(t, c->i));
}

/* Vector i of row `gate` of a table of [gates][hidden]. */
LLVMValueRef be_scan_table(const struct be_scan_tile *t, LLVMValueRef table,
                           int gate, int i)
{
    const struct be_scan *v = t->v;
    struct be_emitter *e = v->e;
    LLVMValueRef at = be_at(e, v->type, table, t->s->unit);
    at = be_at(e, v->type, at,
               be_i64(e, gate * v->s.hidden + (int64_t)i * t->s->lanes));
    return be_load_part(e, v->type, at, t->s->lanes, lanes_in(t, i));
}

/* Gate `gate` of the operand's row r, for the step. */
LLVMValueRef be_scan_gate(const struct be_scan_tile *t, int gate, int r, int i)
{
    const struct be_scan *v = t->v;
    LLVMValueRef row =
        LLVMBuildNSWAdd(v->e->b, t->row, be_i64(v->e, r), "");
    return be_scan_table(t, be_at_times(v->e, v->type, v->z, row, v->z_stride),
                      gate, i);
}
/* -------------------------------------------------------------------- cells */

static LLVMValueRef sum_of(const struct be_scan_cells *c, int gate)
{
    LLVMValueRef part[most_rows];
    for (int r = 0; r < c->n; r++)
        part[r] = c->t->sum[gate][c->row + r][c->i];
    return join(c, part);
}

static LLVMValueRef activate(const struct be_scan_cells *c,
                             const struct be_activation *f, LLVMValueRef x)
{
    const struct be_scan *v = c->t->v;
    return be_program(v->e, f->steps, f->n, v->dtype, lanes_of(c), &x);
}

static LLVMValueRef number(const struct be_scan_cells *c, double x)
{
    const struct be_scan *v = c->t->v;
    return be_splat(v->e, be_real(v->e, v->dtype, x), lanes_of(c));
}

/* Of a gate or candidate, which is first clipped. */
static LLVMValueRef activate_gate(const struct be_scan_cells *c,
                                  const struct be_activation *f, LLVMValueRef x)
{
    struct be_emitter *e = c->t->v->e;
    const double clip = c->t->v->s.clip;
    if (clip < 1.0 / 0.0) {
        LLVMValueRef low = number(c, -clip), high = number(c, clip);
        LLVMValueRef above = LLVMBuildFCmp(e->b, LLVMRealOGT, x, high, "");
        LLVMValueRef below = LLVMBuildFCmp(e->b, LLVMRealOLT, x, low, "");
        LLVMValueRef least = LLVMBuildSelect(e->b, above, high, x, "");
        x = LLVMBuildSelect(e->b, below, low, least, "");
    }
    return activate(c, f, x);
}

static LLVMValueRef multiply(const struct be_scan_cells *c, LLVMValueRef a,
                             LLVMValueRef b)
{
    return LLVMBuildFMul(c->t->v->e->b, a, b, "");
}

static LLVMValueRef add(const struct be_scan_cells *c, LLVMValueRef a,
                        LLVMValueRef b)
{
    return LLVMBuildFAdd(c->t->v->e->b, a, b, "");
}

static LLVMValueRef one_less(const struct be_scan_cells *c, LLVMValueRef a)
{
    return LLVMBuildFSub(c->t->v->e->b, number(c, 1), a, "");
}

/* a, with what a gate sees of the cell's state. */
static LLVMValueRef peep(const struct be_scan_cells *c, int gate,
                         LLVMValueRef a, LLVMValueRef state)
{
    const struct be_scan *v = c->t->v;
    LLVMValueRef weight[most_rows];
    if (!v->peephole)
        return a;
    weight[0] = be_scan_table(c->t, v->peephole, gate, c->i);
    for (int r = 1; r < c->n; r++)
        weight[r] = weight[0];
    return add(c, a, multiply(c, join(c, weight), state));
}

/* Gates i, o, f, c. */
static LLVMValueRef lstm(const struct be_scan_cells *c)
{
    const struct be_scan *v = c->t->v;
    LLVMValueRef old = load_state(c, v->c);
    LLVMValueRef in = activate_gate(c, &v->f, peep(c, 0, sum_of(c, 0), old));
    LLVMValueRef forget =
        v->s.input_forget
            ? one_less(c, in)
            : activate_gate(c, &v->f, peep(c, 2, sum_of(c, 2), old));
    LLVMValueRef candidate = activate_gate(c, &v->g, sum_of(c, 3));
    LLVMValueRef kept = multiply(c, forget, old);
    LLVMValueRef state = add(c, kept, multiply(c, in, candidate));
    store_state(c, v->c, state);
    LLVMValueRef out =
        activate_gate(c, &v->f, peep(c, 1, sum_of(c, 1), state));
    return multiply(c, out, activate(c, &v->h, state));
}

/* The end of a gru's step: what is kept, and the candidate from x. */
static LLVMValueRef blend(const struct be_scan_cells *c, LLVMValueRef update,
                          LLVMValueRef x)
{
    LLVMValueRef candidate = activate_gate(c, &c->t->v->g, x);
    LLVMValueRef added = multiply(c, one_less(c, update), candidate);
    LLVMValueRef kept = multiply(c, update, load_state(c, c->t->v->old));
    return add(c, added, kept);
}

/* Gates z, r, h, all of one pass. */
static LLVMValueRef gru(const struct be_scan_cells *c)
{
    const struct be_scan *v = c->t->v;
    LLVMValueRef from_x[most_rows];
    LLVMValueRef update = activate_gate(c, &v->f, sum_of(c, 0));
    LLVMValueRef reset = activate_gate(c, &v->f, sum_of(c, 1));
    LLVMValueRef scaled = multiply(c, reset, sum_of(c, 2));
    for (int r = 0; r < c->n; r++)
        from_x[r] = be_scan_gate(c->t, 2, c->row + r, c->i);
    return blend(c, update, add(c, join(c, from_x), scaled));
}

/* The first of two passes: z, and r times the state. */
static void gru_reset(const struct be_scan_cells *c)
{
    const struct be_scan *v = c->t->v;
    store_state(c, v->update, activate_gate(c, &v->f, sum_of(c, 0)));
    LLVMValueRef reset = activate_gate(c, &v->f, sum_of(c, 1));
    store_state(c, v->rest, multiply(c, reset, load_state(c, v->old)));
}

static void store_units(const struct be_scan_cells *c, LLVMValueRef h)
{
    const struct be_scan_tile *t = c->t;
    const struct be_scan *v = t->v;
    struct be_emitter *e = v->e;
    store_state(c, v->new, h);
    for (int r = 0; r < c->n && v->y; r++) {
        LLVMValueRef row =
            LLVMBuildNSWAdd(e->b, t->row, be_i64(e, c->row + r), "");
        LLVMValueRef at = be_at_times(e, v->type, v->y, row, v->y_stride);
        at = be_at(e, v->type, at, t->s->unit);
        at = be_at(e, v->type, at, be_i64(e, (int64_t)c->i * t->s->lanes));
        be_store_part(e, v->type, part_of(c, h, r), at, t->s->lanes,
                      lanes_in(t, c->i));
    }
}

void be_scan_emit_cells(const struct be_scan_cells *c, int pass)
{
    const struct be_scan *v = c->t->v;
    const bool twice = be_scan_two_passes(v);
    if (twice && pass == 0)
        gru_reset(c);
    else if (twice)
        store_units(c, blend(c, load_state(c, v->update), sum_of(c, 2)));
    else if (v->s.cell == IR_LSTM)
        store_units(c, lstm(c));
    else if (v->s.cell == IR_RNN)
        store_units(c, activate_gate(c, &v->f, sum_of(c, 0)));
    else
        store_units(c, gru(c));
}
