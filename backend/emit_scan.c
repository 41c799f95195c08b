/* emit_scan.c: the batch strategy `scan`: what `select` does (emit_select.c), by
 * tables instead of code.
 *
 * A node is a record: a code column, what it is compared with, and where its
 * children's results are; one loop over the records computes all trees of a
 * group for a block of rows. It takes twice the instructions of straight code,
 * which pays where that would be too much of it: compile time and code do not
 * depend on the forest. Results lie in slots of the stack, each one number a
 * row: slot 0 is what a leaf yields, then come those of subtrees that wait for
 * their parents, then the roots', from which leaf values are added row by row.
 */
#include "backend/llvm.h"

#include <stdlib.h>
#include <string.h>

enum {
    most_rows = 128, /* of a block, or half as many where tiles want it */
    group_trees = 32,
    group_nodes = 2048, /* their records stay in L1 while a tile's rows pass */
    add_rows = 8,       /* whose sums are in registers at a time */
    /* A result is read ten cycles after it was stored at best. So the records of
     * some trees take turns. */
    turns = 4,
    /* Slots: what a leaf yields; for each of those trees the subtrees that wait,
     * at most as many as the depth of a balanced tree of all the leaves that
     * places can count; and the roots of a group. */
    first_waiting = 1,
    max_waiting = 16,
    first_root = first_waiting + turns * max_waiting,
    n_slots = first_root + group_trees,
};

/* A node. Its place is that of its left child where the row goes left, else
 * n_left more than that of its right child: leaves are numbered in order. Where
 * things are is in bytes: the column's codes from those of the block's first
 * column on, the others from slot 0 on. */
struct record {
    uint32_t column, left, right, result;
    uint16_t bound;  /* goes left when the row's code, signed, is less */
    uint16_t set;    /* or, unless this is 0, when code & set is not 0 */
    uint16_t n_left, unused;
};
struct group_entry {
    int32_t first_record, end_record, first_tree, end_tree;
};
struct tree_entry {
    uint32_t place; /* where its slot is */
    uint32_t first_leaf, target;
};
_Static_assert(sizeof(struct record) == 24 &&
               sizeof(struct group_entry) == 16 &&
               sizeof(struct tree_entry) == 12, "the emitted code's strides");

struct tables {
    int64_t block_rows, slot_bytes, column_bytes;
    struct record *record;
    struct group_entry *group;
    struct tree_entry *tree;
    int32_t n_records;
    int n_groups;
};

/* ------------------------------------------------------------------ tables */

/* A node whose children are being recorded. */
struct frame {
    int32_t node;
    int step; /* children that were gone into so far */
    bool right_first;
    uint32_t slot; /* where its result goes, and those below it from here on */
};

/* The record of a node whose children are done. */
static struct record record_of(const struct tables *t,
                               const struct be_forest *forest, int64_t first,
                               const struct frame *at,
                               const struct be_measure *m)
{
    const struct ir_forest *f = &forest->f;
    const int64_t node = first + at->node;
    const int32_t child[2] = {f->left[node], f->right[node]};
    const bool two = child[0] >= 0 && child[1] >= 0;
    const int column = f->node_column[node];
    const bool is_set = f->column_flags[column] & IR_NODE_CATEGORICAL;
    const unsigned half = forest->code_bytes == 1 ? 0x80 : 0x8000;
    uint32_t slot[2];
    for (int side = 0; side < 2; side++)
        slot[side] = child[side] < 0 ? 0
                     : at->slot + (two && side != at->right_first);
    return (struct record){
        .column = (uint32_t)(column * t->column_bytes),
        .left = (uint32_t)(slot[0] * t->slot_bytes),
        .right = (uint32_t)(slot[1] * t->slot_bytes),
        .result = (uint32_t)(at->slot * t->slot_bytes),
        .bound = (uint16_t)((f->node_code[node] + 1u) ^ half),
        .set = is_set ? f->node_code[node] : 0,
        .n_left = (uint16_t)(child[0] < 0 ? 1 : m->leaves[child[0]])};
}

