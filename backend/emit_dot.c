/* emit_dot.c: products of whole numbers, u8 of the operand times i8 of weights,
 * summed in i32: what gemm and conv with weights of i8 share.
 *
 * Sums are exact, so each level adds in the order that suits it. All of them take
 * four numbers of a row at a time, with the weights that these have in a lane of
 * 32 bits, and read the same panels: [four][columns][4], of up to 64 columns as
 * emit_gemm.c has them.
 *
 *   BE_DOT_FOURS     one instruction, vpdpbusd
 *   BE_DOT_SIGNED_FOURS
 *                    one instruction, sdot, of numbers less 128
 *   BE_DOT_PAIRS     numbers widened to 16 bits, even ones and odd ones, and
 *                    multiplied in pairs (pmaddubsw would saturate)
 *   BE_DOT_MULTIPLY  one after the other, widened to 32 bits
 *
 * The numbers of a sum lie in runs side by side: one of a gemm, one of a conv for
 * each row of a window, say. The last four of a run may have fewer, and reads on
 * past it: the weights there are zeros. Since 0 is the number `zero`, sums start
 * at -zero times all weights of the column, or at 128 - zero times; where
 * operand 1 is that number, each row has its own. */
#include "backend/llvm.h"

#include <stdlib.h>
#include <string.h>

enum {
    panel = 64,
    least_width = 4,  /* columns of a panel: the smallest register */
    most_chains = 4,  /* of a sum, where a tile has few */
    enough_sums = 8,  /* to keep the units busy */
    in_line = 192     /* steps of sums that stand in line */
};

/* ------------------------------------------------------------------ tables */

static int64_t width_of(int64_t columns)
{
    const int64_t width = be_panel_width(columns);
    return width < least_width ? least_width : width;
}

static int64_t fours_of(const struct be_dot *d)
{
    return (d->length + 3) / 4;
}

static int64_t panels_fours(const struct be_dot *d)
{
    const int64_t whole = d->columns / panel * panel;
    const int64_t width =
        whole + (d->columns > whole ? width_of(d->columns - whole) : 0);
    return d->runs * fours_of(d) * width;
}

/* Panels of the group whose weights start at w. */
static void pack(const struct be_dot *d, const int8_t *w, int8_t *to)
{
    for (int64_t first = 0; first < d->columns; first += panel) {
        const int64_t left = d->columns - first;
        const int64_t n = left < panel ? left : panel;
        const int64_t width = width_of(left);
        for (int64_t r = 0; r < d->runs; r++)
            for (int64_t i = 0; i < fours_of(d) * 4; i++)
                for (int64_t c = 0; c < n && i < d->length; c++)
                    to[((r * fours_of(d) + i / 4) * width + c) * 4 + i % 4] =
                        w[(first + c) * d->column_step +
                          d->order[r * d->length + i] * d->term_step];
        to += d->runs * fours_of(d) * width * 4;
    }
}

static LLVMValueRef pack_all(struct be_emitter *e, const struct be_dot *d,
                             const int8_t *w, const char *symbol)
{
    const size_t each = (size_t)panels_fours(d) * 4;
    int8_t *packed = ir_realloc_array(NULL, (size_t)d->groups, each);
    memset(packed, 0, (size_t)d->groups * each);
    for (int64_t g = 0; g < d->groups; g++)
        pack(d, w + g * d->columns * d->column_step,
             packed + (size_t)g * each);
    LLVMValueRef table =
        be_bytes(e, symbol, packed, (size_t)d->groups * each, 64);
    free(packed);
    return table;
}

static bool is_signed(const struct be_emitter *e)
{
    return e->level->dot == BE_DOT_SIGNED_FOURS;
}

/* Four products are one instruction. */
static bool is_by_fours(const struct be_emitter *e)
{
    return e->level->dot == BE_DOT_FOURS || is_signed(e);
}

/* Of each column: `times` the sum of its weights, plus `given`, which may be
 * NULL. */
static LLVMValueRef column_sums(struct be_emitter *e, const struct be_dot *d,
                                int64_t times, const int32_t *given,
                                const char *symbol)
{
    const int64_t n = d->groups * d->columns;
    const int8_t *w = ir_attr_tensor(d->op, "weights")->data;
    LLVMValueRef found = LLVMGetNamedGlobal(e->llvm, symbol);
    if (found)
        return found;
    int32_t *sums = ir_alloc_array(&e->arena, (size_t)n, sizeof(*sums));
    for (int64_t c = 0; c < n; c++) {
        int64_t sum = 0;
        for (int64_t i = 0; i < d->runs * d->length; i++)
            sum += w[c * d->column_step + d->order[i] * d->term_step];
        sums[c] = (int32_t)(times * sum + (given ? given[c] : 0));
    }
    return be_bytes(e, symbol, sums, (size_t)n * sizeof(*sums), 4);
}

