/* emit_match.c: the strategies `match16` and `match32`, which take rows one by
 * one and do not jump on what a row answers; and `raw8` and `raw16`, which are
 * the same on the row's own numbers.
 *
 * A tree is cut into clusters of up to 15 or 31 nodes, or 7 (ir/clusters.c).
 * All tests of a cluster are decided at once, of codes (emit_tests.c) or of
 * numbers (emit_raw.c), and their answers are the bits of one word. Exits are
 * numbered from one side to the other, at each node first those where its test
 * is not passed. A test that is passed rules those out, and the first exit that
 * no test rules out is the one that the row leaves by (Lucchese and others,
 * "QuickScorer", 2015): each exit has the word of the tests that rule it out,
 * which all exits at once compare with the answers. It leads to the next
 * cluster, or to a leaf.
 *
 * Where all trees are one cluster, each adds its leaf value as soon as that is
 * found. Else trees are taken in blocks: first the first step of all, then the
 * second one of those that have not come to a leaf, and so on, so that no step
 * waits for the one before; then their leaf values are added, in order. The
 * code is loops over tables, which do not grow with the forest; what limits it
 * is how many bytes of the tables a row reads. First clusters lie together, in
 * the order of the trees, and the others behind them. */
#include "backend/llvm.h"

#include <stdlib.h>
#include <string.h>

enum {
    align_bytes = 32, /* of clusters */
    block_trees = 64, /* whose leaves are found, then added */
};

struct match {
    struct be_emitter *e;
    struct be_forest *forest;
    const struct ir_forest *f;
    struct be_tests tests;
    bool is_raw; /* and then: */
    struct be_raw raw;
    int lanes;
    int64_t cluster_bytes, n_clusters;
    int exit_bytes; /* of where an exit leads: 2 or 4; 0 when all are leaves */
    int max_steps; /* of a tree: clusters that are passed */
    LLVMTypeRef word; /* an integer with a bit a lane */
    LLVMTypeRef exit; /* an integer of exit_bytes */
    LLVMValueRef clusters, roots, values, set_words;
    /* Of the function being emitted: of the block's trees the leaf, as a place
     * in the table of values; and those that have not come to one. */
    LLVMValueRef leaves, active;
    LLVMValueRef set_row[BE_MOST_SET_RUNS]; /* words, by cluster */
};

/* By tree. */
struct root {
    int32_t others; /* the number of its cluster k > 0, less k */
    int32_t target;
    int32_t first_leaf; /* of the table of values */
    int32_t unused;
};
_Static_assert(sizeof(struct root) == 16, "the emitted code strides 16");

/* A tree of the block, and the number of the cluster it has come to. */
struct active {
    uint32_t tree, cluster;
};

/* --------------------------------------------------------------- tables -- */

/* A cluster with its exits in order. */
struct ordered {
    uint32_t rulers[IR_MOST_EXITS]; /* nodes that, passed, rule an exit out */
    int32_t exit[IR_MOST_EXITS];
};

static struct ordered order_exits(const struct match *m,
                                  const struct ir_cluster *c)
{
    struct ordered o = {.exit = {0}};
    int8_t stack[2 * IR_MOST_EXITS];
    bool half[IR_MOST_EXITS] = {false}; /* its first side is done */
    int depth = 0, n = 0;
    int first[IR_MOST_EXITS]; /* of the exits below a node */
    stack[depth++] = c->n_nodes > 0 ? 0 : ~0;
    while (depth > 0) {
        const int8_t at = stack[--depth];
        if (at < 0) {
            o.exit[n++] = c->exit[~at];
            continue;
        }
        const bool left = m->is_raw || be_in_words(m->forest, c->node[at]) ||
                          be_node_test(m->forest, c->node[at]).left;
        if (half[at]) {
            for (int i = first[at]; i < n; i++)
                o.rulers[i] |= 1u << at;
            stack[depth++] = c->child[at][!left];
            continue;
        }
        half[at] = true;
        first[at] = n;
        stack[depth++] = at;
        stack[depth++] = c->child[at][left];
    }
    return o;
}

