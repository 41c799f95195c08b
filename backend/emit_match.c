/* emit_match.c: the strategies `match16` and `match32`, which do not jump on
 * what a row answers; and `raw8` and `raw16`, which are the same on the row's
 * own numbers.
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
 * is how many instructions a step takes, and for large forests how many bytes
 * of the tables a row reads. First clusters lie together, in the order of the
 * trees, and the others behind them.
 *
 * One row goes through all trees. Several rows take turns at blocks of trees,
 * whose tables stay near meanwhile: a block's items are pairs of a row and a
 * tree, and its steps are those of all rows. */
#include "backend/llvm.h"

#include <stdlib.h>
#include <string.h>

enum {
    align_bytes = 32, /* of clusters */
    block_trees = 64, /* whose leaves are found, then added */
    block_items = 512, /* pairs of a row and a tree, likewise, of many rows */
    near_bytes = 16384, /* of tables that rows take turns at */
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
    int most_exits; /* of a tree's first cluster */
    LLVMTypeRef word; /* an integer with a bit a lane */
    LLVMTypeRef exit; /* an integer of exit_bytes: a leaf, or, where its highest
                         bit is set, a cluster, numbered in the tree */
    LLVMValueRef clusters, roots, values, set_words;
    /* Of the function being emitted: of the block's trees the leaf, as a place
     * numbered in the tree; and those that have not come to one. */
    LLVMValueRef leaves, active;
    LLVMValueRef set_row[BE_MOST_SET_RUNS]; /* words, by cluster */
    /* Of many rows: a block has 1 << log_trees trees; codes of the block's
     * first row, and how many bytes further the next one's are. */
    int log_trees;
    LLVMValueRef codes;
    int64_t row_bytes;
};

/* By tree. */
struct root {
    int32_t others; /* the number of its cluster k > 0, less k */
    int32_t target;
    int32_t first_leaf; /* of the table of values */
    int32_t unused;
};
_Static_assert(sizeof(struct root) == 16, "the emitted code strides 16");

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

/* The leaf values of a tree that is one cluster, in the order of its exits, and
 * room for as many as any tree has: where they are is then a matter of the
 * tree's number alone. */
static void append_values(const struct match *m, const struct ir_cluster *c,
                          int tree, struct ir_text *values)
{
    const struct ordered o = order_exits(m, c);
    for (int i = 0; i < m->most_exits; i++) {
        const int exit = i < c->n_exits ? i : 0;
        be_leaf_append(m->forest, m->f->leaf_start[tree] + ~o.exit[exit],
                       values);
    }
}

