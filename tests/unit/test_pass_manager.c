/* test_pass_manager.c: the checks between passes catch passes that are wrong.
 * The table has none of those, so they are made here. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "passes/passes.h"

#include <stdlib.h>
#include <string.h>

static const char stump[] =
    "treenail-ir 1\n"
    "module \"stump\" {\n"
    "  column \"a\" number\n"
    "  %0 = input {first = 0, count = 1, dtype = \"f64\"} : f64[1]\n"
    "  %1, %2 = trees(%0) {compare = \"le\", tree_start = i32[2](0 1),\n"
    "    leaf_start = i32[2](0 2), feature = i32[1](0),\n"
    "    threshold = f64[1](0.5), left = i32[1](-1), right = i32[1](-2),\n"
    "    flags = u8[1](0), leaf_value = f64[2](1 nan),\n"
    "    target = i32[1](0), base = f64[1](0)} : f64[1], i32[1]\n"
    "  output \"value\" %1\n"
    "}\n";

static struct ir_module *parse(const char *text)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct ir_module *module = ir_parse(text, strlen(text), "stump", NULL, 0,
                                        &diag);
    ir_diag_print(&diag, stderr);
    assert_non_null(module);
    ir_diag_release(&diag);
    return module;
}

/* Runs one pass with checks; the last message goes to `message`. */
static bool run(bool (*pass)(struct ir_module *, const struct pass_options *,
                             struct ir_diag *),
                bool verify, char *message, size_t room)
{
    const struct pass one = {.name = "tested", .run = pass};
    const struct pass *passes[] = {&one};
    const struct pass_options options = {.verify_each = verify,
                                         .diff_each = true};
    struct ir_module *module = parse(stump);
    struct ir_diag diag;
    ir_diag_init(&diag);
    const bool good = pass_run(module, 1, passes, &options, &diag);
    snprintf(message, room, "%s", diag.n_messages > 0
                                      ? diag.message[diag.n_messages - 1]
                                      : "");
    ir_diag_release(&diag);
    ir_module_free(module);
    return good;
}

static bool do_nothing(struct ir_module *module,
                       const struct pass_options *options,
                       struct ir_diag *diag)
{
    (void)module;
    (void)options;
    (void)diag;
    return true;
}

static void set_leaves(struct ir_module *module, double left)
{
    const double values[] = {left, 0.0 / 0.0};
    struct ir_op *op = module->ops[module->n_ops - 1];
    ir_set_attr(module, op, ir_tensor_attr(
        "leaf_value", ir_tensor_copy(module, IR_F64, 2, values)));
}

static bool change_leaf(struct ir_module *module,
                        const struct pass_options *options,
                        struct ir_diag *diag)
{
    (void)options;
    (void)diag;
    set_leaves(module, 3);
    return true;
}

static bool break_children(struct ir_module *module,
                           const struct pass_options *options,
                           struct ir_diag *diag)
{
    (void)options;
    (void)diag;
    const int32_t left = 7;
    ir_set_attr(module, module->ops[module->n_ops - 1], ir_tensor_attr(
        "left", ir_tensor_copy(module, IR_I32, 1, &left)));
    return true;
}

static bool drop_output(struct ir_module *module,
                        const struct pass_options *options,
                        struct ir_diag *diag)
{
    (void)options;
    (void)diag;
    module->n_outputs = 0;
    return true;
}

static bool change_type(struct ir_module *module,
                        const struct pass_options *options,
                        struct ir_diag *diag)
{
    (void)options;
    (void)diag;
    module->outputs[0].value = &module->ops[1]->result[1];
    return true;
}

static bool refuse(struct ir_module *module,
                   const struct pass_options *options, struct ir_diag *diag)
{
    (void)module;
    (void)options;
    return ir_error(diag, ir_loc_file(NULL), "refused");
}

static void good_passes_pass(void **state)
{
    (void)state;
    char message[256];
    assert_true(run(do_nothing, true, message, sizeof(message)));
    assert_string_equal(message, "");
}

static void changed_answers_are_named(void **state)
{
    (void)state;
    char message[256];
    assert_false(run(change_leaf, true, message, sizeof(message)));
    assert_non_null(strstr(message, "pass tested changes output \"value\" "
                                    "of probe row "));
    assert_non_null(strstr(message, " as f32: element 0 was 1 and is now 3"));
}

static void broken_modules_are_named(void **state)
{
    (void)state;
    char message[256];
    assert_false(run(break_children, true, message, sizeof(message)));
    assert_string_equal(message, "pass tested leaves a broken module");
}

static void changed_outputs_are_named(void **state)
{
    (void)state;
    char message[256];
    assert_false(run(drop_output, false, message, sizeof(message)));
    assert_string_equal(message, "pass tested leaves 0 outputs of 1");
    assert_false(run(change_type, false, message, sizeof(message)));
    assert_string_equal(message,
                        "pass tested changes the type of output \"value\"");
}

static void refusals_end_the_run(void **state)
{
    (void)state;
    char message[256];
    assert_false(run(refuse, true, message, sizeof(message)));
    assert_string_equal(message, "refused");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_passes_pass),
        cmocka_unit_test(changed_answers_are_named),
        cmocka_unit_test(broken_modules_are_named),
        cmocka_unit_test(changed_outputs_are_named),
        cmocka_unit_test(refusals_end_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
