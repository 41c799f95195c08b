/* emit_match.c: the strategies `match16` and `match32`, which take rows one by
 * one and do not jump on what a row answers.
 *
 * A tree is cut into clusters of up to 15 or 31 nodes (ir/clusters.c). All
 * tests of a cluster are decided at once (emit_tests.c). Its exits are numbered
 * from one side to the other, at each node first those where its test is not
 * passed. A test that is passed rules these out, as bits of a word, and the
 * first exit that no test rules out is the one that the row leaves by (Lucchese
 * and others, "QuickScorer", 2015). It leads to the next cluster, or to a leaf.
 *
 * Trees are taken in blocks: first the first step of all, then the second one
 * of those that have not come to a leaf, and so on, so that no step waits for
 * the one before; then their leaf values are added, in order. The code is loops
 * over tables, which do not grow with the forest; what limits it is how many
 * bytes of the tables a row reads. */
#include "backend/llvm.h"

#include <stdlib.h>
#include <string.h>

enum {
    unit_bytes = 32,  /* in which places in the table are counted */
    block_trees = 64, /* whose leaves are found, then added */
};

struct match {
    struct be_emitter *e;
    struct be_forest *forest;
    const struct ir_forest *f;
    struct be_tests tests;
    int lanes;
    int64_t cluster_bytes;
    int exit_bytes; /* of where an exit leads: 2 or 4; 0 when all are leaves */
    int max_steps; /* of a tree: clusters that are passed */
    LLVMTypeRef word; /* i16 or i32: a bit a lane */
    LLVMTypeRef exit; /* an integer of exit_bytes */
    LLVMValueRef clusters, roots, values;
    /* Of the function being emitted: of the block's trees the leaf, as a place
     * in the table of values; and those that have not come to one. */
    LLVMValueRef leaves, active;
};

/* By tree. */
struct root {
    uint32_t at; /* of its first cluster, in units */
    int32_t target;
    int32_t first_leaf; /* of the table of values */
    int32_t unused;
};
_Static_assert(sizeof(struct root) == 16, "the emitted code strides 16");

/* A tree of the block, and the cluster it has come to. */
struct active {
    uint32_t tree, at;
};

/* --------------------------------------------------------------- tables -- */

/* Words lie as their tests' answers can be widened to them by shuffles within
 * 16 bytes: of each 16 bytes of answers the first few, then the next few. Which
 * node the word number i belongs to: */
static int node_of_word(const struct match *m, int i)
{
    const int code = m->forest->code_bytes, word = m->lanes / 8;
    const int per_block = 16 / word, blocks = m->lanes * code / 16;
    const int block = i / per_block % blocks, part = i / per_block / blocks;
    return block * (16 / code) + part * per_block + i % per_block;
}

/* A cluster with its exits in order. */
struct ordered {
    uint32_t ruled_out[IR_MOST_EXITS]; /* exits, by a node that is passed */
    int32_t exit[IR_MOST_EXITS];
};

static struct ordered order_exits(const struct match *m,
                                  const struct ir_cluster *c)
{
    struct ordered o = {.exit = {0}};
    int8_t stack[2 * IR_MOST_EXITS];
    bool half[IR_MOST_EXITS] = {false}; /* its first side is done */
    int depth = 0, n = 0;
    uint32_t before[IR_MOST_EXITS];
    stack[depth++] = c->n_nodes > 0 ? 0 : ~0;
    while (depth > 0) {
        const int8_t at = stack[--depth];
        if (at < 0) {
            o.exit[n++] = c->exit[~at];
            continue;
        }
        const bool left = be_node_test(m->forest, c->node[at]).left;
        if (half[at]) {
            o.ruled_out[at] = ((1u << n) - 1) & ~before[at];
            stack[depth++] = c->child[at][!left];
            continue;
        }
        half[at] = true;
        before[at] = (1u << n) - 1;
        stack[depth++] = at;
        stack[depth++] = c->child[at][left];
    }
    return o;
}

/* A cluster's tests, what they rule out, and where its exits lead: to a cluster
 * or ~leaf, numbered in the tree. */