void be_dot_init(struct be_emitter *e, struct be_dot *d,
                 const struct ir_op *op)
{
    const int8_t *w = ir_attr_tensor(op, "weights")->data;
    const struct ir_tensor *start = ir_attr_tensor(op, "start");
    const int number = be_op_number(e, op);
    const int64_t zero = ir_attr_int_or(op, "input_zero", 0);
    char symbol[3][64];
    d->e = e;
    snprintf(symbol[0], sizeof(symbol[0]), "panels_%d", number);
    snprintf(symbol[1], sizeof(symbol[1]), "starts_%s%d",
             is_signed(e) ? "signed_" : "", number);
    snprintf(symbol[2], sizeof(symbol[2]), "sums_%d", number);
    d->packed = LLVMGetNamedGlobal(e->llvm, symbol[0]);
    if (!d->packed)
        d->packed = pack_all(e, d, w, symbol[0]);
    d->start = column_sums(e, d, (is_signed(e) ? 128 : 0) - zero,
                           start ? start->data : NULL, symbol[1]);
    d->sum = ir_has_zero_operand(op) ? column_sums(e, d, 1, NULL, symbol[2])
                                     : NULL;
    d->scale = be_attr_table(e, op, "scale");
    d->bias = ir_find_attr(op, "bias") ? be_attr_table(e, op, "bias") : NULL;
}

/* Where a run is, from the first on, in bytes. */
static LLVMValueRef run_skips(const struct be_dot *d)
{
    const size_t n = (size_t)d->runs * sizeof(*d->skip);
    char symbol[64];
    snprintf(symbol, sizeof(symbol), "runs_%d", be_op_number(d->e, d->op));
    LLVMValueRef found = LLVMGetNamedGlobal(d->e->llvm, symbol);
    return found ? found : be_bytes(d->e, symbol, d->skip, n, 8);
}

/* -------------------------------------------------------------- quantising */

/* Of an operand of u8. */
static void copy_numbers(struct be_emitter *e, LLVMValueRef from,
                         LLVMValueRef to, int64_t n, int64_t to_step)
{
    if (to_step == 1)
        be_copy(e, IR_U8, from, to, n);
    else
        be_turn(e, IR_U8, from, 1, to, to_step, n, 1);
}

void be_dot_quantise(struct be_emitter *e, const struct ir_op *op,
                     LLVMValueRef from, LLVMValueRef to, int64_t n,
                     int64_t to_step)
{
    if (op->operand[0]->type.dtype == IR_U8) {
        copy_numbers(e, from, to, n, to_step);
        return;
    }
    const struct ir_step steps[] = {
        {.kind = IR_STEP_OPERAND},
        {IR_STEP_NUMBER, 0, ir_find_attr(op, "input_scale")->f},
        {.kind = IR_STEP_MUL},
        {.kind = IR_STEP_RINT},
        {IR_STEP_NUMBER, 0, (double)ir_attr_int(op, "input_zero")},
        {.kind = IR_STEP_ADD},
        {IR_STEP_NUMBER, 0, 0},
        {.kind = IR_STEP_MAX},
        {IR_STEP_NUMBER, 0, 255},
        {.kind = IR_STEP_MIN}};
    const int n_steps = (int)(sizeof(steps) / sizeof(steps[0]));
    const int most = to_step == 1 ? be_lanes(e, IR_F32) : 1;
    for (int64_t done = 0; done < n;) {
        const int64_t left = n - done;
        const int64_t whole = left / most * most;
        const int lanes = most, part = left < most ? (int)left : most;
        struct be_loop loop = {.index = be_i64(e, done)};
        if (whole > most)
            be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, whole), most);
        LLVMValueRef x = be_load_part(
            e, e->f32, be_at(e, e->f32, from, loop.index), lanes, part);
        x = be_program(e, steps, n_steps, IR_F32, lanes, &x);
        x = LLVMBuildFPToSI(e->b, x, be_vector(e->i32, lanes), "");
        x = LLVMBuildTrunc(e->b, x, be_vector(e->i8, lanes), "");
        be_store_part(e, e->i8, x,
                      be_at_times(e, e->i8, to, loop.index, to_step), lanes,
                      part);
        if (whole > most)
            be_loop_end(e, &loop);
        done += whole > most ? whole : part;
    }
}

