/* emit_quantise.c: from a tile's numbers to code columns.
 *
 * Numeric columns: the code is the number of cuts below the value. It is found
 * in a static tree of fan-out 16: at each level one block of 16 cuts is
 * compared with the value, all at once, and the count of those below it leads
 * to the block of the next level. 255 cuts take two levels, and there is no
 * branch to mispredict. Columns with as many levels and the same flags form a
 * group: one loop over its columns, and inside one over the rows.
 *
 * Categorical columns: the value as a whole number leads to a table row with
 * the codes of all the feature's columns; 16 rows of 16 such bytes are turned
 * into 16 columns at once.
 *
 * Rows of f32 with f64 cuts compare with cuts rounded down to f32, which is
 * the same predicate for every float. Their numeric columns are done by
 * emit_ranks.c in batches, at levels that can. */
#include "backend/llvm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    fan_out = 16,
    max_levels = 4,  /* 65535 cuts */
    block_rows = 64, /* rows that stay in L1 while all columns read them */
    least_rows = 16, /* of wide rows */
    block_bytes_most = 131072, /* of their numbers */
    wide_bytes = 256, /* of a row, from which on rows are fetched in advance */
    line_bytes = 64,
    block_bytes = 16, /* of a row's categorical codes that are moved at once */
    max_sets = 4,     /* of 16 rows */
};

struct quantise {
    struct be_emitter *e;
    struct be_forest *forest;
    enum ir_dtype from; /* of the values that are read */
    enum ir_dtype in;   /* that they are compared in */
    LLVMTypeRef code;
    bool one_row;
    int64_t stride; /* from column to column, in codes */
    LLVMValueRef base, row_stride, column_stride, codes;
    LLVMValueRef first_row, end_row; /* of the block */
    /* Of wide rows, or NULL: where the next block starts, and how much of it is
     * fetched with each column of this one. */
    LLVMValueRef next, share;
    int sets; /* of rows whose codes are moved at once: a register's */
    LLVMValueRef table_rows; /* i64[block_rows]: where a run's tables have
                                the codes of the block's rows */
};

/* What a group's loop reads of each of its columns. Level k's cuts start at
 * element level[k]. */
struct group_column {
    int32_t feature, column;
    int32_t level[max_levels];
    int32_t unused[2];
};
_Static_assert(sizeof(struct group_column) == 32, "emitted code strides 32");

/* The i32 at `offset` of the entry of 32 bytes number `index`, as i64. */
static LLVMValueRef entry_field(struct quantise *q, LLVMValueRef table,
                                LLVMValueRef index, size_t offset)
{
    struct be_emitter *e = q->e;
    LLVMValueRef at = LLVMBuildMul(e->b, index, be_i64(e, 32), "");
    at = LLVMBuildAdd(e->b, at, be_i64(e, (int64_t)offset), "");
    LLVMValueRef v = be_load(e, e->i32, be_offset(e, table, at));
    return LLVMBuildZExt(e->b, v, e->i64, "");
}

/* Where the feature's value of row 0 is. */
static LLVMValueRef feature_values(struct quantise *q, LLVMValueRef feature)
{
    LLVMValueRef at =
        LLVMBuildMul(q->e->b, feature, q->column_stride, "");
    return be_at(q->e, be_type(q->e, q->from), q->base, at);
}

static LLVMValueRef load_value(struct quantise *q, LLVMValueRef values,
                               LLVMValueRef row)
{
    struct be_emitter *e = q->e;
    LLVMTypeRef type = be_type(e, q->from);
    LLVMValueRef at = LLVMBuildMul(e->b, row, q->row_stride, "");
    LLVMValueRef v = be_load(e, type, be_at(e, type, values, at));
    return be_convert(e, v, q->from, q->in);
}

/* --------------------------------------------------------------- numeric -- */

/* How many lanes of `mask` are set, as i64. x86 moves a mask to a register and
 * counts its bits; others add lanes. */
