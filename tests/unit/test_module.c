/* test_module.c: how modules are built and rewritten, and what ir_verify()
 * says of modules that no text can make. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "ir/ir.h"

#include <string.h>

static struct ir_diag diag;

static int set_up(void **state)
{
    (void)state;
    ir_diag_init(&diag);
    return 0;
}

static int clear_up(void **state)
{
    (void)state;
    ir_diag_release(&diag);
    return 0;
}

static struct ir_op *add_input(struct ir_module *m, int first, int count)
{
    const struct ir_attr a[] = {/* in any order */
                                ir_string("dtype", "f64"),
                                ir_int("count", count), ir_int("first", first)};
    return ir_add_op(m, IR_OP_input, 0, NULL, 3, a, &diag);
}

static struct ir_op *add_unary(struct ir_module *m, enum ir_op_kind kind,
                               struct ir_op *x)
{
    struct ir_value *operand = &x->result[0];
    return ir_add_op(m, kind, 1, &operand, 0, NULL, &diag);
}

/* input -> exp -> softmax -> argmax; log1p_exp of exp is not used. */
static struct ir_module *chain(void)
{
    struct ir_module *m = ir_module_new("m");
    ir_add_column(m, "a", IR_NUMBER, 1);
    ir_add_column(m, "b", IR_TENSOR_COLUMN, 3);
    struct ir_op *input = add_input(m, 0, 2);
    struct ir_op *e = add_unary(m, IR_OP_exp, input);
    add_unary(m, IR_OP_log1p_exp, e);
    struct ir_op *soft = add_unary(m, IR_OP_softmax, e);
    struct ir_op *arg = add_unary(m, IR_OP_argmax, soft);
    ir_add_output(m, "p", &soft->result[0]);
    ir_add_output(m, "class", &arg->result[0]);
    return m;
}

static void check_message(const char *want)
{
    assert_int_equal(diag.n_messages, 1);
    assert_string_equal(diag.message[0], want);
    ir_diag_release(&diag);
    ir_diag_init(&diag);
}

static void check_refused(struct ir_module *m, const char *want)
{
    assert_false(ir_verify(m, &diag));
    check_message(want);
    ir_module_free(m);
}

/* ------------------------------------------------------------- builders -- */

static void building(void **state)
{
    static const char *const names[] = {"x", "y"};
    struct ir_module *m = chain();
    (void)state;
    assert_true(ir_verify(m, &diag));
    assert_int_equal(ir_row_elements(m), 4);
    assert_int_equal(ir_column_offset(m, 1), 1);
    assert_int_equal(ir_find_output(m, "class"), 1);
    assert_int_equal(ir_find_output(m, "none"), -1);
    assert_int_equal(ir_value_count(m), 5);
    assert_int_equal(m->ops[0]->result[0].type.dim[0], 4);
    /* In the order of the schema, whatever the builder's. */
    assert_string_equal(m->ops[0]->attr[0].name, "first");
    assert_string_equal(m->ops[0]->attr[2].name, "dtype");
    ir_set_fact(m, "k", "1");
    ir_set_fact(m, "l", "2");
    ir_set_fact(m, "k", "3");
    assert_int_equal(m->n_facts, 2);
    assert_string_equal(ir_get_fact(m, "k"), "3");
    assert_null(ir_get_fact(m, "none"));
    char changing[] = "x";
    const char *const pointed[] = {changing, "y"};
    ir_set_labels(m, &m->outputs[1], 2, pointed);
    changing[0] = 'z';
    assert_string_equal(m->outputs[1].labels[0], names[0]);
    ir_module_free(m);
    ir_module_free(NULL);
}

