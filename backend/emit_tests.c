/* emit_tests.c: many tests of one row at once, for the one-row strategies that
 * work on codes.
 *
 * The codes of a row lie side by side. Up to 128 bytes of them are held in
 * registers, where byte shuffles find the codes that 16 or 32 tests ask for.
 * Arm's tbl looks up 64 bytes. x86's pshufb looks up 16, and gives 0 where an
 * index is 128 or more: so an index is stored as 112 more than it is, for each
 * further register 16 are taken off, and each register k is kept as itself xor
 * the next one; of the results, xor of all, the register that is meant and
 * those after it stay, and all but one cancel out. Where there are more codes,
 * or no such instruction, each test's code is loaded. AVX-512 has a shuffle of
 * words, which finds codes of 16 bits in two registers of 64 bytes by the same
 * indexes. Then one compare decides all the tests.
 *
 * A group of tests in the tables is: which byte each code's bytes are, or where
 * the code is; the limits; and the masks, if there are set tests.
 */
#include "backend/llvm.h"

#include <string.h>

enum {
    table_bytes = 16, /* that a shuffle chooses from */
    word_table_bytes = 64, /* that a shuffle of words does */
    index_bias = 128 - table_bytes,
    most_lanes = 32,
    most_bytes = most_lanes * 2, /* of codes of a group */
};

struct be_test be_node_test(const struct be_forest *forest, int64_t node)
{
    const struct ir_forest *f = &forest->f;
    const uint32_t sign = forest->code_bytes == 1 ? 0x80 : 0x8000;
    const uint32_t code = f->node_code[node];
    const int column = f->node_column[node];
    if (!(f->column_flags[column] & IR_NODE_CATEGORICAL))
        return (struct be_test){.column = column, .limit = (code + 1) ^ sign,
                                .mask = 2 * sign - 1, .left = true};
    /* The set's bit is below the limit 1 where it is not set; but the sign bit
     * is below 0 where it is. */
    return (struct be_test){.column = column, .limit = code != sign,
                            .mask = code, .left = code == sign};
}

struct be_test be_never(const struct be_forest *forest)
{
    const uint32_t sign = forest->code_bytes == 1 ? 0x80 : 0x8000;
    return (struct be_test){.limit = sign, .mask = 2 * sign - 1};
}

bool be_has_masks(const struct ir_forest *f)
{
    for (int c = 0; c < f->n_code_columns; c++)
        if (f->column_flags[c] & IR_NODE_CATEGORICAL)
            return true;
    return false;
}

void be_tests_init(struct be_tests *t, struct be_emitter *e,
                   const struct be_forest *forest, int lanes)
{
    int bytes = 0;
    for (int c = 0; c < forest->f.n_code_columns; c++)
        bytes += forest->n_set_runs == 0 || !be_category_reading(&forest->f, c)
                     ? forest->code_bytes : 0;
    *t = (struct be_tests){
        .e = e, .forest = forest, .lanes = lanes,
        .masked = forest->n_set_runs == 0 && be_has_masks(&forest->f)};
    if (e->target->lookup != BE_LOADS && bytes <= BE_MOST_TABLES * table_bytes)
        t->n_tables = bytes > 0 ? (bytes + table_bytes - 1) / table_bytes : 1;
}

/* --------------------------------------------------------------- tables -- */

static int code_bytes(const struct be_tests *t)
{
    return t->lanes * t->forest->code_bytes;
}

/* Of what says which codes are asked for. */
static int index_bytes(const struct be_tests *t)
{
    return t->n_tables == 0 ? t->lanes * (int)sizeof(uint32_t) : code_bytes(t);
}

int be_tests_bytes(const struct be_tests *t)
{
    return index_bytes(t) + code_bytes(t) * (t->masked ? 2 : 1);
}

static void append_words(const struct be_tests *t, const uint32_t *word,
                         struct ir_text *to)
{
    for (int i = 0; i < t->lanes; i++) {
        const uint8_t bytes[2] = {(uint8_t)word[i], (uint8_t)(word[i] >> 8)};
        ir_text_append(to, bytes, (size_t)t->forest->code_bytes);
    }
}

static void append_index(const struct be_tests *t, const struct be_test *test,
                         struct ir_text *to)
{
    const int bytes = t->forest->code_bytes;
    const int plus = t->e->target->lookup == BE_PSHUFB ? index_bias : 0;
    for (int i = 0; i < t->lanes; i++) {
        const uint32_t at = (uint32_t)(
            be_place_in_row(t->forest, test[i].column) * bytes);
        if (t->n_tables == 0)
            ir_text_append(to, &at, sizeof(at));
        for (int k = 0; k < bytes && t->n_tables > 0; k++) {
            const uint8_t index = (uint8_t)((int)at + k + plus);
            ir_text_append(to, &index, 1);
        }
    }
}