static LLVMValueRef count_lanes(struct quantise *q, LLVMValueRef mask,
                                int lanes)
{
    struct be_emitter *e = q->e;
    if (q->e->target->is_x86) {
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
        if (e->target->is_x86)
            part = LLVMBuildShl(e->b, part, be_i64(e, i), "");
        count = count ? LLVMBuildAdd(e->b, count, part, "") : part;
    }
    if (e->target->is_x86)
        return be_intrinsic(e, "llvm.ctpop", e->i64, &count, 1);
    return LLVMBuildZExt(e->b, count, e->i64, "");
}

/* The rank of v among the column's cuts, less half the code's range. A missing
 * value is below all cuts, so that it goes left everywhere, or past them. */
static LLVMValueRef numeric_code(struct quantise *q, uint8_t flags,
                                 const LLVMValueRef *cuts, int n_levels,
                                 LLVMValueRef v)
{
    struct be_emitter *e = q->e;
    const bool left = flags & IR_NODE_MISSING_LEFT;
    const int64_t half = q->forest->code_bytes == 1 ? 0x80 : 0x8000;
    LLVMValueRef rank = be_i64(e, 0);
    for (int k = 0; k < n_levels; k++) {
        LLVMValueRef first =
            LLVMBuildShl(e->b, rank, be_i64(e, 4), "");
        LLVMValueRef block =
            be_at(e, be_type(e, q->in), cuts[k], first);
        rank = LLVMBuildAdd(e->b, first, count_below(q, block, v), "");
    }
    rank = LLVMBuildSub(e->b, rank, be_i64(e, half), "");
    LLVMValueRef missing = LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, "");
    if (flags & IR_NODE_ZERO_MISSING) {
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

/* Fetches the share of the column number `column` of the block to come. */
static void fetch_ahead(struct quantise *q, LLVMValueRef column)
{
    struct be_emitter *e = q->e;
    struct be_loop line;
    LLVMValueRef from = LLVMBuildMul(e->b, column, q->share, "");
    LLVMValueRef to = LLVMBuildAdd(e->b, from, q->share, "");
    be_loop_begin(e, &line, from, to, line_bytes);
    be_prefetch(e, be_offset(e, q->next, line.index), 2);
    be_loop_end(e, &line);
}

/* for each column of the group, for each row of the block: its code. */
static void emit_group(struct quantise *q, uint8_t flags, int n_levels,
                       LLVMValueRef cuts, LLVMValueRef table, int n)
{
    struct be_emitter *e = q->e;
    struct be_loop column, row;
    be_loop_begin(e, &column, be_i64(e, 0), be_i64(e, n), 1);
    LLVMValueRef values = feature_values(
        q, entry_field(q, table, column.index,
                       offsetof(struct group_column, feature)));
    if (q->next)
        fetch_ahead(q, entry_field(q, table, column.index,
                                   offsetof(struct group_column, column)));
    LLVMValueRef to = entry_field(q, table, column.index,
                                  offsetof(struct group_column, column));
    LLVMValueRef dest = be_at(
        e, q->code, q->codes,
        LLVMBuildMul(e->b, to, be_i64(e, q->stride), ""));
    LLVMValueRef level[max_levels];
    for (int k = 0; k < n_levels; k++)
        level[k] = be_at(
            e, be_type(e, q->in), cuts,
            entry_field(q, table, column.index,
                        offsetof(struct group_column, level) +
                            sizeof(int32_t) * (size_t)k));
    be_loop_begin(e, &row, q->first_row, q->end_row, 1);
    LLVMValueRef v = load_value(q, values, row.index);
    LLVMValueRef code = numeric_code(q, flags, level, n_levels, v);
    be_store(e, LLVMBuildTrunc(e->b, code, q->code, ""),
             be_at(e, q->code, dest, row.index));
    be_loop_end(e, &row);
    be_loop_end(e, &column);
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
        to->level[k] = (int32_t)(cuts->length / bytes);
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
        if (f->column_flags[c] != flags || tree_levels(f, c, sizes) != levels ||
            (!q->one_row && be_ranks_column(q->e, q->forest, q->from, c)))
            continue;
        columns[n] = (struct group_column){
            .feature = f->column_feature[c],
            .column = q->one_row ? be_place_in_row(q->forest, c) : c};
        append_tree(q, c, &cuts, &columns[n++]);
    }
    if (n > 0) {
        LLVMValueRef data = be_bytes(q->e, "cuts", cuts.data, cuts.length, 64);
        LLVMValueRef table = be_bytes(q->e, "code_column", columns,
                                      (size_t)n * sizeof(*columns), 32);
        emit_group(q, flags, levels, data, table, n);
    }
    ir_text_release(&cuts);
}