static void append_cluster(struct match *m, const struct ir_cluster *c,
                           struct ir_text *to)
{
    int32_t node[IR_MOST_EXITS];
    const struct ordered o = order_exits(m, c);
    for (int i = 0; i < m->lanes; i++)
        node[i] = i < c->n_nodes ? c->node[i] : -1;
    be_tests_append(&m->tests, node, to);
    for (int i = 0; i < m->lanes; i++) /* little-endian, as the targets are */
        ir_text_append(to, &o.ruled_out[node_of_word(m, i)],
                       (size_t)m->lanes / 8);
    for (int i = 0; i < m->lanes; i++)
        ir_text_append(to, &o.exit[i], (size_t)m->exit_bytes);
    while (to->length % unit_bytes)
        ir_text_append(to, "", 1);
}

/* The leaf values of a tree that is one cluster, in the order of its exits. */
static void append_values(const struct match *m, const struct ir_cluster *c,
                          int tree, struct ir_text *values)
{
    const struct ordered o = order_exits(m, c);
    const size_t bytes =
        (size_t)m->f->leaf_width * ir_dtype_bytes(m->f->sum_dtype);
    for (int i = 0; i < c->n_exits; i++) {
        const size_t leaf = (size_t)(m->f->leaf_start[tree] + ~o.exit[i]);
        ir_text_append(values, (const uint8_t *)m->f->leaf_value + leaf * bytes,
                       bytes);
    }
}

static int64_t exits_at(const struct match *m)
{
    return be_tests_bytes(&m->tests) + (int64_t)m->lanes * m->lanes / 8;
}

/* Cuts the trees to see what clusters look like. */
static void plan_clusters(struct match *m)
{
    struct ir_cut cut = {0};
    int32_t most = 0; /* number of a cluster or leaf in its tree */
    m->max_steps = 1;
    for (int t = 0; t < m->f->n_trees; t++) {
        ir_cut_tree(&cut, m->f, t, m->lanes);
        const int32_t leaves = m->f->leaf_start[t + 1] - m->f->leaf_start[t];
        m->max_steps = cut.depth > m->max_steps ? cut.depth : m->max_steps;
        most = leaves > most ? leaves : most;
        most = cut.n > most ? cut.n : most;
    }
    m->exit_bytes = m->max_steps == 1 ? 0 : most <= INT16_MAX ? 2 : 4;
    m->exit = m->exit_bytes == 2 ? m->e->i16 : m->e->i32;
    m->cluster_bytes = (exits_at(m) + (int64_t)m->lanes * m->exit_bytes +
                        unit_bytes - 1) / unit_bytes * unit_bytes;
    ir_cut_release(&cut);
}

static void emit_tables(struct match *m)
{
    const struct ir_forest *f = m->f;
    struct ir_cut cut = {0};
    struct ir_text clusters, values;
    struct root *roots =
        ir_realloc_array(NULL, (size_t)f->n_trees + 1, sizeof(*roots));
    int32_t first_leaf = 0;
    ir_text_init(&clusters);
    ir_text_init(&values);
    for (int t = 0; t < f->n_trees; t++) {
        ir_cut_tree(&cut, f, t, m->lanes);
        roots[t] = (struct root){
            .at = (uint32_t)(clusters.length / unit_bytes),
            .target = f->target[t],
            .first_leaf = m->exit_bytes ? f->leaf_start[t] : first_leaf};
        for (int k = 0; k < cut.n; k++)
            append_cluster(m, &cut.cluster[k], &clusters);
        if (!m->exit_bytes)
            append_values(m, &cut.cluster[0], t, &values);
        first_leaf += cut.cluster[0].n_exits;
    }
    m->clusters = be_bytes(m->e, "cluster", clusters.data, clusters.length, 64);
    m->roots = be_bytes(m->e, "match_root", roots,
                        (size_t)f->n_trees * sizeof(*roots), 16);
    m->values = m->exit_bytes ? be_leaf_values(m->e, m->forest)
                              : be_bytes(m->e, "leaf_value", values.data,
                                         values.length, 64);
    ir_cut_release(&cut);
    ir_text_release(&clusters);
    ir_text_release(&values);
    free(roots);
}

/* ----------------------------------------------------------------- code -- */

/* Of the answers, all bits of each being one or zero, those that words number
 * `first` on belong to, widened to words: `bytes` of them. */
