/* test_container.c: the .tn file byte by byte, and forests from the builder
 * through it. tests/cases/ir/container.test has the messages. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "ir/ir.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A forest of f64 thresholds and f32 sums, with sets and linear leaves: arrays
 * of 8, 4 and 1 bytes an element. */
static struct ir_module *forest(void)
{
    static const uint32_t words[] = {5, 1};
    static const int32_t features[] = {0, 1};
    static const double coefs[] = {0.5, -2};
    struct ir_diag diag;
    struct ir_module *m = ir_module_new("forest");
    ir_diag_init(&diag);
    ir_add_column(m, "a", IR_NUMBER, 1);
    ir_add_column(m, "b", IR_CATEGORY, 1);
    const struct ir_attr a[] = {ir_int("first", 0), ir_int("count", 2),
                                ir_string("dtype", "f64")};
    struct ir_value *x =
        &ir_add_op(m, IR_OP_input, 0, NULL, 3, a, &diag)->result[0];
    struct ir_forest_builder *b = ir_forest_begin(IR_F64, IR_F32, 2);
    ir_forest_tree(b, 0);
    assert_int_equal(ir_forest_node(b, 0, 0.1, 1, -1, 1), 0);
    assert_int_equal(ir_forest_set_node(b, 1, words, 2, -2, -3, 0), 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ir_forest_leaf(b, i + 0.5), i);
    ir_forest_linear(b, 7, 2, features, coefs);
    ir_forest_tree(b, 1);
    assert_int_equal(ir_forest_leaf(b, NAN), 0);
    assert_int_equal(ir_forest_size(b), 6);
    struct ir_op *op = ir_forest_finish(b, m, x, "le", NULL, 3, 1e-35,
                                        ir_loc_file(NULL), &diag);
    ir_diag_print(&diag, stderr);
    assert_non_null(op);
    ir_add_output(m, "y", &op->result[0]);
    ir_add_output(m, "leaf", &op->result[1]);
    ir_diag_release(&diag);
    return m;
}

static struct ir_text encode(const struct ir_module *m)
{
    struct ir_text bytes;
    ir_text_init(&bytes);
    ir_container_encode(m, &bytes);
    return bytes;
}

/* What reading the first n bytes gives; the copy has no byte more, so that a
 * sanitizer sees its end. */
static struct ir_module *read_bytes(const void *bytes, size_t n,
                                    struct ir_diag *diag)
{
    uint8_t *copy = malloc(n + (n == 0));
    memcpy(copy, bytes, n);
    const struct ir_file file = {.path = "m.tn", .data = copy, .size = n,
                                 .borrowed = true};
    ir_container_detect(copy, n);
    struct ir_module *m = ir_container_read(file, diag);
    /* The module would point into it. */
    struct ir_module *own = m ? ir_module_clone(m) : NULL;
    ir_module_free(m);
    free(copy);
    return own;
}

static uint64_t header_of(const struct ir_text *bytes)
{
    uint64_t length;
    memcpy(&length, bytes->data, 8);
    return length;
}

static void the_same_module_gives_the_same_bytes(void **state)
{
    struct ir_diag diag;
    struct ir_module *m = forest(), *again = forest();
    (void)state;
    ir_diag_init(&diag);
    struct ir_text first = encode(m), second = encode(again);
    assert_int_equal(first.length, second.length);
    assert_memory_equal(first.data, second.data, first.length);
    /* And once more after it was read: NaNs keep their bits. */
    struct ir_module *back = read_bytes(first.data, first.length, &diag);
    ir_diag_print(&diag, stderr);
    struct ir_text third = encode(back);
    assert_int_equal(first.length, third.length);
    assert_memory_equal(first.data, third.data, first.length);
    ir_text_release(&first);
    ir_text_release(&second);
    ir_text_release(&third);
    ir_module_free(m);
    ir_module_free(again);
    ir_module_free(back);
    ir_diag_release(&diag);
}

