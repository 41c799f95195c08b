/* test_contributions.c: the op contributions against Shapley values as they are
 * defined: over all subsets of the features, by walking the tree for each.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "ir/ir.h"

#include <math.h>
#include <stdlib.h>

enum { n_features = 7, max_nodes = 24 };

struct node {
    int feature, child[2]; /* a node, or ~leaf */
    double threshold, cover;
};

struct tree {
    struct node node[max_nodes];
    double value[max_nodes + 1], cover[max_nodes + 1];
    int n_nodes;
};

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static double unit(uint32_t *seed)
{
    return next(seed) / 16777216.0;
}

/* Leaves are split one after another, the cover in two random parts; some
 * parts are all or nothing. */
static void grow(struct tree *t, int n_nodes, uint32_t *seed)
{
    t->n_nodes = n_nodes;
    t->value[0] = unit(seed) * 4 - 2;
    t->cover[0] = 1000;
    int *at[max_nodes + 1] = {NULL};
    for (int n = 0; n < n_nodes; n++) {
        const int leaf = (int)(next(seed) % (unsigned)(n + 1));
        const double share = next(seed) % 9 ? unit(seed) : next(seed) % 2;
        if (at[leaf])
            *at[leaf] = n;
        t->node[n] = (struct node){
            .feature = (int)(next(seed) % n_features),
            .child = {~leaf, ~(n + 1)}, .threshold = unit(seed),
            .cover = t->cover[leaf]};
        at[leaf] = &t->node[n].child[0];
        at[n + 1] = &t->node[n].child[1];
        t->cover[n + 1] = t->cover[leaf] * (1 - share);
        t->cover[leaf] *= share;
        t->value[n + 1] = unit(seed) * 4 - 2;
    }
}

/* The mean of the leaves that a row of only the features in `known` reaches. */
static double walk(const struct tree *t, int at, const double *row,
                   unsigned known)
{
    if (at < 0)
        return t->value[~at];
    const struct node *n = &t->node[at];
    if (known >> n->feature & 1)
        return walk(t, n->child[!(row[n->feature] <= n->threshold)], row,
                    known);
    double sum = 0;
    for (int side = 0; side < 2; side++) {
        const int to = n->child[side];
        const double cover = to < 0 ? t->cover[~to] : t->node[to].cover;
        if (cover > 0)
            sum += cover / n->cover * walk(t, to, row, known);
    }
    return sum;
}

static double shapley(const struct tree *t, const double *row, int feature)
{
    static const double factorial[] = {1, 1, 2, 6, 24, 120, 720, 5040};
    const int root = t->n_nodes ? 0 : ~0;
    double sum = 0;
    for (unsigned s = 0; s < 1u << n_features; s++) {
        if (s >> feature & 1)
            continue;
        const int n = __builtin_popcount(s);
        sum += factorial[n] * factorial[n_features - 1 - n] /
               factorial[n_features] *
               (walk(t, root, row, s | 1u << feature) - walk(t, root, row, s));
    }
    return sum;
}

static void put(struct ir_forest_builder *b, const struct tree *t)
{
    ir_forest_tree(b, 0);
    for (int i = 0; i < t->n_nodes; i++) {
        const struct node *n = &t->node[i];
        ir_forest_node(b, n->feature, n->threshold, n->child[0], n->child[1],
                       0);
        ir_forest_node_cover(b, n->cover);
    }
    for (int i = 0; i <= t->n_nodes; i++) {
        ir_forest_leaf(b, t->value[i]);
        ir_forest_leaf_cover(b, t->cover[i]);
    }
}

