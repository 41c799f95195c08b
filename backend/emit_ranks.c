/* emit_ranks.c: codes of numeric columns 16 rows at once, for levels whose
 * permutes choose among the elements of two registers (AVX-512).
 *
 * A column's cuts, up to 255, are a binary tree in registers, numbered as a
 * heap: from 1, the children of number i being 2 i and 2 i + 1. A row is at a
 * number of the heap; one permute fetches what its value is compared with, and
 * the number doubles, plus one if the value is above. After as many levels as
 * there are the number is the rank, plus a power of two. Permutes look at as
 * many low bits of an index as they need, so that each level is a table of its
 * own and the number its index: levels 0 to 3 are one register, level 4 is one,
 * level 5 two, level 6 four and level 7 eight, whose results are chosen among
 * by the bits left.
 *
 * Rows are taken 64 at a time. First the values of 16 features are turned into
 * columns, by transposing 16 rows of 16 where a row's numbers are contiguous;
 * all columns of these features are coded then.
 */
#include "backend/llvm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    lanes = 16,
    block_rows = 64,
    parts = block_rows / lanes,
    least_levels = 4, most_levels = 8,
    wide_bytes = 256, /* of a row, from which on rows are fetched in advance */
    register_bytes = 64,
};

/* Columns of one class have as many levels, and the same flags. */
enum { n_flags = IR_NODE_CATEGORICAL, n_classes = (most_levels + 1) * n_flags };

/* What the emitted code reads of a column. */
struct entry {
    int32_t value; /* number of its feature among those of the group */
    int32_t column;
    int32_t heap;  /* where its heap is, in floats */
    int32_t unused;
};

struct ranks {
    struct be_emitter *e;
    const struct be_forest *forest;
    const struct ir_forest *f;
    const struct be_rows *rows;
    LLVMTypeRef code, floats, ints;
    LLVMValueRef values; /* f32[16 features][block_rows] */
    LLVMValueRef entries, heaps;
};

static int levels_of(const struct ir_forest *f, int column)
{
    const int n = f->cut_start[column + 1] - f->cut_start[column];
    int levels = least_levels;
    while ((1 << levels) - 1 < n)
        levels++;
    return levels;
}

bool be_ranks_column(const struct be_emitter *e, const struct be_forest *forest,
                     enum ir_dtype from, int column)
{
    const struct ir_forest *f = &forest->f;
    return e->level->has_masks && from == IR_F32 &&
           !(f->column_flags[column] &
             (IR_NODE_CATEGORICAL | IR_NODE_FLOOR | IR_NODE_EXACT)) &&
           levels_of(f, column) <= most_levels;
}

static int class_of(const struct ir_forest *f, int column)
{
    return levels_of(f, column) * n_flags + f->column_flags[column];
}

/* ---------------------------------------------------------------- tables -- */

/* The number `i` of a heap of `levels`: a cut, or +inf where there are
 * fewer. */
static float heap_cut(const struct ir_forest *f, int column, int levels, int i)
{
    int level = 0;
    while (2 << level <= i)
        level++;
    const int at = i - (1 << level);
    const int cut = (2 * at + 1) * (1 << (levels - 1 - level)) - 1;
    const int first = f->cut_start[column];
    if (i == 0 || cut >= f->cut_start[column + 1] - first)
        return INFINITY;
    return be_round_down(ir_real(f->cuts, f->in_dtype, (size_t)(first + cut)));
}

static void append_heap(const struct ir_forest *f, int column,
                        struct ir_text *to)
{
    const int levels = levels_of(f, column);
    for (int i = 0; i < 1 << levels; i++) {
        const float cut = heap_cut(f, column, levels, i);
        ir_text_append(to, &cut, sizeof(cut));
    }
}