/* Records of the tree's nodes, children before their parents, the one that
 * needs more slots first; slots are taken from `waiting` on, but the root's
 * result goes to slot `root`. Returns how many there are. */
static int record_tree(const struct tables *t, struct record *record,
                       const struct be_forest *forest, int tree, int waiting,
                       int root)
{
    const struct ir_forest *f = &forest->f;
    const int64_t first = f->tree_start[tree];
    const int32_t *left = f->left + first, *right = f->right + first;
    const size_t n = (size_t)(f->tree_start[tree + 1] - first);
    struct frame *stack = ir_realloc_array(NULL, n + 1, sizeof(*stack));
    struct be_measure m;
    be_measure_tree(f, tree, &m);
    int n_records = 0, depth = n > 0 ? 0 : -1;
    stack[0] = (struct frame){.slot = (uint32_t)waiting};
    while (depth >= 0) {
        struct frame *at = &stack[depth];
        const int32_t child[2] = {left[at->node], right[at->node]};
        if (at->step == 0)
            at->right_first = child[0] >= 0 && child[1] >= 0 &&
                              m.need[child[1]] > m.need[child[0]];
        if (at->step == 2) {
            record[n_records++] = record_of(t, forest, first, at, &m);
            depth--;
            continue;
        }
        const int side = at->step++ ^ at->right_first;
        /* The second of two subtrees leaves the first's result alone. */
        const bool second = at->step == 2 && child[!side] >= 0;
        if (child[side] >= 0)
            stack[++depth] = (struct frame){
                .node = child[side], .slot = at->slot + second};
    }
    if (n > 0)
        record[n_records - 1].result = (uint32_t)(root * t->slot_bytes);
    be_measure_free(&m);
    free(stack);
    return n_records;
}

/* The records of the trees [first, end), which are a group. */
static void record_group(struct tables *t, const struct be_forest *forest,
                         int first, int end)
{
    const struct ir_forest *f = &forest->f;
    struct record *records[turns];
    for (int tree = first; tree < end; tree += turns) {
        const int n_trees = end - tree < turns ? end - tree : turns;
        int n[turns], most = 0;
        for (int k = 0; k < n_trees; k++) {
            records[k] = ir_realloc_array(
                NULL,
                (size_t)(f->tree_start[tree + k + 1] -
                         f->tree_start[tree + k]) + 1, sizeof(*records[k]));
            n[k] = record_tree(t, records[k], forest, tree + k,
                               first_waiting + k * max_waiting,
                               first_root + tree + k - first);
            most = n[k] > most ? n[k] : most;
        }
        for (int i = 0; i < most; i++)
            for (int k = 0; k < n_trees; k++)
                if (i < n[k])
                    t->record[t->n_records++] = records[k][i];
        for (int k = 0; k < n_trees; k++)
            free(records[k]);
    }
}

/* Trees are taken into a group while there is room for them; not past one after
 * which rows may stop. */
static int group_end(const struct ir_forest *f, int first)
{
    const int64_t stop = f->stop_every * f->n_targets;
    int end = first + 1;
    while (end < f->n_trees && end - first < group_trees &&
           (stop == 0 || end % stop != 0) &&
           f->tree_start[end + 1] - f->tree_start[first] <= group_nodes)
        end++;
    return end;
}

static void make_tables(struct tables *t, const struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    const size_t n_trees = (size_t)f->n_trees + 1;
    *t = (struct tables){
        .block_rows = forest->tile_rows % most_rows ? most_rows / 2 : most_rows,
        .column_bytes = forest->tile_rows * forest->code_bytes};
    t->slot_bytes = t->block_rows * forest->code_bytes;
    t->record = ir_realloc_array(NULL, (size_t)f->n_nodes + 1,
                                 sizeof(*t->record));
    t->group = ir_realloc_array(NULL, n_trees, sizeof(*t->group));
    t->tree = ir_realloc_array(NULL, n_trees, sizeof(*t->tree));
    for (int first = 0, end; first < f->n_trees; first = end) {
        end = group_end(f, first);
        struct group_entry *group = &t->group[t->n_groups++];
        *group = (struct group_entry){t->n_records, 0, first, end};
        for (int tree = first; tree < end; tree++) {
            const bool empty = f->tree_start[tree] == f->tree_start[tree + 1];
            t->tree[tree] = (struct tree_entry){
                empty ? 0
                      : (uint32_t)((first_root + tree - first) * t->slot_bytes),
                (uint32_t)f->leaf_start[tree], (uint32_t)f->target[tree]};
        }
        record_group(t, forest, first, end);
        group->end_record = t->n_records;
    }
}