/* ----------------------------------------------------------- categorical -- */

/* A run of code columns of one categorical feature. Its table has a row for
 * each category that the run's sets can hold, one for all others and one for
 * NaN: the codes of the run's columns, side by side, in blocks of 16 bytes. */
struct run {
    int32_t feature, first_column;
    int32_t n_blocks;
    int32_t limit; /* of categories */
    int32_t table; /* where its rows start, in bytes; the
                      quantise pass bounds them */
    int32_t unused[3];
};
_Static_assert(sizeof(struct run) == 32, "emitted code strides 32");

uint8_t be_category_reading(const struct ir_forest *f, int column)
{
    return f->column_flags[column] &
           (IR_NODE_CATEGORICAL | IR_NODE_FLOOR | IR_NODE_EXACT);
}

int be_category_run_end(const struct ir_forest *f, int first)
{
    int end = first;
    if (!be_category_reading(f, first))
        return first;
    while (end < f->n_code_columns &&
           be_category_reading(f, end) == be_category_reading(f, first) &&
           f->column_feature[end] == f->column_feature[first])
        end++;
    return end;
}

static int run_blocks(const struct be_forest *forest, int first, int end)
{
    const int per_block = block_bytes / forest->code_bytes;
    return (end - first + per_block - 1) / per_block;
}

/* How many categories the sets of the columns [first, end) can hold. */
static int32_t category_limit(const struct ir_forest *f, int first, int end)
{
    int32_t most = 0;
    for (int i = f->column_set_start[first]; i < f->column_set_start[end];
         i++) {
        const int set = f->column_set[i];
        const int32_t n = (f->set_start[set + 1] - f->set_start[set]) * 32;
        most = n > most ? n : most;
    }
    return most;
}

/* Writes a column's codes to `table`, at its place in each of the rows. */
static void fill_codes(const struct quantise *q, int column,
                       const struct run *run, uint8_t *table)
{
    const struct ir_forest *f = &q->forest->f;
    const size_t bytes = (size_t)q->forest->code_bytes;
    const size_t row_bytes = (size_t)run->n_blocks * block_bytes;
    uint8_t *at = table + (size_t)(column - run->first_column) * bytes;
    const int first = f->column_set_start[column];
    for (int i = first; i < f->column_set_start[column + 1]; i++) {
        const int bit = i - first;
        const int32_t start = f->set_start[f->column_set[i]];
        const int32_t n = f->set_start[f->column_set[i] + 1] - start;
        for (int32_t code = 0; code < n * 32; code++)
            if (f->set_words[start + code / 32] >> (code % 32) & 1)
                at[(size_t)code * row_bytes + (size_t)bit / 8] |=
                    (uint8_t)(1u << bit % 8);
    }
    if (f->column_flags[column] & IR_NODE_MISSING_LEFT)
        memset(at + (size_t)(run->limit + 1) * row_bytes, 0xff, bytes);
}

/* The row of a run's table that is for the value v, read as `reading` says. */
static LLVMValueRef category_row(struct quantise *q, uint8_t reading,
                                 LLVMValueRef limit, LLVMValueRef v)
{
    struct be_emitter *e = q->e;
    LLVMTypeRef type = be_type(e, q->in);
    LLVMValueRef bound = LLVMBuildUIToFP(e->b, limit, type, "");
    LLVMValueRef known = LLVMBuildAnd(
        e->b,
        reading == IR_NODE_CATEGORICAL
            ? LLVMBuildFCmp(e->b, LLVMRealOGT, v, be_real(e, q->in, -1), "")
            : LLVMBuildFCmp(e->b, LLVMRealOGE, v, LLVMConstNull(type), ""),
        LLVMBuildFCmp(e->b, LLVMRealOLT, v, bound, ""), "");
    LLVMValueRef missing = LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, "");
    LLVMValueRef index = LLVMBuildFPToSI(
        e->b, LLVMBuildSelect(e->b, known, v, LLVMConstNull(type), ""),
        e->i64, "");
    if (reading & IR_NODE_EXACT)
        known = LLVMBuildAnd(
            e->b, known,
            LLVMBuildFCmp(e->b, LLVMRealOEQ,
                          LLVMBuildSIToFP(e->b, index, type, ""), v, ""), "");
    LLVMValueRef other = LLVMBuildAdd(
        e->b, limit, LLVMBuildZExt(e->b, missing, e->i64, ""), "");
    return LLVMBuildSelect(e->b, known, index, other, "");
}