/* ---------------------------------------------------------------- products */

/* An intrinsic of vectors, whose elements LLVM's versions see differently. */
static LLVMValueRef call_vectors(struct be_emitter *e, const char *name,
                                 LLVMTypeRef result, LLVMValueRef *args, int n)
{
    const unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMTypeRef params[3];
    if (!id)
        ir_bug("LLVM has no %s", name);
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(e->llvm, id, NULL, 0);
    LLVMGetParamTypes(LLVMGlobalGetValueType(fn), params);
    for (int i = 0; i < n; i++)
        args[i] = LLVMBuildBitCast(e->b, args[i], params[i], "");
    return LLVMBuildBitCast(e->b, be_call(e, fn, args, n), result, "");
}

/* Four numbers, or the weights of some columns for them, as the level
 * multiplies them: all, even and odd ones, or each. */
struct four {
    LLVMValueRef part[4];
};

static LLVMTypeRef words(struct be_emitter *e, int lanes)
{
    return be_vector(e->i32, lanes);
}

static struct four load_numbers(struct be_emitter *e, LLVMValueRef x,
                                int64_t at, int lanes)
{
    struct four f = {{0}};
    LLVMTypeRef pairs = be_vector(e->i16, 2 * lanes);
    x = be_at(e, e->i8, x, be_i64(e, at));
    if (e->level->dot == BE_DOT_MULTIPLY) {
        LLVMValueRef v = LLVMBuildZExt(
            e->b, be_load(e, be_vector(e->i8, 4), x), words(e, 4), "");
        for (int j = 0; j < 4; j++)
            f.part[j] = LLVMBuildShuffleVector(
                e->b, v, LLVMGetPoison(words(e, 4)),
                be_splat_const(e->i32, (uint64_t)j, lanes), "");
        return f;
    }
    LLVMValueRef word = LLVMBuildLoad2(e->b, e->i32, x, "");
    LLVMSetAlignment(word, 1);
    LLVMValueRef v = be_splat(e, word, lanes);
    if (is_signed(e))
        v = LLVMBuildXor(e->b, v, be_splat_const(e->i32, 0x80808080u, lanes),
                         "");
    if (is_by_fours(e)) {
        f.part[0] = v;
        return f;
    }
    v = LLVMBuildBitCast(e->b, v, pairs, "");
    f.part[0] = LLVMBuildAnd(e->b, v, be_splat_const(e->i16, 255, 2 * lanes),
                             "");
    f.part[1] = LLVMBuildLShr(e->b, v, be_splat_const(e->i16, 8, 2 * lanes),
                              "");
    return f;
}

static struct four load_columns(struct be_emitter *e, LLVMValueRef w,
                                int lanes)
{
    struct four f = {{0}};
    LLVMValueRef v = be_load(e, words(e, lanes), w);
    if (is_by_fours(e)) {
        f.part[0] = v;
    } else if (e->level->dot == BE_DOT_PAIRS) {
        LLVMValueRef byte = be_splat_const(e->i16, 8, 2 * lanes);
        v = LLVMBuildBitCast(e->b, v, be_vector(e->i16, 2 * lanes), "");
        f.part[0] =
            LLVMBuildAShr(e->b, LLVMBuildShl(e->b, v, byte, ""), byte, "");
        f.part[1] = LLVMBuildAShr(e->b, v, byte, "");
    } else {
        for (unsigned j = 0; j < 4; j++)
            f.part[j] = LLVMBuildAShr(
                e->b,
                LLVMBuildShl(e->b, v,
                             be_splat_const(e->i32, 24 - 8 * j, lanes), ""),
                be_splat_const(e->i32, 24, lanes), "");
    }
    return f;
}

static LLVMValueRef signed_products(struct be_emitter *e, int lanes,
                                    LLVMValueRef sum, LLVMValueRef x,
                                    LLVMValueRef w)
{
    static const char name[] = "llvm.aarch64.neon.sdot";
    LLVMTypeRef bytes = be_vector(e->i8, 4 * lanes);
    LLVMTypeRef types[] = {words(e, lanes), bytes};
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(
        e->llvm, LLVMLookupIntrinsicID(name, strlen(name)), types, 2);
    LLVMValueRef args[] = {sum, LLVMBuildBitCast(e->b, x, bytes, ""),
                           LLVMBuildBitCast(e->b, w, bytes, "")};
    return be_call(e, fn, args, 3);
}