/* ---------------------------------------------------------------- function */

/* The function being emitted. */
struct scan {
    struct be_emitter *e;
    struct be_forest *forest;
    const struct tables *tables;
    LLVMTypeRef code; /* i8 or i16 */
    int lanes, n_vectors; /* of a register; and registers of a block */
    bool has_sets;
    LLVMValueRef records, groups, trees, numbers; /* tables */
    LLVMValueRef slots, codes, margin, leaf, n_rows;
    LLVMValueRef row; /* the first of the block */
    LLVMValueRef done; /* with early exit, u8 by row of the block: it stopped */
};

static LLVMValueRef field(struct be_emitter *e, LLVMTypeRef type,
                          LLVMValueRef entry, size_t offset)
{
    LLVMValueRef v =
        be_load(e, type, be_offset(e, entry, be_i64(e, (int64_t)offset)));
    return LLVMBuildZExt(e->b, v, e->i64, "");
}

static LLVMValueRef entry_at(struct be_emitter *e, LLVMValueRef table,
                             LLVMValueRef index, int64_t stride)
{
    return be_offset(e, table,
                     LLVMBuildNSWMul(e->b, index, be_i64(e, stride), ""));
}

/* Register number `k` at `at`, which is aligned to one. */
static LLVMValueRef load_lanes(const struct scan *s, LLVMValueRef at, int k)
{
    struct be_emitter *e = s->e;
    LLVMTypeRef type = be_vector(s->code, s->lanes);
    LLVMValueRef v = LLVMBuildLoad2(
        e->b, type, be_at(e, type, at, be_i64(e, k)), "");
    LLVMSetAlignment(v, (unsigned)e->level->vector_bytes);
    return v;
}

/* A field of the record in each lane. */
static LLVMValueRef splat_field(const struct scan *s, LLVMValueRef record,
                                size_t offset)
{
    struct be_emitter *e = s->e;
    return be_splat(
        e, be_load(e, s->code,
                   be_offset(e, record, be_i64(e, (int64_t)offset))),
        s->lanes);
}

/* Where a field of the record says, from `base` on. */
static LLVMValueRef place_of(const struct scan *s, LLVMValueRef base,
                             LLVMValueRef record, size_t offset)
{
    return be_offset(s->e, base, field(s->e, s->e->i32, record, offset));
}

/* The result of a record for the block, by a test of this kind. */
static void compute(const struct scan *s, LLVMValueRef record, bool is_set)
{
    struct be_emitter *e = s->e;
    LLVMValueRef codes =
        place_of(s, be_at(e, s->code, s->codes, s->row), record,
                 offsetof(struct record, column));
    LLVMValueRef left =
        place_of(s, s->slots, record, offsetof(struct record, left));
    LLVMValueRef right =
        place_of(s, s->slots, record, offsetof(struct record, right));
    LLVMValueRef to =
        place_of(s, s->slots, record, offsetof(struct record, result));
    LLVMValueRef test = splat_field(s, record,
                                    is_set ? offsetof(struct record, set)
                                           : offsetof(struct record, bound));
    LLVMValueRef n_left =
        splat_field(s, record, offsetof(struct record, n_left));
    LLVMTypeRef type = be_vector(s->code, s->lanes);
    for (int k = 0; k < s->n_vectors; k++) {
        LLVMValueRef v = load_lanes(s, codes, k);
        LLVMValueRef goes_left =
            is_set ? LLVMBuildICmp(e->b, LLVMIntNE,
                                   LLVMBuildAnd(e->b, v, test, ""),
                                   LLVMConstNull(type), "")
                   : LLVMBuildICmp(e->b, LLVMIntSGT, test, v, "");
        LLVMValueRef past =
            LLVMBuildAdd(e->b, load_lanes(s, right, k), n_left, "");
        LLVMValueRef result = LLVMBuildSelect(e->b, goes_left,
                                              load_lanes(s, left, k), past,
                                              "");
        LLVMValueRef store = LLVMBuildStore(
            e->b, result, be_at(e, type, to, be_i64(e, k)));
        LLVMSetAlignment(store, (unsigned)e->level->vector_bytes);
    }
}

