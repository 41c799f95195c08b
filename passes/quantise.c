/* quantise.c: gives forests codes (IR_FOREST_ATTRS says what they mean).
 *
 * Nodes whose tests can be read off one code share a column: numeric ones of
 * one feature that send the missing to the same side and agree on what counts
 * as missing, and likewise set tests, 8 or 16 sets to a column. Columns are in
 * the order of their features, so that a tile's codes are written from one
 * value of the row after the other.
 *
 * A forest keeps the codes that it has. One stays without when codes of 16
 * bits do not do, when a test passes no number at all, which no numeric code
 * can say (canonicalise makes a set test of it), or when its categories are so
 * many that tables from them to codes would be out of proportion.
 */
#include "passes/rewrite.h"

#include <stdlib.h>
#include <string.h>

/* A node as it is sorted: by column, then by what it asks. */
struct test {
    int32_t feature;
    uint8_t flags;
    int32_t node;
    int64_t what; /* the place of its cut (see pass_order), or its set */
};

struct quantiser {
    struct ir_forest forest;
    struct ir_arena scratch;
    struct test *tests; /* [n_nodes] */
    int code_bits;
    int32_t n_columns, n_cuts, n_sets;
    int32_t *column_feature, *cut_start, *set_start, *set, *node_column;
    uint8_t *column_flags;
    double *cuts;
    uint16_t *node_code;
};

/* ---------------------------------------------------------------- tests -- */

static int compare_tests(const void *a, const void *b)
{
    const struct test *x = a, *y = b;
    if (x->feature != y->feature)
        return x->feature < y->feature ? -1 : 1;
    if (x->flags != y->flags) { /* numbers before sets */
        const bool p = x->flags & IR_NODE_CATEGORICAL;
        const bool q = y->flags & IR_NODE_CATEGORICAL;
        return p != q ? p - q : x->flags < y->flags ? -1 : 1;
    }
    if (x->what != y->what)
        return x->what < y->what ? -1 : 1;
    return (x->node > y->node) - (x->node < y->node);
}

/* False when there is a test that codes cannot express. */
static bool sort_tests(struct quantiser *q)
{
    const struct ir_forest *f = &q->forest;
    q->tests = ir_alloc_array(&q->scratch, (size_t)f->n_nodes,
                              sizeof(*q->tests));
    for (int32_t i = 0; i < f->n_nodes; i++) {
        const bool is_set = f->flags[i] & IR_NODE_CATEGORICAL;
        const int64_t what = is_set ? f->set[i] : pass_test_order(f, i);
        if (!is_set && what == PASS_NEVER)
            return false;
        q->tests[i] = (struct test){f->feature[i], f->flags[i], i, what};
    }
    qsort(q->tests, (size_t)f->n_nodes, sizeof(*q->tests), compare_tests);
    return true;
}

static bool same_column(const struct test *a, const struct test *b)
{
    return a->feature == b->feature && a->flags == b->flags;
}

/* ------------------------------------------------------------- code size -- */

static int32_t most_cuts(const struct quantiser *q)
{
    int32_t n = 0, most = 0;
    for (int64_t i = 0; i < q->forest.n_nodes; i++) {
        const struct test *test = &q->tests[i];
        if (test->flags & IR_NODE_CATEGORICAL)
            continue;
        if (i == 0 || !same_column(test, test - 1))
            n = 1;
        else
            n += test->what != test[-1].what;
        most = n > most ? n : most;
    }
    return most;
}

static int32_t most_leaves(const struct ir_forest *f)
{
    int32_t most = 0;
    for (int t = 0; t < f->n_trees; t++) {
        const int32_t n = f->leaf_start[t + 1] - f->leaf_start[t];
        most = n > most ? n : most;
    }
    return most;
}

/* A numeric code is a count of cuts, and all ones must go right of each. */
static int choose_code_bits(const struct quantiser *q)
{
    const int32_t cuts = most_cuts(q), leaves = most_leaves(&q->forest);
    if (cuts <= UINT8_MAX && leaves <= UINT8_MAX + 1)
        return 8;
    if (cuts <= UINT16_MAX && leaves <= UINT16_MAX + 1)
        return 16;
    return 0;
}

/* -------------------------------------------------------------- columns -- */

static void take_memory(struct quantiser *q)
{
    const size_t n = (size_t)q->forest.n_nodes; /* columns, cuts, sets: fewer */
    struct ir_arena *a = &q->scratch;
    q->column_feature = ir_alloc_array(a, n, sizeof(*q->column_feature));
    q->column_flags = ir_alloc_array(a, n, sizeof(*q->column_flags));
    q->cut_start = ir_alloc_array(a, n + 1, sizeof(*q->cut_start));
    q->cuts = ir_alloc_array(a, n, sizeof(*q->cuts));
    q->set_start = ir_alloc_array(a, n + 1, sizeof(*q->set_start));
    q->set = ir_alloc_array(a, n, sizeof(*q->set));
    q->node_column = ir_alloc_array(a, n, sizeof(*q->node_column));
    q->node_code = ir_alloc_array(a, n, sizeof(*q->node_code));
}

