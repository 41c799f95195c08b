/* emit_raw.c: many tests of one row at once on the row's own numbers, for the
 * strategies `raw8` and `raw16`: match (emit_match.c) without codes. Nothing is
 * searched, so that a row of many columns or of thousands of thresholds costs
 * no more than what its trees ask.
 *
 * The numbers that 8 or 16 tests ask for are loaded one by one, or chosen by
 * permutes where AVX-512's registers hold the row; one compare with limits of
 * the row's dtype decides all. f32 rows of a forest of f64 have limits of their
 * own, rounded down, which decide as the others do. A test is passed where v <=
 * limit, which goes left; a NaN passes none, nor does anything pass a limit
 * that is a NaN, as those of lanes without a node are. What is missing and goes
 * left is or-ed in, if there is any such node. Set tests of a cluster are asked
 * one by one, in a loop over a table.
 *
 * A group in the tables is: the limits; which number each lane asks for; a word
 * of lanes where the missing go left, and one of those where zero is missing,
 * if any node of the forest needs it. */
#include "backend/llvm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { zmm_bytes = 64 };

/* A set test of a cluster, as emitted code reads it. */
struct raw_set {
    uint32_t cluster, lane;
    uint32_t feature, flags;
    uint32_t first, end; /* words of the set */
};

static int value_bytes(const struct be_raw *r)
{
    return (int)ir_dtype_bytes(r->dtype);
}

/* Registers of 64 bytes that hold the row, where all levels with masks are to
 * find numbers in them; 0 where it is too wide. */
static int count_tables(const struct be_raw *r)
{
    const int64_t bytes = (int64_t)r->forest->f.n_features * value_bytes(r);
    return bytes > BE_RAW_TABLES * zmm_bytes
               ? 0 : (int)((bytes + zmm_bytes - 1) / zmm_bytes);
}

void be_raw_init(struct be_raw *r, struct be_emitter *e,
                 struct be_forest *forest, int lanes, enum ir_dtype dtype)
{
    const struct ir_forest *f = &forest->f;
    *r = (struct be_raw){.e = e, .forest = forest, .lanes = lanes,
                         .dtype = dtype,
                         .index_bytes = f->n_features <= 1 << 8    ? 1
                                        : f->n_features <= 1 << 16 ? 2 : 4};
    r->n_tables = count_tables(r);
    for (int64_t i = 0; i < f->n_nodes; i++) {
        const bool set = f->flags[i] & IR_NODE_CATEGORICAL;
        r->has_sets |= set;
        r->has_zeros |= (f->flags[i] & IR_NODE_ZERO_MISSING) != 0;
        r->has_missing |= !set && f->flags[i] & (IR_NODE_MISSING_LEFT |
                                                 IR_NODE_ZERO_MISSING);
    }
    ir_text_init(&r->sets);
    if (r->has_sets)
        be_in_set_emit(e, forest);
}

/* --------------------------------------------------------------- tables -- */

static int index_at(const struct be_raw *r)
{
    return r->lanes * value_bytes(r);
}

static int words_at(const struct be_raw *r)
{
    return index_at(r) + r->lanes * r->index_bytes;
}

int be_raw_bytes(const struct be_raw *r)
{
    const int words = r->has_zeros ? 2 : r->has_missing ? 1 : 0;
    return (words_at(r) + words * r->lanes / 8 + 15) / 16 * 16;
}

static void append_limit(const struct be_raw *r, int64_t node,
                         struct ir_text *to)
{
    const double limit =
        node < 0 ? (double)NAN : ir_last_left(&r->forest->f, node);
    const float narrow = isnan(limit) ? NAN : be_round_down(limit);
    if (r->dtype == IR_F32)
        ir_text_append(to, &narrow, sizeof(narrow));
    else
        ir_text_append(to, &limit, sizeof(limit));
}