/* The blocks of 16 bytes at table + at[0], at[step]... of q->sets rows, side by
 * side; at: i64 in memory. */
static LLVMValueRef load_blocks(struct quantise *q, LLVMValueRef table,
                                LLVMValueRef at, int step)
{
    struct be_emitter *e = q->e;
    const int n = block_bytes / q->forest->code_bytes;
    LLVMValueRef v[max_sets], mask[max_sets * block_bytes];
    for (int i = 0; i < q->sets; i++) {
        LLVMValueRef offset =
            be_load(e, e->i64, be_at(e, e->i64, at, be_i64(e, i * step)));
        v[i] = LLVMBuildLoad2(e->b, be_vector(q->code, n),
                              be_offset(e, table, offset), "");
        LLVMSetAlignment(v[i], block_bytes);
    }
    for (int i = 0; i < q->sets * n; i++)
        mask[i] = be_i32(e, i);
    for (int left = q->sets, lanes = 2 * n; left > 1; left /= 2, lanes *= 2)
        for (int i = 0; i < left / 2; i++)
            v[i] = LLVMBuildShuffleVector(
                e->b, v[2 * i], v[2 * i + 1],
                LLVMConstVector(mask, (unsigned)lanes), "");
    return v[0];
}

/* Copies, for sets of as many rows as a block has columns, a block of each
 * row's codes to its columns. at[i], an i64, is where behind `table` row i has
 * them; to, where the first column does. */
static void copy_block(struct quantise *q, LLVMValueRef table, LLVMValueRef at,
                       LLVMValueRef to)
{
    struct be_emitter *e = q->e;
    const int bytes = q->forest->code_bytes, n = block_bytes / bytes;
    LLVMValueRef v[block_bytes];
    for (int i = 0; i < n; i++)
        v[i] = load_blocks(q, table, be_at(e, e->i64, at, be_i64(e, i)), n);
    be_interleave(e, v, n, bytes, q->sets * block_bytes);
    for (int k = 0; k < n; k++) {
        LLVMValueRef column = be_at(
            e, q->code, to, be_i64(e, k * q->stride));
        LLVMSetAlignment(LLVMBuildStore(e->b, v[k], column), block_bytes);
    }
}

/* What the emitted code reads of a run. */
struct run_fields {
    LLVMValueRef values; /* of row 0 */
    LLVMValueRef first_column, n_blocks, limit, table, row_bytes;
};

static struct run_fields load_run(struct quantise *q, LLVMValueRef table,
                                  LLVMValueRef index, LLVMValueRef data)
{
#define FIELD(name) entry_field(q, table, index, offsetof(struct run, name))
    struct run_fields run = {
        .values = feature_values(q, FIELD(feature)),
        .first_column = FIELD(first_column), .n_blocks = FIELD(n_blocks),
        .limit = FIELD(limit)};
    run.table = be_offset(q->e, data, FIELD(table));
#undef FIELD
    run.row_bytes = LLVMBuildMul(q->e->b, run.n_blocks,
                                 be_i64(q->e, block_bytes), "");
    return run;
}

/* for each run: the row's codes, side by side. A run may write past its end, as
 * below. */