static LLVMValueRef add_products(struct be_emitter *e, int lanes,
                                 LLVMValueRef sum, const struct four *x,
                                 const struct four *w)
{
    static const char *const fours[] = {"llvm.x86.avx512.vpdpbusd.128",
                                        "llvm.x86.avx512.vpdpbusd.256",
                                        "llvm.x86.avx512.vpdpbusd.512"};
    static const char *const pairs[] = {"llvm.x86.sse2.pmadd.wd",
                                        "llvm.x86.avx2.pmadd.wd",
                                        "llvm.x86.avx512.pmaddw.d.512"};
    const int size = lanes / 8; /* 4, 8, 16 lanes: 0, 1, 2 */
    LLVMTypeRef type = words(e, lanes);
    if (is_signed(e))
        return signed_products(e, lanes, sum, x->part[0], w->part[0]);
    if (e->level->dot == BE_DOT_FOURS) {
        LLVMValueRef args[] = {sum, x->part[0], w->part[0]};
        return call_vectors(e, fours[size], type, args, 3);
    }
    if (e->level->dot == BE_DOT_PAIRS) {
        for (int i = 0; i < 2; i++) {
            LLVMValueRef args[] = {x->part[i], w->part[i]};
            sum = LLVMBuildAdd(
                e->b, sum, call_vectors(e, pairs[size], type, args, 2), "");
        }
        return sum;
    }
    for (int j = 0; j < 4; j++)
        sum = LLVMBuildAdd(
            e->b, sum, LLVMBuildMul(e->b, x->part[j], w->part[j], ""), "");
    return sum;
}

/* ------------------------------------------------------------------- tiles */

int be_dot_vectors(const struct be_emitter *e, bool one_row)
{
    if (e->level->registers <= 16)
        return e->level->dot == BE_DOT_MULTIPLY ? 1 : 2;
    return e->level->dot == BE_DOT_MULTIPLY ? 2
           : one_row && is_by_fours(e) ? 8 : 4;
}

/* Beside the sums, registers hold weights as they are multiplied, a row's
 * numbers and a product. */
int be_dot_rows(const struct be_emitter *e, int vectors)
{
    static const int parts[] = {[BE_DOT_MULTIPLY] = 4, [BE_DOT_PAIRS] = 2,
                                [BE_DOT_FOURS] = 1,
                                [BE_DOT_SIGNED_FOURS] = 1};
    const int each = parts[e->level->dot];
    const int other = e->level->dot == BE_DOT_FOURS ? 1
                      : is_signed(e) ? 2 : 3;
    const int rows =
        (e->level->registers - vectors * each - other) / vectors;
    return rows < 1 ? 1 : rows < BE_DOT_ROWS ? rows : BE_DOT_ROWS;
}

/* A tile as its sums are made: chain c of sum i is sum[c * n + i]. */
struct sums {
    const struct be_dot *d;
    const struct be_dot_strip *s;
    const struct be_dot_tile *t;
    int n, chains;
    LLVMValueRef sum[BE_DOT_SUMS];
};

/* Four numbers of a run, from `at` of x on, with the weights at number `four` of
 * w. */
static void step(struct sums *a, LLVMValueRef x, LLVMValueRef w, int64_t four)
{
    struct be_emitter *e = a->d->e;
    const struct be_dot_strip *s = a->s;
    struct four weight[BE_DOT_VECTORS];
    LLVMValueRef *sum = a->sum + four % a->chains * a->n;
    for (int v = 0; v < s->vectors; v++) {
        /* Vectors past a panel are in the next. */
        const int64_t column = (int64_t)v * s->lanes;
        const int64_t at = column / panel * panel * a->d->runs *
                               fours_of(a->d) +
                           column % panel;
        weight[v] = load_columns(
            e, be_at(e, e->i32, w, be_i64(e, four * s->width + at)),
            s->lanes);
    }
    for (int r = 0; r < a->t->rows; r++) {
        const struct four x4 =
            load_numbers(e, x, a->t->skip[r] + 4 * four, s->lanes);
        for (int v = 0; v < s->vectors; v++, sum++)
            *sum = add_products(e, s->lanes, *sum, &x4, &weight[v]);
    }
}