static void append_word(const struct be_raw *r, const int32_t *node,
                        uint8_t flag, struct ir_text *to)
{
    uint32_t word = 0;
    for (int i = 0; i < r->lanes; i++)
        if (node[i] >= 0 && r->forest->f.flags[node[i]] & flag)
            word |= 1u << i;
    ir_text_append(to, &word, (size_t)r->lanes / 8);
}

static void append_set(struct be_raw *r, int64_t cluster, int lane,
                       int64_t node)
{
    const struct ir_forest *f = &r->forest->f;
    const int32_t set = f->set[node];
    const struct raw_set entry = {
        .cluster = (uint32_t)cluster, .lane = (uint32_t)lane,
        .feature = (uint32_t)f->feature[node], .flags = f->flags[node],
        .first = (uint32_t)f->set_start[set],
        .end = (uint32_t)f->set_start[set + 1]};
    ir_text_append(&r->sets, &entry, sizeof(entry));
}

void be_raw_append(struct be_raw *r, int64_t cluster, const int32_t *node,
                   int n, struct ir_text *to)
{
    const struct ir_forest *f = &r->forest->f;
    const size_t start = to->length;
    int32_t number[IR_MOST_EXITS]; /* nodes that ask for a number, else -1 */
    for (int i = 0; i < r->lanes; i++) {
        number[i] = i < n ? node[i] : -1;
        if (i < n && f->flags[node[i]] & IR_NODE_CATEGORICAL) {
            append_set(r, cluster, i, node[i]);
            number[i] = -1;
        }
        append_limit(r, number[i], to);
    }
    for (int i = 0; i < r->lanes; i++) { /* little-endian */
        const int32_t feature = number[i] < 0 ? 0 : f->feature[number[i]];
        ir_text_append(to, &feature, (size_t)r->index_bytes);
    }
    if (r->has_missing)
        append_word(r, number, IR_NODE_MISSING_LEFT, to);
    if (r->has_zeros)
        append_word(r, number, IR_NODE_ZERO_MISSING, to);
    while (to->length - start < (size_t)be_raw_bytes(r))
        ir_text_append(to, "", 1);
}

static int compare_sets(const void *a, const void *b)
{
    const struct raw_set *x = a, *y = b;
    if (x->cluster != y->cluster)
        return x->cluster < y->cluster ? -1 : 1;
    return (x->lane > y->lane) - (x->lane < y->lane);
}

void be_raw_emit_sets(struct be_raw *r, int64_t n_clusters)
{
    const size_t n = r->sets.length / sizeof(struct raw_set);
    if (r->has_sets) {
        struct raw_set *set = (struct raw_set *)ir_realloc_array(
            NULL, n, sizeof(*set));
        uint32_t *start =
            ir_realloc_array(NULL, (size_t)n_clusters + 1, sizeof(*start));
        memcpy(set, r->sets.data, n * sizeof(*set));
        qsort(set, n, sizeof(*set), compare_sets);
        uint32_t k = 0;
        for (int64_t c = 0; c <= n_clusters; c++) {
            while (k < n && set[k].cluster < c)
                k++;
            start[c] = k;
        }
        r->set = be_bytes(r->e, "raw_set", set, n * sizeof(*set), 4);
        r->set_start = be_bytes(r->e, "raw_set_start", start,
                                ((size_t)n_clusters + 1) * sizeof(*start), 4);
        free(set);
        free(start);
    }
    ir_text_release(&r->sets);
}

/* -------------------------------------------------------------- numbers -- */

static LLVMTypeRef index_type(const struct be_raw *r)
{
    return r->index_bytes == 1   ? r->e->i8
           : r->index_bytes == 2 ? r->e->i16 : r->e->i32;
}

static bool in_registers(const struct be_raw *r)
{
    return r->e->level->has_masks && r->n_tables > 0;
}