/* Row `row`, or the last one that there is. */
static LLVMValueRef row_at(struct ranks *r, LLVMValueRef row)
{
    struct be_emitter *e = r->e;
    LLVMValueRef last =
        LLVMBuildNSWSub(e->b, r->rows->n_rows, be_i64(e, 1), "");
    return be_at(e, e->f32, r->rows->base,
                 LLVMBuildMul(e->b, be_least(e, row, last),
                              r->rows->row_stride, ""));
}

static LLVMValueRef value_at(struct ranks *r, LLVMValueRef feature,
                             LLVMValueRef row)
{
    struct be_emitter *e = r->e;
    LLVMValueRef at =
        LLVMBuildNSWMul(e->b, feature, be_i64(e, block_rows), "");
    return be_at(e, e->f32, r->values, LLVMBuildNSWAdd(e->b, at, row, ""));
}

/* The values of 16 features from `first` on, of rows with contiguous
 * numbers. */
static void take_contiguous(struct ranks *r, LLVMValueRef row,
                            LLVMValueRef first)
{
    struct be_emitter *e = r->e;
    struct be_loop part;
    LLVMValueRef v[lanes];
    be_loop_begin(e, &part, be_i64(e, 0), be_i64(e, block_rows), lanes);
    LLVMValueRef from = LLVMBuildNSWAdd(e->b, row, part.index, "");
    for (int i = 0; i < lanes; i++) {
        LLVMValueRef at = be_at(
            e, e->f32, row_at(r, LLVMBuildNSWAdd(e->b, from, be_i64(e, i), "")),
            first);
        v[i] = be_load(e, r->floats, at);
        if (r->f->n_features * 4 < wide_bytes)
            continue;
        LLVMValueRef ahead = be_at(
            e, e->f32, at, LLVMBuildMul(e->b, r->rows->row_stride,
                                        be_i64(e, block_rows), ""));
        be_prefetch(e, ahead, 2);
    }
    be_transpose(e, v, lanes);
    for (int i = 0; i < lanes; i++)
        LLVMSetAlignment(
            LLVMBuildStore(e->b, v[i], value_at(r, be_i64(e, i), part.index)),
            register_bytes);
    be_loop_end(e, &part);
}

/* The same number by number, of rows with any strides. */
static void take_any(struct ranks *r, LLVMValueRef row, LLVMValueRef first)
{
    struct be_emitter *e = r->e;
    const int n = r->f->n_features < lanes ? (int)r->f->n_features : lanes;
    struct be_loop in;
    be_loop_begin(e, &in, be_i64(e, 0), be_i64(e, block_rows), 1);
    LLVMValueRef at = be_at(
        e, e->f32, row_at(r, LLVMBuildNSWAdd(e->b, row, in.index, "")),
        LLVMBuildMul(e->b, first, r->rows->column_stride, ""));
    for (int i = 0; i < n; i++) {
        LLVMValueRef from = be_at(
            e, e->f32, at, LLVMBuildMul(e->b, r->rows->column_stride,
                                        be_i64(e, i), ""));
        be_store(e, be_load(e, e->f32, from),
                 value_at(r, be_i64(e, i), in.index));
    }
    be_loop_end(e, &in);
}

static void take_values(struct ranks *r, LLVMValueRef row, LLVMValueRef first)
{
    struct be_emitter *e = r->e;
    if (r->f->n_features < lanes) {
        take_any(r, row, first);
        return;
    }
    LLVMBasicBlockRef contiguous = be_block(e, "contiguous");
    LLVMBasicBlockRef any = be_block(e, "any"), done = be_block(e, "taken");
    LLVMBuildCondBr(e->b,
                    LLVMBuildICmp(e->b, LLVMIntEQ, r->rows->column_stride,
                                  be_i64(e, 1), ""), contiguous, any);
    LLVMPositionBuilderAtEnd(e->b, contiguous);
    take_contiguous(r, row, first);
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, any);
    take_any(r, row, first);
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, done);
}

/* ---------------------------------------------------------------- search -- */

