/* emit_forest.c: the op `forest`: what its strategies share, and its lowering
 * in a tile. Which strategy runs is the schedule pass's decision. */
#include "backend/llvm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

float be_round_down(double v)
{
    const float f = (float)v;
    return (double)f > v ? nextafterf(f, -INFINITY) : f;
}

/* Numbers each tree's leaves in the order of a walk from left to right, but for
 * select a leaf beside a subtree comes first (see emit_select.c). Leaves that
 * no node leads to come last. */
static void place_leaves(struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    int32_t *stack = ir_realloc_array(NULL, (size_t)f->n_nodes + 1, 4);
    for (int t = 0; t < f->n_trees; t++) {
        const int32_t *left = f->left + f->tree_start[t];
        const int32_t *right = f->right + f->tree_start[t];
        int32_t *place = forest->leaf_place + f->leaf_start[t];
        const int n_leaves = f->leaf_start[t + 1] - f->leaf_start[t];
        for (int i = 0; i < n_leaves; i++)
            place[i] = -1;
        int32_t next = 0;
        int depth = 0;
        stack[depth++] = f->tree_start[t] == f->tree_start[t + 1] ? ~0 : 0;
        while (depth > 0) {
            const int32_t at = stack[--depth];
            if (at < 0) {
                place[~at] = next++;
                continue;
            }
            const bool swap =
                right[at] < 0 && left[at] >= 0;
            stack[depth++] = swap ? left[at] : right[at];
            stack[depth++] = swap ? right[at] : left[at];
        }
        for (int i = 0; i < n_leaves; i++)
            if (place[i] < 0)
                place[i] = next++;
    }
    free(stack);
}

static void emit_leaf_table(struct be_emitter *e, struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    const size_t bytes = forest->leaf_bytes;
    uint8_t *table = ir_realloc_array(NULL, (size_t)f->n_leaves, bytes);
    for (int t = 0; t < f->n_trees; t++)
        for (int i = f->leaf_start[t]; i < f->leaf_start[t + 1]; i++)
            memcpy(table + (f->leaf_start[t] + forest->leaf_place[i]) * bytes,
                   forest->stored + i * bytes, bytes);
    forest->leaf_table = be_bytes(e, "leaf_value", table,
                                  (size_t)f->n_leaves * bytes, 64);
    free(table);
}

LLVMValueRef be_leaf_values(struct be_emitter *e, struct be_forest *forest)
{
    if (!forest->leaf_values)
        forest->leaf_values =
            be_bytes(e, "leaf_value", forest->stored,
                     (size_t)forest->f.n_leaves * forest->leaf_bytes, 64);
    return forest->leaf_values;
}

/* acc[k] += from[k] for k < n. */
static void add_values(struct be_emitter *e, const struct be_forest *forest,
                       int n, LLVMValueRef from, LLVMValueRef acc)
{
    LLVMTypeRef vector = be_vector(be_type(e, forest->f.sum_dtype), n);
    LLVMValueRef sum = LLVMBuildFAdd(e->b, be_load(e, vector, acc),
                                     be_load_leaf(e, forest, n, 0, from), "");
    be_store(e, sum, acc);
}

/* Wide leaves are added in a loop of so many values at a time. */
enum { wide_lanes = 8 };

void be_add_values(struct be_emitter *e, const struct be_forest *forest,
                   LLVMValueRef from, LLVMValueRef acc)
{
    const struct ir_forest *f = &forest->f;
    LLVMTypeRef sum = be_type(e, f->sum_dtype), leaf = be_leaf_type(e, forest);
    const int whole = f->leaf_width / wide_lanes * wide_lanes;
    if (whole > wide_lanes) {
        struct be_loop loop;
        be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, whole), wide_lanes);
        add_values(e, forest, wide_lanes, be_at(e, leaf, from, loop.index),
                   be_at(e, sum, acc, loop.index));
        be_loop_end(e, &loop);
    } else if (whole) {
        add_values(e, forest, wide_lanes, from, acc);
    }
    if (f->leaf_width > whole)
        add_values(e, forest, f->leaf_width - whole,
                   be_at(e, leaf, from, be_i64(e, whole)),
                   be_at(e, sum, acc, be_i64(e, whole)));
}