void be_raw_load(struct be_raw *r, LLVMValueRef row)
{
    struct be_emitter *e = r->e;
    const int lanes = zmm_bytes / value_bytes(r);
    LLVMTypeRef type = be_type(e, r->dtype);
    r->row = row;
    for (int k = 0; in_registers(r) && k < r->n_tables; k++) {
        const int left = r->forest->f.n_features - k * lanes;
        r->table[k] = be_load_part(
            e, type, be_at(e, type, row, be_i64(e, (int64_t)k * lanes)), lanes,
            left < lanes ? left : lanes);
    }
}

/* One after the other, of the n lanes from `first` on. */
static LLVMValueRef load_numbers(const struct be_raw *r, LLVMValueRef at,
                                 int first, int n)
{
    struct be_emitter *e = r->e;
    LLVMTypeRef type = be_type(e, r->dtype);
    LLVMValueRef all = LLVMGetPoison(be_vector(type, n));
    for (int i = 0; i < n; i++) {
        LLVMValueRef index = be_load(
            e, index_type(r),
            be_at(e, index_type(r), at, be_i64(e, first + i)));
        index = LLVMBuildZExt(e->b, index, e->i64, "");
        LLVMValueRef v = be_load(e, type, be_at(e, type, r->row, index));
        all = LLVMBuildInsertElement(e->b, all, v, be_i32(e, i), "");
    }
    return all;
}

/* The lanes first..first+n-1 of v. */
static LLVMValueRef some_lanes(struct be_emitter *e, LLVMValueRef v, int first,
                               int n)
{
    LLVMValueRef order[zmm_bytes];
    for (int i = 0; i < n; i++)
        order[i] = be_i32(e, first + i);
    return LLVMBuildShuffleVector(e->b, v, LLVMGetPoison(LLVMTypeOf(v)),
                                  LLVMConstVector(order, (unsigned)n), "");
}

/* a where the numbers `index` are of the first two tables, else b. */
static LLVMValueRef choose(const struct be_raw *r, LLVMValueRef index,
                           LLVMValueRef a, LLVMValueRef b)
{
    struct be_emitter *e = r->e;
    const int lanes = zmm_bytes / value_bytes(r);
    LLVMTypeRef type = LLVMGetElementType(LLVMTypeOf(index));
    LLVMValueRef low = LLVMBuildICmp(
        e->b, LLVMIntULT, index,
        be_splat_const(type, (uint64_t)(2 * lanes), lanes), "");
    return LLVMBuildSelect(e->b, low, a, b, "");
}

/* The numbers of two tables, or of one, that `index` names. */
static LLVMValueRef permute(const struct be_raw *r, int first,
                            LLVMValueRef index)
{
    struct be_emitter *e = r->e;
    const bool f32 = r->dtype == IR_F32;
    if (first + 1 == r->n_tables) {
        LLVMValueRef args[] = {r->table[first], index};
        return be_intrinsic(e, f32 ? "llvm.x86.avx512.permvar.sf.512"
                                   : "llvm.x86.avx512.permvar.df.512",
                            NULL, args, 2);
    }
    LLVMValueRef args[] = {r->table[first], index, r->table[first + 1]};
    return be_intrinsic(e, f32 ? "llvm.x86.avx512.vpermi2var.ps.512"
                               : "llvm.x86.avx512.vpermi2var.pd.512",
                        NULL, args, 3);
}

/* By permutes, of a register of lanes from `first` on: n of them count. */
static LLVMValueRef look_up(const struct be_raw *r, LLVMValueRef at, int first,
                            int n)
{
    struct be_emitter *e = r->e;
    const int lanes = zmm_bytes / value_bytes(r);
    LLVMValueRef index = be_load(
        e, be_vector(index_type(r), n),
        be_at(e, index_type(r), at, be_i64(e, first)));
    if (n < lanes)
        index = some_lanes(e, index, 0, lanes);
    index = LLVMBuildZExt(
        e->b, index,
        be_vector(r->dtype == IR_F32 ? e->i32 : e->i64, lanes), "");
    LLVMValueRef v = permute(r, 0, index);
    if (r->n_tables > 2)
        v = choose(r, index, v, permute(r, 2, index));
    return n < lanes ? some_lanes(e, v, 0, n) : v;
}

