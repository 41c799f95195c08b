/* emit_quantise.c: from a tile's numbers to code columns.
 *
 * Numeric columns: the code is the number of cuts below the value. It is found
 * in a static tree of fan-out 16: at each level one block of 16 cuts is
 * compared with the value, all at once, and the count of those below it leads
 * to the block of the next level. 255 cuts take two levels, and there is no
 * branch to mispredict. Columns with as many levels and the same flags form a
 * group: one loop over its columns, and inside one over the rows.
 *
 * Categorical columns: the truncated value indexes a table of bits.
 *
 * Rows of f32 with f64 cuts compare with cuts rounded down to f32, which is
 * the same predicate for every float. */
#include "backend/llvm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    fan_out = 16,
    max_levels = 4,  /* 65535 cuts */
    block_rows = 64, /* rows that stay in L1 while all columns read them */
};

struct quantise {
    struct be_emitter *e;
    struct be_forest *forest;
    enum ir_dtype from; /* of the values that are read */
    enum ir_dtype in;   /* that they are compared in */
    LLVMTypeRef code;
    LLVMValueRef base, row_stride, column_stride, codes;
    LLVMValueRef first_row, end_row; /* of the block */
};

/* What a group's loop reads of each of its columns. Level k's cuts start at
 * element table[k]; a categorical column's bits at table[0], and `limit` is how
 * many categories it knows. */
struct group_column {
    int32_t feature, column;
    int32_t table[max_levels];
    int32_t limit, unused;
};
_Static_assert(sizeof(struct group_column) == 32, "emitted code strides 32");

/* A group's columns while its loop is emitted. */
struct group {
    LLVMValueRef table; /* of group_column */
    LLVMValueRef index; /* of the column */
    LLVMValueRef data;  /* cuts or bits */
    int n_levels;
    uint8_t flags;
};

static LLVMValueRef column_field(struct quantise *q, const struct group *g,
                                 size_t offset)
{
    struct be_emitter *e = q->e;
    LLVMValueRef at = LLVMBuildMul(
        e->b, g->index, be_i64(e, sizeof(struct group_column)), "");
    at = LLVMBuildAdd(e->b, at, be_i64(e, (int64_t)offset), "");
    LLVMValueRef v = be_load(e, e->i32, be_offset(e, g->table, at));
    return LLVMBuildZExt(e->b, v, e->i64, "");
}

/* What depends on the column alone: emitted before the loop over rows. */
struct column {
    LLVMValueRef data[max_levels], limit;
};

typedef LLVMValueRef code_fn(struct quantise *q, const struct group *g,
                             const struct column *c, LLVMValueRef v);

/* for each column of the group, for each row of the block: code(value). */
static void emit_group(struct quantise *q, struct group *g,
                       const struct group_column *columns, int n,
                       LLVMTypeRef data_type, code_fn *code)
{
    struct be_emitter *e = q->e;
    struct be_loop column, row;
    struct column c;
    g->table = be_bytes(e, "code_column", columns,
                        (size_t)n * sizeof(*columns), 16);
    be_loop_begin(e, &column, be_i64(e, 0), be_i64(e, n), 1);
    g->index = column.index;
    LLVMValueRef feature =
        column_field(q, g, offsetof(struct group_column, feature));
    LLVMValueRef to =
        column_field(q, g, offsetof(struct group_column, column));
    c.limit = column_field(q, g, offsetof(struct group_column, limit));
    for (int k = 0; k < g->n_levels; k++)
        c.data[k] = be_at(
            e, data_type, g->data,
            column_field(q, g,
                         offsetof(struct group_column, table) + 4 * (size_t)k));
    LLVMTypeRef from = be_type(e, q->from);
    LLVMValueRef source = be_at(
        e, from, q->base, LLVMBuildMul(e->b, feature, q->column_stride, ""));
    LLVMValueRef dest = be_at(
        e, q->code, q->codes,
        LLVMBuildMul(e->b, to, be_i64(e, q->forest->tile_rows), ""));
    be_loop_begin(e, &row, q->first_row, q->end_row, 1);
    LLVMValueRef at = LLVMBuildMul(e->b, row.index, q->row_stride, "");
    LLVMValueRef v = be_load(e, from, be_at(e, from, source, at));
    v = be_convert(e, v, q->from, q->in);
    be_store(e, LLVMBuildTrunc(e->b, code(q, g, &c, v), q->code, ""),
             be_at(e, q->code, dest, row.index));
    be_loop_end(e, &row);
    be_loop_end(e, &column);
}

/* ---------------------------------------------------------------- numeric -- */

/* How many lanes of `mask` are set, as i64. x86 moves a mask to a register and
 * counts its bits; others add lanes. */