static void attributes(void **state)
{
    struct ir_module *m = chain();
    struct ir_op *input = m->ops[0];
    (void)state;
    assert_int_equal(ir_attr_int(input, "count"), 2);
    assert_int_equal(ir_attr_int_or(input, "none", 7), 7);
    assert_int_equal(ir_attr_int_or(input, "count", 7), 2);
    assert_null(ir_find_attr(input, "none"));
    assert_null(ir_attr_tensor(input, "shape"));
    static const int64_t four = 4;
    ir_set_attr(m, input, ir_tensor_attr("shape", ir_tensor_copy(
                                                      m, IR_I64, 1, &four)));
    ir_set_attr(m, input, ir_int("count", 2));
    assert_int_equal(input->n_attrs, 4);
    assert_string_equal(input->attr[1].name, "count");
    assert_non_null(ir_attr_tensor(input, "shape"));
    assert_true(ir_verify(m, &diag));
    ir_module_free(m);
}

static void what_no_text_can_say_of_attributes(void **state)
{
    struct ir_module *m = chain();
    const struct ir_attr wrong[] = {ir_int("first", 0), ir_int("count", 1),
                                    ir_float("dtype", 1)};
    const struct ir_attr unknown[] = {ir_int("first", 0), ir_int("count", 1),
                                      ir_string("dtype", "f64"),
                                      ir_int("last", 1)};
    static const struct ir_attr kinds[] = {
        {.name = "first", .kind = IR_STRING, .s = ""},
        {.name = "first", .kind = IR_FLOAT}, {.name = "first",
                                              .kind = IR_TENSOR}};
    (void)state;
    assert_null(ir_add_op(m, IR_OP_input, 0, NULL, 3, wrong, &diag));
    check_message("input: attribute dtype is a float, not a string");
    assert_null(ir_add_op(m, IR_OP_input, 0, NULL, 4, unknown, &diag));
    check_message("input: no attribute is named 'last'");
    static const char *const said[] = {
        "input: attribute first is a string, not an int",
        "input: attribute first is a float, not an int",
        "input: attribute first is a tensor, not an int"};
    for (int i = 0; i < 3; i++) {
        assert_null(ir_add_op(m, IR_OP_input, 0, NULL, 1, &kinds[i], &diag));
        check_message(said[i]);
    }
    const struct ir_attr number = ir_int("alpha", 1);
    struct ir_value *x = &m->ops[0]->result[0];
    assert_null(ir_add_op(m, IR_OP_sigmoid, 1, &x, 1, &number, &diag));
    check_message("sigmoid: attribute alpha is an int, not a float");
    assert_int_equal(m->n_ops, 5); /* none of them was added */
    ir_module_free(m);
}

/* ------------------------------------------------------------- rewriting -- */