static void run_records(const struct scan *s, LLVMValueRef group)
{
    struct be_emitter *e = s->e;
    struct be_loop loop;
    be_loop_begin(
        e, &loop,
        field(e, e->i32, group, offsetof(struct group_entry, first_record)),
        field(e, e->i32, group, offsetof(struct group_entry, end_record)), 1);
    LLVMValueRef record =
        entry_at(e, s->records, loop.index, sizeof(struct record));
    if (!s->has_sets) {
        compute(s, record, false);
    } else {
        LLVMBasicBlockRef set = be_block(e, "set_test");
        LLVMBasicBlockRef number = be_block(e, "number_test");
        LLVMBasicBlockRef done = be_block(e, "decided");
        LLVMValueRef is_set =
            field(e, e->i16, record, offsetof(struct record, set));
        LLVMBuildCondBr(e->b, LLVMBuildIsNotNull(e->b, is_set, ""), set,
                        number);
        for (int k = 0; k < 2; k++) {
            LLVMPositionBuilderAtEnd(e->b, k ? set : number);
            compute(s, record, k);
            LLVMBuildBr(e->b, done);
        }
        LLVMPositionBuilderAtEnd(e->b, done);
    }
    be_loop_end(e, &loop);
}

/* ------------------------------------------------------------------ leaves */

/* The loop over the trees of a group; their entries. */
static LLVMValueRef begin_trees(const struct scan *s, LLVMValueRef group,
                                struct be_loop *loop)
{
    struct be_emitter *e = s->e;
    be_loop_begin(
        e, loop,
        field(e, e->i32, group, offsetof(struct group_entry, first_tree)),
        field(e, e->i32, group, offsetof(struct group_entry, end_tree)), 1);
    return entry_at(e, s->trees, loop->index, sizeof(struct tree_entry));
}

/* The number over the forest of the leaf that row `r` of the block has in the
 * tree, by places. */
static LLVMValueRef leaf_of(const struct scan *s, LLVMValueRef tree,
                            LLVMValueRef r)
{
    struct be_emitter *e = s->e;
    LLVMValueRef places =
        place_of(s, s->slots, tree, offsetof(struct tree_entry, place));
    LLVMValueRef place = LLVMBuildZExt(
        e->b, be_load(e, s->code, be_at(e, s->code, places, r)), e->i64, "");
    return LLVMBuildNSWAdd(
        e->b, place,
        field(e, e->i32, tree, offsetof(struct tree_entry, first_leaf)), "");
}

/* One margin a row: the sums of some rows stay in registers. */
static void add_narrow(const struct scan *s, LLVMValueRef group)
{
    struct be_emitter *e = s->e;
    LLVMTypeRef sum = be_type(e, s->forest->f.sum_dtype);
    struct be_loop rows, trees;
    be_loop_begin(e, &rows, be_i64(e, 0), be_i64(e, s->tables->block_rows), add_rows);
    LLVMValueRef to = be_at(e, sum, s->margin,
                            LLVMBuildNSWAdd(e->b, s->row, rows.index, ""));
    LLVMValueRef acc[add_rows];
    for (int i = 0; i < add_rows; i++)
        acc[i] = be_load(e, sum, be_at(e, sum, to, be_i64(e, i)));
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    LLVMValueRef tree = begin_trees(s, group, &trees);
    LLVMValueRef places =
        place_of(s, be_at(e, s->code, s->slots, rows.index), tree,
                 offsetof(struct tree_entry, place));
    LLVMValueRef values = be_at(
        e, sum, s->forest->leaf_table,
        field(e, e->i32, tree, offsetof(struct tree_entry, first_leaf)));
    for (int i = 0; i < add_rows; i++) {
        LLVMValueRef place = be_load(
            e, s->code, be_at(e, s->code, places, be_i64(e, i)));
        place = LLVMBuildZExt(e->b, place, e->i64, "");
        acc[i] = be_carry(e, &trees, acc[i], before);
        be_carried(e, acc[i],
                   LLVMBuildFAdd(e->b, acc[i],
                                 be_load(e, sum, be_at(e, sum, values, place)),
                                 ""));
    }
    be_loop_end(e, &trees);
    for (int i = 0; i < add_rows; i++)
        be_store(e, acc[i], be_at(e, sum, to, be_i64(e, i)));
    be_loop_end(e, &rows);
}