static void append_tests(struct match *m, const struct ir_cluster *c,
                         int64_t number, struct be_set_words *words,
                         struct ir_text *to)
{
    int32_t node[IR_MOST_EXITS];
    if (m->is_raw) {
        be_raw_append(&m->raw, number, c->node, c->n_nodes, to);
        return;
    }
    for (int i = 0; i < m->lanes; i++) {
        const bool in_words =
            i < c->n_nodes && be_in_words(m->forest, c->node[i]);
        node[i] = i < c->n_nodes && !in_words ? c->node[i] : -1;
        if (in_words)
            be_set_words_add(m->forest, words, number, i, c->node[i]);
    }
    be_tests_append(&m->tests, node, to);
}

/* The tests of the cluster number `number`, what rules its exits out, and where
 * its exits lead: to a cluster or ~leaf, numbered in the tree. */
static void append_cluster(struct match *m, const struct ir_cluster *c,
                           int64_t number, struct be_set_words *words,
                           struct ir_text *to)
{
    const struct ordered o = order_exits(m, c);
    append_tests(m, c, number, words, to);
    for (int i = 0; i < m->lanes; i++) /* little-endian, as the targets are */
        ir_text_append(to, &o.rulers[i], (size_t)m->lanes / 8);
    for (int i = 0; i < m->lanes; i++)
        ir_text_append(to, &o.exit[i], (size_t)m->exit_bytes);
    while (to->length % align_bytes)
        ir_text_append(to, "", 1);
}

/* The leaf values of a tree that is one cluster, in the order of its exits. */
static void append_values(const struct match *m, const struct ir_cluster *c,
                          int tree, struct ir_text *values)
{
    const struct ordered o = order_exits(m, c);
    for (int i = 0; i < c->n_exits; i++)
        be_leaf_append(m->forest, m->f->leaf_start[tree] + ~o.exit[i], values);
}

static int64_t rulers_at(const struct match *m)
{
    return m->is_raw ? be_raw_bytes(&m->raw) : be_tests_bytes(&m->tests);
}

static int64_t exits_at(const struct match *m)
{
    return rulers_at(m) + (int64_t)m->lanes * m->lanes / 8;
}

/* Of set tests that are words. */
static int set_runs(const struct match *m)
{
    return m->is_raw ? 0 : m->forest->n_set_runs;
}

/* Cuts the trees to see what clusters look like. */
static void plan_clusters(struct match *m)
{
    struct ir_cut cut = {0};
    int32_t most = 0; /* number of a cluster or leaf in its tree */
    m->max_steps = 1;
    m->n_clusters = 0;
    for (int t = 0; t < m->f->n_trees; t++) {
        ir_cut_tree(&cut, m->f, t, m->lanes);
        const int32_t leaves = m->f->leaf_start[t + 1] - m->f->leaf_start[t];
        m->max_steps = cut.depth > m->max_steps ? cut.depth : m->max_steps;
        most = leaves > most ? leaves : most;
        most = cut.n > most ? cut.n : most;
        m->n_clusters += cut.n;
    }
    m->exit_bytes = m->max_steps == 1 ? 0 : most <= INT16_MAX ? 2 : 4;
    m->exit = m->exit_bytes == 2 ? m->e->i16 : m->e->i32;
    m->cluster_bytes = (exits_at(m) + (int64_t)m->lanes * m->exit_bytes +
                        align_bytes - 1) / align_bytes * align_bytes;
    ir_cut_release(&cut);
}

/* Emits the words of all runs. */
static void emit_set_words(struct match *m, const struct be_set_words *words)
{
    int64_t bytes = 0;
    for (int r = 0; r < set_runs(m); r++)
        bytes += be_set_words_bytes(m->forest, words, r);
    m->set_words = be_bytes(m->e, "set_word", words->words, (size_t)bytes, 64);
}