/* What exits say that lead to a cluster: cluster | cluster_bit. */
static uint32_t cluster_bit(const struct match *m)
{
    return 1u << (8 * m->exit_bytes - 1);
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
 * its exits lead. */
static void append_cluster(struct match *m, const struct ir_cluster *c,
                           int64_t number, struct be_set_words *words,
                           struct ir_text *to)
{
    const size_t start = to->length;
    const struct ordered o = order_exits(m, c);
    append_tests(m, c, number, words, to);
    for (int i = 0; i < m->lanes; i++) /* little-endian, as the targets are */
        ir_text_append(to, &o.rulers[i], (size_t)m->lanes / 8);
    for (int i = 0; i < m->lanes && m->exit_bytes > 0; i++) {
        const uint32_t exit = o.exit[i] < 0
                                  ? (uint32_t)~o.exit[i]
                                  : (uint32_t)o.exit[i] | cluster_bit(m);
        ir_text_append(to, &exit, (size_t)m->exit_bytes);
    }
    while (to->length - start < (size_t)m->cluster_bytes)
        ir_text_append(to, "", 1);
}

static int64_t rulers_at(const struct match *m)
{
    return m->is_raw ? be_raw_bytes(&m->raw) : be_tests_bytes(&m->tests);
}

/* Of set tests that are words. */
static int set_runs(const struct match *m)
{
    return m->is_raw ? 0 : m->forest->n_set_runs;
}

static int64_t exits_at(const struct match *m)
{
    return rulers_at(m) + (int64_t)m->lanes * m->lanes / 8;
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
        m->most_exits = cut.cluster[0].n_exits > m->most_exits
                            ? cut.cluster[0].n_exits : m->most_exits;
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
    m->set_words = be_bytes(m->e, "set_word", words->words,
                            (size_t)bytes + sizeof(int32_t), 64);
}

static struct be_set_words start_set_words(const struct match *m)
{
    struct be_set_words words = {.n_clusters = m->n_clusters,
                                 .word_bytes = m->lanes / 8};
    int64_t bytes = 0;
    for (int r = 0; r < set_runs(m); r++)
        bytes += be_set_words_bytes(m->forest, &words, r);
    bytes += sizeof(int32_t); /* 32 bits are read of words of 16 */
    words.words = ir_realloc_array(NULL, (size_t)bytes, 1);
    memset(words.words, 0, (size_t)bytes);
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
    int32_t next = f->n_trees;
    ir_text_init(&clusters);
    ir_text_init(&others);
    ir_text_init(&values);
    for (int t = 0; t < f->n_trees; t++) {
        ir_cut_tree(&cut, f, t, m->lanes);
        roots[t] = (struct root){
            .others = next - 1, .target = f->target[t],
            .first_leaf = f->leaf_start[t]};
        append_cluster(m, &cut.cluster[0], t, &words, &clusters);
        for (int k = 1; k < cut.n; k++)
            append_cluster(m, &cut.cluster[k], next++, &words, &others);
        if (!m->exit_bytes)
            append_values(m, &cut.cluster[0], t, &values);
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

/* v, past what the code generator can see: it would spread a mask's bits one by
 * one where a number is copied to all lanes. */
static LLVMValueRef opaque(struct be_emitter *e, LLVMValueRef v)
{
    LLVMTypeRef type = LLVMFunctionType(e->i32, &e->i32, 1, 0);
    LLVMValueRef keep = LLVMGetInlineAsm(type, "", 0, "=r,0", 4, 0, 0,
                                         LLVMInlineAsmDialectATT, 0);
    return LLVMBuildCall2(e->b, type, keep, &v, 1, "");
}

/* The answers, an i32 with a bit a test, beside each other as often as there
 * are exits. Bits above those of tests are dropped, or rule nothing out. */
static LLVMValueRef spread_answers(struct match *m, LLVMValueRef answers)
{
    struct be_emitter *e = m->e;
    if (e->target->lookup == BE_PSHUFB) {
        answers = LLVMBuildTrunc(e->b, opaque(e, answers), m->word, "");
        return be_splat(e, answers, m->lanes);
    }
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
            e, e->i32, be_offset(e, codes,
                                 be_i64(e, be_set_rows_at(m->forest) + 4 * r)));
        row = LLVMBuildMul(e->b, LLVMBuildZExt(e->b, row, e->i64, ""),
                           be_i64(e, w.n_clusters * w.word_bytes), "");
        m->set_row[r] = be_offset(
            e, m->set_words,
            LLVMBuildAdd(e->b, row, be_i64(e, start), ""));
        start += be_set_words_bytes(m->forest, &w, r);
    }
}

/* Whether lanes of a compare are best told apart by bytes: AVX2 has a mask of
 * the 32 bytes of a register, and none of 16 words. */
static bool by_bytes(const struct match *m)
{
    return m->lanes == 16 && m->e->target->lookup == BE_PSHUFB &&
           m->e->level->vector_bytes == 32 && !m->e->level->has_masks;
}

/* The first lane of `is`, as an i64: its number times `bytes`. */
static LLVMValueRef first_lane(struct match *m, LLVMValueRef is, int64_t bytes)
{
    struct be_emitter *e = m->e;
    LLVMTypeRef word = m->word;
    const bool halves = by_bytes(m);
    if (halves) {
        LLVMTypeRef type = be_vector(e->i8, 32);
        is = LLVMBuildSExt(e->b, is, be_vector(e->i16, 16), "");
        is = LLVMBuildICmp(e->b, LLVMIntSLT,
                           LLVMBuildBitCast(e->b, is, type, ""),
                           LLVMConstNull(type), "");
        word = e->i32;
    }
    is = LLVMBuildBitCast(e->b, is, word, "");
    LLVMValueRef n = be_trailing_zeros(
        e, LLVMBuildZExtOrBitCast(e->b, is, e->i32, ""));
    if (halves && bytes % 2 != 0)
        n = LLVMBuildLShr(e->b, n, be_i32(e, 1), "");
    else if (halves)
        bytes /= 2;
    return LLVMBuildMul(e->b, LLVMBuildZExt(e->b, n, e->i64, ""),
                        be_i64(e, bytes), "");
}

/* The words of set tests or-ed to the answers of the cluster number `number`,
 * an i64, both as i32. */
static LLVMValueRef add_set_words(struct match *m, LLVMValueRef number,
                                  LLVMValueRef answers)
{
    struct be_emitter *e = m->e;
    for (int r = 0; r < set_runs(m); r++) {
        LLVMValueRef at = be_at(e, m->word, m->set_row[r], number);
        answers = LLVMBuildOr(e->b, answers, be_load(e, e->i32, at), "");
    }
    return answers;
}

/* The exit by which the row leaves the cluster number `number`, an i64, that is
 * at `cluster`: its number times `bytes`, as an i64. */
static LLVMValueRef find_exit(struct match *m, LLVMValueRef number,
                              LLVMValueRef cluster, int64_t bytes)
{
    struct be_emitter *e = m->e;
    LLVMTypeRef words = be_vector(m->word, m->lanes);
    LLVMValueRef answers =
        m->is_raw ? be_raw_pass(&m->raw, number, cluster)
                  : LLVMBuildBitCast(
                        e->b, be_tests_pass(&m->tests, cluster), m->word, "");
    answers = LLVMBuildZExtOrBitCast(e->b, answers, e->i32, "");
    answers = add_set_words(m, number, answers);
    LLVMValueRef rulers = LLVMBuildLoad2(
        e->b, words,
        be_offset(e, cluster, be_i64(e, rulers_at(m))), "");
    LLVMSetAlignment(rulers, m->lanes == 8 ? 8 : 16);
    LLVMValueRef out =
        LLVMBuildAnd(e->b, rulers, spread_answers(m, answers), "");
    LLVMValueRef left = LLVMBuildICmp(e->b, LLVMIntEQ, out,
                                      LLVMConstNull(words), "");
    return first_lane(m, left, bytes);
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

/* The item k of the block, a row and a tree, takes its step from the cluster
 * `number`. Stores where it comes to, and k as active number n if that is not a
 * leaf: else the next one is stored over it. Returns n, or n + 1. */
static LLVMValueRef step(struct match *m, LLVMValueRef k, LLVMValueRef number,
                         LLVMValueRef n)
{
    struct be_emitter *e = m->e;
    LLVMValueRef cluster = cluster_at(m, number);
    LLVMValueRef exit = find_exit(m, number, cluster, m->exit_bytes);
    LLVMValueRef exits = be_offset(e, cluster, be_i64(e, exits_at(m)));
    LLVMValueRef to = be_load(e, m->exit, be_offset(e, exits, exit));
    to = LLVMBuildZExt(e->b, to, e->i32, "");
    be_store(e, to, be_at(e, e->i32, m->leaves, k));
    be_store(e, LLVMBuildTrunc(e->b, k, e->i32, ""),
             be_at(e, e->i32, m->active, n));
    LLVMValueRef inner =
        LLVMBuildLShr(e->b, to, be_i32(e, 8 * m->exit_bytes - 1), "");
    return LLVMBuildAdd(e->b, n, LLVMBuildZExt(e->b, inner, e->i64, ""), "");
}

/* Where the item k has come to, an i64. */
static LLVMValueRef exit_of(struct match *m, LLVMValueRef k)
{
    struct be_emitter *e = m->e;
    return LLVMBuildZExt(
        e->b, be_load(e, e->i32, be_at(e, e->i32, m->leaves, k)), e->i64, "");
}

/* The row number `row` of the block is the one that steps are taken for. */
static void load_row(struct match *m, LLVMValueRef row)
{
    struct be_emitter *e = m->e;
    LLVMValueRef codes = be_offset(
        e, m->codes,
        LLVMBuildNSWMul(e->b, row, be_i64(e, m->row_bytes), ""));
    be_tests_load(&m->tests, codes);
    load_set_rows(m, codes);
}

/* The next step of active number i, of trees from `first` on: see step(). */
static LLVMValueRef next_step(struct match *m, LLVMValueRef first,
                              LLVMValueRef i, LLVMValueRef n)
{
    struct be_emitter *e = m->e;
    LLVMValueRef k = LLVMBuildZExt(
        e->b, be_load(e, e->i32, be_at(e, e->i32, m->active, i)), e->i64, "");
    LLVMValueRef tree = k;
    if (m->codes) {
        load_row(m, LLVMBuildLShr(e->b, k, be_i64(e, m->log_trees), ""));
        tree = LLVMBuildAnd(e->b, k, be_i64(e, (1 << m->log_trees) - 1), "");
    }
    tree = LLVMBuildNSWAdd(e->b, first, tree, "");
    LLVMValueRef to = LLVMBuildAnd(e->b, exit_of(m, k),
                                   be_i64(e, cluster_bit(m) - 1), "");
    LLVMValueRef number = LLVMBuildNSWAdd(
        e->b, root_field(m, tree, offsetof(struct root, others)), to, "");
    return step(m, k, number, n);
}

/* The second step of those n that have not come to a leaf, the third one, and
 * so on; of trees from `first` on. */
static void take_rounds(struct match *m, LLVMValueRef first, LLVMValueRef n)
{
    struct be_emitter *e = m->e;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    LLVMBasicBlockRef head = be_block(e, "round"), some = be_block(e, "some");
    LLVMBasicBlockRef done = be_block(e, "found");
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, head);
    LLVMValueRef now = LLVMBuildPhi(e->b, e->i64, "");
    LLVMAddIncoming(now, &n, &before, 1);
    LLVMBuildCondBr(
        e->b, LLVMBuildICmp(e->b, LLVMIntEQ, now, be_i64(e, 0), ""), done,
        some);
    LLVMPositionBuilderAtEnd(e->b, some);
    struct be_loop i;
    be_repeat_begin(e, &i, be_i64(e, 0), 1);
    LLVMValueRef still = be_carry(e, &i, be_i64(e, 0), some);
    LLVMValueRef next = next_step(m, first, i.index, still);
    be_carried(e, still, next);
    be_repeat_end(e, &i, now);
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->b);
    LLVMAddIncoming(now, &next, &latch, 1);
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, done);
}

