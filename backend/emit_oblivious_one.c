/* emit_oblivious_one.c: one row by the strategy oblivious, or few.
 *
 * What rows are in a batch (emit_oblivious.c), trees are here: 32 trees of a
 * run answer their first test together (emit_tests.c), then their second one,
 * and so on. The answers of each tree are the number of an entry of its table,
 * and the leaf values there are added one by one, in order. That adding is what
 * takes the time: each addition waits for the one before. So few rows, too few
 * for a tile, go four at a time, whose additions do not wait for each other.
 */
#include "backend/llvm.h"

#include <stdlib.h>

enum { lanes = 32, /* trees */
       few = 4 /* rows at a time */ };

struct oblivious_one {
    struct be_emitter *e;
    struct be_forest *forest;
    const struct ir_forest *f;
    const struct be_leaf_tables *t;
    struct be_tests tests, of_row[few];
    LLVMValueRef groups; /* the tests of all groups of trees */
    int64_t *groups_at;  /* of a run, in `groups` */
    /* Of the function being emitted. */
    int n_tests, n_rows;
    LLVMTypeRef place; /* i8 or i16: the number of an entry */
    LLVMValueRef margin, run_groups, run_entries, n_trees, places;
};

/* For each 32 trees of a run: the first test of each, then the second... */
static void append_groups(const struct oblivious_one *o,
                          const struct be_run *run, struct ir_text *to)
{
    int32_t node[lanes][IR_MAX_TREE_TESTS], nth[lanes];
    for (int i = 0; i < run->n; i += lanes) {
        const int n = run->n - i < lanes ? run->n - i : lanes;
        for (int t = 0; t < n; t++)
            be_run_tests(o->f, run, o->t->order[run->first + i + t], node[t]);
        for (int k = 0; k < run->n_tests; k++) {
            for (int t = 0; t < lanes; t++)
                nth[t] = t < n ? node[t][k] : -1;
            be_tests_append(&o->tests, nth, to);
        }
    }
}

static void emit_groups(struct oblivious_one *o)
{
    struct ir_text groups;
    ir_text_init(&groups);
    for (int r = 0; r < o->t->n_runs; r++) {
        o->groups_at[r] = (int64_t)groups.length;
        append_groups(o, &o->t->runs[r], &groups);
    }
    o->groups = be_bytes(o->e, "tree_test", groups.data, groups.length, 64);
    ir_text_release(&groups);
}

/* Stores for each row and each tree of the group, whose tests are at `group`,
 * the number of its entry: the answers, the first test's as the highest bit. */
static void store_places(struct oblivious_one *o, LLVMValueRef group)
{
    struct be_emitter *e = o->e;
    LLVMTypeRef type = be_vector(o->place, lanes);
    LLVMValueRef sum[few];
    for (int r = 0; r < o->n_rows; r++)
        sum[r] = LLVMConstNull(type);
    for (int k = 0; k < o->n_tests; k++) {
        LLVMValueRef tests = be_offset(
            e, group, be_i64(e, (int64_t)k * be_tests_bytes(&o->tests)));
        for (int r = 0; r < o->n_rows; r++) {
            LLVMValueRef passed = LLVMBuildSExt(
                e->b, be_tests_pass(&o->of_row[r], tests), type, "");
            sum[r] = LLVMBuildSub(
                e->b, LLVMBuildAdd(e->b, sum[r], sum[r], ""), passed, "");
        }
    }
    for (int r = 0; r < o->n_rows; r++) {
        LLVMValueRef to = be_at(e, type, o->places, be_i64(e, r));
        LLVMSetAlignment(LLVMBuildStore(e->b, sum[r], to), 32);
    }
}

/* Where the table of the group's tree number k starts, in leaves; `first` is
 * the group's first tree in the run. */