void be_add_leaf(struct be_emitter *e, const struct be_forest *forest,
                 LLVMValueRef values, LLVMValueRef leaf, LLVMValueRef acc)
{
    LLVMValueRef first =
        LLVMBuildNSWMul(e->b, leaf, be_i64(e, forest->f.leaf_width), "");
    be_add_values(e, forest,
                  be_at(e, be_leaf_type(e, forest), values, first), acc);
}

LLVMValueRef be_stops_before(struct be_emitter *e,
                             const struct be_forest *forest,
                             LLVMValueRef next)
{
    const int64_t trees = forest->f.stop_every * forest->f.n_targets;
    return LLVMBuildIsNull(
        e->b, LLVMBuildURem(e->b, next, be_i64(e, trees), ""), "");
}

LLVMValueRef be_is_sure(struct be_emitter *e, const struct be_forest *forest,
                        LLVMValueRef acc)
{
    const struct ir_forest *f = &forest->f;
    LLVMTypeRef sum = be_type(e, f->sum_dtype);
    LLVMValueRef bound = be_real(e, IR_F64, f->stop_margin);
    if (f->n_targets == 1) {
        LLVMValueRef v =
            be_convert(e, be_load(e, sum, acc), f->sum_dtype, IR_F64);
        v = be_intrinsic(e, "llvm.fabs", e->f64, &v, 1);
        v = LLVMBuildFMul(e->b, be_real(e, IR_F64, 2), v, "");
        return LLVMBuildFCmp(e->b, LLVMRealOGT, v, bound, "");
    }
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    LLVMValueRef least = be_real(e, IR_F64, -INFINITY);
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, f->n_targets), 1);
    LLVMValueRef first = be_carry(e, &loop, least, before);
    LLVMValueRef second = be_carry(e, &loop, least, before);
    LLVMValueRef v = be_convert(
        e, be_load(e, sum, be_at(e, sum, acc, loop.index)), f->sum_dtype,
        IR_F64);
    LLVMValueRef leads = LLVMBuildFCmp(e->b, LLVMRealOGT, v, first, "");
    LLVMValueRef follows = LLVMBuildFCmp(e->b, LLVMRealOGT, v, second, "");
    LLVMValueRef next = LLVMBuildSelect(e->b, follows, v, second, "");
    be_carried(e, second, LLVMBuildSelect(e->b, leads, first, next, ""));
    be_carried(e, first, LLVMBuildSelect(e->b, leads, v, first, ""));
    be_loop_end(e, &loop);
    return LLVMBuildFCmp(e->b, LLVMRealOGT,
                         LLVMBuildFSub(e->b, first, second, ""), bound, "");
}

static struct be_forest *forest_new(struct be_emitter *e, int number)
{
    const struct ir_op *op = e->module->ops[number];
    struct be_forest *forest = ir_alloc(&e->arena, sizeof(*forest));
    ir_forest_view(op, &forest->f);
    forest->op = op;
    forest->number = number;
    if (op->kind == IR_OP_contributions)
        return forest;
    static const char *const attr[2] = {"strategy", "row_strategy"};
    for (int one_row = 0; one_row < 2; one_row++)
        forest->by[one_row] = (enum ir_strategy)ir_strategy_find(
            ir_attr_string(op, attr[one_row]));
    forest->code_bytes = forest->f.code_bits / 8;
    be_leaf_values_init(e, forest);
    forest->tile_rows = be_tile_rows(e);
    be_set_words_plan(e, forest);
    forest->leaf_place =
        ir_alloc_array(&e->arena, (size_t)forest->f.n_leaves, 4);
    place_leaves(forest);
    return forest;
}

bool be_by_tiles(const struct be_forest *forest)
{
    return forest->by[0] == IR_SELECT || forest->by[0] == IR_SLICE ||
           forest->by[0] == IR_OBLIVIOUS;
}