static struct be_set_words start_set_words(const struct match *m)
{
    struct be_set_words words = {.n_clusters = m->n_clusters,
                                 .word_bytes = m->lanes / 8};
    int64_t bytes = 0;
    for (int r = 0; r < set_runs(m); r++)
        bytes += be_set_words_bytes(m->forest, &words, r);
    words.words = ir_realloc_array(NULL, (size_t)bytes + 1, 1);
    memset(words.words, 0, (size_t)bytes + 1);
    return words;
}

/* All but what depends on the dtype of rows is emitted once. */
static void emit_tables(struct match *m)
{
    const struct ir_forest *f = m->f;
    struct ir_cut cut = {0};
    struct ir_text clusters, others, values;
    struct be_set_words words = start_set_words(m);
    struct root *roots =
        ir_realloc_array(NULL, (size_t)f->n_trees + 1, sizeof(*roots));
    int32_t first_leaf = 0, next = f->n_trees;
    ir_text_init(&clusters);
    ir_text_init(&others);
    ir_text_init(&values);
    for (int t = 0; t < f->n_trees; t++) {
        ir_cut_tree(&cut, f, t, m->lanes);
        roots[t] = (struct root){
            .others = next - 1, .target = f->target[t],
            .first_leaf = m->exit_bytes ? f->leaf_start[t] : first_leaf};
        append_cluster(m, &cut.cluster[0], t, &words, &clusters);
        for (int k = 1; k < cut.n; k++)
            append_cluster(m, &cut.cluster[k], next++, &words, &others);
        if (!m->exit_bytes)
            append_values(m, &cut.cluster[0], t, &values);
        first_leaf += cut.cluster[0].n_exits;
    }
    if (others.length > 0)
        ir_text_append(&clusters, others.data, others.length);
    m->clusters = be_bytes(m->e, "cluster", clusters.data, clusters.length, 64);
    if (!m->roots) {
        m->roots = be_bytes(m->e, "match_root", roots,
                            (size_t)f->n_trees * sizeof(*roots), 16);
        m->values = m->exit_bytes ? be_leaf_values(m->e, m->forest)
                                  : be_bytes(m->e, "leaf_value", values.data,
                                             values.length, 64);
    }
    if (m->is_raw)
        be_raw_emit_sets(&m->raw, m->n_clusters);
    if (set_runs(m) > 0)
        emit_set_words(m, &words);
    ir_cut_release(&cut);
    ir_text_release(&clusters);
    ir_text_release(&others);
    ir_text_release(&values);
    free(words.words);
    free(roots);
}

/* ----------------------------------------------------------------- code -- */

/* The answers, a bit a test, beside each other as often as there are exits.
 * Before they become a vector something is computed with them, the bit of no
 * test being dropped: what LLVM makes of a mask's bits spread as they are is
 * several times as long. */
static LLVMValueRef spread_answers(struct match *m, LLVMValueRef answers)
{
    struct be_emitter *e = m->e;
    answers = LLVMBuildZExt(e->b, answers, e->i32, "");
    answers = LLVMBuildAnd(e->b, answers,
                           be_i32(e, (1ll << (m->lanes - 1)) - 1), "");
    if (m->lanes < 32)
        answers = LLVMBuildMul(
            e->b, answers, be_i32(e, m->lanes == 16 ? 0x10001 : 0x1010101), "");
    const int n = m->lanes * (m->lanes / 8) / 4;
    return LLVMBuildBitCast(e->b, be_splat(e, answers, n),
                            be_vector(m->word, m->lanes), "");
}

/* Where the row's words are: those of the category that it has, of each run. */
static void load_set_rows(struct match *m, LLVMValueRef codes)
{
    struct be_emitter *e = m->e;
    const struct be_set_words w = {.n_clusters = m->n_clusters,
                                   .word_bytes = m->lanes / 8};
    int64_t start = 0;
    for (int r = 0; r < set_runs(m); r++) {
        LLVMValueRef row = be_load(
            e, e->i32, be_offset(e, codes, be_i64(e, BE_SET_ROWS_AT + 4 * r)));
        row = LLVMBuildMul(e->b, LLVMBuildZExt(e->b, row, e->i64, ""),
                           be_i64(e, w.n_clusters * w.word_bytes), "");
        m->set_row[r] = be_offset(
            e, m->set_words,
            LLVMBuildAdd(e->b, row, be_i64(e, start), ""));
        start += be_set_words_bytes(m->forest, &w, r);
    }
}