static LLVMValueRef widen(struct match *m, LLVMValueRef answers, int first,
                          int bytes)
{
    struct be_emitter *e = m->e;
    const int word = m->lanes / 8, code = m->forest->code_bytes;
    LLVMValueRef from[32];
    for (int i = 0; i < bytes; i++)
        from[i] = be_i32(e, node_of_word(m, first + i / word) * code);
    LLVMValueRef v = LLVMBuildShuffleVector(
        e->b, answers, answers, LLVMConstVector(from, (unsigned)bytes), "");
    return LLVMBuildBitCast(e->b, v, be_vector(m->word, bytes / word), "");
}

/* The number, i64, of the exit by which the row leaves a cluster. */
static LLVMValueRef find_exit(struct match *m, LLVMValueRef cluster)
{
    struct be_emitter *e = m->e;
    const int word = m->lanes / 8, code = m->forest->code_bytes;
    const int all = m->lanes * code; /* bytes of answers */
    const int bytes = e->level->vector_bytes < 32 || all < 32 ? 16 : 32;
    LLVMTypeRef words = be_vector(m->word, bytes / word);
    LLVMValueRef answers = LLVMBuildSExt(
        e->b, be_tests_pass(&m->tests, cluster),
        be_vector(code == 1 ? e->i8 : e->i16, m->lanes), "");
    answers = LLVMBuildBitCast(e->b, answers, be_vector(e->i8, all), "");
    LLVMValueRef at =
        be_offset(e, cluster, be_i64(e, be_tests_bytes(&m->tests)));
    LLVMValueRef out = LLVMConstNull(words);
    for (int i = 0; i < m->lanes; i += bytes / word) {
        LLVMValueRef v = LLVMBuildLoad2(
            e->b, words, be_at(e, m->word, at, be_i64(e, i)), "");
        LLVMSetAlignment(v, 16);
        v = LLVMBuildAnd(e->b, v, widen(m, answers, i, bytes), "");
        out = LLVMBuildOr(e->b, out, v, "");
    }
    out = be_intrinsic(e, "llvm.vector.reduce.or", words, &out, 1);
    LLVMValueRef left = LLVMBuildNot(e->b, out, "");
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

/* The cluster at `units`, an i64. */
static LLVMValueRef cluster_at(struct match *m, LLVMValueRef units)
{
    struct be_emitter *e = m->e;
    return be_offset(e, m->clusters,
                     LLVMBuildMul(e->b, units, be_i64(e, unit_bytes), ""));
}

/* The block's tree number k, which is `tree` of the forest, takes its step from
 * the cluster at `at`. Stores its leaf if it comes to one; else stores it as
 * active number n. Returns n, or n + 1. */
static LLVMValueRef step(struct match *m, LLVMValueRef tree, LLVMValueRef k,
                         LLVMValueRef at, LLVMValueRef n)
{
    struct be_emitter *e = m->e;
    LLVMTypeRef type = LLVMArrayType2(e->i32, 2);
    LLVMValueRef first = root_field(m, tree, offsetof(struct root, first_leaf));
    LLVMValueRef leaf_at = be_at(e, e->i32, m->leaves, k);
    LLVMValueRef cluster = cluster_at(m, at);
    LLVMValueRef exit = find_exit(m, cluster);
    if (!m->exit_bytes) {
        LLVMValueRef leaf = LLVMBuildAdd(e->b, first, exit, "");
        be_store(e, LLVMBuildTrunc(e->b, leaf, e->i32, ""), leaf_at);
        return n;
    }
    LLVMValueRef exits = be_offset(e, cluster, be_i64(e, exits_at(m)));
    LLVMValueRef to = be_load(e, m->exit, be_at(e, m->exit, exits, exit));
    to = LLVMBuildSExt(e->b, to, e->i64, "");
    /* Both are stored, and what is not so is stored over. */
    LLVMValueRef leaf = LLVMBuildSub(
        e->b, LLVMBuildSub(e->b, first, to, ""), be_i64(e, 1), "");
    be_store(e, LLVMBuildTrunc(e->b, leaf, e->i32, ""), leaf_at);
    LLVMValueRef next = LLVMBuildAdd(
        e->b, root_field(m, tree, offsetof(struct root, at)),
        LLVMBuildMul(e->b, to, be_i64(e, m->cluster_bytes / unit_bytes), ""),
        "");
    LLVMValueRef entry = be_at(e, type, m->active, n);
    be_store(e, LLVMBuildTrunc(e->b, k, e->i32, ""),
             be_offset(e, entry, be_i64(e, offsetof(struct active, tree))));
    be_store(e, LLVMBuildTrunc(e->b, next, e->i32, ""),
             be_offset(e, entry, be_i64(e, offsetof(struct active, at))));
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
                          root_field(m, tree.index, offsetof(struct root, at)),
                          n));
    be_loop_end(e, &tree);
    if (m->max_steps == 1)
        return;
    before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &round, be_i64(e, 1), be_i64(e, m->max_steps), 1);
    LLVMValueRef now = be_carry(e, &round, n, before);
    before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &i, be_i64(e, 0), now, 1);
    LLVMValueRef still = be_carry(e, &i, be_i64(e, 0), before);
    LLVMValueRef k = active_field(m, i.index, offsetof(struct active, tree));
    LLVMValueRef at = active_field(m, i.index, offsetof(struct active, at));
    be_carried(e, still, step(m, LLVMBuildAdd(e->b, first, k, ""), k, at,
                              still));
    be_loop_end(e, &i);
    be_carried(e, now, still);
    be_loop_end(e, &round);
}