bool be_by_codes(const struct be_forest *forest, bool one_row)
{
    const enum ir_strategy s = forest->by[one_row];
    return s == IR_MATCH16 || s == IR_MATCH32 ||
           (one_row && s == IR_OBLIVIOUS);
}

bool be_by_raw(const struct be_forest *forest, bool one_row)
{
    const enum ir_strategy s = forest->by[one_row];
    return s == IR_RAW8 || s == IR_RAW16;
}

static bool uses(const struct be_forest *forest, enum ir_strategy s)
{
    return forest->by[0] == s || forest->by[1] == s;
}

bool be_walks(const struct be_forest *forest)
{
    return uses(forest, IR_WALK);
}

/* What codes are written by, of tiles and of one row. */
static void emit_quantise(struct be_emitter *e, struct be_forest *forest)
{
    const bool one =
        be_by_codes(forest, false) || be_by_codes(forest, true);
    for (int l = 0; l < e->n_levels; l++)
        for (int one_row = 0; one_row < 2; one_row++) {
            if (one_row ? !one : !be_by_tiles(forest))
                continue;
            be_quantise_emit(e, forest, l, IR_F32, one_row);
            be_quantise_emit(e, forest, l, IR_F64, one_row);
        }
}

static void emit_strategies(struct be_emitter *e, struct be_forest *forest)
{
    if (forest->by[0] == IR_SELECT)
        emit_leaf_table(e, forest);
    if (forest->by[0] == IR_OBLIVIOUS)
        be_oblivious_emit(e, forest);
    if (forest->by[0] == IR_SLICE)
        be_slice_emit(e, forest);
    for (int l = 0; l < e->n_levels && forest->by[0] == IR_SELECT; l++)
        be_select_emit(e, forest, l);
    if (forest->by[1] == IR_OBLIVIOUS)
        be_oblivious_one_emit(e, forest);
    if (uses(forest, IR_MATCH16))
        be_match_emit(e, forest, 16);
    if (uses(forest, IR_MATCH32))
        be_match_emit(e, forest, 32);
    if (uses(forest, IR_RAW8))
        be_raw_emit(e, forest, 8);
    if (uses(forest, IR_RAW16))
        be_raw_emit(e, forest, 16);
    emit_quantise(e, forest);
    if (uses(forest, IR_BRANCH))
        be_branch_emit(e, forest);
    if (be_walks(forest) || ir_value_used(e->module, &forest->op->result[1]))
        be_walk_emit(e, forest);
}

void be_forests_emit(struct be_emitter *e)
{
    for (int i = 0; i < e->module->n_ops; i++) {
        const enum ir_op_kind kind = e->module->ops[i]->kind;
        if (kind != IR_OP_forest && kind != IR_OP_contributions)
            continue;
        e->forests[i] = forest_new(e, i);
        if (kind == IR_OP_contributions)
            be_contributions_emit(e, e->forests[i]);
        else
            emit_strategies(e, e->forests[i]);
    }
}

LLVMValueRef be_node_goes_left(struct be_emitter *e, struct be_forest *forest,
                               int64_t node, LLVMValueRef v)
{
    const struct ir_forest *f = &forest->f;
    const bool missing_left = f->flags[node] & IR_NODE_MISSING_LEFT;
    if (f->flags[node] & IR_NODE_CATEGORICAL)
        return be_set_test(e, forest, node, v);
    LLVMValueRef t = be_real(e, f->in_dtype,
                             ir_real(f->threshold, f->in_dtype, (size_t)node));
    const LLVMRealPredicate predicate =
        f->strict ? missing_left ? LLVMRealULT : LLVMRealOLT
        : missing_left ? LLVMRealULE : LLVMRealOLE;
    LLVMValueRef left = LLVMBuildFCmp(e->b, predicate, v, t, "");
    if (!(f->flags[node] & IR_NODE_ZERO_MISSING))
        return left;
    LLVMValueRef bound = be_real(e, f->in_dtype, f->zero_bound);
    LLVMValueRef low = LLVMBuildFCmp(e->b, LLVMRealOGE, v,
                                     be_real(e, f->in_dtype, -f->zero_bound),
                                     "");
    LLVMValueRef high = LLVMBuildFCmp(e->b, LLVMRealOLE, v, bound, "");
    LLVMValueRef zero = LLVMBuildAnd(e->b, low, high, "");
    return missing_left
               ? LLVMBuildOr(e->b, left, zero, "")
               : LLVMBuildAnd(e->b, left, LLVMBuildNot(e->b, zero, ""), "");
}