/* The margins of row `r` of the block. */
static LLVMValueRef margins_of(const struct scan *s, LLVMValueRef r)
{
    struct be_emitter *e = s->e;
    const struct ir_forest *f = &s->forest->f;
    LLVMValueRef row = LLVMBuildNSWAdd(e->b, s->row, r, "");
    return be_at(e, be_type(e, f->sum_dtype), s->margin,
                 LLVMBuildNSWMul(e->b, row, be_i64(e, f->n_targets), ""));
}

/* What follows is for rows that did not stop; the others go to the block that
 * is returned. */
static LLVMBasicBlockRef skip_if_done(const struct scan *s, LLVMValueRef r)
{
    struct be_emitter *e = s->e;
    LLVMBasicBlockRef go_on = be_block(e, "go_on"), next = be_block(e, "next");
    LLVMValueRef done = be_load(e, e->i8, be_offset(e, s->done, r));
    LLVMBuildCondBr(e->b, LLVMBuildIsNull(e->b, done, ""), go_on, next);
    LLVMPositionBuilderAtEnd(e->b, go_on);
    return next;
}

static void add_wide(const struct scan *s, LLVMValueRef group)
{
    struct be_emitter *e = s->e;
    const struct ir_forest *f = &s->forest->f;
    LLVMTypeRef sum = be_type(e, f->sum_dtype);
    struct be_loop rows, trees;
    LLVMValueRef tree = begin_trees(s, group, &trees);
    LLVMValueRef target =
        field(e, e->i32, tree, offsetof(struct tree_entry, target));
    be_loop_begin(e, &rows, be_i64(e, 0), be_i64(e, s->tables->block_rows), 1);
    LLVMBasicBlockRef next = s->done ? skip_if_done(s, rows.index) : NULL;
    LLVMValueRef at = be_at(e, sum, margins_of(s, rows.index), target);
    be_add_leaf(e, s->forest, s->forest->leaf_table,
                leaf_of(s, tree, rows.index), at);
    if (next) {
        LLVMBuildBr(e->b, next);
        LLVMPositionBuilderAtEnd(e->b, next);
    }
    be_loop_end(e, &rows);
    be_loop_end(e, &trees);
}

/* leaf[row][tree] = the leaf's own number, of the block's rows that there are. */
static void store_leaves(const struct scan *s, LLVMValueRef group)
{
    struct be_emitter *e = s->e;
    const int64_t n_trees = s->forest->f.n_trees;
    struct be_loop rows, trees;
    LLVMValueRef n = LLVMBuildNSWSub(e->b, s->n_rows, s->row, "");
    LLVMValueRef args[] = {n, be_i64(e, s->tables->block_rows)};
    n = be_intrinsic(e, "llvm.smin", e->i64, args, 2);
    LLVMValueRef tree = begin_trees(s, group, &trees);
    be_loop_begin(e, &rows, be_i64(e, 0), n, 1);
    LLVMValueRef row = LLVMBuildNSWAdd(e->b, s->row, rows.index, "");
    LLVMValueRef to = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, row, be_i64(e, n_trees), ""), trees.index,
        "");
    LLVMValueRef number = be_load(
        e, e->i32,
        be_at(e, e->i32, s->numbers, leaf_of(s, tree, rows.index)));
    be_store(e, number, be_at(e, e->i32, s->leaf, to));
    be_loop_end(e, &rows);
    be_loop_end(e, &trees);
}