/* Adds the leaf values of the trees from `first` to `end` to the margins. One
 * margin stays in a register. */
static void add_leaves(struct match *m, LLVMValueRef first, LLVMValueRef end,
                       LLVMValueRef margin)
{
    struct be_emitter *e = m->e;
    LLVMTypeRef type = be_type(e, m->f->sum_dtype);
    const bool one = m->f->n_targets == 1;
    LLVMValueRef start = one ? be_load(e, type, margin) : NULL, sum = NULL;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    struct be_loop tree;
    be_loop_begin(e, &tree, first, end, 1);
    if (one)
        sum = be_carry(e, &tree, start, before);
    LLVMValueRef k = LLVMBuildSub(e->b, tree.index, first, "");
    LLVMValueRef leaf = be_load(e, e->i32, be_at(e, e->i32, m->leaves, k));
    leaf = LLVMBuildZExt(e->b, leaf, e->i64, "");
    if (one) {
        LLVMValueRef v = be_load(e, type, be_at(e, type, m->values, leaf));
        be_carried(e, sum, LLVMBuildFAdd(e->b, sum, v, ""));
    } else {
        LLVMValueRef target =
            root_field(m, tree.index, offsetof(struct root, target));
        be_add_leaf(e, m->forest, m->values, leaf,
                    be_at(e, type, margin, target));
    }
    be_loop_end(e, &tree);
    if (one)
        be_store(e, sum, margin);
}

/* fn(codes, margin): adds all trees to the row's margins. */
static LLVMValueRef emit_match(struct match *m)
{
    struct be_emitter *e = m->e;
    char name[64];
    snprintf(name, sizeof(name), "match%d_%d_%d", m->lanes,
             m->forest->number, e->level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr};
    LLVMValueRef fn = be_function(e, name, e->none, params, 2, e->level);
    be_noalias(e, fn, 0);
    be_noalias(e, fn, 1);
    m->leaves = LLVMBuildAlloca(
        e->b, LLVMArrayType2(e->i32, block_trees), "");
    m->active = LLVMBuildAlloca(
        e->b, LLVMArrayType2(e->i32, 2 * block_trees), "");
    be_tests_load(&m->tests, LLVMGetParam(fn, 0));
    struct be_loop block;
    LLVMValueRef n_trees = be_i64(e, m->f->n_trees);
    be_loop_begin(e, &block, be_i64(e, 0), n_trees, block_trees);
    LLVMValueRef end = be_least(
        e, LLVMBuildNSWAdd(e->b, block.index, be_i64(e, block_trees), ""),
        n_trees);
    find_leaves(m, block.index, end);
    add_leaves(m, block.index, end, LLVMGetParam(fn, 1));
    be_loop_end(e, &block);
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