/* margin[r][k] = base[k] for the rows of the tile, padded to whole blocks. */
static void init_margins(struct be_emitter *e, const struct be_forest *forest,
                         LLVMValueRef margin, LLVMValueRef n_rows)
{
    const struct ir_forest *f = &forest->f;
    struct be_loop loop;
    LLVMTypeRef type = be_type(e, f->sum_dtype);
    be_loop_begin(e, &loop, be_i64(e, 0), n_rows, 1);
    LLVMValueRef row =
        LLVMBuildNSWMul(e->b, loop.index, be_i64(e, f->n_targets), "");
    if (f->n_targets <= 16) {
        for (int k = 0; k < f->n_targets; k++)
            be_store(e,
                     be_real(e, f->sum_dtype,
                             ir_real(f->base, f->sum_dtype, (size_t)k)),
                     be_at(e, type, margin,
                           LLVMBuildNSWAdd(e->b, row, be_i64(e, k), "")));
    } else {
        LLVMValueRef base =
            be_bytes(e, "base", f->base,
                     f->n_targets * ir_dtype_bytes(f->sum_dtype), 8);
        struct be_loop inner;
        be_loop_begin(e, &inner, be_i64(e, 0), be_i64(e, f->n_targets), 1);
        LLVMValueRef at = LLVMBuildNSWAdd(e->b, row, inner.index, "");
        be_store(e, be_load(e, type, be_at(e, type, base, inner.index)),
                 be_at(e, type, margin, at));
        be_loop_end(e, &inner);
    }
    be_loop_end(e, &loop);
}

/* to[i] = from[i] / divisor for the tile's margins. */
static void finish_margins(struct be_emitter *e, const struct be_forest *forest,
                           LLVMValueRef from, LLVMValueRef to)
{
    const struct ir_forest *f = &forest->f;
    if (from == to && f->divisor == 1)
        return;
    struct be_loop loop;
    LLVMTypeRef type = be_type(e, f->sum_dtype);
    LLVMValueRef n =
        LLVMBuildNSWMul(e->b, e->n_rows, be_i64(e, f->n_targets), "");
    be_loop_begin(e, &loop, be_i64(e, 0), n, 1);
    LLVMValueRef v = be_load(e, type, be_at(e, type, from, loop.index));
    if (f->divisor != 1)
        v = LLVMBuildFDiv(e->b, v, be_real(e, f->sum_dtype, f->divisor), "");
    be_store(e, v, be_at(e, type, to, loop.index));
    be_loop_end(e, &loop);
}

int be_level_index(const struct be_emitter *e)
{
    for (int i = 0; i < e->n_levels; i++)
        if (e->levels[i] == e->level)
            return i;
    ir_bug("the level is not among those held");
}

int64_t be_sums_at(const struct be_forest *forest)
{
    const int64_t codes =
        be_code_columns(forest) * forest->tile_rows * forest->code_bytes;
    return (codes + forest->slot_room + 63) / 64 * 64;
}