void be_tests_append(const struct be_tests *t, const int32_t *node,
                     struct ir_text *to)
{
    struct be_test test[most_lanes];
    uint32_t word[most_lanes];
    for (int i = 0; i < t->lanes; i++)
        test[i] = node[i] < 0 ? be_never(t->forest)
                              : be_node_test(t->forest, node[i]);
    append_index(t, test, to);
    for (int i = 0; i < t->lanes; i++)
        word[i] = test[i].limit;
    append_words(t, word, to);
    for (int i = 0; i < t->lanes; i++)
        word[i] = test[i].mask;
    if (t->masked)
        append_words(t, word, to);
}

/* --------------------------------------------------------------- lookup -- */

/* Whether codes of 16 bits are found 64 at a time, by AVX-512's shuffle of
 * words of two registers; of one, where 32 are enough. */
static bool by_words(const struct be_tests *t)
{
    return t->e->level->has_masks && t->forest->code_bytes == 2 &&
           t->n_tables > 1;
}

static LLVMValueRef load_bytes(struct be_emitter *e, LLVMValueRef at, int bytes)
{
    LLVMValueRef v = LLVMBuildLoad2(e->b, be_vector(e->i8, bytes), at, "");
    LLVMSetAlignment(v, table_bytes);
    return v;
}

/* Bytes that one shuffle looks up. */
static int piece_bytes(const struct be_tests *t)
{
    const bool wide = t->e->target->lookup == BE_PSHUFB &&
                      t->e->level->vector_bytes >= 32 && code_bytes(t) >= 32;
    return wide ? 32 : table_bytes;
}

/* a and, behind it, b: vectors of `bytes` bytes. */
static LLVMValueRef join(struct be_emitter *e, LLVMValueRef a, LLVMValueRef b,
                         int bytes)
{
    LLVMValueRef order[most_bytes];
    for (int i = 0; i < 2 * bytes; i++)
        order[i] = be_i32(e, i);
    return LLVMBuildShuffleVector(
        e->b, a, b, LLVMConstVector(order, 2 * (unsigned)bytes), "");
}

void be_tests_load(struct be_tests *t, LLVMValueRef codes)
{
    struct be_emitter *e = t->e;
    t->codes = codes;
    if (by_words(t)) {
        for (int k = 0; k * word_table_bytes < t->n_tables * table_bytes; k++)
            t->table[k] = load_bytes(
                e, be_offset(e, codes, be_i64(e, k * word_table_bytes)),
                word_table_bytes);
        return;
    }
    for (int k = 0; k < t->n_tables; k++) {
        t->table[k] = load_bytes(
            e, be_offset(e, codes, be_i64(e, k * table_bytes)), table_bytes);
        if (k > 0 && e->target->lookup == BE_PSHUFB)
            t->table[k - 1] =
                LLVMBuildXor(e->b, t->table[k - 1], t->table[k], "");
    }
    for (int k = 0; k < t->n_tables && piece_bytes(t) > table_bytes; k++)
        t->table[k] = join(e, t->table[k], t->table[k], table_bytes);
}

static LLVMValueRef look_up_pshufb(const struct be_tests *t, LLVMValueRef at)
{
    struct be_emitter *e = t->e;
    const int bytes = piece_bytes(t);
    LLVMValueRef index = load_bytes(e, at, bytes), all = NULL;
    for (int k = 0; k < t->n_tables; k++) {
        LLVMValueRef less =
            be_splat_const(e->i8, (uint64_t)(k * table_bytes), bytes);
        LLVMValueRef args[] = {t->table[k],
                               LLVMBuildSub(e->b, index, less, "")};
        LLVMValueRef v = be_intrinsic(
            e, bytes == 32 ? "llvm.x86.avx2.pshuf.b"
                           : "llvm.x86.ssse3.pshuf.b.128", NULL, args, 2);
        all = all ? LLVMBuildXor(e->b, all, v, "") : v;
    }
    return all;
}

/* Four registers at a time, by wasm one; what is in none of them gives 0. */
static LLVMValueRef look_up_tbl(const struct be_tests *t, LLVMValueRef at)
{
    static const char *const name[] = {
        "llvm.aarch64.neon.tbl1", "llvm.aarch64.neon.tbl2",
        "llvm.aarch64.neon.tbl3", "llvm.aarch64.neon.tbl4"};
    struct be_emitter *e = t->e;
    const bool swizzle = e->target->lookup == BE_SWIZZLE;
    const int most = swizzle ? 1 : 4;
    LLVMValueRef index = load_bytes(e, at, table_bytes), all = NULL;
    for (int k = 0; k < t->n_tables; k += most) {
        const int n = t->n_tables - k < most ? t->n_tables - k : most;
        LLVMValueRef less = be_splat_const(
            e->i8, (uint64_t)(k * table_bytes), table_bytes);
        LLVMValueRef args[5];
        memcpy(args, &t->table[k], (size_t)n * sizeof(*args));
        args[n] = LLVMBuildSub(e->b, index, less, "");
        LLVMValueRef v =
            swizzle ? be_intrinsic(e, "llvm.wasm.swizzle", NULL, args, 2)
                    : be_intrinsic(e, name[n - 1],
                                   be_vector(e->i8, table_bytes), args, n + 1);
        all = all ? LLVMBuildOr(e->b, all, v, "") : v;
    }
    return all;
}