/* The number, i64, of the exit by which the row leaves the cluster number
 * `number`, an i64, that is at `cluster`. */
static LLVMValueRef find_exit(struct match *m, LLVMValueRef number,
                              LLVMValueRef cluster)
{
    struct be_emitter *e = m->e;
    LLVMTypeRef words = be_vector(m->word, m->lanes);
    LLVMValueRef answers =
        m->is_raw ? be_raw_pass(&m->raw, number, cluster)
                  : LLVMBuildBitCast(
                        e->b, be_tests_pass(&m->tests, cluster), m->word, "");
    for (int r = 0; r < set_runs(m); r++)
        answers = LLVMBuildOr(
            e->b, answers,
            be_load(e, m->word, be_at(e, m->word, m->set_row[r], number)), "");
    LLVMValueRef rulers = LLVMBuildLoad2(
        e->b, words,
        be_offset(e, cluster, be_i64(e, rulers_at(m))), "");
    LLVMSetAlignment(rulers, m->lanes == 8 ? 8 : 16);
    LLVMValueRef out =
        LLVMBuildAnd(e->b, rulers, spread_answers(m, answers), "");
    LLVMValueRef left = LLVMBuildICmp(e->b, LLVMIntEQ, out,
                                      LLVMConstNull(words), "");
    left = LLVMBuildBitCast(e->b, left, m->word, "");
    return LLVMBuildZExt(e->b, be_trailing_zeros(e, left), e->i64, "");
}

static LLVMValueRef root_field(struct match *m, LLVMValueRef tree,
                               size_t offset)
{
    struct be_emitter *e = m->e;
    LLVMValueRef at =
        LLVMBuildMul(e->b, tree, be_i64(e, sizeof(struct root)), "");
    at = LLVMBuildAdd(e->b, at, be_i64(e, (int64_t)offset), "");
    LLVMValueRef v = be_load(e, e->i32, be_offset(e, m->roots, at));
    return LLVMBuildZExt(e->b, v, e->i64, "");
}

static LLVMValueRef cluster_at(struct match *m, LLVMValueRef number)
{
    struct be_emitter *e = m->e;
    return be_offset(
        e, m->clusters,
        LLVMBuildMul(e->b, number, be_i64(e, m->cluster_bytes), ""));
}

/* The block's tree number k, which is `tree` of the forest, takes its step from
 * the cluster `number`. Stores its leaf if it comes to one; else stores it as
 * active number n. Returns n, or n + 1. */
static LLVMValueRef step(struct match *m, LLVMValueRef tree, LLVMValueRef k,
                         LLVMValueRef number, LLVMValueRef n)
{
    struct be_emitter *e = m->e;
    LLVMTypeRef type = LLVMArrayType2(e->i32, 2);
    LLVMValueRef first = root_field(m, tree, offsetof(struct root, first_leaf));
    LLVMValueRef leaf_at = be_at(e, e->i32, m->leaves, k);
    LLVMValueRef cluster = cluster_at(m, number);
    LLVMValueRef exit = find_exit(m, number, cluster);
    LLVMValueRef exits = be_offset(e, cluster, be_i64(e, exits_at(m)));
    LLVMValueRef to = be_load(e, m->exit, be_at(e, m->exit, exits, exit));
    to = LLVMBuildSExt(e->b, to, e->i64, "");
    /* Both are stored, and what is not so is stored over. */
    LLVMValueRef leaf = LLVMBuildSub(
        e->b, LLVMBuildSub(e->b, first, to, ""), be_i64(e, 1), "");
    be_store(e, LLVMBuildTrunc(e->b, leaf, e->i32, ""), leaf_at);
    LLVMValueRef next = LLVMBuildAdd(
        e->b, root_field(m, tree, offsetof(struct root, others)), to, "");
    LLVMValueRef entry = be_at(e, type, m->active, n);
    be_store(e, LLVMBuildTrunc(e->b, k, e->i32, ""),
             be_offset(e, entry, be_i64(e, offsetof(struct active, tree))));
    be_store(e, LLVMBuildTrunc(e->b, next, e->i32, ""),
             be_offset(e, entry,
                       be_i64(e, offsetof(struct active, cluster))));
    LLVMValueRef inner =
        LLVMBuildICmp(e->b, LLVMIntSGE, to, be_i64(e, 0), "");
    return LLVMBuildAdd(e->b, n, LLVMBuildZExt(e->b, inner, e->i64, ""), "");
}