/* By tiles of codes: select, slice, oblivious. */
static void lower_tile(struct be_emitter *e, struct be_forest *forest)
{
    const struct ir_op *op = forest->op;
    const struct ir_value *margin = &op->result[0], *leaf = &op->result[1];
    const int level = be_level_index(e);
    const struct be_view x = be_view_of(e, op->operand[0]);
    const int64_t at = e->layout->work[forest->number];
    LLVMValueRef codes = be_offset(e, e->workspace, be_i64(e, at));
    LLVMValueRef quantise[] = {x.base, x.row_stride, x.column_stride,
                               e->n_rows, codes};
    be_call(e, forest->quantise[level][x.dtype == IR_F64], quantise, 5);

    /* Whole blocks are added to, so margins need the room of a buffer. */
    const int64_t margin_at = e->layout->value[margin->id];
    LLVMValueRef margins = be_offset(e, e->workspace, be_i64(e, margin_at));
    const bool looks_up = be_looks_up(e, forest);
    LLVMValueRef sums =
        looks_up ? be_offset(e, codes, be_i64(e, be_sums_at(forest))) : margins;
    const bool wants_margin = e->needed[margin->id];
    const bool wants_leaf = e->needed[leaf->id];
    LLVMValueRef null = LLVMConstNull(e->ptr);
    if (wants_margin && looks_up)
        be_planes_start(e, forest, sums, e->n_rows);
    else if (wants_margin)
        init_margins(e, forest, sums, e->n_rows);
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 0 ? !wants_margin : !wants_leaf)
            continue;
        LLVMValueRef args[] = {codes, sums,
                               pass == 0 ? null : be_buffer(e, leaf),
                               e->n_rows};
        for (int c = 0; c < forest->n_select_chunks; c++)
            be_call(e, forest->select_chunks[level][c], args, 4);
    }
    LLVMValueRef to = margin == e->out_value ? e->out : margins;
    if (wants_margin && looks_up)
        be_planes_finish(e, forest, sums, to, e->n_rows);
    else if (wants_margin)
        finish_margins(e, forest, sums, to);
}

/* The row `index` of the tile as contiguous numbers of a dtype that is not
 * wider than the forest's: the caller's own when they are that already, else a
 * copy. */
static LLVMValueRef contiguous_row(struct be_emitter *e,
                                   const struct be_forest *forest,
                                   LLVMValueRef index, enum ir_dtype dtype)
{
    const struct ir_forest *f = &forest->f;
    const struct be_layout *layout = e->one_row ? e->layout_one : e->layout;
    const struct be_view x = be_view_of(e, forest->op->operand[0]);
    if (x.dense_columns && x.dtype == dtype)
        return be_view_at(e, &x, index, be_i64(e, 0));
    LLVMValueRef copy = be_offset(
        e, e->workspace, be_i64(e, layout->work[forest->number]));
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, f->n_features), 1);
    LLVMValueRef v = be_load(e, be_type(e, x.dtype),
                             be_view_at(e, &x, index, loop.index));
    be_store(e, be_convert(e, v, x.dtype, dtype),
             be_at(e, be_type(e, dtype), copy, loop.index));
    be_loop_end(e, &loop);
    return copy;
}

/* Adds all trees to the margins of the tile's rows, by their codes: rows one by
 * one, or together, where there is such code and there may be several. */
static void add_by_codes(struct be_emitter *e, struct be_forest *forest,
                         enum ir_strategy by, LLVMValueRef margins)
{
    const int level = be_level_index(e);
    const struct be_layout *layout = e->one_row ? e->layout_one : e->layout;
    const struct be_view x = be_view_of(e, forest->op->operand[0]);
    LLVMValueRef codes = be_offset(
        e, e->workspace, be_i64(e, layout->work[forest->number]));
    LLVMValueRef together = e->one_row ? NULL : forest->rows[by][level];
    const int64_t row_bytes = together ? be_row_code_bytes(forest) : 0;
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), e->n_rows, 1);
    LLVMValueRef at = be_offset(
        e, codes,
        LLVMBuildNSWMul(e->b, loop.index, be_i64(e, row_bytes), ""));
    LLVMValueRef k = LLVMBuildNSWMul(e->b, loop.index,
                                     be_i64(e, forest->f.n_targets), "");
    LLVMValueRef quantise[] = {be_view_at(e, &x, loop.index, be_i64(e, 0)),
                               x.column_stride, at};
    LLVMValueRef one[] = {
        at, be_at(e, be_type(e, forest->f.sum_dtype), margins, k)};
    be_call(e, forest->quantise_one[level][x.dtype == IR_F64], quantise, 3);
    if (!together)
        be_call(e, forest->one[by][level], one, 2);
    be_loop_end(e, &loop);
    LLVMValueRef rows[] = {codes, margins, e->n_rows};
    if (together)
        be_call(e, together, rows, 3);
}