static LLVMValueRef count_lanes(struct quantise *q, LLVMValueRef mask,
                                int lanes)
{
    struct be_emitter *e = q->e;
    if (q->e->target->detects) {
        LLVMTypeRef bits = LLVMIntTypeInContext(e->context, (unsigned)lanes);
        return LLVMBuildZExt(e->b, LLVMBuildBitCast(e->b, mask, bits, ""),
                             e->i64, "");
    }
    LLVMTypeRef wide = be_vector(e->i32, lanes);
    LLVMValueRef ones = LLVMBuildZExt(e->b, mask, wide, "");
    return be_intrinsic(e, "llvm.vector.reduce.add", wide, &ones, 1);
}

/* How many of the 16 cuts at `block` are below v. */
static LLVMValueRef count_below(struct quantise *q, LLVMValueRef block,
                                LLVMValueRef v)
{
    struct be_emitter *e = q->e;
    LLVMTypeRef type = be_type(e, q->in);
    const int lanes =
        q->e->level->vector_bytes / (int)ir_dtype_bytes(q->in);
    LLVMValueRef value = be_splat(e, v, lanes), count = NULL;
    for (int i = 0; i < fan_out; i += lanes) {
        LLVMValueRef cuts = LLVMBuildLoad2(
            e->b, be_vector(type, lanes),
            be_at(e, type, block, be_i64(e, i)), "");
        LLVMSetAlignment(cuts, (unsigned)e->level->vector_bytes);
        LLVMValueRef below =
            LLVMBuildFCmp(e->b, LLVMRealOGT, value, cuts, "");
        LLVMValueRef part = count_lanes(q, below, lanes);
        if (e->target->detects)
            part = LLVMBuildShl(e->b, part, be_i64(e, i), "");
        count = count ? LLVMBuildAdd(e->b, count, part, "") : part;
    }
    if (e->target->detects)
        return be_intrinsic(e, "llvm.ctpop", e->i64, &count, 1);
    return LLVMBuildZExt(e->b, count, e->i64, "");
}

/* The rank of v among the column's cuts, less half the code's range. A missing
 * value is below all cuts, so that it goes left everywhere, or past them. */
static LLVMValueRef numeric_code(struct quantise *q, const struct group *g,
                                 const struct column *c, LLVMValueRef v)
{
    struct be_emitter *e = q->e;
    const bool left = g->flags & IR_NODE_MISSING_LEFT;
    const int64_t half = q->forest->code_bytes == 1 ? 0x80 : 0x8000;
    LLVMValueRef rank = be_i64(e, 0);
    for (int k = 0; k < g->n_levels; k++) {
        LLVMValueRef first =
            LLVMBuildShl(e->b, rank, be_i64(e, 4), "");
        LLVMValueRef block =
            be_at(e, be_type(e, q->in), c->data[k], first);
        rank = LLVMBuildAdd(e->b, first, count_below(q, block, v), "");
    }
    rank = LLVMBuildSub(e->b, rank, be_i64(e, half), "");
    LLVMValueRef missing = LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, "");
    if (g->flags & IR_NODE_ZERO_MISSING) {
        const double bound = q->forest->f.zero_bound;
        const double b = q->in == IR_F32 ? (double)be_round_down(bound) : bound;
        LLVMValueRef zero = LLVMBuildAnd(
            e->b,
            LLVMBuildFCmp(e->b, LLVMRealOGE, v, be_real(e, q->in, -b), ""),
            LLVMBuildFCmp(e->b, LLVMRealOLE, v, be_real(e, q->in, b), ""), "");
        missing = LLVMBuildOr(e->b, missing, zero, "");
    } else if (left) {
        return rank; /* a NaN is above no cut */
    }
    return LLVMBuildSelect(e->b, missing, be_i64(e, left ? -half : half - 1),
                           rank, "");
}

/* The levels of a column's tree, top first; -> how many, at least 1. Level k
 * has sizes[k] cuts: the last one all, each above it every 16th of the one
 * below, as many as the ranks that can be reached need. */
static int tree_levels(const struct ir_forest *f, int column,
                       int sizes[max_levels])
{
    int n = f->cut_start[column + 1] - f->cut_start[column];
    int levels = 0, bottom_up[max_levels];
    do {
        bottom_up[levels++] = n;
        n /= fan_out;
    } while (n > 0);
    for (int k = 0; k < levels; k++)
        sizes[k] = bottom_up[levels - 1 - k];
    return levels;
}

/* Appends a column's tree to `cuts`, padded with +inf to whole blocks, and
 * sets where each level starts. */
static void append_tree(struct quantise *q, int column, struct ir_text *cuts,
                        struct group_column *to)
{
    const struct ir_forest *f = &q->forest->f;
    const size_t bytes = ir_dtype_bytes(q->in);
    int sizes[max_levels];
    const int levels = tree_levels(f, column, sizes);
    for (int k = 0; k < levels; k++) {
        int64_t step = 1; /* of cuts between two of this level */
        for (int below = k + 1; below < levels; below++)
            step *= fan_out;
        to->table[k] = (int32_t)(cuts->length / bytes);
        const int padded = (sizes[k] / fan_out + 1) * fan_out;
        for (int64_t i = 0; i < padded; i++) {
            const size_t from =
                (size_t)(f->cut_start[column] + (i + 1) * step - 1);
            const double cut =
                i < sizes[k] ? ir_real(f->cuts, f->in_dtype, from) : INFINITY;
            const float narrow = be_round_down(cut);
            ir_text_append(cuts, q->in == IR_F32 ? (const void *)&narrow
                                                 : (const void *)&cut, bytes);
        }
    }
}