static void dead_ops_go(void **state)
{
    struct ir_module *m = chain();
    (void)state;
    assert_int_equal(ir_remove_dead_ops(m), 1);
    assert_int_equal(ir_remove_dead_ops(m), 0);
    assert_int_equal(m->n_ops, 4);
    assert_int_equal(ir_value_count(m), 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(m->ops[i]->result[0].id, i);
    assert_true(ir_verify(m, &diag));
    ir_module_free(m);
    m = ir_module_new("empty");
    assert_int_equal(ir_remove_dead_ops(m), 0);
    ir_module_free(m);
}

/* Quadratic work would take minutes here. */
static void many_dead_ops_go_at_once(void **state)
{
    struct ir_module *m = ir_module_new("m");
    (void)state;
    ir_add_column(m, "a", IR_NUMBER, 1);
    struct ir_op *last = add_input(m, 0, 1);
    ir_add_output(m, "a", &last->result[0]);
    for (int i = 0; i < 300000; i++)
        last = add_unary(m, IR_OP_exp, last);
    assert_int_equal(ir_remove_dead_ops(m), 300000);
    ir_module_free(m);
}

static void outputs_are_kept_by_name(void **state)
{
    static const char *const wanted[] = {"p"}, *const unknown[] = {"p", "q"};
    struct ir_module *m = chain();
    (void)state;
    assert_false(ir_keep_outputs(m, 2, unknown, &diag));
    check_message("there is no output named \"q\" (there are: p, class)");
    assert_int_equal(m->n_outputs, 2);
    assert_true(ir_keep_outputs(m, 1, wanted, &diag));
    assert_int_equal(m->n_outputs, 1);
    assert_int_equal(m->n_ops, 3);
    assert_true(ir_verify(m, &diag));
    ir_module_free(m);
    m = ir_module_new("m");
    assert_false(ir_keep_outputs(m, 1, wanted, &diag));
    check_message("there is no output named \"p\" (there are: none)");
    ir_module_free(m);
}

static void ops_are_put_in_and_replaced(void **state)
{
    struct ir_module *m = chain();
    struct ir_value *x = &m->ops[0]->result[0];
    (void)state;
    /* exp becomes signed_square, after another op before it. */
    struct ir_op *e = m->ops[1];
    assert_non_null(ir_insert_op(m, e, IR_OP_exp, 1, &x, 0, NULL, &diag));
    struct ir_op *square =
        ir_replace_op(m, e, IR_OP_signed_square, 1, &x, 0, NULL, &diag);
    assert_non_null(square);
    assert_int_equal(m->n_ops, 6);
    assert_ptr_equal(m->ops[2], square);
    assert_ptr_equal(m->ops[3]->operand[0], &square->result[0]);
    assert_ptr_equal(m->ops[4]->operand[0], &square->result[0]);
    assert_true(ir_value_used(m, &square->result[0]));
    assert_false(ir_value_used(m, &m->ops[1]->result[0]));
    for (int i = 0; i < 6; i++)
        assert_int_equal(m->ops[i]->result[0].id, i);
    assert_true(ir_verify(m, &diag));
    /* What does not fit leaves the module alone. */
    struct ir_value *index = &m->ops[5]->result[0];
    assert_null(ir_replace_op(m, m->ops[5], IR_OP_exp, 1, &index, 0, NULL,
                              &diag));
    check_message("exp: operand 0 is of i32, not f32 or f64");
    assert_int_equal(m->n_ops, 6);
    ir_module_free(m);
}

static void a_clone_shares_nothing(void **state)
{
    static const char *const colours[] = {"red", "green"};
    struct ir_text first, second;
    struct ir_module *m = chain();
    (void)state;
    ir_set_fact(m, "k", "v");
    struct ir_column *c = ir_add_column(m, "colour", IR_CATEGORY, 1);
    ir_set_categories(m, c, 2, colours);
    ir_set_labels(m, &m->outputs[1], 2, colours);
    ir_text_init(&first);
    ir_text_init(&second);
    ir_print(m, &first);
    struct ir_module *copy = ir_module_clone(m);
    memset((void *)(uintptr_t)m->columns[2].categories[0], 'x', 3);
    ir_module_free(m);
    assert_true(ir_verify(copy, &diag));
    ir_print(copy, &second);
    assert_string_equal(first.data, second.data);
    ir_module_free(copy);
    ir_text_release(&first);
    ir_text_release(&second);
}

/* ---------------------------------------------- what no text can say -- */

static void order(void **state)
{
    struct ir_module *m = chain();
    (void)state;
    struct ir_op *input = m->ops[0];
    m->ops[0] = m->ops[1];
    m->ops[1] = input;
    check_refused(m, "exp: operand 0 is not defined before it");
    m = chain();
    m->ops[1]->operand[0] = &m->ops[1]->result[0];
    check_refused(m, "exp: operand 0 is not defined before it");
    m = chain();
    struct ir_module *other = chain();
    m->ops[1]->operand[0] = &other->ops[0]->result[0];
    check_refused(m, "exp: operand 0 is not defined before it");
    ir_module_free(other);
}

static void types(void **state)
{
    struct ir_module *m = chain();
    (void)state;
    m->ops[3]->result[0].type.dim[0] = 5;
    check_refused(m, "result 0 is written as f64[5], but it is f64[4]");
    m = chain();
    m->ops[4]->result[0].type = ir_type_scalar(IR_U16);
    check_refused(m, "result 0 is written as u16, but it is i32[1]");
    m = chain();
    ir_set_attr(m, m->ops[0], ir_int("count", 9));
    check_refused(m, "input: 9 columns from 0 on are out of range (there are "
                     "2)");
}

static void columns(void **state)
{
    struct ir_module *m = chain();
    (void)state;
    m->columns[0].n_elements = 2;
    check_refused(m, "column 'a' has 2 elements");
    m = chain();
    m->columns[1].n_elements = 0;
    check_refused(m, "column 'b' has 0 elements");
    m = chain();
    m->columns[1].n_elements = INT64_MAX;
    check_refused(m, "column 'b' has 9223372036854775807 elements");
    m = chain();
    static const char *const names[] = {"x"};
    ir_set_categories(m, &m->columns[0], 1, names);
    check_refused(m, "column 'a' has categories but is none");
    m = ir_module_new("m");
    for (int i = 0; i <= IR_MAX_COLUMNS; i++)
        ir_add_column(m, "x", IR_NUMBER, 1);
    check_refused(m, "1048577 columns (the limit is 1048576)");
}

/* Counts are believed by nobody: the data is never looked at. */
static void forests_too_large(void **state)
{
    static const struct {
        const char *name;
        int64_t n;
        const char *said;
    } cases[] = {
        {"base", IR_MAX_ELEMENTS + 1, "trees: base has 16777217 elements "
         "(1 to 16777216 are allowed)"},
        {"target", IR_MAX_ELEMENTS + 1, "trees: target has 16777217 elements "
         "(0 to 16777216 are allowed)"},
        {"feature", (int64_t)IR_MAX_NODES + 1, "trees: feature has 268435457 "
         "elements (0 to 268435456 are allowed)"},
        {"leaf_value", 2 * (int64_t)IR_MAX_NODES, "trees: leaf_value has "
         "536870912 elements (0 to 536870911 are allowed)"}};
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct ir_module *m = ir_module_new("m");
        ir_add_column(m, "a", IR_NUMBER, 1);
        struct ir_value *x = &add_input(m, 0, 1)->result[0];
        struct ir_forest_builder *b = ir_forest_begin(IR_F64, IR_F64, 1);
        struct ir_op *op = ir_forest_finish(b, m, x, "le", NULL, 1, 0,
                                            ir_loc_file(NULL), &diag);
        const enum ir_dtype dtype =
            ir_attr_tensor(op, cases[i].name)->type.dtype;
        ir_set_attr(m, op, ir_tensor_attr(cases[i].name, ir_tensor_view(
            m, dtype, cases[i].n, NULL)));
        check_refused(m, cases[i].said);
    }
}