static LLVMValueRef active_field(struct match *m, LLVMValueRef i, size_t offset)
{
    struct be_emitter *e = m->e;
    LLVMValueRef entry = be_at(e, LLVMArrayType2(e->i32, 2), m->active, i);
    entry = be_offset(e, entry, be_i64(e, (int64_t)offset));
    return LLVMBuildZExt(e->b, be_load(e, e->i32, entry), e->i64, "");
}

/* Finds the leaves of the trees from `first` to `end`. */
static void find_leaves(struct match *m, LLVMValueRef first, LLVMValueRef end)
{
    struct be_emitter *e = m->e;
    struct be_loop tree, round, i;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &tree, first, end, 1);
    LLVMValueRef n = be_carry(e, &tree, be_i64(e, 0), before);
    be_carried(e, n, step(m, tree.index,
                          LLVMBuildSub(e->b, tree.index, first, ""),
                          tree.index, n));
    be_loop_end(e, &tree);
    before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &round, be_i64(e, 1), be_i64(e, m->max_steps), 1);
    LLVMValueRef now = be_carry(e, &round, n, before);
    before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &i, be_i64(e, 0), now, 1);
    LLVMValueRef still = be_carry(e, &i, be_i64(e, 0), before);
    LLVMValueRef k = active_field(m, i.index, offsetof(struct active, tree));
    LLVMValueRef at =
        active_field(m, i.index, offsetof(struct active, cluster));
    be_carried(e, still, step(m, LLVMBuildAdd(e->b, first, k, ""), k, at,
                              still));
    be_loop_end(e, &i);
    be_carried(e, now, still);
    be_loop_end(e, &round);
}

/* Adds the leaf number `leaf`, an i64, of a tree: to `sum`, which is returned,
 * or, where there are several margins, to those in memory. */
static LLVMValueRef add_leaf(struct match *m, LLVMValueRef tree,
                             LLVMValueRef leaf, LLVMValueRef sum,
                             LLVMValueRef margin)
{
    struct be_emitter *e = m->e;
    LLVMTypeRef type = be_type(e, m->f->sum_dtype);
    if (sum) {
        LLVMValueRef v = be_load_leaf(
            e, m->forest, 1, 0,
            be_at(e, be_leaf_type(e, m->forest), m->values, leaf));
        return LLVMBuildFAdd(e->b, sum, v, "");
    }
    LLVMValueRef target = root_field(m, tree, offsetof(struct root, target));
    be_add_leaf(e, m->forest, m->values, leaf,
                be_at(e, type, margin, target));
    return NULL;
}

/* Adds the leaf values of the trees from `first` to `end` to the margins, of
 * which one stays in a register: of leaves found before, or found here, where
 * all trees are one cluster. */
static void add_leaves(struct match *m, LLVMValueRef first, LLVMValueRef end,
                       LLVMValueRef margin)
{
    struct be_emitter *e = m->e;
    LLVMTypeRef type = be_type(e, m->f->sum_dtype);
    const bool one = m->f->n_targets == 1;
    LLVMValueRef start = one ? be_load(e, type, margin) : NULL, sum = NULL;
    LLVMValueRef leaf;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    struct be_loop tree;
    be_loop_begin(e, &tree, first, end, 1);
    if (one)
        sum = be_carry(e, &tree, start, before);
    if (m->exit_bytes) {
        LLVMValueRef k = LLVMBuildSub(e->b, tree.index, first, "");
        leaf = be_load(e, e->i32, be_at(e, e->i32, m->leaves, k));
        leaf = LLVMBuildZExt(e->b, leaf, e->i64, "");
    } else {
        leaf = LLVMBuildAdd(
            e->b, find_exit(m, tree.index, cluster_at(m, tree.index)),
            root_field(m, tree.index, offsetof(struct root, first_leaf)), "");
    }
    LLVMValueRef next = add_leaf(m, tree.index, leaf, sum, margin);
    if (one)
        be_carried(e, sum, next);
    be_loop_end(e, &tree);
    if (one)
        be_store(e, sum, margin);
}