static void the_layout(void **state)
{
    struct ir_module *m = forest();
    struct ir_text bytes = encode(m);
    const uint64_t header = header_of(&bytes);
    (void)state;
    assert_int_equal((8 + header) % 64, 0);
    assert_memory_equal(bytes.data + 8, "{\"__metadata__\":{\"treenail\":\"1\","
                        "\"ir\":\"treenail-ir 1\\nmodule \\\"forest\\\" {", 67);
    assert_true(ir_container_detect((const uint8_t *)bytes.data,
                                    bytes.length));
    /* Every tensor is aligned, and they end where the file ends. */
    struct ir_diag diag;
    ir_diag_init(&diag);
    const struct ir_file file = {.path = "m.tn", .borrowed = true,
                                 .data = (const uint8_t *)bytes.data,
                                 .size = bytes.length};
    struct ir_module *read = ir_container_read(file, &diag);
    assert_non_null(read);
    size_t total = 0;
    const struct ir_op *op = read->ops[1];
    for (int i = 0; i < op->n_attrs; i++)
        if (op->attr[i].kind == IR_TENSOR) {
            const struct ir_tensor *t = op->attr[i].t;
            assert_int_equal((uintptr_t)t->data %
                             ir_dtype_bytes(t->type.dtype), 0);
            const char *at = t->data;
            assert_true(at >= bytes.data + 8 + header); /* not copied */
            assert_true(at + ir_tensor_bytes(t) <= bytes.data + bytes.length);
            total += ir_tensor_bytes(t);
        }
    assert_int_equal(total, bytes.length - 8 - header);
    ir_module_free(read);
    ir_module_free(m);
    ir_text_release(&bytes);
    ir_diag_release(&diag);
}

/* A file that ends too early is refused, wherever it ends. */
static void every_cut_is_refused(void **state)
{
    struct ir_module *m = forest();
    struct ir_text bytes = encode(m);
    (void)state;
    for (size_t n = 0; n < bytes.length; n++) {
        struct ir_diag diag;
        ir_diag_init(&diag);
        struct ir_module *cut = read_bytes(bytes.data, n, &diag);
        if (cut || diag.n_messages != 1)
            fail_msg("%zu bytes of %zu were read", n, bytes.length);
        ir_module_free(cut);
        ir_diag_release(&diag);
    }
    /* So is a byte more. */
    struct ir_diag diag;
    ir_diag_init(&diag);
    ir_text_append(&bytes, "", 1);
    assert_null(read_bytes(bytes.data, bytes.length, &diag));
    ir_diag_release(&diag);
    ir_text_release(&bytes);
    ir_module_free(m);
}

/* With any byte changed it is a module that verifies, or a message. */
static void no_changed_byte_does_harm(void **state)
{
    static const uint8_t changes[] = {0x01, 0x80, 0xff, 0x20};
    struct ir_module *m = forest();
    struct ir_text bytes = encode(m);
    int read = 0;
    (void)state;
    for (size_t i = 0; i < bytes.length; i++)
        for (int k = 0; k < 4; k++) {
            struct ir_diag diag;
            ir_diag_init(&diag);
            bytes.data[i] = (char)(bytes.data[i] ^ changes[k]);
            struct ir_module *other =
                read_bytes(bytes.data, bytes.length, &diag);
            assert_int_equal(diag.n_messages, other == NULL);
            if (other) {
                assert_true(ir_verify(other, &diag));
                read++;
            }
            ir_module_free(other);
            bytes.data[i] = (char)(bytes.data[i] ^ changes[k]);
            ir_diag_release(&diag);
        }
    assert_true(read > 100);
    ir_text_release(&bytes);
    ir_module_free(m);
}

static void too_short_for_a_length(void **state)
{
    struct ir_diag diag;
    (void)state;
    ir_diag_init(&diag);
    assert_null(read_bytes("\1\0\0\0\0\0\0", 7, &diag));
    assert_string_equal(diag.message[0],
                        "m.tn:+7: the file ends within the header's length");
    assert_null(read_bytes("\3\0\0\0\0\0\0\0[1]", 11, &diag));
    assert_string_equal(diag.message[1],
                        "m.tn:+8: the header is no JSON object");
    static const uint8_t huge[] = "\xff\xff\xff\xff\xff\xff\xff\xff{";
    assert_false(ir_container_detect(huge, 9));
    assert_null(read_bytes(huge, 9, &diag));
    assert_string_equal(diag.message[2], "m.tn:+0: the header has "
                        "18446744073709551615 bytes, the file has 1 left");
    ir_diag_release(&diag);
}