static void emit_runs_of_row(struct quantise *q, uint8_t reading,
                             LLVMValueRef table, int n, LLVMValueRef data)
{
    struct be_emitter *e = q->e;
    struct be_loop run, block;
    be_loop_begin(e, &run, be_i64(e, 0), be_i64(e, n), 1);
    struct run_fields r = load_run(q, table, run.index, data);
    LLVMValueRef v = load_value(q, r.values, be_i64(e, 0));
    LLVMValueRef from = LLVMBuildMul(
        e->b, category_row(q, reading, r.limit, v), r.row_bytes, "");
    from = be_offset(e, r.table, from);
    LLVMValueRef to = be_at(e, q->code, q->codes, r.first_column);
    be_loop_begin(e, &block, be_i64(e, 0), r.row_bytes, block_bytes);
    be_store(e, be_load(e, be_vector(e->i8, block_bytes),
                        be_offset(e, from, block.index)),
             be_offset(e, to, block.index));
    be_loop_end(e, &block);
    be_loop_end(e, &run);
}

/* for each run, for each row of the block: the codes of all its columns. The
 * last block of a run may write to columns past the run's own: they are those
 * of later runs, or numeric ones, which are written after, or room that the
 * layout has for it. */
static void emit_runs(struct quantise *q, uint8_t reading, LLVMValueRef table,
                      int n, LLVMValueRef data)
{
    struct be_emitter *e = q->e;
    const int n_columns = block_bytes / q->forest->code_bytes;
    struct be_loop run, row, rows, block;
    /* Past the last row, those of the first category are copied. */
    LLVMValueRef start = q->table_rows;
    LLVMValueRef zeros = LLVMConstNull(be_vector(e->i64, block_rows));
    be_loop_begin(e, &run, be_i64(e, 0), be_i64(e, n), 1);
    struct run_fields r = load_run(q, table, run.index, data);
    LLVMSetAlignment(LLVMBuildStore(e->b, zeros, start), 64);
    LLVMValueRef count = LLVMBuildSub(e->b, q->end_row, q->first_row, "");
    be_loop_begin(e, &row, be_i64(e, 0), count, 1);
    LLVMValueRef v = load_value(
        q, r.values, LLVMBuildAdd(e->b, q->first_row, row.index, ""));
    LLVMValueRef at = LLVMBuildMul(
        e->b, category_row(q, reading, r.limit, v), r.row_bytes, "");
    be_store(e, at, be_at(e, e->i64, start, row.index));
    be_loop_end(e, &row);

    be_loop_begin(e, &rows, be_i64(e, 0), count, n_columns * q->sets);
    LLVMValueRef from = be_at(e, e->i64, start, rows.index);
    be_loop_begin(e, &block, be_i64(e, 0), r.n_blocks, 1);
    LLVMValueRef part = be_offset(
        e, r.table,
        LLVMBuildMul(e->b, block.index, be_i64(e, block_bytes), ""));
    LLVMValueRef dest = LLVMBuildAdd(
        e->b, r.first_column,
        LLVMBuildMul(e->b, block.index, be_i64(e, n_columns), ""), "");
    dest = LLVMBuildMul(e->b, dest, be_i64(e, q->stride), "");
    dest = LLVMBuildAdd(e->b, dest, q->first_row, "");
    dest = LLVMBuildAdd(e->b, dest, rows.index, "");
    copy_block(q, part, from, be_at(e, q->code, q->codes, dest));
    be_loop_end(e, &block);
    be_loop_end(e, &rows);
    be_loop_end(e, &run);
}

/* Appends the table of the run of columns [first, end) to `data`. */
static struct run append_run(const struct quantise *q, int first, int end,
                             struct ir_text *data)
{
    const struct ir_forest *f = &q->forest->f;
    const struct run run = {
        .feature = f->column_feature[first], .first_column = first,
        .n_blocks = run_blocks(q->forest, first, end),
        .limit = category_limit(f, first, end),
        .table = (int32_t)data->length,
    };
    const size_t bytes =
        (size_t)(run.limit + 2) * (size_t)run.n_blocks * block_bytes;
    uint8_t *table = ir_realloc_array(NULL, bytes, 1);
    memset(table, 0, bytes);
    for (int c = first; c < end; c++)
        fill_codes(q, c, &run, table);
    ir_text_append(data, table, bytes);
    free(table);
    return run;
}