static void emit_numeric(struct quantise *q, int levels, uint8_t flags,
                         struct group_column *columns)
{
    const struct ir_forest *f = &q->forest->f;
    struct ir_text cuts;
    int n = 0, sizes[max_levels];
    ir_text_init(&cuts);
    for (int c = 0; c < f->n_code_columns; c++) {
        if (f->column_flags[c] != flags || tree_levels(f, c, sizes) != levels)
            continue;
        columns[n] = (struct group_column){f->column_feature[c], c, {0}, 0, 0};
        append_tree(q, c, &cuts, &columns[n++]);
    }
    if (n > 0) {
        struct group g = {.n_levels = levels, .flags = flags};
        g.data = be_bytes(q->e, "cuts", cuts.data, cuts.length, 64);
        emit_group(q, &g, columns, n, be_type(q->e, q->in), numeric_code);
    }
    ir_text_release(&cuts);
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

static LLVMValueRef category_code(struct quantise *q, const struct group *g,
                                  const struct column *c, LLVMValueRef v)
{
    struct be_emitter *e = q->e;
    LLVMTypeRef type = be_type(e, q->in);
    LLVMValueRef bound = LLVMBuildUIToFP(e->b, c->limit, type, "");
    LLVMValueRef known = LLVMBuildAnd(
        e->b,
        LLVMBuildFCmp(e->b, LLVMRealOGT, v, be_real(e, q->in, -1), ""),
        LLVMBuildFCmp(e->b, LLVMRealOLT, v, bound, ""), "");
    LLVMValueRef missing = LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, "");
    LLVMValueRef index = LLVMBuildFPToSI(
        e->b, LLVMBuildSelect(e->b, known, v, LLVMConstNull(type), ""),
        e->i64, "");
    LLVMValueRef other = LLVMBuildAdd(
        e->b, c->limit, LLVMBuildZExt(e->b, missing, e->i64, ""), "");
    index = LLVMBuildSelect(e->b, known, index, other, "");
    (void)g;
    LLVMValueRef code =
        be_load(e, q->code, be_at(e, q->code, c->data[0], index));
    return LLVMBuildZExt(e->b, code, e->i64, "");
}

static void emit_categorical(struct quantise *q, struct group_column *columns)
{
    const struct ir_forest *f = &q->forest->f;
    const size_t bytes = (size_t)q->forest->code_bytes;
    struct ir_text table;
    uint16_t *bits = NULL;
    int n = 0;
    ir_text_init(&table);
    for (int c = 0; c < f->n_code_columns; c++) {
        if (!(f->column_flags[c] & IR_NODE_CATEGORICAL))
            continue;
        const int64_t limit = category_limit(f, c);
        bits = ir_realloc_array(bits, (size_t)limit + 2, sizeof(*bits));
        fill_bits(f, c, limit, bits);
        columns[n++] = (struct group_column){
            f->column_feature[c], c, {(int32_t)(table.length / bytes)},
            (int32_t)limit, 0};
        for (int64_t i = 0; i < limit + 2; i++)
            ir_text_append(&table, &bits[i], bytes);
    }
    if (n > 0) {
        struct group g = {.n_levels = 1, .flags = IR_NODE_CATEGORICAL};
        g.data = be_bytes(q->e, "category", table.data, table.length, 64);
        emit_group(q, &g, columns, n, q->code, category_code);
    }
    ir_text_release(&table);
    free(bits);
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
        .column_stride = LLVMGetParam(fn, 2), .codes = LLVMGetParam(fn, 4),
    };
    struct group_column *columns = ir_realloc_array(
        NULL, (size_t)f->n_code_columns + 1, sizeof(*columns));
    LLVMValueRef n_rows = LLVMGetParam(fn, 3);
    struct be_loop block;
    be_loop_begin(e, &block, be_i64(e, 0), n_rows, block_rows);
    LLVMValueRef end =
        LLVMBuildAdd(e->b, block.index, be_i64(e, block_rows), "");
    LLVMValueRef past = LLVMBuildICmp(e->b, LLVMIntSGT, end, n_rows, "");
    q.first_row = block.index;
    q.end_row = LLVMBuildSelect(e->b, past, n_rows, end, "");
    for (int levels = 1; levels <= max_levels; levels++)
        for (uint8_t flags = 0; flags < IR_NODE_CATEGORICAL; flags++)
            emit_numeric(&q, levels, flags, columns);
    emit_categorical(&q, columns);
    be_loop_end(e, &block);
    LLVMBuildRetVoid(e->b);
    free(columns);
    forest->quantise[level][dtype == IR_F64] = fn;
}