static LLVMValueRef table_of(struct oblivious_one *o, LLVMValueRef first,
                             LLVMValueRef k)
{
    struct be_emitter *e = o->e;
    LLVMValueRef entry = be_at(e, e->i64, o->run_entries,
                               LLVMBuildNSWAdd(e->b, first, k, ""));
    entry = be_offset(e, entry, be_i64(e, offsetof(struct be_entry, start)));
    return LLVMBuildZExt(e->b, be_load(e, e->i32, entry), e->i64, "");
}

/* Where the values of a row's leaf of that tree start. */
static LLVMValueRef leaf_at(struct oblivious_one *o, LLVMValueRef table,
                            int row, LLVMValueRef k)
{
    struct be_emitter *e = o->e;
    LLVMTypeRef leaf = LLVMArrayType2(be_leaf_type(e, o->forest),
                                      (uint64_t)o->t->stride);
    LLVMValueRef at = be_at(
        e, o->place, o->places,
        LLVMBuildNSWAdd(e->b, k, be_i64(e, row * lanes), ""));
    LLVMValueRef place =
        LLVMBuildZExt(e->b, be_load(e, o->place, at), e->i64, "");
    return be_at(e, leaf, o->t->values,
                 LLVMBuildNSWAdd(e->b, table, place, ""));
}

/* Adds the leaf values of n trees of the group: to sum[] of each row, or, where
 * leaves are wide, to the one row's margins. */
static void add_leaves(struct oblivious_one *o, LLVMValueRef first,
                       LLVMValueRef n, LLVMValueRef *sum)
{
    struct be_emitter *e = o->e;
    LLVMValueRef acc[few], next[few];
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    struct be_loop tree;
    be_repeat_begin(e, &tree, be_i64(e, 0), 1);
    for (int r = 0; r < o->n_rows && sum; r++)
        acc[r] = be_carry(e, &tree, sum[r], before);
    LLVMValueRef table = table_of(o, first, tree.index);
    for (int r = 0; r < o->n_rows; r++) {
        LLVMValueRef from = leaf_at(o, table, r, tree.index);
        if (sum)
            next[r] = LLVMBuildFAdd(
                e->b, acc[r], be_load_leaf(e, o->forest, 1, 0, from), "");
        else
            be_add_values(e, o->forest, from, o->margin);
    }
    for (int r = 0; r < o->n_rows && sum; r++)
        be_carried(e, acc[r], sum[r] = next[r]);
    be_repeat_end(e, &tree, n);
}

/* Takes the codes of n_rows rows, of which the first one's are at `codes`. */
static void load_rows(struct oblivious_one *o, LLVMValueRef codes)
{
    const int64_t bytes = be_row_code_bytes(o->forest);
    for (int r = 0; r < o->n_rows; r++) {
        o->of_row[r] = o->tests;
        be_tests_load(&o->of_row[r],
                      be_offset(o->e, codes, be_i64(o->e, r * bytes)));
    }
}

/* Adds the trees of the group from number `first` of the run on: to sum[] of
 * each row, or to the one row's margins. */
static void add_group(struct oblivious_one *o, LLVMValueRef first,
                      LLVMValueRef *sum)
{
    struct be_emitter *e = o->e;
    const int64_t bytes = (int64_t)o->n_tests * be_tests_bytes(&o->tests);
    LLVMValueRef at = LLVMBuildMul(
        e->b, LLVMBuildLShr(e->b, first, be_i64(e, 5), ""), be_i64(e, bytes),
        "");
    store_places(o, be_offset(e, o->run_groups, at));
    LLVMValueRef n =
        be_least(e, LLVMBuildNSWSub(e->b, o->n_trees, first, ""),
                 be_i64(e, lanes));
    add_leaves(o, first, n, sum);
}

/* All groups of the run; the sum of leaves of one value is in a register. */
static void add_groups(struct oblivious_one *o)
{
    struct be_emitter *e = o->e;
    const bool one = o->f->leaf_width == 1;
    LLVMTypeRef type = be_type(e, o->f->sum_dtype);
    LLVMValueRef sum = one ? be_load(e, type, o->margin) : NULL, acc = NULL;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    struct be_loop group;
    be_repeat_begin(e, &group, be_i64(e, 0), lanes);
    if (one)
        sum = acc = be_carry(e, &group, sum, before);
    add_group(o, group.index, one ? &sum : NULL);
    if (one)
        be_carried(e, acc, sum);
    be_repeat_end(e, &group, o->n_trees);
    if (one)
        be_store(e, sum, o->margin);
}

