/* emit_quantise.c: from a tile's numbers to code columns.
 *
 * Numeric columns: the code is the number of cuts below the value. Columns are
 * grouped by the number of steps that a binary search takes, their cuts padded
 * with +inf to 2^steps - 1; a group is one loop over its columns and, inside,
 * one over the rows, whose searches are free of branches and overlap.
 * Categorical columns: the truncated value indexes a table of bits.
 *
 * Rows of f32 with f64 cuts compare with cuts rounded down to f32, which is
 * the same predicate for every float. */
#include "backend/llvm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { max_steps = 16 };

struct quantise {
    struct be_emitter *e;
    struct be_forest *forest;
    enum ir_dtype from; /* of the values that are read */
    enum ir_dtype in;   /* that they are compared in */
    LLVMTypeRef code;
    LLVMValueRef base, row_stride, column_stride, n_rows, codes;
};

/* What a group's loop reads of each of its columns. */
struct group_column {
    int32_t feature, column;
    int32_t table; /* of its cuts or bits: first element */
    int32_t limit; /* categories in the table, of a categorical column */
};
_Static_assert(sizeof(struct group_column) == 16, "the emitted code strides 16");

static int steps_of(const struct ir_forest *f, int column)
{
    const int n = f->cut_start[column + 1] - f->cut_start[column];
    int steps = 0;
    while ((1 << steps) - 1 < n)
        steps++;
    return steps;
}

static LLVMValueRef column_field(struct quantise *q, LLVMValueRef table,
                                 LLVMValueRef index, int64_t offset)
{
    struct be_emitter *e = q->e;
    LLVMValueRef at = LLVMBuildMul(e->b, index, be_i64(e, 16), "");
    at = LLVMBuildAdd(e->b, at, be_i64(e, offset), "");
    LLVMValueRef v = be_load(e, e->i32, be_offset(e, table, at));
    return LLVMBuildZExt(e->b, v, e->i64, "");
}

/* Emits for (column of the group) for (row): the body gets the value. */
typedef LLVMValueRef code_fn(struct quantise *q, LLVMValueRef v,
                             LLVMValueRef table, LLVMValueRef limit,
                             const void *context);

static void emit_group(struct quantise *q, const struct group_column *columns,
                       int n, code_fn *code, const void *context)
{
    struct be_emitter *e = q->e;
    struct be_loop column, row;
    LLVMValueRef table = be_bytes(e, "code_column", columns,
                                  (size_t)n * sizeof(*columns), 16);
    be_loop_begin(e, &column, be_i64(e, 0), be_i64(e, n), 1);
    LLVMValueRef feature = column_field(q, table, column.index, 0);
    LLVMValueRef to = column_field(q, table, column.index, 4);
    LLVMValueRef first = column_field(q, table, column.index, 8);
    LLVMValueRef limit = column_field(q, table, column.index, 12);
    LLVMTypeRef from = be_type(e, q->from);
    LLVMValueRef source = be_at(
        e, from, q->base, LLVMBuildMul(e->b, feature, q->column_stride, ""));
    LLVMValueRef dest = be_at(
        e, q->code, q->codes,
        LLVMBuildMul(e->b, to, be_i64(e, q->forest->tile_rows), ""));
    be_loop_begin(e, &row, be_i64(e, 0), q->n_rows, 1);
    LLVMValueRef at = LLVMBuildMul(e->b, row.index, q->row_stride, "");
    LLVMValueRef v = be_load(e, from, be_at(e, from, source, at));
    v = be_convert(e, v, q->from, q->in);
    LLVMValueRef c = code(q, v, first, limit, context);
    be_store(e, LLVMBuildTrunc(e->b, c, q->code, ""),
             be_at(e, q->code, dest, row.index));
    be_loop_end(e, &row);
    be_loop_end(e, &column);
}

/* ---------------------------------------------------------------- numeric -- */

struct numeric {
    int steps;
    uint8_t flags;
    LLVMValueRef cuts;
};

/* The rank of v among 2^steps - 1 ascending cuts, less half the code's range.
 * A missing right value passes every compare, a missing left one none. */
