/* test_pass_scale.c: forests of sizes where passes may break: chains a million
 * nodes deep, the last code that fits 8 and 16 bits, the first that does not.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "passes/passes.h"

#include <string.h>

/* One tree, a chain: node i sends v <= threshold(i) to leaf i and the others
 * on; with `down` the other way round. */
static struct ir_module *chain(int n, int same_from, bool down)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct ir_module *module = ir_module_new("chain");
    ir_add_column(module, "a", IR_NUMBER, 1);
    const struct ir_attr attrs[] = {ir_int("first", 0), ir_int("count", 1),
                                    ir_string("dtype", "f64")};
    struct ir_op *x = ir_add_op(module, IR_OP_input, 0, NULL, 3, attrs, &diag);
    struct ir_forest_builder *b = ir_forest_begin(IR_F64, IR_F64, 1);
    ir_forest_tree(b, 0);
    for (int i = 0; i < n; i++) {
        const double threshold = i < same_from ? i : same_from;
        const int next = i + 1 < n ? i + 1 : ~n;
        if (down)
            ir_forest_node(b, 0, -threshold, next, ~i, 0);
        else
            ir_forest_node(b, 0, threshold, ~i, next, 0);
    }
    for (int i = 0; i <= n; i++)
        ir_forest_leaf(b, i);
    struct ir_op *trees = ir_forest_finish(b, module, &x->result[0], "le",
                                           NULL, 1, 0, ir_loc_file(NULL),
                                           &diag);
    ir_diag_print(&diag, stderr);
    assert_non_null(trees);
    ir_add_output(module, "value", &trees->result[0]);
    ir_diag_release(&diag);
    return module;
}

/* All passes, checked on a few rows, and the forest that comes out. */
static void compile(struct ir_module *module, bool check,
                    struct ir_forest *forest, const char **strategy)
{
    const struct pass_options options = {
        .verify_each = true, .diff_each = check, .diff_rows = 8};
    struct ir_diag diag;
    ir_diag_init(&diag);
    const bool good = pass_run_all(module, &options, &diag);
    ir_diag_print(&diag, stderr);
    assert_true(good);
    ir_diag_release(&diag);
    const struct ir_op *op = module->ops[module->n_ops - 1];
    assert_int_equal(op->kind, IR_OP_forest);
    ir_forest_view(op, forest);
    *strategy = ir_attr_string(op, "strategy");
}

static void deep_chains(void **state)
{
    (void)state;
    struct ir_forest f;
    const char *strategy;
    for (int down = 0; down < 2; down++) {
        struct ir_module *module = chain(1000000, 1000000, down);
        compile(module, true, &f, &strategy);
        assert_int_equal(f.n_nodes, 1000000);
        assert_int_equal(f.code_bits, 0);
        assert_string_equal(strategy, "raw16");
        ir_module_free(module);
    }
}

/* From node 10 on all ask the same: only node 10 can be in doubt. */
static void deep_chains_are_pruned(void **state)
{
    (void)state;
    struct ir_forest f;
    const char *strategy;
    struct ir_module *module = chain(1000000, 10, false);
    compile(module, true, &f, &strategy);
    assert_int_equal(f.n_nodes, 11);
    assert_int_equal(f.n_leaves, 12);
    ir_module_free(module);
}

/* The interpreter counts cuts one by one, so few of them are checked here. */
static int code_bits(int n)
{
    struct ir_forest f;
    const char *strategy;
    struct ir_module *module = chain(n, n, false);
    compile(module, n <= 1000, &f, &strategy);
    ir_module_free(module);
    return f.code_bits;
}

static void codes_have_limits(void **state)
{
    (void)state;
    assert_int_equal(code_bits(0), 8);
    assert_int_equal(code_bits(255), 8);
    assert_int_equal(code_bits(256), 16);
    assert_int_equal(code_bits(65535), 16);
    assert_int_equal(code_bits(65536), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deep_chains),
        cmocka_unit_test(deep_chains_are_pruned),
        cmocka_unit_test(codes_have_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