/* The first step of the trees from `first` to `end`, their items from `start`
 * on; n are active already. Returns how many are then. */
static LLVMValueRef first_steps(struct match *m, LLVMValueRef first,
                                LLVMValueRef end, LLVMValueRef start,
                                LLVMValueRef n)
{
    struct be_emitter *e = m->e;
    struct be_loop tree;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    be_repeat_begin(e, &tree, first, 1);
    LLVMValueRef now = be_carry(e, &tree, n, before);
    LLVMValueRef k = LLVMBuildNSWAdd(
        e->b, start, LLVMBuildNSWSub(e->b, tree.index, first, ""), "");
    LLVMValueRef next = step(m, k, tree.index, now);
    be_carried(e, now, next);
    be_repeat_end(e, &tree, end);
    return next;
}

/* Finds the leaves of the trees from `first` to `end`. */
static void find_leaves(struct match *m, LLVMValueRef first, LLVMValueRef end)
{
    LLVMValueRef none = be_i64(m->e, 0);
    take_rounds(m, first, first_steps(m, first, end, none, none));
}

/* Where the values are of a tree's leaf: that of the item k, or the one found
 * here, where all trees are one cluster. */
static LLVMValueRef leaf_of(struct match *m, LLVMValueRef tree, LLVMValueRef k)
{
    struct be_emitter *e = m->e;
    const int64_t bytes = (int64_t)m->forest->leaf_bytes;
    if (!m->exit_bytes) {
        LLVMValueRef values = be_offset(
            e, m->values,
            LLVMBuildNSWMul(e->b, tree, be_i64(e, m->most_exits * bytes), ""));
        return be_offset(e, values,
                         find_exit(m, tree, cluster_at(m, tree), bytes));
    }
    LLVMValueRef leaf = LLVMBuildNSWAdd(
        e->b, exit_of(m, k),
        root_field(m, tree, offsetof(struct root, first_leaf)), "");
    return be_offset(e, m->values,
                     LLVMBuildNSWMul(e->b, leaf, be_i64(e, bytes), ""));
}