static void a_header_that_is_not_a_multiple_of_8(void **state)
{
    static const char header[] =
        "{\"__metadata__\":{\"treenail\":\"1\",\"ir\":\"treenail-ir 1\"},"
        "\"0\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}";
    struct ir_diag diag;
    struct ir_text bytes;
    (void)state;
    ir_diag_init(&diag);
    ir_text_init(&bytes);
    const uint64_t length = (sizeof(header) - 1) / 8 * 8 + 9;
    ir_text_append(&bytes, &length, 8);
    ir_text_printf(&bytes, "%-*s", (int)length, header);
    ir_text_append(&bytes, &length, 8);
    assert_null(read_bytes(bytes.data, bytes.length, &diag));
    assert_string_equal(diag.message[0],
                        "m.tn:+8: tensor 0 is not aligned to its dtype");
    ir_text_release(&bytes);
    ir_diag_release(&diag);
}

/* -------------------------------------------------------- the builder -- */

static void the_builder_refuses_what_is_too_large(void **state)
{
    for (int which = 0; which < 2; which++) {
        struct ir_diag diag;
        struct ir_module *m = forest();
        struct ir_forest_builder *b = ir_forest_begin(IR_F64, IR_F64, 1);
        (void)state;
        ir_diag_init(&diag);
        ir_forest_tree(b, 0);
        ir_forest_leaf(b, 1);
        /* The limit is looked at before the numbers are. */
        if (which)
            ir_forest_linear(b, 0, IR_MAX_NODES + 1, NULL, NULL);
        else
            ir_forest_set_node(b, 0, NULL, IR_MAX_NODES + 1, -1, -2, 0);
        assert_null(ir_forest_finish(b, m, &m->ops[0]->result[0], "le", NULL,
                                     1, 0, ir_loc_line("f", 3, 0), &diag));
        assert_string_equal(diag.message[0],
                            "f:3: the forest has more than 268435456 nodes");
        assert_int_equal(m->n_ops, 2);
        ir_diag_release(&diag);
        ir_module_free(m);
    }
}

static void the_builder_says_where_a_forest_is_none(void **state)
{
    struct ir_diag diag;
    struct ir_module *m = forest();
    struct ir_forest_builder *b = ir_forest_begin(IR_F64, IR_F64, 1);
    (void)state;
    ir_diag_init(&diag);
    ir_forest_tree(b, 0);
    ir_forest_node(b, 0, 1, -1, -1, 0);
    ir_forest_leaf(b, 1);
    assert_null(ir_forest_finish(b, m, &m->ops[0]->result[0], "le", NULL, 1,
                                 0, ir_loc_line("f", 3, 0), &diag));
    assert_string_equal(diag.message[0], "f:3: trees: tree 0 node 0: leaf 0 "
                                         "has another parent");
    ir_forest_abandon(ir_forest_begin(IR_F32, IR_F32, 1));
    ir_forest_abandon(NULL);
    ir_diag_release(&diag);
    ir_module_free(m);
}

static void the_view_has_what_was_built(void **state)
{
    struct ir_module *m = forest();
    struct ir_forest f;
    (void)state;
    ir_forest_view(m->ops[1], &f);
    assert_int_equal(f.n_trees, 2);
    assert_int_equal(f.n_nodes, 2);
    assert_int_equal(f.n_leaves, 4);
    assert_int_equal(f.n_targets, 2);
    assert_int_equal(f.n_features, 2);
    assert_int_equal(f.n_sets, 1);
    assert_int_equal(f.in_dtype, IR_F64);
    assert_int_equal(f.sum_dtype, IR_F32);
    assert_true(f.divisor == 3 && f.zero_bound == 1e-35 && !f.strict);
    assert_true(ir_real(f.threshold, f.in_dtype, 0) == 0.1);
    assert_true(ir_real(f.leaf_value, f.sum_dtype, 2) == 2.5);
    assert_true(f.leaf_const[2] == 7 && f.leaf_const[1] == 1.5);
    assert_int_equal(f.coef_start[2], 0);
    assert_int_equal(f.coef_start[3], 2);
    assert_int_equal(f.set[1], 0);
    assert_int_equal(f.code_bits, 0);
    ir_module_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_module_gives_the_same_bytes),
        cmocka_unit_test(the_layout),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(no_changed_byte_does_harm),
        cmocka_unit_test(too_short_for_a_length),
        cmocka_unit_test(a_header_that_is_not_a_multiple_of_8),
        cmocka_unit_test(the_builder_refuses_what_is_too_large),
        cmocka_unit_test(the_builder_says_where_a_forest_is_none),
        cmocka_unit_test(the_view_has_what_was_built),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