static void use_places(const struct scan *s, LLVMValueRef group)
{
    struct be_emitter *e = s->e;
    const struct ir_forest *f = &s->forest->f;
    LLVMBasicBlockRef next = NULL;
    if (s->numbers) {
        LLVMBasicBlockRef write = be_block(e, "leaf");
        LLVMBasicBlockRef add = be_block(e, "margin");
        next = be_block(e, "next");
        LLVMBuildCondBr(e->b, LLVMBuildIsNotNull(e->b, s->leaf, ""), write,
                        add);
        LLVMPositionBuilderAtEnd(e->b, write);
        store_leaves(s, group);
        LLVMBuildBr(e->b, next);
        LLVMPositionBuilderAtEnd(e->b, add);
    }
    if (f->n_targets == 1 && f->leaf_width == 1 && !s->done)
        add_narrow(s, group);
    else
        add_wide(s, group);
    if (next) {
        LLVMBuildBr(e->b, next);
        LLVMPositionBuilderAtEnd(e->b, next);
    }
}

/* ------------------------------------------------------------------- whole */

/* Whether a group's last tree is one after which rows may stop. */
static LLVMValueRef may_stop(const struct scan *s, LLVMValueRef group)
{
    struct be_emitter *e = s->e;
    LLVMValueRef end =
        field(e, e->i32, group, offsetof(struct group_entry, end_tree));
    return LLVMBuildAnd(e->b, be_stops_before(e, s->forest, end),
                        LLVMBuildIsNull(e->b, s->leaf, ""), "");
}

/* Marks the rows that are sure; returns how many go on. */
static LLVMValueRef stop_rows(const struct scan *s)
{
    struct be_emitter *e = s->e;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    struct be_loop rows;
    be_loop_begin(e, &rows, be_i64(e, 0), be_i64(e, s->tables->block_rows), 1);
    LLVMValueRef left = be_carry(e, &rows, be_i64(e, 0), before);
    LLVMValueRef at = be_offset(e, s->done, rows.index);
    LLVMValueRef sure =
        be_is_sure(e, s->forest, margins_of(s, rows.index));
    LLVMValueRef done = LLVMBuildOr(e->b, be_load(e, e->i8, at),
                                    LLVMBuildZExt(e->b, sure, e->i8, ""), "");
    be_store(e, done, at);
    LLVMValueRef goes_on =
        LLVMBuildZExt(e->b, LLVMBuildIsNull(e->b, done, ""), e->i64, "");
    be_carried(e, left, LLVMBuildNSWAdd(e->b, left, goes_on, ""));
    be_loop_end(e, &rows);
    return left;
}

/* Only the block's rows that there are have not stopped. */
static void start_rows(const struct scan *s)
{
    struct be_emitter *e = s->e;
    struct be_loop rows;
    LLVMValueRef n = LLVMBuildNSWSub(e->b, s->n_rows, s->row, "");
    be_loop_begin(e, &rows, be_i64(e, 0), be_i64(e, s->tables->block_rows), 1);
    LLVMValueRef none = LLVMBuildICmp(e->b, LLVMIntSGE, rows.index, n, "");
    be_store(e, LLVMBuildZExt(e->b, none, e->i8, ""),
             be_offset(e, s->done, rows.index));
    be_loop_end(e, &rows);
}

/* Block by block, until all rows of one have stopped. */
static void run_stopping(struct scan *s)
{
    struct be_emitter *e = s->e;
    const struct tables *t = s->tables;
    struct be_loop groups, blocks;
    s->done = LLVMBuildAlloca(
        e->b, LLVMArrayType2(e->i8, (uint64_t)t->block_rows), "");
    be_loop_begin(e, &blocks, be_i64(e, 0), s->n_rows, t->block_rows);
    s->row = blocks.index;
    start_rows(s);
    be_loop_begin(e, &groups, be_i64(e, 0), be_i64(e, t->n_groups), 1);
    LLVMValueRef group =
        entry_at(e, s->groups, groups.index, sizeof(struct group_entry));
    run_records(s, group);
    use_places(s, group);
    LLVMBasicBlockRef ask = be_block(e, "ask"), go_on = be_block(e, "next");
    LLVMBuildCondBr(e->b, may_stop(s, group), ask, go_on);
    LLVMPositionBuilderAtEnd(e->b, ask);
    LLVMBuildCondBr(e->b, LLVMBuildIsNull(e->b, stop_rows(s), ""),
                    groups.done, go_on);
    LLVMPositionBuilderAtEnd(e->b, go_on);
    be_loop_end(e, &groups);
    be_loop_end(e, &blocks);
    s->done = NULL;
}