/* v in the first elements of a vector of n. */
static LLVMValueRef widen(struct be_emitter *e, LLVMValueRef v, int from, int n)
{
    LLVMValueRef order[most_bytes];
    for (int i = 0; i < n; i++)
        order[i] = i < from ? be_i32(e, i) : LLVMGetPoison(e->i32);
    return LLVMBuildShuffleVector(e->b, v, LLVMGetPoison(LLVMTypeOf(v)),
                                  LLVMConstVector(order, (unsigned)n), "");
}

/* The indexes in the table are those of a code's two bytes: half of the first
 * one, whatever is above it, is the word's. */
static LLVMValueRef look_up_words(const struct be_tests *t, LLVMValueRef at)
{
    struct be_emitter *e = t->e;
    const int n = word_table_bytes / 2;
    const bool two = t->n_tables * table_bytes > word_table_bytes;
    LLVMTypeRef type = be_vector(e->i16, n);
    LLVMValueRef index = LLVMBuildBitCast(
        e->b, load_bytes(e, at, code_bytes(t)), be_vector(e->i16, t->lanes),
        "");
    index = LLVMBuildLShr(e->b, index, be_splat_const(e->i16, 1, t->lanes), "");
    index = LLVMBuildSub(
        e->b, index, be_splat_const(e->i16, index_bias / 2, t->lanes), "");
    if (t->lanes < n)
        index = widen(e, index, t->lanes, n);
    LLVMValueRef first = LLVMBuildBitCast(e->b, t->table[0], type, "");
    LLVMValueRef one[] = {first, index};
    LLVMValueRef both[] = {
        first, index,
        two ? LLVMBuildBitCast(e->b, t->table[1], type, "") : NULL};
    LLVMValueRef v =
        two ? be_intrinsic(e, "llvm.x86.avx512.vpermi2var.hi.512", NULL, both,
                           3)
            : be_intrinsic(e, "llvm.x86.avx512.permvar.hi.512", NULL, one, 2);
    return t->lanes < n ? widen(e, v, t->lanes, t->lanes) : v;
}

static LLVMValueRef look_up(const struct be_tests *t, LLVMValueRef at)
{
    if (by_words(t))
        return look_up_words(t, at);
    LLVMValueRef piece[most_bytes / table_bytes];
    int bytes = piece_bytes(t), n = 0;
    for (; n * bytes < code_bytes(t); n++) {
        LLVMValueRef from = be_offset(t->e, at, be_i64(t->e, n * bytes));
        piece[n] = t->e->target->lookup == BE_PSHUFB ? look_up_pshufb(t, from)
                                                     : look_up_tbl(t, from);
    }
    for (; n > 1; n /= 2, bytes *= 2)
        for (int i = 0; i < n / 2; i++)
            piece[i] = join(t->e, piece[2 * i], piece[2 * i + 1], bytes);
    return piece[0];
}

/* Code by code. */
static LLVMValueRef load_codes(const struct be_tests *t, LLVMTypeRef code,
                               LLVMValueRef at)
{
    struct be_emitter *e = t->e;
    LLVMValueRef all = LLVMGetPoison(be_vector(code, t->lanes));
    for (int i = 0; i < t->lanes; i++) {
        LLVMValueRef offset =
            be_load(e, e->i32, be_at(e, e->i32, at, be_i64(e, i)));
        offset = LLVMBuildZExt(e->b, offset, e->i64, "");
        LLVMValueRef v = be_load(e, code, be_offset(e, t->codes, offset));
        all = LLVMBuildInsertElement(e->b, all, v, be_i32(e, i), "");
    }
    return all;
}

LLVMValueRef be_tests_pass(const struct be_tests *t, LLVMValueRef at)
{
    struct be_emitter *e = t->e;
    LLVMTypeRef code = t->forest->code_bytes == 1 ? e->i8 : e->i16;
    LLVMTypeRef type = be_vector(code, t->lanes);
    LLVMValueRef limits = be_offset(e, at, be_i64(e, index_bytes(t)));
    LLVMValueRef masks = be_offset(e, limits, be_i64(e, code_bytes(t)));
    LLVMValueRef v = t->n_tables == 0 ? load_codes(t, code, at)
                                      : look_up(t, at);
    v = LLVMBuildBitCast(e->b, v, type, "");
    if (t->masked) {
        LLVMValueRef mask = load_bytes(e, masks, code_bytes(t));
        v = LLVMBuildAnd(e->b, v, LLVMBuildBitCast(e->b, mask, type, ""), "");
    }
    LLVMValueRef limit = load_bytes(e, limits, code_bytes(t));
    return LLVMBuildICmp(e->b, LLVMIntSGT,
                         LLVMBuildBitCast(e->b, limit, type, ""), v, "");
}