/* Adds the leaf values of the trees from `first` to `end`, whose items are from
 * `start` on, to the margins, of which a single one stays in a register. */
static void add_leaves(struct match *m, LLVMValueRef first, LLVMValueRef end,
                       LLVMValueRef start, LLVMValueRef margin)
{
    struct be_emitter *e = m->e;
    LLVMTypeRef type = be_type(e, m->f->sum_dtype);
    const bool one = m->f->n_targets == 1;
    LLVMValueRef sum = one ? be_load(e, type, margin) : NULL, acc = NULL;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    struct be_loop tree;
    be_repeat_begin(e, &tree, first, 1);
    LLVMValueRef k = LLVMBuildNSWAdd(
        e->b, start, LLVMBuildNSWSub(e->b, tree.index, first, ""), "");
    if (one) {
        acc = be_carry(e, &tree, sum, before);
        LLVMValueRef leaf = leaf_of(m, tree.index, k);
        sum = LLVMBuildFAdd(e->b, acc,
                            be_load_leaf(e, m->forest, 1, 0, leaf), "");
        be_carried(e, acc, sum);
    } else {
        LLVMValueRef target =
            root_field(m, tree.index, offsetof(struct root, target));
        be_add_values(e, m->forest, leaf_of(m, tree.index, k),
                      be_at(e, type, margin, target));
    }
    be_repeat_end(e, &tree, end);
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
        e->b, LLVMArrayType2(e->i32, block_trees), "");
    struct be_loop block;
    LLVMValueRef n_trees = be_i64(e, m->f->n_trees);
    be_loop_begin(e, &block, be_i64(e, 0), n_trees, block_trees);
    LLVMValueRef end = be_least(
        e, LLVMBuildNSWAdd(e->b, block.index, be_i64(e, block_trees), ""),
        n_trees);
    find_leaves(m, block.index, end);
    add_leaves(m, block.index, end, be_i64(e, 0), margin);
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
    else if (m->f->n_trees > 0)
        add_leaves(m, be_i64(e, 0), be_i64(e, m->f->n_trees),
                   be_i64(e, 0), LLVMGetParam(fn, 1));
    LLVMBuildRetVoid(e->b);
    return fn;
}