/* ------------------------------------------------------------- compares -- */

/* Lanes that are compared at once: those of a register where their answers
 * come out of each register by one instruction, else all. */
static int piece_lanes(const struct be_raw *r)
{
    const struct be_emitter *e = r->e;
    const int of_register =
        (in_registers(r) ? zmm_bytes : e->level->vector_bytes) / value_bytes(r);
    const bool apart = in_registers(r) || (e->target->lookup == BE_PSHUFB &&
                                           !e->level->has_masks);
    return apart && of_register < r->lanes ? of_register : r->lanes;
}

/* The bits of n answers at their lanes of a word, an i32. */
static LLVMValueRef place_bits(const struct be_raw *r, LLVMValueRef answers,
                               int first, int n)
{
    struct be_emitter *e = r->e;
    LLVMValueRef bits = LLVMBuildBitCast(
        e->b, answers, LLVMIntTypeInContext(e->context, (unsigned)n), "");
    bits = LLVMBuildZExt(e->b, bits, e->i32, "");
    return LLVMBuildShl(e->b, bits, be_i32(e, first), "");
}

static LLVMValueRef stored_word(const struct be_raw *r, LLVMValueRef cluster,
                                int which)
{
    struct be_emitter *e = r->e;
    LLVMValueRef at = be_offset(
        e, cluster, be_i64(e, words_at(r) + which * r->lanes / 8));
    LLVMTypeRef type = LLVMIntTypeInContext(e->context, (unsigned)r->lanes);
    return LLVMBuildZExt(e->b, be_load(e, type, at), e->i32, "");
}

/* Of the answers to a cluster's compares, or-s each piece's into all[]: those
 * that are passed, those of a NaN, those of a zero. */
enum { PASSED, NANS, ZEROS, N_KINDS };

static void compare_piece(const struct be_raw *r, LLVMValueRef cluster,
                          int first, int n, LLVMValueRef all[N_KINDS])
{
    struct be_emitter *e = r->e;
    LLVMTypeRef type = be_type(e, r->dtype);
    LLVMValueRef at = be_offset(e, cluster, be_i64(e, index_at(r)));
    LLVMValueRef v = in_registers(r) ? look_up(r, at, first, n)
                                     : load_numbers(r, at, first, n);
    LLVMValueRef limit = LLVMBuildLoad2(
        e->b, be_vector(type, n),
        be_at(e, type, cluster, be_i64(e, first)), "");
    LLVMSetAlignment(limit, 16);
    LLVMValueRef answer[N_KINDS] = {
        [PASSED] = LLVMBuildFCmp(e->b, LLVMRealOLE, v, limit, "")};
    if (r->has_missing)
        answer[NANS] = LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, "");
    if (r->has_zeros) {
        LLVMValueRef bound = be_real(
            e, r->dtype,
            r->dtype == IR_F32 ? be_round_down(r->forest->f.zero_bound)
                               : r->forest->f.zero_bound);
        LLVMValueRef size =
            be_intrinsic(e, "llvm.fabs", be_vector(type, n), &v, 1);
        answer[ZEROS] = LLVMBuildFCmp(e->b, LLVMRealOLE, size,
                                      be_splat(e, bound, n), "");
    }
    for (int k = 0; k < N_KINDS; k++) {
        if (!answer[k])
            continue;
        LLVMValueRef bits = place_bits(r, answer[k], first, n);
        all[k] = all[k] ? LLVMBuildOr(e->b, all[k], bits, "") : bits;
    }
}

static LLVMValueRef set_field(const struct be_raw *r, LLVMValueRef entry,
                              size_t offset)
{
    return be_load(r->e, r->e->i32,
                   be_offset(r->e, entry, be_i64(r->e, (int64_t)offset)));
}