/* The row `index` of the tile, by its own numbers. */
static void add_by_raw(struct be_emitter *e, struct be_forest *forest,
                       enum ir_strategy by, LLVMValueRef index,
                       LLVMValueRef margin)
{
    const struct be_view x = be_view_of(e, forest->op->operand[0]);
    const enum ir_dtype dtype =
        x.dtype == IR_F32 ? IR_F32 : forest->f.in_dtype;
    LLVMValueRef args[] = {contiguous_row(e, forest, index, dtype), margin};
    be_call(e,
            forest->raw[by == IR_RAW16][be_level_index(e)][dtype == IR_F64],
            args, 2);
}

/* Row by row, as batches are done or as one row is: by branch, walk, match,
 * raw, or one row by oblivious. */
static void lower_rows(struct be_emitter *e, struct be_forest *forest,
                       bool as_one)
{
    const struct ir_op *op = forest->op;
    const struct ir_forest *f = &forest->f;
    const struct ir_value *margin = &op->result[0], *leaf = &op->result[1];
    const bool branch = forest->by[as_one] == IR_BRANCH;
    const bool by_codes = be_by_codes(forest, as_one);
    const bool by_raw = be_by_raw(forest, as_one);
    LLVMTypeRef sum = be_type(e, f->sum_dtype);
    LLVMValueRef sums = NULL, leaves = NULL;
    if (e->needed[margin->id]) {
        sums = be_buffer(e, margin);
        init_margins(e, forest, sums, e->n_rows);
    }
    if (e->needed[leaf->id])
        leaves = be_buffer(e, leaf);
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), e->n_rows, 1);
    LLVMValueRef args[2] = {NULL};
    if (leaves || !(by_codes || by_raw))
        args[0] = contiguous_row(e, forest, loop.index, f->in_dtype);
    if (leaves) { /* first: codes are written where the row is copied to */
        LLVMValueRef t =
            LLVMBuildNSWMul(e->b, loop.index, be_i64(e, f->n_trees), "");
        args[1] = be_at(e, e->i32, leaves, t);
        be_call(e, forest->walk_leaf, args, 2);
    }
    if (sums && !by_codes) {
        LLVMValueRef k =
            LLVMBuildNSWMul(e->b, loop.index, be_i64(e, f->n_targets), "");
        args[1] = be_at(e, sum, sums, k);
        for (int c = 0; branch && c < forest->n_branch_chunks; c++)
            be_call(e, forest->branch_chunks[c], args, 2);
        if (by_raw)
            add_by_raw(e, forest, forest->by[as_one], loop.index, args[1]);
        else if (!branch)
            be_call(e, forest->walk, args, 2);
    }
    be_loop_end(e, &loop);
    if (sums && by_codes)
        add_by_codes(e, forest, forest->by[as_one], sums);
    if (sums)
        finish_margins(e, forest, sums, sums);
}

int64_t be_few_rows(const struct be_forest *forest)
{
    return ir_attr_int_or(forest->op, "few_rows", 0);
}

/* A whole tile costs as much whether its rows are there or not. */
static void lower_few_or_tile(struct be_emitter *e, struct be_forest *forest)
{
    const int64_t few = be_few_rows(forest);
    if (few < 2) {
        lower_tile(e, forest);
        return;
    }
    LLVMBasicBlockRef rows = be_block(e, "few"), tile = be_block(e, "tile");
    LLVMBasicBlockRef done = be_block(e, "lowered");
    LLVMValueRef are_few =
        LLVMBuildICmp(e->b, LLVMIntSLT, e->n_rows, be_i64(e, few), "");
    LLVMBuildCondBr(e->b, are_few, rows, tile);
    LLVMPositionBuilderAtEnd(e->b, rows);
    lower_rows(e, forest, true);
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, tile);
    lower_tile(e, forest);
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, done);
}

void be_lower_forest(struct be_emitter *e, const struct ir_op *op)
{
    struct be_forest *forest = e->forests[be_op_number(e, op)];
    if (be_by_tiles(forest) && !e->one_row)
        lower_few_or_tile(e, forest);
    else
        lower_rows(e, forest, e->one_row);
}