/* Emits the runs collected so far, all of which read values in one way. */
static void flush_runs(struct quantise *q, uint8_t reading, struct run *runs,
                       int *n, struct ir_text *data)
{
    if (*n > 0) {
        LLVMValueRef bytes =
            be_bytes(q->e, "category_codes", data->data, data->length, 64);
        LLVMValueRef table = be_bytes(q->e, "category_run", runs,
                                      (size_t)*n * sizeof(*runs), 32);
        if (q->one_row)
            emit_runs_of_row(q, reading, table, *n, bytes);
        else
            emit_runs(q, reading, table, *n, bytes);
    }
    *n = 0;
    data->length = 0;
}

/* Runs are written in the order of their columns: see emit_runs. */
static void emit_categorical(struct quantise *q)
{
    const struct ir_forest *f = &q->forest->f;
    struct run *runs =
        ir_realloc_array(NULL, (size_t)f->n_code_columns + 1, sizeof(*runs));
    struct ir_text data;
    uint8_t reading = 0; /* of the runs collected */
    int n = 0;
    ir_text_init(&data);
    for (int c = 0, end; c < f->n_code_columns; c = end) {
        end = be_category_run_end(f, c);
        if (end == c) {
            end++;
            continue;
        }
        if (be_category_reading(f, c) != reading)
            flush_runs(q, reading, runs, &n, &data);
        reading = be_category_reading(f, c);
        runs[n++] = append_run(q, c, end, &data);
    }
    flush_runs(q, reading, runs, &n, &data);
    ir_text_release(&data);
    free(runs);
}

/* Of one row whose set tests are words: for each run, the row of its words. */
static void emit_set_rows(struct quantise *q)
{
    struct be_emitter *e = q->e;
    const struct be_forest *forest = q->forest;
    LLVMValueRef rows =
        be_offset(e, q->codes, be_i64(e, be_set_rows_at(forest)));
    for (int r = 0; r < forest->n_set_runs; r++) {
        const struct be_set_run *run = &forest->set_run[r];
        LLVMValueRef values = feature_values(
            q, be_i64(e, forest->f.column_feature[run->first]));
        LLVMValueRef row = category_row(
            q, be_category_reading(&forest->f, run->first),
            be_i64(e, run->limit), load_value(q, values, be_i64(e, 0)));
        be_store(e, LLVMBuildTrunc(e->b, row, e->i32, ""),
                 be_at(e, e->i32, rows, be_i64(e, r)));
    }
}

int64_t be_code_columns(const struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    int64_t n = f->n_code_columns;
    for (int c = 0, end; c < f->n_code_columns; c = end) {
        end = be_category_run_end(f, c);
        const int64_t written = c + (int64_t)run_blocks(forest, c, end) *
                                        block_bytes / forest->code_bytes;
        if (end == c)
            end++;
        else if (written > n)
            n = written;
    }
    return n;
}

static void emit_columns(struct quantise *q)
{
    struct group_column *columns = ir_realloc_array(
        NULL, (size_t)q->forest->f.n_code_columns + 1, sizeof(*columns));
    if (q->one_row && q->forest->n_set_runs > 0)
        emit_set_rows(q);
    else
        emit_categorical(q);
    for (int levels = 1; levels <= max_levels; levels++)
        for (uint8_t flags = 0; flags < IR_NODE_CATEGORICAL; flags++)
            emit_numeric(q, levels, flags, columns);
    free(columns);
}

/* Rows of a block. Wide rows, of which columns read a number here and there,
 * are not fetched in time by the machine itself: that is done here, for rows of
 * contiguous numbers. */
static int plan_block(struct quantise *q, int n_columns)
{
    struct be_emitter *e = q->e;
    const struct ir_forest *f = &q->forest->f;
    const int64_t bytes =
        f->n_features * (int64_t)ir_dtype_bytes(q->from);
    int rows = block_rows;
    if (bytes < wide_bytes || n_columns == 0)
        return rows;
    while (rows > least_rows && rows * bytes > block_bytes_most)
        rows /= 2;
    /* Bytes a column are row_stride times this, in 1/65536. */
    const int64_t per_column =
        (rows * (int64_t)ir_dtype_bytes(q->from) << 16) / f->n_code_columns;
    LLVMValueRef dense = LLVMBuildICmp(e->b, LLVMIntEQ, q->column_stride,
                                       be_i64(e, 1), "");
    LLVMValueRef share =
        LLVMBuildMul(e->b, q->row_stride, be_i64(e, per_column + 1), "");
    share = LLVMBuildAShr(e->b, share, be_i64(e, 16), "");
    q->share = LLVMBuildSelect(e->b, dense, share, be_i64(e, 0), "");
    return rows;
}