/* A column's heap: heap[i] has its numbers 16 i to 16 i + 15. */
static void load_heap(struct ranks *r, LLVMValueRef at, int levels,
                      LLVMValueRef heap[lanes])
{
    for (int i = 0; i < 1 << (levels - least_levels); i++) {
        heap[i] = LLVMBuildLoad2(
            r->e->b, r->floats,
            be_offset(r->e, at, be_i64(r->e, i * register_bytes)), "");
        LLVMSetAlignment(heap[i], register_bytes);
    }
}

/* What numbers `at`, of level `level`, have. */
static LLVMValueRef fetch(struct ranks *r, const LLVMValueRef heap[lanes],
                          int level, LLVMValueRef at)
{
    struct be_emitter *e = r->e;
    if (level <= least_levels) {
        LLVMValueRef args[] = {heap[level == least_levels], at};
        return be_intrinsic(e, "llvm.x86.avx512.permvar.sf.512", NULL, args, 2);
    }
    LLVMValueRef v[4];
    const int first = 1 << (level - least_levels); /* register */
    int n = first / 2;
    for (int i = 0; i < n; i++) {
        LLVMValueRef args[] = {heap[first + 2 * i], at,
                               heap[first + 2 * i + 1]};
        v[i] = be_intrinsic(e, "llvm.x86.avx512.vpermi2var.ps.512", NULL, args,
                            3);
    }
    for (unsigned bit = 2 * lanes; n > 1; n /= 2, bit *= 2) {
        LLVMValueRef upper = LLVMBuildICmp(
            e->b, LLVMIntNE,
            LLVMBuildAnd(e->b, at, be_splat_const(e->i32, bit, lanes), ""),
            LLVMConstNull(r->ints), "");
        for (int i = 0; i < n / 2; i++)
            v[i] = LLVMBuildSelect(e->b, upper, v[2 * i + 1], v[2 * i], "");
    }
    return v[0];
}

/* Where v is missing. */
static LLVMValueRef is_missing(struct ranks *r, uint8_t flags, LLVMValueRef v)
{
    struct be_emitter *e = r->e;
    LLVMValueRef missing = LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, "");
    if (!(flags & IR_NODE_ZERO_MISSING))
        return missing;
    const double bound = be_round_down(r->f->zero_bound);
    LLVMValueRef low = be_splat(e, be_real(e, IR_F32, -bound), lanes);
    LLVMValueRef high = be_splat(e, be_real(e, IR_F32, bound), lanes);
    LLVMValueRef zero = LLVMBuildAnd(
        e->b, LLVMBuildFCmp(e->b, LLVMRealOGE, v, low, ""),
        LLVMBuildFCmp(e->b, LLVMRealOLE, v, high, ""), "");
    return LLVMBuildOr(e->b, missing, zero, "");
}

/* The heap's numbers that the values `v` come to, level by level for all of
 * them: the steps of one wait for each other. */
static void search(struct ranks *r, const LLVMValueRef heap[lanes], int levels,
                   const LLVMValueRef v[parts], LLVMValueRef at[parts])
{
    struct be_emitter *e = r->e;
    LLVMValueRef one = be_splat_const(e->i32, 1, lanes);
    for (int i = 0; i < parts; i++)
        at[i] = one;
    for (int level = 0; level < levels; level++)
        for (int i = 0; i < parts; i++) {
            LLVMValueRef cut = fetch(r, heap, level, at[i]);
            LLVMValueRef above =
                LLVMBuildFCmp(e->b, LLVMRealOGT, v[i], cut, "");
            LLVMValueRef twice = LLVMBuildAdd(e->b, at[i], at[i], "");
            at[i] = LLVMBuildSelect(
                e->b, above, LLVMBuildAdd(e->b, twice, one, ""), twice, "");
        }
}

/* From the heap's number to the code of v, as emit_quantise.c's numeric_code()
 * has it. */