/* The same for all rows, a multiple of `few`: each group for all of them, so
 * that its tables are near from then on. */
static void add_groups_to_rows(struct oblivious_one *o, LLVMValueRef codes,
                               LLVMValueRef n_rows)
{
    struct be_emitter *e = o->e;
    LLVMTypeRef type = be_type(e, o->f->sum_dtype);
    struct be_loop group, row;
    be_repeat_begin(e, &group, be_i64(e, 0), lanes);
    be_repeat_begin(e, &row, be_i64(e, 0), few);
    LLVMValueRef sum[few], margin[few];
    load_rows(o, be_offset(
        e, codes,
        LLVMBuildNSWMul(e->b, row.index,
                        be_i64(e, be_row_code_bytes(o->forest)), "")));
    for (int r = 0; r < few; r++) {
        LLVMValueRef at = LLVMBuildNSWMul(
            e->b, LLVMBuildNSWAdd(e->b, row.index, be_i64(e, r), ""),
            be_i64(e, o->f->n_targets), "");
        margin[r] = be_at(e, type, o->margin, at);
        sum[r] = be_load(e, type, margin[r]);
    }
    add_group(o, group.index, sum);
    for (int r = 0; r < few; r++)
        be_store(e, sum[r], margin[r]);
    be_repeat_end(e, &row, n_rows);
    be_repeat_end(e, &group, o->n_trees);
}

/* fn(codes, margin, groups, entries, n_trees) for trees of n_tests tests and
 * one row; or, with one more argument n_rows, a multiple of `few`, for
 * several. */
static LLVMValueRef emit_run(struct oblivious_one *o, int n_tests)
{
    struct be_emitter *e = o->e;
    const bool one = o->n_rows == 1;
    char name[64];
    snprintf(name, sizeof(name), "oblivious_%s_%d_%d_%d", one ? "one" : "few",
             o->forest->number, n_tests, e->level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->ptr, e->ptr, e->i64, e->i64};
    LLVMValueRef fn =
        be_function(e, name, e->none, params, one ? 5 : 6, e->level);
    be_noalias(e, fn, 0);
    be_noalias(e, fn, 1);
    o->margin = LLVMGetParam(fn, 1);
    o->run_groups = LLVMGetParam(fn, 2);
    o->run_entries = LLVMGetParam(fn, 3);
    o->n_trees = LLVMGetParam(fn, 4);
    o->n_tests = n_tests;
    o->place = n_tests <= 8 ? e->i8 : e->i16;
    o->places = LLVMBuildAlloca(
        e->b, LLVMArrayType2(o->place, (uint64_t)(lanes * o->n_rows)), "");
    LLVMSetAlignment(o->places, 64);
    if (one) {
        load_rows(o, LLVMGetParam(fn, 0));
        add_groups(o);
    } else {
        add_groups_to_rows(o, LLVMGetParam(fn, 0), LLVMGetParam(fn, 5));
    }
    LLVMBuildRetVoid(e->b);
    return fn;
}

