/* emit_oblivious_one.c: one row by the strategy oblivious.
 *
 * What rows are in a batch (emit_oblivious.c), trees are here: 32 trees of a
 * run answer their first test together (emit_tests.c), then their second one,
 * and so on. The answers of each tree are the number of an entry of its table,
 * and the leaf values there are added one by one, in order. That adding is what
 * takes the time: each addition waits for the one before.
 */
#include "backend/llvm.h"

#include <stdlib.h>

enum { lanes = 32 }; /* trees */

struct oblivious_one {
    struct be_emitter *e;
    struct be_forest *forest;
    const struct ir_forest *f;
    const struct be_leaf_tables *t;
    struct be_tests tests;
    LLVMValueRef groups; /* the tests of all groups of trees */
    int64_t *groups_at;  /* of a run, in `groups` */
    /* Of the function being emitted. */
    int n_tests;
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

/* Stores for each tree of the group, whose tests are at `group`, the number of
 * its entry: the answers, the first test's as the highest bit. */
static void store_places(struct oblivious_one *o, LLVMValueRef group)
{
    struct be_emitter *e = o->e;
    LLVMTypeRef type = be_vector(o->place, lanes);
    LLVMValueRef sum = LLVMConstNull(type);
    for (int k = 0; k < o->n_tests; k++) {
        LLVMValueRef tests = be_offset(
            e, group, be_i64(e, (int64_t)k * be_tests_bytes(&o->tests)));
        LLVMValueRef passed = LLVMBuildSExt(
            e->b, be_tests_pass(&o->tests, tests), type, "");
        sum = LLVMBuildSub(e->b, LLVMBuildAdd(e->b, sum, sum, ""), passed, "");
    }
    LLVMSetAlignment(LLVMBuildStore(e->b, sum, o->places), 64);
}

/* Where the values of the leaf of the group's tree number k start; `first` is
 * the group's first tree in the run. */
static LLVMValueRef leaf_at(struct oblivious_one *o, LLVMValueRef first,
                            LLVMValueRef k)
{
    struct be_emitter *e = o->e;
    LLVMTypeRef leaf = LLVMArrayType2(be_leaf_type(e, o->forest),
                                      (uint64_t)o->t->stride);
    LLVMValueRef entry = be_at(e, e->i64, o->run_entries,
                               LLVMBuildNSWAdd(e->b, first, k, ""));
    entry = be_offset(e, entry, be_i64(e, offsetof(struct be_entry, start)));
    LLVMValueRef start =
        LLVMBuildZExt(e->b, be_load(e, e->i32, entry), e->i64, "");
    LLVMValueRef place = LLVMBuildZExt(
        e->b, be_load(e, o->place, be_at(e, o->place, o->places, k)), e->i64,
        "");
    return be_at(e, leaf, o->t->values,
                 LLVMBuildNSWAdd(e->b, start, place, ""));
}

/* Adds the leaf values of n trees of the group; a single one stays in `sum`. */
static LLVMValueRef add_leaves(struct oblivious_one *o, LLVMValueRef first,
                               LLVMValueRef n, LLVMValueRef sum)
{
    struct be_emitter *e = o->e;
    struct be_loop tree;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &tree, be_i64(e, 0), n, 1);
    LLVMValueRef acc = sum ? be_carry(e, &tree, sum, before) : NULL;
    LLVMValueRef from = leaf_at(o, first, tree.index);
    if (sum) {
        LLVMValueRef v = be_load_leaf(e, o->forest, 1, 0, from);
        be_carried(e, acc, LLVMBuildFAdd(e->b, acc, v, ""));
    } else {
        be_add_values(e, o->forest, from, o->margin);
    }
    be_loop_end(e, &tree);
    return acc;
}

/* fn(codes, margin, groups, entries, n_trees) for trees of n_tests tests. */
static LLVMValueRef emit_run(struct oblivious_one *o, int n_tests)
{
    struct be_emitter *e = o->e;
    LLVMTypeRef type = be_type(e, o->f->sum_dtype);
    char name[64];
    snprintf(name, sizeof(name), "oblivious_one_%d_%d_%d", o->forest->number,
             n_tests, e->level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->ptr, e->ptr, e->i64};
    LLVMValueRef fn = be_function(e, name, e->none, params, 5, e->level);
    be_noalias(e, fn, 0);
    be_noalias(e, fn, 1);
    o->margin = LLVMGetParam(fn, 1);
    o->run_groups = LLVMGetParam(fn, 2);
    o->run_entries = LLVMGetParam(fn, 3);
    o->n_trees = LLVMGetParam(fn, 4);
    o->n_tests = n_tests;
    o->place = n_tests <= 8 ? e->i8 : e->i16;
    o->places = LLVMBuildAlloca(e->b, LLVMArrayType2(o->place, lanes), "");
    LLVMSetAlignment(o->places, 64);
    be_tests_load(&o->tests, LLVMGetParam(fn, 0));
    const int64_t bytes = (int64_t)n_tests * be_tests_bytes(&o->tests);
    const bool one = o->f->leaf_width == 1;
    LLVMValueRef sum = one ? be_load(e, type, o->margin) : NULL, acc = NULL;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    struct be_loop group;
    be_loop_begin(e, &group, be_i64(e, 0), o->n_trees, lanes);
    if (one)
        acc = be_carry(e, &group, sum, before);
    LLVMValueRef at = LLVMBuildMul(
        e->b, LLVMBuildLShr(e->b, group.index, be_i64(e, 5), ""),
        be_i64(e, bytes), "");
    store_places(o, be_offset(e, o->run_groups, at));
    LLVMValueRef n = be_least(
        e, LLVMBuildNSWSub(e->b, o->n_trees, group.index, ""),
        be_i64(e, lanes));
    LLVMValueRef next = add_leaves(o, group.index, n, acc);
    if (one)
        be_carried(e, acc, next);
    be_loop_end(e, &group);
    if (one)
        be_store(e, acc, o->margin);
    LLVMBuildRetVoid(e->b);
    return fn;
}

/* fn(codes, margin): all runs. */
static LLVMValueRef emit_all(struct oblivious_one *o)
{
    struct be_emitter *e = o->e;
    LLVMValueRef fns[IR_MAX_TREE_TESTS + 1] = {NULL};
    for (int r = 0; r < o->t->n_runs; r++) {
        const int n = o->t->runs[r].n_tests;
        if (!fns[n])
            fns[n] = emit_run(o, n);
    }
    char name[64];
    snprintf(name, sizeof(name), "oblivious_one_%d_%d", o->forest->number,
             e->level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr};
    LLVMTypeRef type = be_type(e, o->f->sum_dtype);
    LLVMValueRef fn = be_function(e, name, e->none, params, 2, e->level);
    for (int r = 0; r < o->t->n_runs; r++) {
        const struct be_run *run = &o->t->runs[r];
        const int target = o->f->target[o->t->order[run->first]];
        LLVMValueRef args[] = {
            LLVMGetParam(fn, 0),
            be_at(e, type, LLVMGetParam(fn, 1), be_i64(e, target)),
            be_offset(e, o->groups, be_i64(e, o->groups_at[r])),
            be_at(e, e->i64, o->t->entries, be_i64(e, run->first)),
            be_i64(e, run->n)};
        be_call(e, fns[run->n_tests], args, 5);
    }
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
        forest->one[IR_OBLIVIOUS][l] = emit_all(&o);
    }
    free(o.groups_at);
}