/* All rows, block by block. */
static void emit_blocks(struct quantise *q, LLVMValueRef n_rows)
{
    struct be_emitter *e = q->e;
    const struct be_rows all = {q->base, q->row_stride, q->column_stride,
                                n_rows, q->codes};
    int n = 0; /* columns that are left */
    for (int c = 0; c < q->forest->f.n_code_columns; c++)
        n += !be_ranks_column(e, q->forest, q->from, c);
    if (n == 0) {
        be_ranks_emit(e, q->forest, q->from, &all);
        return;
    }
    const int rows = plan_block(q, n);
    q->sets = e->level->vector_bytes / block_bytes;
    while (q->sets * block_bytes / q->forest->code_bytes > rows)
        q->sets /= 2;
    q->table_rows =
        LLVMBuildAlloca(e->b, LLVMArrayType2(e->i64, block_rows), "");
    LLVMSetAlignment(q->table_rows, 64);
    struct be_loop block;
    be_loop_begin(e, &block, be_i64(e, 0), n_rows, rows);
    LLVMValueRef end = LLVMBuildAdd(e->b, block.index, be_i64(e, rows), "");
    LLVMValueRef past = LLVMBuildICmp(e->b, LLVMIntSGT, end, n_rows, "");
    q->first_row = block.index;
    if (q->share)
        q->next = be_at(e, be_type(e, q->from), q->base,
                        LLVMBuildMul(e->b, end, q->row_stride, ""));
    q->end_row = LLVMBuildSelect(e->b, past, n_rows, end, "");
    emit_columns(q);
    be_loop_end(e, &block);
    /* After the categorical ones: see emit_runs. */
    be_ranks_emit(e, q->forest, q->from, &all);
}

void be_quantise_emit(struct be_emitter *e, struct be_forest *forest,
                      int level, enum ir_dtype dtype, bool one_row)
{
    const struct ir_forest *f = &forest->f;
    char name[64];
    snprintf(name, sizeof(name), "quantise_%d_%s%s_%d", forest->number,
             ir_dtype_name(dtype), one_row ? "_one" : "",
             e->levels[level]->vector_bytes);
    LLVMTypeRef batch[] = {e->ptr, e->i64, e->i64, e->i64, e->ptr};
    LLVMTypeRef one[] = {e->ptr, e->i64, e->ptr};
    LLVMValueRef fn = be_function(e, name, e->none, one_row ? one : batch,
                                  one_row ? 3 : 5, e->levels[level]);
    const bool narrow = dtype == IR_F32 || f->in_dtype == IR_F32;
    struct quantise q = {
        .e = e, .forest = forest, .from = dtype,
        .in = narrow ? IR_F32 : IR_F64,
        .code = forest->code_bytes == 1 ? e->i8 : e->i16,
        .one_row = one_row, .stride = one_row ? 1 : forest->tile_rows,
        .base = LLVMGetParam(fn, 0),
        .row_stride = one_row ? be_i64(e, 0) : LLVMGetParam(fn, 1),
        .column_stride = LLVMGetParam(fn, one_row ? 1 : 2),
        .codes = LLVMGetParam(fn, one_row ? 2 : 4),
        .first_row = be_i64(e, 0), .end_row = be_i64(e, 1),
    };
    be_noalias(e, fn, 0);
    be_noalias(e, fn, one_row ? 2 : 4);
    if (one_row)
        emit_columns(&q);
    else
        emit_blocks(&q, LLVMGetParam(fn, 3));
    LLVMBuildRetVoid(e->b);
    (one_row ? forest->quantise_one : forest->quantise)[level]
                                                       [dtype == IR_F64] = fn;
}