/* fn(codes, margin): all runs, for one row; or fn(codes, margins, n_rows). */
static LLVMValueRef emit_all(struct oblivious_one *o, int n_rows)
{
    struct be_emitter *e = o->e;
    const bool one = n_rows == 1;
    LLVMValueRef fns[IR_MAX_TREE_TESTS + 1] = {NULL};
    o->n_rows = n_rows;
    for (int r = 0; r < o->t->n_runs; r++) {
        const int n = o->t->runs[r].n_tests;
        if (!fns[n])
            fns[n] = emit_run(o, n);
    }
    char name[64];
    snprintf(name, sizeof(name), "oblivious_%s_%d_%d", one ? "one" : "few",
             o->forest->number, e->level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->i64};
    LLVMTypeRef type = be_type(e, o->f->sum_dtype);
    LLVMValueRef fn =
        be_function(e, name, e->none, params, one ? 2 : 3, e->level);
    for (int r = 0; r < o->t->n_runs; r++) {
        const struct be_run *run = &o->t->runs[r];
        const int target = o->f->target[o->t->order[run->first]];
        LLVMValueRef args[] = {
            LLVMGetParam(fn, 0),
            be_at(e, type, LLVMGetParam(fn, 1), be_i64(e, target)),
            be_offset(e, o->groups, be_i64(e, o->groups_at[r])),
            be_at(e, e->i64, o->t->entries, be_i64(e, run->first)),
            be_i64(e, run->n), one ? NULL : LLVMGetParam(fn, 2)};
        be_call(e, fns[run->n_tests], args, one ? 5 : 6);
    }
    LLVMBuildRetVoid(e->b);
    return fn;
}

/* fn(codes, margins, n_rows): `few` rows at a time, what is left one by one. */
static LLVMValueRef emit_rows(struct oblivious_one *o, LLVMValueRef one)
{
    struct be_emitter *e = o->e;
    LLVMValueRef some = emit_all(o, few);
    char name[64];
    snprintf(name, sizeof(name), "oblivious_rows_%d_%d", o->forest->number,
             e->level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->i64};
    LLVMValueRef fn = be_function(e, name, e->none, params, 3, e->level);
    LLVMValueRef codes = LLVMGetParam(fn, 0), margins = LLVMGetParam(fn, 1);
    LLVMValueRef n_rows = LLVMGetParam(fn, 2);
    LLVMValueRef together = LLVMBuildAnd(e->b, n_rows, be_i64(e, -few), "");
    LLVMBasicBlockRef are_some = be_block(e, "some");
    LLVMBasicBlockRef rest = be_block(e, "rest");
    LLVMBuildCondBr(
        e->b, LLVMBuildICmp(e->b, LLVMIntSGT, together, be_i64(e, 0), ""),
        are_some, rest);
    LLVMPositionBuilderAtEnd(e->b, are_some);
    LLVMValueRef all[] = {codes, margins, together};
    be_call(e, some, all, 3);
    LLVMBuildBr(e->b, rest);
    LLVMPositionBuilderAtEnd(e->b, rest);
    struct be_loop row;
    be_loop_begin(e, &row, together, n_rows, 1);
    LLVMValueRef code_at = LLVMBuildNSWMul(
        e->b, row.index, be_i64(e, be_row_code_bytes(o->forest)), "");
    LLVMValueRef margin_at = LLVMBuildNSWMul(
        e->b, row.index, be_i64(e, o->f->n_targets), "");
    LLVMValueRef args[] = {
        be_offset(e, codes, code_at),
        be_at(e, be_type(e, o->f->sum_dtype), margins, margin_at)};
    be_call(e, one, args, 2);
    be_loop_end(e, &row);
    LLVMBuildRetVoid(e->b);
    return fn;
}

void be_oblivious_one_emit(struct be_emitter *e, struct be_forest *forest)
{
    struct oblivious_one o = {
        .e = e, .forest = forest, .f = &forest->f,
        .t = be_leaf_tables(e, forest),
        .groups_at = ir_realloc_array(NULL, (size_t)forest->f.n_trees + 1,
                                      sizeof(int64_t)),
    };
    be_tests_init(&o.tests, e, forest, lanes);
    emit_groups(&o);
    for (int l = 0; l < e->n_levels; l++) {
        e->level = e->levels[l];
        LLVMValueRef one = emit_all(&o, 1);
        forest->one[IR_OBLIVIOUS][l] = one;
        if (forest->f.leaf_width == 1 && be_by_tiles(forest))
            forest->rows[IR_OBLIVIOUS][l] = emit_rows(&o, one);
    }
    free(o.groups_at);
}