static void begin_column(struct quantiser *q, const struct test *test)
{
    q->column_feature[q->n_columns] = test->feature;
    q->column_flags[q->n_columns++] = test->flags;
}

static void end_column(struct quantiser *q)
{
    q->cut_start[q->n_columns] = q->n_cuts;
    q->set_start[q->n_columns] = q->n_sets;
}

/* Adds the cut or set of `test` to the newest column, or one more column when
 * its bits are taken, and returns the code of the test. */
static uint16_t add_test(struct quantiser *q, const struct test *test,
                         bool is_new)
{
    if (!(test->flags & IR_NODE_CATEGORICAL)) {
        if (is_new)
            q->cuts[q->n_cuts++] = pass_at_order(test->what,
                                                 q->forest.in_dtype);
        return (uint16_t)(q->n_cuts - 1 - q->cut_start[q->n_columns - 1]);
    }
    if (is_new) {
        if (q->n_sets - q->set_start[q->n_columns - 1] == q->code_bits) {
            end_column(q);
            begin_column(q, test);
        }
        q->set[q->n_sets++] = (int32_t)test->what;
    }
    return (uint16_t)(1 << (q->n_sets - 1 - q->set_start[q->n_columns - 1]));
}

static void build_columns(struct quantiser *q)
{
    for (int64_t i = 0; i < q->forest.n_nodes; i++) {
        const struct test *test = &q->tests[i];
        const bool starts = i == 0 || !same_column(test, test - 1);
        if (starts) {
            end_column(q);
            begin_column(q, test);
        }
        q->node_code[test->node] =
            add_test(q, test, starts || test->what != test[-1].what);
        q->node_column[test->node] = q->n_columns - 1;
    }
    end_column(q);
}

/* Bytes of tables that give each category the codes of its feature's columns:
 * rows are rounded up to 16 bytes. */
static int64_t category_bytes(const struct quantiser *q)
{
    const struct ir_forest *f = &q->forest;
    int64_t bytes = 0, columns = 0, words = 0;
    for (int c = 0; c < q->n_columns; c++) {
        if (!(q->column_flags[c] & IR_NODE_CATEGORICAL))
            continue;
        for (int32_t i = q->set_start[c]; i < q->set_start[c + 1]; i++) {
            const int32_t n =
                f->set_start[q->set[i] + 1] - f->set_start[q->set[i]];
            words = n > words ? n : words;
        }
        columns++;
        if (c + 1 < q->n_columns &&
            q->column_feature[c + 1] == q->column_feature[c])
            continue;
        const int64_t row = (columns * (q->code_bits / 8) + 15) / 16 * 16;
        bytes += (words * 32 + 2) * row;
        columns = words = 0;
    }
    return bytes;
}

/* --------------------------------------------------------------- the op -- */

static void store(const struct quantiser *q, struct ir_module *module,
                  struct ir_op *op)
{
    const int32_t n = q->n_columns, nodes = q->forest.n_nodes;
    ir_set_attr(module, op, ir_int("code_bits", q->code_bits));
    pass_set_tensor(module, op, "column_feature", IR_I32, n,
                    q->column_feature);
    pass_set_tensor(module, op, "column_flags", IR_U8, n, q->column_flags);
    pass_set_tensor(module, op, "cut_start", IR_I32, n + 1, q->cut_start);
    pass_set_reals(module, op, "cuts", q->forest.in_dtype, q->n_cuts, q->cuts);
    pass_set_tensor(module, op, "column_set_start", IR_I32, n + 1,
                    q->set_start);
    pass_set_tensor(module, op, "column_set", IR_I32, q->n_sets, q->set);
    pass_set_tensor(module, op, "node_column", IR_I32, nodes, q->node_column);
    pass_set_tensor(module, op, "node_code", IR_U16, nodes, q->node_code);
}

static void quantise_forest(struct ir_module *module, struct ir_op *op)
{
    struct quantiser q = {0};
    ir_forest_view(op, &q.forest);
    if (q.forest.code_bits != 0)
        return;
    ir_arena_init(&q.scratch);
    if (sort_tests(&q))
        q.code_bits = choose_code_bits(&q);
    if (q.code_bits != 0) {
        take_memory(&q);
        build_columns(&q);
        if (category_bytes(&q) <= PASS_MAX_CATEGORY_BYTES)
            store(&q, module, op);
    }
    ir_arena_release(&q.scratch);
}

bool pass_quantise(struct ir_module *module, const struct pass_options *options,
                   struct ir_diag *diag)
{
    (void)options;
    (void)diag;
    for (int i = 0; i < module->n_ops; i++)
        if (module->ops[i]->kind == IR_OP_forest)
            quantise_forest(module, module->ops[i]);
    return true;
}