/* A run whose numbers start at x and whose weights at w. */
static void add_run(struct sums *a, LLVMValueRef x, LLVMValueRef w)
{
    struct be_emitter *e = a->d->e;
    const int64_t fours = fours_of(a->d);
    const int n = a->n * a->chains;
    LLVMValueRef phi[BE_DOT_SUMS];
    if (fours * a->n <= in_line / 2) {
        for (int64_t i = 0; i < fours; i++)
            step(a, x, w, i);
        return;
    }
    const int64_t turn = a->chains < 2 ? 2 : a->chains;
    struct be_loop loop;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, fours / turn * turn),
                  turn);
    for (int i = 0; i < n; i++)
        a->sum[i] = phi[i] = be_carry(e, &loop, a->sum[i], before);
    LLVMValueRef x_at = be_at_times(e, e->i8, x, loop.index, 4);
    LLVMValueRef w_at = be_at_times(e, e->i32, w, loop.index, a->s->width);
    for (int64_t i = 0; i < turn; i++)
        step(a, x_at, w_at, i);
    for (int i = 0; i < n; i++)
        be_carried(e, phi[i], a->sum[i]);
    be_loop_end(e, &loop);
    memcpy(a->sum, phi, (size_t)n * sizeof(*phi));
    for (int64_t i = fours / turn * turn; i < fours; i++)
        step(a, x, w, i);
}

static void add_runs(struct sums *a)
{
    const struct be_dot *d = a->d;
    struct be_emitter *e = d->e;
    const int64_t fours = fours_of(d);
    const int n = a->n * a->chains;
    LLVMValueRef phi[BE_DOT_SUMS], x = a->t->x, w = a->s->weights;
    if (d->runs == 1 || d->runs * fours * a->n <= in_line) {
        for (int64_t r = 0; r < d->runs; r++)
            add_run(a, be_at(e, e->i8, x, be_i64(e, d->skip[r])),
                    be_at(e, e->i32, w, be_i64(e, r * fours * a->s->width)));
        return;
    }
    struct be_loop loop;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, d->runs), 1);
    for (int i = 0; i < n; i++)
        a->sum[i] = phi[i] = be_carry(e, &loop, a->sum[i], before);
    LLVMValueRef skip = be_load(
        e, e->i64, be_at(e, e->i64, run_skips(d), loop.index));
    add_run(a, be_at(e, e->i8, x, skip),
            be_at_times(e, e->i32, w, loop.index, fours * a->s->width));
    for (int i = 0; i < n; i++)
        be_carried(e, phi[i], a->sum[i]);
    be_loop_end(e, &loop);
    memcpy(a->sum, phi, (size_t)n * sizeof(*phi));
}

/* Vector v of a table of all columns. */
static LLVMValueRef of_columns(const struct sums *a, LLVMTypeRef type,
                               LLVMValueRef table, int v)
{
    struct be_emitter *e = a->d->e;
    const struct be_dot_strip *s = a->s;
    LLVMValueRef column = LLVMBuildNSWAdd(
        e->b, s->column, be_i64(e, (int64_t)v * s->lanes), "");
    return be_load_part(e, type, be_at(e, type, table, column), s->lanes,
                        v + 1 < s->vectors ? s->lanes : s->last);
}

LLVMValueRef be_dot_zero(const struct be_kernel *k, LLVMValueRef row)
{
    struct be_emitter *e = k->e;
    if (!ir_has_zero_operand(k->op))
        return NULL;
    LLVMValueRef at =
        be_at_times(e, e->i8, k->x[1].base, row, k->x[1].stride);
    return LLVMBuildZExt(e->b, be_load(e, e->i8, at), e->i32, "");
}

/* What sum i starts at: its column's start, less the sum of the column's weights
 * for each step that the row's zero is from 0. */
static LLVMValueRef start_of(const struct sums *a, int i)
{
    struct be_emitter *e = a->d->e;
    const struct be_dot_strip *s = a->s;
    const int v = i % s->vectors;
    LLVMValueRef start = of_columns(a, e->i32, a->d->start, v);
    if (!a->d->sum)
        return start;
    LLVMValueRef zero =
        be_splat(e, a->t->zero[i / s->vectors], s->lanes);
    return LLVMBuildSub(
        e->b, start,
        LLVMBuildMul(e->b, zero, of_columns(a, e->i32, a->d->sum, v), ""), "");
}