/* Of so many trees that their tables stay near, though not of more than are
 * worth waiting for. */
static int plan_log_trees(const struct match *m)
{
    const int64_t n_trees = m->f->n_trees > 0 ? m->f->n_trees : 1;
    const int64_t bytes = m->n_clusters * m->cluster_bytes / n_trees;
    int log = 0;
    while (1 << log < block_trees && (bytes << (log + 1)) <= near_bytes)
        log++;
    return log;
}

/* Of the block's row `row` the item of its first tree. */
static LLVMValueRef first_item(struct match *m, LLVMValueRef row)
{
    return LLVMBuildShl(m->e->b, row, be_i64(m->e, m->log_trees), "");
}

/* Finds the leaves of the trees from `first` to `end` for the block's rows, of
 * which there are `n_rows`. */
static void find_leaves_of_rows(struct match *m, LLVMValueRef first,
                                LLVMValueRef end, LLVMValueRef n_rows)
{
    struct be_emitter *e = m->e;
    struct be_loop row;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &row, be_i64(e, 0), n_rows, 1);
    LLVMValueRef n = be_carry(e, &row, be_i64(e, 0), before);
    load_row(m, row.index);
    LLVMValueRef next =
        first_steps(m, first, end, first_item(m, row.index), n);
    be_carried(e, n, next);
    be_loop_end(e, &row);
    take_rounds(m, first, n);
}

/* Adds the trees from `first` to `end` to the margins of the block's rows. */
static void add_trees_to_rows(struct match *m, LLVMValueRef first,
                              LLVMValueRef end, LLVMValueRef n_rows,
                              LLVMValueRef margins)
{
    struct be_emitter *e = m->e;
    struct be_loop row;
    if (m->exit_bytes)
        find_leaves_of_rows(m, first, end, n_rows);
    be_loop_begin(e, &row, be_i64(e, 0), n_rows, 1);
    if (!m->exit_bytes)
        load_row(m, row.index);
    LLVMValueRef at =
        LLVMBuildNSWMul(e->b, row.index, be_i64(e, m->f->n_targets), "");
    add_leaves(m, first, end, first_item(m, row.index),
               be_at(e, be_type(e, m->f->sum_dtype), margins, at));
    be_loop_end(e, &row);
}

/* So few rows that a block has hardly more items than one of a single row go
 * one by one, by `one`. */