static struct ir_module *module_of(const struct tree *trees, int n)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct ir_module *m = ir_module_new("trees");
    for (int i = 0; i < n_features; i++)
        ir_add_column(m, (const char[]){(char)('a' + i), 0}, IR_NUMBER, 1);
    const struct ir_attr attrs[] = {ir_int("first", 0),
                                    ir_int("count", n_features),
                                    ir_string("dtype", "f64")};
    struct ir_op *x = ir_add_op(m, IR_OP_input, 0, NULL, 3, attrs, &diag);
    struct ir_forest_builder *b = ir_forest_begin(IR_F64, IR_F64, 1);
    for (int i = 0; i < n; i++)
        put(b, &trees[i]);
    struct ir_op *op = ir_forest_finish(b, m, &x->result[0], "le",
                                        (const double[]){0.5}, 1, 0,
                                        ir_loc_file(NULL), &diag);
    ir_add_output(m, "raw", &op->result[0]);
    assert_true(ir_add_contributions(m, &diag));
    assert_true(ir_verify(m, &diag));
    ir_diag_release(&diag);
    return m;
}

static void check_row(const struct ir_module *m, const struct tree *trees,
                      int n, const double *row)
{
    const struct ir_rows rows = {IR_F64, row, 1, n_features, 1};
    double got[n_features + 1], margin, sum = 0;
    ir_eval(m, ir_find_output(m, "contribution"), &rows, got);
    ir_eval(m, ir_find_output(m, "raw"), &rows, &margin);
    for (int i = 0; i < n_features; i++) {
        double want = 0;
        for (int t = 0; t < n; t++)
            want += shapley(&trees[t], row, i);
        assert_true(fabs(got[i] - want) < 1e-13 * n);
        sum += got[i];
    }
    assert_true(fabs(sum + got[n_features] - margin) < 1e-13 * n);
}

static void equal_shapley_values(void **state)
{
    uint32_t seed = 3;
    (void)state;
    for (int round = 0; round < 40; round++) {
        struct tree trees[3];
        for (int t = 0; t < 3; t++)
            grow(&trees[t], (int)(next(&seed) % (max_nodes + 1)), &seed);
        struct ir_module *m = module_of(trees, 3);
        for (int r = 0; r < 10; r++) {
            double row[n_features];
            for (int i = 0; i < n_features; i++)
                row[i] = next(&seed) % 8 ? unit(&seed) : NAN;
            check_row(m, trees, 3, row);
        }
        ir_module_free(m);
    }
}

/* More features on a path than one block of the rule is exact for. */
static void long_paths(void **state)
{
    enum { n = 40 };
    struct ir_diag diag;
    (void)state;
    ir_diag_init(&diag);
    struct ir_module *m = ir_module_new("chain");
    for (int i = 0; i < n; i++)
        ir_add_column(m, (const char[]){(char)('0' + i), 0}, IR_NUMBER, 1);
    const struct ir_attr attrs[] = {ir_int("first", 0), ir_int("count", n),
                                    ir_string("dtype", "f64")};
    struct ir_op *x = ir_add_op(m, IR_OP_input, 0, NULL, 3, attrs, &diag);
    struct ir_forest_builder *b = ir_forest_begin(IR_F64, IR_F64, 1);
    ir_forest_tree(b, 0);
    for (int i = 0; i < n; i++) {
        ir_forest_node(b, i, 0, i + 1 < n ? i + 1 : ~n, ~i, 0);
        ir_forest_node_cover(b, ldexp(1, n - i));
    }
    for (int i = 0; i <= n; i++) {
        ir_forest_leaf(b, i == n);
        ir_forest_leaf_cover(b, ldexp(1, i == n ? 0 : n - i - 1));
    }
    struct ir_op *op = ir_forest_finish(b, m, &x->result[0], "le", NULL, 1, 0,
                                        ir_loc_file(NULL), &diag);
    ir_add_output(m, "raw", &op->result[0]);
    assert_true(ir_add_contributions(m, &diag));
    /* The leaf at the end is 1 and all features are alike: each has the same
     * part of 1 - the mean. */
    const double row[n] = {0};
    const struct ir_rows rows = {IR_F64, row, 1, n, 1};
    double got[n + 1];
    ir_eval(m, 1, &rows, got);
    for (int i = 0; i < n; i++)
        assert_true(fabs(got[i] - (1 - ldexp(1, -n)) / n) < 1e-15);
    assert_true(got[n] == ldexp(1, -n));
    ir_module_free(m);
    ir_diag_release(&diag);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_shapley_values),
        cmocka_unit_test(long_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