static LLVMValueRef code_of(struct ranks *r, int levels, uint8_t flags,
                            LLVMValueRef v, LLVMValueRef at)
{
    struct be_emitter *e = r->e;
    const bool left = flags & IR_NODE_MISSING_LEFT;
    const uint32_t half = r->forest->code_bytes == 1 ? 0x80 : 0x8000;
    LLVMValueRef code = LLVMBuildSub(
        e->b, at, be_splat_const(e->i32, (1u << levels) + half, lanes), "");
    /* A NaN is above no cut: left as it is. */
    if (!left || flags & IR_NODE_ZERO_MISSING)
        code = LLVMBuildSelect(
            e->b, is_missing(r, flags, v),
            be_splat_const(e->i32, left ? -half : half - 1, lanes), code, "");
    return LLVMBuildTrunc(e->b, code, be_vector(r->code, lanes), "");
}

static LLVMValueRef entry_field(struct ranks *r, LLVMValueRef entry,
                                size_t offset)
{
    struct be_emitter *e = r->e;
    LLVMValueRef at = be_offset(e, entry, be_i64(e, (int64_t)offset));
    return LLVMBuildZExt(e->b, be_load(e, e->i32, at), e->i64, "");
}

/* The column of `entry`: its codes from row `row` on. */
static void code_column(struct ranks *r, LLVMValueRef entry, int class,
                        LLVMValueRef row)
{
    struct be_emitter *e = r->e;
    const int levels = class / n_flags, bytes = r->forest->code_bytes;
    LLVMValueRef heap[lanes];
    load_heap(r, be_at(e, e->f32, r->heaps,
                       entry_field(r, entry, offsetof(struct entry, heap))),
              levels, heap);
    LLVMValueRef column =
        entry_field(r, entry, offsetof(struct entry, column));
    LLVMValueRef value = entry_field(r, entry, offsetof(struct entry, value));
    LLVMValueRef to = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, column, be_i64(e, r->forest->tile_rows),
                              ""), row, "");
    to = be_at(e, r->code, r->rows->codes, to);
    LLVMValueRef v[parts], at[parts];
    for (int i = 0; i < parts; i++) {
        v[i] = LLVMBuildLoad2(e->b, r->floats,
                              value_at(r, value, be_i64(e, i * lanes)), "");
        LLVMSetAlignment(v[i], register_bytes);
    }
    search(r, heap, levels, v, at);
    for (int i = 0; i < parts; i++) {
        LLVMValueRef store = LLVMBuildStore(
            e->b, code_of(r, levels, (uint8_t)(class % n_flags), v[i], at[i]),
            be_at(e, r->code, to, be_i64(e, i * lanes)));
        LLVMSetAlignment(store, (unsigned)(lanes * bytes));
    }
}

/* ----------------------------------------------------------------- whole -- */

/* Tables of all columns, by the group of 16 features that each one's is in,
 * then by class: the entries, and for each group its first feature and, class
 * by class, where its entries end. */
struct tables {
    struct ir_text entries, heaps, groups;
    int n_groups;
    bool has[n_classes];
};

static int group_start(const struct ir_forest *f, int group)
{
    const int64_t last = f->n_features - lanes;
    return last < 0 ? 0 : group * lanes < last ? group * lanes : (int)last;
}

static void append_class(struct ranks *r, enum ir_dtype from, int group,
                         int class, struct tables *t)
{
    const struct ir_forest *f = r->f;
    for (int c = 0; c < f->n_code_columns; c++) {
        if (!be_ranks_column(r->e, r->forest, from, c) ||
            f->column_feature[c] / lanes != group || class_of(f, c) != class)
            continue;
        const struct entry entry = {
            .value = f->column_feature[c] - group_start(f, group),
            .column = c,
            .heap = (int32_t)(t->heaps.length / sizeof(float))};
        append_heap(f, c, &t->heaps);
        ir_text_append(&t->entries, &entry, sizeof(entry));
    }
}