/* All trees, block by block. */
static void add_blocks(struct match *m, LLVMValueRef margin)
{
    struct be_emitter *e = m->e;
    m->leaves = LLVMBuildAlloca(
        e->b, LLVMArrayType2(e->i32, block_trees), "");
    m->active = LLVMBuildAlloca(
        e->b, LLVMArrayType2(e->i32, 2 * block_trees), "");
    struct be_loop block;
    LLVMValueRef n_trees = be_i64(e, m->f->n_trees);
    be_loop_begin(e, &block, be_i64(e, 0), n_trees, block_trees);
    LLVMValueRef end = be_least(
        e, LLVMBuildNSWAdd(e->b, block.index, be_i64(e, block_trees), ""),
        n_trees);
    find_leaves(m, block.index, end);
    add_leaves(m, block.index, end, margin);
    be_loop_end(e, &block);
}

/* fn(codes or row, margin): adds all trees to the row's margins. */
static LLVMValueRef emit_match(struct match *m)
{
    struct be_emitter *e = m->e;
    char name[64];
    snprintf(name, sizeof(name), "%s%d_%d_%d%s", m->is_raw ? "raw" : "match",
             m->lanes, m->forest->number, e->level->vector_bytes,
             m->is_raw ? ir_dtype_name(m->raw.dtype) : "");
    LLVMTypeRef params[] = {e->ptr, e->ptr};
    LLVMValueRef fn = be_function(e, name, e->none, params, 2, e->level);
    be_noalias(e, fn, 0);
    be_noalias(e, fn, 1);
    if (m->is_raw) {
        be_raw_load(&m->raw, LLVMGetParam(fn, 0));
    } else {
        be_tests_load(&m->tests, LLVMGetParam(fn, 0));
        load_set_rows(m, LLVMGetParam(fn, 0));
    }
    if (m->exit_bytes)
        add_blocks(m, LLVMGetParam(fn, 1));
    else
        add_leaves(m, be_i64(e, 0), be_i64(e, m->f->n_trees),
                   LLVMGetParam(fn, 1));
    LLVMBuildRetVoid(e->b);
    return fn;
}

void be_match_emit(struct be_emitter *e, struct be_forest *forest, int lanes)
{
    struct match m = {.e = e, .forest = forest, .f = &forest->f,
                      .lanes = lanes};
    be_tests_init(&m.tests, e, forest, lanes);
    m.word = lanes == 16 ? e->i16 : e->i32;
    plan_clusters(&m);
    emit_tables(&m);
    for (int l = 0; l < e->n_levels; l++) {
        e->level = e->levels[l];
        forest->one[lanes == 16 ? IR_MATCH16 : IR_MATCH32][l] = emit_match(&m);
    }
}

void be_raw_emit(struct be_emitter *e, struct be_forest *forest, int lanes)
{
    struct match m = {.e = e, .forest = forest, .f = &forest->f,
                      .lanes = lanes, .is_raw = true};
    m.word = lanes == 8 ? e->i8 : e->i16;
    for (int wide = 0; wide < 2; wide++) {
        const enum ir_dtype dtype = wide ? IR_F64 : IR_F32;
        if (wide && forest->f.in_dtype == IR_F32)
            continue; /* such rows are narrowed first */
        be_raw_init(&m.raw, e, forest, lanes, dtype);
        plan_clusters(&m);
        emit_tables(&m);
        for (int l = 0; l < e->n_levels; l++) {
            e->level = e->levels[l];
            forest->raw[lanes == 16][l][wide] = emit_match(&m);
        }
    }
}