static LLVMValueRef numeric_code(struct quantise *q, LLVMValueRef v,
                                 LLVMValueRef first, LLVMValueRef limit,
                                 const void *context)
{
    const struct numeric *group = context;
    struct be_emitter *e = q->e;
    const bool left = group->flags & IR_NODE_MISSING_LEFT;
    const int64_t half = q->forest->code_bytes == 1 ? 0x80 : 0x8000;
    LLVMTypeRef type = be_type(e, q->in);
    LLVMValueRef cuts = be_at(e, type, group->cuts, first);
    LLVMValueRef rank = be_i64(e, 0);
    (void)limit;
    for (int step = 1 << group->steps >> 1; step > 0; step >>= 1) {
        LLVMValueRef at =
            LLVMBuildAdd(e->b, rank, be_i64(e, step - 1), "");
        LLVMValueRef cut = be_load(e, type, be_at(e, type, cuts, at));
        LLVMValueRef above = LLVMBuildFCmp(
            e->b, left ? LLVMRealOGT : LLVMRealUGT, v, cut, "");
        LLVMValueRef up = LLVMBuildAdd(e->b, rank, be_i64(e, step), "");
        rank = LLVMBuildSelect(e->b, above, up, rank, "");
    }
    rank = LLVMBuildSub(e->b, rank, be_i64(e, half), "");
    if (!(group->flags & IR_NODE_ZERO_MISSING))
        return rank;
    const double bound = q->forest->f.zero_bound;
    const double b = q->in == IR_F32 ? (double)be_round_down(bound) : bound;
    LLVMValueRef zero = LLVMBuildAnd(
        e->b,
        LLVMBuildFCmp(e->b, LLVMRealOGE, v, be_real(e, q->in, -b), ""),
        LLVMBuildFCmp(e->b, LLVMRealOLE, v, be_real(e, q->in, b), ""), "");
    return LLVMBuildSelect(e->b, zero, be_i64(e, left ? -half : half - 1),
                           rank, "");
}

/* A code that says right at every node: see numeric_code. Since a node's code
 * is below the number of cuts, 2^steps - 1 is enough; with zero_bound it is
 * the largest code. */
static LLVMValueRef padded_cuts(struct quantise *q, const int32_t *columns,
                                int n, int steps)
{
    const struct ir_forest *f = &q->forest->f;
    const size_t width = ((size_t)1 << steps) - 1;
    const size_t bytes = ir_dtype_bytes(q->in);
    uint8_t *cuts = ir_realloc_array(NULL, (size_t)n * width + 1, bytes);
    for (int c = 0; c < n; c++)
        for (size_t i = 0; i < width; i++) {
            const size_t from = (size_t)f->cut_start[columns[c]] + i;
            double cut = INFINITY;
            if (from < (size_t)f->cut_start[columns[c] + 1])
                cut = ir_real(f->cuts, f->in_dtype, from);
            uint8_t *to = cuts + ((size_t)c * width + i) * bytes;
            const float low = be_round_down(cut);
            if (q->in == IR_F32)
                memcpy(to, &low, 4);
            else
                memcpy(to, &cut, 8);
        }
    LLVMValueRef table =
        be_bytes(q->e, "cuts", cuts, (size_t)n * width * bytes, 64);
    free(cuts);
    return table;
}

static void emit_numeric(struct quantise *q, int steps, uint8_t flags,
                         int32_t *columns, struct group_column *group)
{
    const struct ir_forest *f = &q->forest->f;
    int n = 0;
    for (int c = 0; c < f->n_code_columns; c++)
        if (f->column_flags[c] == flags && steps_of(f, c) == steps)
            columns[n++] = c;
    if (n == 0)
        return;
    const struct numeric context = {
        steps, flags, padded_cuts(q, columns, n, steps)};
    for (int i = 0; i < n; i++)
        group[i] = (struct group_column){
            f->column_feature[columns[i]], columns[i],
            i * ((1 << steps) - 1), 0};
    emit_group(q, group, n, numeric_code, &context);
}

/* ------------------------------------------------------------ categorical -- */

/* Categories that the column's sets can hold. */
static int64_t category_limit(const struct ir_forest *f, int column)
{
    int64_t most = 0;
    for (int i = f->column_set_start[column];
         i < f->column_set_start[column + 1]; i++) {
        const int set = f->column_set[i];
        const int64_t n =
            (int64_t)(f->set_start[set + 1] - f->set_start[set]) * 32;
        most = n > most ? n : most;
    }
    return most;
}

/* Bits by category, then those of an unknown one, then those of a NaN. */
static void fill_bits(const struct ir_forest *f, int column, int64_t limit,
                      uint16_t *bits)
{
    const bool left = f->column_flags[column] & IR_NODE_MISSING_LEFT;
    memset(bits, 0, (size_t)(limit + 2) * sizeof(*bits));
    bits[limit + 1] = left ? 0xffff : 0;
    const int first = f->column_set_start[column];
    for (int i = first; i < f->column_set_start[column + 1]; i++) {
        const int32_t start = f->set_start[f->column_set[i]];
        const int32_t n = f->set_start[f->column_set[i] + 1] - start;
        for (int64_t code = 0; code < (int64_t)n * 32; code++)
            if (f->set_words[start + code / 32] >> (code % 32) & 1)
                bits[code] |= (uint16_t)(1u << (i - first));
    }
}