/* Whether the row passes the set test at `entry`: an i32, 0 or 1. */
static LLVMValueRef ask_set(const struct be_raw *r, LLVMValueRef entry)
{
    struct be_emitter *e = r->e;
    LLVMTypeRef type = be_type(e, r->dtype);
    LLVMValueRef feature = LLVMBuildZExt(
        e->b, set_field(r, entry, offsetof(struct raw_set, feature)), e->i64,
        "");
    LLVMValueRef v = be_load(e, type, be_at(e, type, r->row, feature));
    v = be_convert(e, v, r->dtype, r->forest->f.in_dtype);
    LLVMValueRef flags = set_field(r, entry, offsetof(struct raw_set, flags));
    LLVMValueRef args[] = {
        v, set_field(r, entry, offsetof(struct raw_set, first)),
        set_field(r, entry, offsetof(struct raw_set, end)), flags};
    LLVMValueRef in = be_call(e, r->forest->in_set, args, 4);
    LLVMValueRef missing_left = LLVMBuildIsNotNull(
        e->b, LLVMBuildAnd(e->b, flags, be_i32(e, IR_NODE_MISSING_LEFT), ""),
        "");
    LLVMValueRef missing = LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, "");
    in = LLVMBuildOr(e->b, in,
                     LLVMBuildAnd(e->b, missing, missing_left, ""), "");
    return LLVMBuildZExt(e->b, in, e->i32, "");
}

/* The answers to the set tests of the cluster, as bits of an i32. */
static LLVMValueRef ask_sets(const struct be_raw *r, LLVMValueRef number)
{
    struct be_emitter *e = r->e;
    struct be_loop loop;
    LLVMValueRef next = LLVMBuildAdd(e->b, number, be_i64(e, 1), "");
    LLVMValueRef from =
        be_load(e, e->i32, be_at(e, e->i32, r->set_start, number));
    LLVMValueRef to = be_load(e, e->i32, be_at(e, e->i32, r->set_start, next));
    from = LLVMBuildZExt(e->b, from, e->i64, "");
    to = LLVMBuildZExt(e->b, to, e->i64, "");
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &loop, from, to, 1);
    LLVMValueRef bits = be_carry(e, &loop, be_i32(e, 0), before);
    LLVMValueRef entry = be_offset(
        e, r->set,
        LLVMBuildMul(e->b, loop.index, be_i64(e, sizeof(struct raw_set)), ""));
    LLVMValueRef bit = LLVMBuildShl(
        e->b, ask_set(r, entry),
        set_field(r, entry, offsetof(struct raw_set, lane)), "");
    be_carried(e, bits, LLVMBuildOr(e->b, bits, bit, ""));
    be_loop_end(e, &loop);
    return bits;
}

LLVMValueRef be_raw_pass(const struct be_raw *r, LLVMValueRef number,
                         LLVMValueRef cluster)
{
    struct be_emitter *e = r->e;
    const int piece = piece_lanes(r);
    LLVMValueRef all[N_KINDS] = {NULL};
    LLVMValueRef sets = r->has_sets ? ask_sets(r, number) : NULL;
    for (int first = 0; first < r->lanes; first += piece)
        compare_piece(r, cluster, first, piece, all);
    LLVMValueRef passed = all[PASSED];
    if (r->has_zeros) {
        LLVMValueRef zeros =
            LLVMBuildAnd(e->b, all[ZEROS], stored_word(r, cluster, 1), "");
        all[NANS] = LLVMBuildOr(e->b, all[NANS], zeros, "");
        passed = LLVMBuildAnd(e->b, passed, LLVMBuildNot(e->b, zeros, ""), "");
    }
    if (r->has_missing)
        passed = LLVMBuildOr(
            e->b, passed,
            LLVMBuildAnd(e->b, all[NANS], stored_word(r, cluster, 0), ""), "");
    if (sets)
        passed = LLVMBuildOr(e->b, passed, sets, "");
    return LLVMBuildTrunc(
        e->b, passed, LLVMIntTypeInContext(e->context, (unsigned)r->lanes), "");
}