/* Group by group: its records and leaves stay in L1 while all blocks pass. */
static void run_all(struct scan *s)
{
    struct be_emitter *e = s->e;
    const struct tables *t = s->tables;
    struct be_loop groups, blocks;
    be_loop_begin(e, &groups, be_i64(e, 0), be_i64(e, t->n_groups), 1);
    LLVMValueRef group =
        entry_at(e, s->groups, groups.index, sizeof(struct group_entry));
    be_loop_begin(e, &blocks, be_i64(e, 0), s->n_rows, t->block_rows);
    s->row = blocks.index;
    run_records(s, group);
    use_places(s, group);
    be_loop_end(e, &blocks);
    be_loop_end(e, &groups);
}

/* fn(codes, margin, leaf, n_rows), as select's chunks are. */
static LLVMValueRef emit_function(struct scan *s)
{
    struct be_emitter *e = s->e;
    char name[64];
    snprintf(name, sizeof(name), "scan_%d_%d", s->forest->number,
             e->level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->ptr, e->i64};
    LLVMValueRef fn = be_function(e, name, e->none, params, 4, e->level);
    for (int i = 0; i < 3; i++)
        be_noalias(e, fn, i);
    s->codes = LLVMGetParam(fn, 0);
    s->margin = LLVMGetParam(fn, 1);
    s->leaf = LLVMGetParam(fn, 2);
    s->n_rows = LLVMGetParam(fn, 3);
    const struct tables *t = s->tables;
    s->slots = LLVMBuildAlloca(
        e->b, LLVMArrayType2(e->i8, (uint64_t)(n_slots * t->slot_bytes)), "");
    LLVMSetAlignment(s->slots, 64);
    for (int64_t at = 0; at < t->slot_bytes; at += 8)
        be_store(e, be_i64(e, 0), be_offset(e, s->slots, be_i64(e, at)));
    if (s->forest->f.stop_every)
        run_stopping(s);
    else
        run_all(s);
    LLVMBuildRetVoid(e->b);
    return fn;
}

static bool any_sets(const struct ir_forest *f)
{
    for (int i = 0; i < f->n_code_columns; i++)
        if (f->column_flags[i] & IR_NODE_CATEGORICAL)
            return true;
    return false;
}

void be_scan_emit(struct be_emitter *e, struct be_forest *forest)
{
    struct tables t;
    make_tables(&t, forest);
    struct scan s = {
        .e = e, .forest = forest, .tables = &t,
        .code = forest->code_bytes == 1 ? e->i8 : e->i16,
        .has_sets = any_sets(&forest->f),
        .records = be_bytes(e, "scan_node", t.record,
                            (size_t)t.n_records * sizeof(*t.record), 64),
        .groups = be_bytes(e, "scan_group", t.group,
                           (size_t)t.n_groups * sizeof(*t.group), 64),
        .trees = be_bytes(e, "scan_tree", t.tree,
                          (size_t)forest->f.n_trees * sizeof(*t.tree), 64)};
    if (ir_value_used(e->module, &forest->op->result[1]))
        s.numbers = be_leaf_numbers(e, forest);
    for (int l = 0; l < e->n_levels; l++) {
        e->level = e->levels[l];
        s.lanes = e->level->vector_bytes / forest->code_bytes;
        s.n_vectors = (int)(t.block_rows / s.lanes);
        forest->select_chunks[l] =
            ir_alloc_array(&e->arena, 1, sizeof(LLVMValueRef));
        forest->select_chunks[l][0] = emit_function(&s);
    }
    forest->n_select_chunks = 1;
    free(t.record);
    free(t.group);
    free(t.tree);
}