static void emit_few(struct match *m, LLVMValueRef one, LLVMValueRef codes,
                     LLVMValueRef margins, LLVMValueRef n_rows)
{
    struct be_emitter *e = m->e;
    LLVMBasicBlockRef few = be_block(e, "few"), many = be_block(e, "many");
    LLVMValueRef are_few = LLVMBuildICmp(
        e->b, LLVMIntSLT, n_rows,
        be_i64(e, block_trees >> m->log_trees), "");
    LLVMBuildCondBr(e->b, are_few, few, many);
    LLVMPositionBuilderAtEnd(e->b, few);
    struct be_loop row;
    be_loop_begin(e, &row, be_i64(e, 0), n_rows, 1);
    LLVMValueRef code_at =
        LLVMBuildNSWMul(e->b, row.index, be_i64(e, m->row_bytes), "");
    LLVMValueRef margin_at =
        LLVMBuildNSWMul(e->b, row.index, be_i64(e, m->f->n_targets), "");
    LLVMValueRef args[] = {
        be_offset(e, codes, code_at),
        be_at(e, be_type(e, m->f->sum_dtype), margins, margin_at)};
    be_call(e, one, args, 2);
    be_loop_end(e, &row);
    LLVMBuildRetVoid(e->b);
    LLVMPositionBuilderAtEnd(e->b, many);
}

/* fn(codes, margins, n_rows): adds all trees to each row's margins. Blocks of
 * trees take turns, and in each blocks of rows: so tables that do not fit the
 * first level of the cache are read once for all rows, and the rows of a block
 * do not wait for each other. */
static LLVMValueRef emit_match_rows(struct match *m, LLVMValueRef one)
{
    struct be_emitter *e = m->e;
    char name[64];
    snprintf(name, sizeof(name), "match%d_rows_%d_%d", m->lanes,
             m->forest->number, e->level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->i64};
    LLVMValueRef fn = be_function(e, name, e->none, params, 3, e->level);
    LLVMValueRef codes = LLVMGetParam(fn, 0), margins = LLVMGetParam(fn, 1);
    LLVMValueRef all_rows = LLVMGetParam(fn, 2);
    LLVMValueRef n_trees = be_i64(e, m->f->n_trees);
    LLVMTypeRef sum = be_type(e, m->f->sum_dtype);
    be_noalias(e, fn, 0);
    be_noalias(e, fn, 1);
    m->log_trees = plan_log_trees(m);
    m->row_bytes = be_row_code_bytes(m->forest);
    m->leaves =
        LLVMBuildAlloca(e->b, LLVMArrayType2(e->i32, block_items), "");
    m->active =
        LLVMBuildAlloca(e->b, LLVMArrayType2(e->i32, block_items), "");
    emit_few(m, one, codes, margins, all_rows);
    struct be_loop trees, rows;
    be_loop_begin(e, &trees, be_i64(e, 0), n_trees, 1 << m->log_trees);
    LLVMValueRef end = be_least(
        e, LLVMBuildNSWAdd(e->b, trees.index, trees.step, ""), n_trees);
    be_loop_begin(e, &rows, be_i64(e, 0), all_rows,
                  block_items >> m->log_trees);
    LLVMValueRef left = LLVMBuildNSWSub(e->b, all_rows, rows.index, "");
    m->codes = be_offset(
        e, codes,
        LLVMBuildNSWMul(e->b, rows.index, be_i64(e, m->row_bytes), ""));
    LLVMValueRef at = LLVMBuildNSWMul(e->b, rows.index,
                                      be_i64(e, m->f->n_targets), "");
    add_trees_to_rows(m, trees.index, end, be_least(e, left, rows.step),
                      be_at(e, sum, margins, at));
    be_loop_end(e, &rows);
    be_loop_end(e, &trees);
    LLVMBuildRetVoid(e->b);
    m->codes = NULL;
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
        const enum ir_strategy s = lanes == 16 ? IR_MATCH16 : IR_MATCH32;
        LLVMValueRef one = emit_match(&m);
        forest->one[s][l] = one;
        /* Words are by category: rows that take turns would read them here and
         * there, and one row goes through them. */
        if (forest->n_set_runs == 0 &&
            (forest->by[0] == s || be_by_tiles(forest)))
            forest->rows[s][l] = emit_match_rows(&m, one);
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