static LLVMValueRef category_code(struct quantise *q, LLVMValueRef v,
                                  LLVMValueRef first, LLVMValueRef limit,
                                  const void *context)
{
    struct be_emitter *e = q->e;
    LLVMTypeRef type = be_type(e, q->in);
    LLVMValueRef bits = *(const LLVMValueRef *)context;
    LLVMValueRef bound = LLVMBuildUIToFP(e->b, limit, type, "");
    LLVMValueRef known = LLVMBuildAnd(
        e->b,
        LLVMBuildFCmp(e->b, LLVMRealOGT, v, be_real(e, q->in, -1), ""),
        LLVMBuildFCmp(e->b, LLVMRealOLT, v, bound, ""), "");
    LLVMValueRef missing = LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, "");
    LLVMValueRef index = LLVMBuildFPToSI(
        e->b, LLVMBuildSelect(e->b, known, v, LLVMConstNull(type), ""),
        e->i64, "");
    LLVMValueRef other = LLVMBuildAdd(
        e->b, limit, LLVMBuildZExt(e->b, missing, e->i64, ""), "");
    index = LLVMBuildSelect(e->b, known, index, other, "");
    index = LLVMBuildAdd(e->b, index, first, "");
    LLVMValueRef code =
        be_load(e, q->code, be_at(e, q->code, bits, index));
    return LLVMBuildZExt(e->b, code, e->i64, "");
}

static void emit_categorical(struct quantise *q, struct group_column *group)
{
    const struct ir_forest *f = &q->forest->f;
    const size_t bytes = (size_t)q->forest->code_bytes;
    int64_t total = 0;
    int n = 0;
    for (int c = 0; c < f->n_code_columns; c++)
        if (f->column_flags[c] & IR_NODE_CATEGORICAL)
            total += category_limit(f, c) + 2;
    if (total == 0)
        return;
    if (total > INT32_MAX)
        ir_bug("category tables of %lld entries", (long long)total);
    uint8_t *table = ir_realloc_array(NULL, (size_t)total, bytes);
    uint16_t *bits = NULL;
    int64_t at = 0;
    for (int c = 0; c < f->n_code_columns; c++) {
        if (!(f->column_flags[c] & IR_NODE_CATEGORICAL))
            continue;
        const int64_t limit = category_limit(f, c);
        bits = ir_realloc_array(bits, (size_t)limit + 2, sizeof(*bits));
        fill_bits(f, c, limit, bits);
        for (int64_t i = 0; i < limit + 2; i++)
            memcpy(table + (size_t)(at + i) * bytes, &bits[i], bytes);
        group[n++] = (struct group_column){f->column_feature[c], c,
                                           (int32_t)at, (int32_t)limit};
        at += limit + 2;
    }
    LLVMValueRef global =
        be_bytes(q->e, "category", table, (size_t)total * bytes, 64);
    free(table);
    free(bits);
    emit_group(q, group, n, category_code, &global);
}

void be_quantise_emit(struct be_emitter *e, struct be_forest *forest,
                      int level, enum ir_dtype dtype)
{
    const struct ir_forest *f = &forest->f;
    char name[64];
    snprintf(name, sizeof(name), "quantise_%d_%s_%d", forest->number,
             ir_dtype_name(dtype), e->levels[level]->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->i64, e->i64, e->i64, e->ptr};
    LLVMValueRef fn =
        be_function(e, name, e->none, params, 5, e->levels[level]);
    be_noalias(e, fn, 0);
    be_noalias(e, fn, 4);
    const bool narrow = dtype == IR_F32 || f->in_dtype == IR_F32;
    struct quantise q = {
        .e = e, .forest = forest, .from = dtype,
        .in = narrow ? IR_F32 : IR_F64,
        .code = forest->code_bytes == 1 ? e->i8 : e->i16,
        .base = LLVMGetParam(fn, 0), .row_stride = LLVMGetParam(fn, 1),
        .column_stride = LLVMGetParam(fn, 2), .n_rows = LLVMGetParam(fn, 3),
        .codes = LLVMGetParam(fn, 4),
    };
    const size_t n = (size_t)f->n_code_columns + 1;
    int32_t *columns = ir_realloc_array(NULL, n, sizeof(*columns));
    struct group_column *group = ir_realloc_array(NULL, n, sizeof(*group));
    for (int steps = 0; steps <= max_steps; steps++)
        for (uint8_t flags = 0; flags < IR_NODE_CATEGORICAL; flags++)
            emit_numeric(&q, steps, flags, columns, group);
    emit_categorical(&q, group);
    LLVMBuildRetVoid(e->b);
    free(columns);
    free(group);
    forest->quantise[level][dtype == IR_F64] = fn;
}