void be_dot_sum(const struct be_dot *d, const struct be_dot_strip *s,
                const struct be_dot_tile *t, LLVMValueRef *y)
{
    struct be_emitter *e = d->e;
    struct sums *a = ir_alloc(&e->arena, sizeof(*a));
    *a = (struct sums){.d = d, .s = s, .t = t, .n = t->rows * s->vectors,
                       .chains = 1};
    while (a->chains < most_chains && a->chains * a->n < enough_sums &&
           fours_of(d) >= 2 * a->chains)
        a->chains *= 2;
    for (int i = 0; i < a->n * a->chains; i++)
        a->sum[i] = i >= a->n ? LLVMConstNull(words(e, s->lanes))
                    : i < s->vectors || d->sum ? start_of(a, i)
                                               : a->sum[i - s->vectors];
    add_runs(a);
    for (int i = a->n; i < a->n * a->chains; i++)
        a->sum[i % a->n] =
            LLVMBuildAdd(e->b, a->sum[i % a->n], a->sum[i], "");
    for (int i = 0; i < a->n; i++) {
        const int v = i % s->vectors;
        y[i] = LLVMBuildSIToFP(e->b, a->sum[i], be_vector(e->f32, s->lanes),
                               "");
        y[i] = LLVMBuildFMul(e->b, y[i], of_columns(a, e->f32, d->scale, v),
                             "");
        if (d->bias)
            y[i] = LLVMBuildFAdd(e->b, y[i],
                                 of_columns(a, e->f32, d->bias, v), "");
    }
}

/* ----------------------------------------------------------------- columns */

/* The columns [first, first + n) of a group, in panels of `width`. */
static void emit_columns(const struct be_dot *d, struct be_dot_strip s,
                         int64_t first, int64_t n, int64_t width, int most,
                         be_dot_strip_fn *emit, void *of)
{
    struct be_emitter *e = d->e;
    const int64_t depth = d->runs * fours_of(d);
    LLVMValueRef weights =
        be_at(e, e->i32, s.weights, be_i64(e, first * depth));
    LLVMValueRef column =
        LLVMBuildNSWAdd(e->b, s.column, be_i64(e, first), "");
    s.width = width;
    s.lanes = be_lanes(e, IR_F32);
    if (s.lanes > width)
        s.lanes = (int)width;
    while (panel % (most * s.lanes) && most * s.lanes % panel)
        most--;
    const int64_t strip = (int64_t)most * s.lanes;
    s.vectors = most;
    s.last = s.lanes;
    if (n >= strip) {
        struct be_loop loop;
        be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, n / strip * strip),
                      strip);
        LLVMValueRef within =
            LLVMBuildAnd(e->b, loop.index, be_i64(e, panel - 1), "");
        LLVMValueRef whole = LLVMBuildNSWSub(e->b, loop.index, within, "");
        s.weights =
            be_at(e, e->i32, be_at_times(e, e->i32, weights, whole, depth),
                  within);
        s.column = LLVMBuildNSWAdd(e->b, column, loop.index, "");
        emit(of, d, &s);
        be_loop_end(e, &loop);
    }
    const int64_t done = n / strip * strip, left = n - done;
    if (left == 0)
        return;
    s.weights = be_at(e, e->i32, weights,
                      be_i64(e, done / panel * panel * depth + done % panel));
    s.column = LLVMBuildNSWAdd(e->b, column, be_i64(e, done), "");
    s.vectors = (int)((left + s.lanes - 1) / s.lanes);
    s.last = (int)(left - (int64_t)(s.vectors - 1) * s.lanes);
    emit(of, d, &s);
}

void be_dot_columns(const struct be_dot *d, LLVMValueRef group, int most,
                    be_dot_strip_fn *emit, void *of)
{
    struct be_emitter *e = d->e;
    const int64_t whole = d->columns / panel * panel;
    const struct be_dot_strip s = {
        .weights = be_at_times(e, e->i32, d->packed, group, panels_fours(d)),
        .column = LLVMBuildNSWMul(e->b, group, be_i64(e, d->columns), ""),
        .group = group};
    if (whole)
        emit_columns(d, s, 0, whole, panel, most, emit, of);
    if (d->columns > whole)
        emit_columns(d, s, whole, d->columns - whole,
                     width_of(d->columns - whole), most, emit, of);
}