static void dtypes_and_types(void **state)
{
    enum ir_dtype dtype;
    (void)state;
    for (int i = 0; i < IR_N_DTYPES; i++) {
        assert_true(ir_dtype_parse(ir_dtype_name((enum ir_dtype)i), &dtype));
        assert_int_equal(dtype, i);
    }
    assert_false(ir_dtype_parse("F64", &dtype));
    struct ir_type t = {.dtype = IR_U8, .rank = 2, .dim = {4096, 4096}};
    assert_int_equal(ir_type_volume(&t), IR_MAX_ELEMENTS);
    t.dim[1]++;
    assert_int_equal(ir_type_volume(&t), -1);
    t.dim[1] = INT64_MAX;
    assert_int_equal(ir_type_volume(&t), -1);
    t.dim[1] = -1;
    assert_int_equal(ir_type_volume(&t), -1);
    t.dim[1] = 0;
    assert_int_equal(ir_type_volume(&t), 0);
    t = ir_type_scalar(IR_F32);
    assert_int_equal(ir_type_volume(&t), 1);
    const struct ir_type u = ir_type_vector(IR_F32, 1);
    assert_false(ir_type_equal(&t, &u));
    const struct ir_tensor tensor = {u, NULL};
    assert_int_equal(ir_tensor_bytes(&tensor), 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, clear_up)
    const struct CMUnitTest tests[] = {
        TEST(building),
        TEST(attributes),
        TEST(what_no_text_can_say_of_attributes),
        TEST(dead_ops_go),
        TEST(many_dead_ops_go_at_once),
        TEST(outputs_are_kept_by_name),
        TEST(ops_are_put_in_and_replaced),
        TEST(a_clone_shares_nothing),
        TEST(order),
        TEST(types),
        TEST(columns),
        TEST(forests_too_large),
        TEST(dtypes_and_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