static void make_tables(struct ranks *r, enum ir_dtype from, struct tables *t)
{
    const struct ir_forest *f = r->f;
    bool *any = ir_realloc_array(
        NULL, (size_t)(f->n_features / lanes + 1), sizeof(*any));
    memset(any, 0, (size_t)(f->n_features / lanes + 1) * sizeof(*any));
    for (int c = 0; c < f->n_code_columns; c++)
        if (be_ranks_column(r->e, r->forest, from, c)) {
            any[f->column_feature[c] / lanes] = true;
            t->has[class_of(f, c)] = true;
        }
    for (int g = 0; g * lanes < f->n_features; g++) {
        if (!any[g])
            continue;
        const int32_t first = group_start(f, g);
        ir_text_append(&t->groups, &first, sizeof(first));
        for (int class = 0; class < n_classes; class++) {
            if (!t->has[class])
                continue;
            int32_t at = (int32_t)(t->entries.length / sizeof(struct entry));
            ir_text_append(&t->groups, &at, sizeof(at));
            append_class(r, from, g, class, t);
            at = (int32_t)(t->entries.length / sizeof(struct entry));
            ir_text_append(&t->groups, &at, sizeof(at));
        }
        t->n_groups++;
    }
    free(any);
}

/* All columns of the group whose table is at `group`, of 64 rows. */
static void code_group(struct ranks *r, const struct tables *t,
                       LLVMValueRef group, LLVMValueRef row)
{
    struct be_emitter *e = r->e;
    struct be_loop columns;
    size_t offset = sizeof(int32_t);
    take_values(r, row, entry_field(r, group, 0));
    for (int class = 0; class < n_classes; class++) {
        if (!t->has[class])
            continue;
        LLVMValueRef first = entry_field(r, group, offset);
        LLVMValueRef end = entry_field(r, group, offset + sizeof(int32_t));
        offset += 2 * sizeof(int32_t);
        be_loop_begin(e, &columns, first, end, 1);
        LLVMValueRef at = LLVMBuildNSWMul(
            e->b, columns.index, be_i64(e, sizeof(struct entry)), "");
        code_column(r, be_offset(e, r->entries, at), class, row);
        be_loop_end(e, &columns);
    }
}

void be_ranks_emit(struct be_emitter *e, const struct be_forest *forest,
                   enum ir_dtype from, const struct be_rows *rows)
{
    struct ranks r = {
        .e = e, .forest = forest, .f = &forest->f, .rows = rows,
        .code = forest->code_bytes == 1 ? e->i8 : e->i16,
        .floats = be_vector(e->f32, lanes), .ints = be_vector(e->i32, lanes)};
    struct tables t = {.n_groups = 0};
    ir_text_init(&t.entries);
    ir_text_init(&t.heaps);
    ir_text_init(&t.groups);
    make_tables(&r, from, &t);
    if (t.n_groups > 0) {
        struct be_loop blocks, groups;
        const int64_t bytes = (int64_t)t.groups.length / t.n_groups;
        r.entries = be_bytes(e, "rank_column", t.entries.data,
                             t.entries.length, 16);
        r.heaps = be_bytes(e, "rank_heap", t.heaps.data, t.heaps.length, 64);
        LLVMValueRef table = be_bytes(e, "rank_group", t.groups.data,
                                      t.groups.length, 4);
        r.values = LLVMBuildAlloca(
            e->b, LLVMArrayType2(e->f32, lanes * block_rows), "");
        LLVMSetAlignment(r.values, register_bytes);
        be_loop_begin(e, &blocks, be_i64(e, 0), rows->n_rows, block_rows);
        be_loop_begin(e, &groups, be_i64(e, 0), be_i64(e, t.n_groups), 1);
        LLVMValueRef at =
            LLVMBuildNSWMul(e->b, groups.index, be_i64(e, bytes), "");
        code_group(&r, &t, be_offset(e, table, at), blocks.index);
        be_loop_end(e, &groups);
        be_loop_end(e, &blocks);
    }
    ir_text_release(&t.entries);
    ir_text_release(&t.heaps);
    ir_text_release(&t.groups);
}
