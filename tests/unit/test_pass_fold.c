/* test_pass_fold.c: what a forest answers to every kind of float stays when
 * preprocessing goes into its tests: floats of all exponents and signs, and
 * all those around each threshold that folding found. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "passes/passes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------ the models -- */

static const double thresholds[] = {
    -INFINITY, -1e30, -1000, -2, -1, -0.75, -0.1, -0x1p-149, 0,
    0x1p-149, 1e-3, 0.1f, 0.3, 0.5, 1, 1.5, 2, 3, 4.25, 100, 1e30, INFINITY,
};
enum { n_thresholds = sizeof(thresholds) / sizeof(thresholds[0]) };

/* A stump for each threshold and side of the NaN, on all elements of x; or for
 * a set read in each way. */
static void add_forest(struct ir_module *m, struct ir_value *x, bool sets,
                       struct ir_diag *diag)
{
    static const uint32_t words[] = {0x0000f00b, 0x00000010};
    static const uint8_t readings[] = {0, IR_NODE_FLOOR, IR_NODE_EXACT};
    const int n = (int)ir_type_volume(&x->type);
    const int n_tests = sets ? 3 : n_thresholds;
    struct ir_forest_builder *b = ir_forest_begin(x->type.dtype, IR_F64, 1);
    for (int i = 0; i < n * n_tests * 2; i++) {
        const int feature = i % n, test = i / n / 2;
        const uint8_t side = i / n % 2 ? IR_NODE_MISSING_LEFT : 0;
        ir_forest_tree(b, 0);
        if (!sets)
            ir_forest_node(b, feature, thresholds[test], ~0, ~1, side);
        else
            ir_forest_set_node(b, feature, words, 2, ~0, ~1,
                               side | readings[test] |
                                   IR_NODE_CATEGORICAL);
        ir_forest_leaf(b, i);
        ir_forest_leaf(b, -i);
    }
    struct ir_op *trees = ir_forest_finish(b, m, x, "le", NULL, 1, 0,
                                           ir_loc_file(NULL), diag);
    ir_diag_print(diag, stderr);
    assert_non_null(trees);
    ir_add_output(m, "leaf", &trees->result[1]);
}

static struct ir_value *add_op(struct ir_module *m, enum ir_op_kind kind,
                               struct ir_value *x, int n_attrs,
                               const struct ir_attr *attrs,
                               struct ir_diag *diag)
{
    struct ir_op *op = ir_add_op(m, kind, x ? 1 : 0, &x, n_attrs, attrs, diag);
    ir_diag_print(diag, stderr);
    assert_non_null(op);
    return &op->result[0];
}

static struct ir_value *add_input(struct ir_module *m, enum ir_dtype dtype,
                                  struct ir_diag *diag)
{
    ir_add_column(m, "a", IR_NUMBER, 1);
    const struct ir_attr attrs[] = {
        ir_int("first", 0), ir_int("count", 1),
        ir_string("dtype", ir_dtype_name(dtype))};
    return add_op(m, IR_OP_input, NULL, 3, attrs, diag);
}

static struct ir_value *add_map(struct ir_module *m, const char *program,
                                enum ir_dtype dtype, struct ir_value *x,
                                struct ir_diag *diag)
{
    const struct ir_attr attrs[] = {
        ir_string("program", program),
        ir_string("dtype", ir_dtype_name(dtype))};
    return add_op(m, IR_OP_map, x, 2, attrs, diag);
}

/* An array of the module's as one of `dtype`. */
static struct ir_attr array(struct ir_module *m, const char *name,
                            enum ir_dtype dtype, int n, const double *data)
{
    float narrow[64];
    for (int i = 0; i < n; i++)
        narrow[i] = (float)data[i];
    return ir_tensor_attr(
        name, ir_tensor_copy(m, dtype, n, dtype == IR_F32 ? (void *)narrow
                                                          : (void *)data));
}

/* -------------------------------------------------------------- the rows -- */

enum { every = 31, around = 16, n_low_bits = 5 };

/* Floats of every 31st upper 16 bits, and those around each of `at`. */
static struct ir_rows make_rows(enum ir_dtype dtype, int n_at,
                                const double *at)
{
    static const uint64_t low_bits[n_low_bits] = {
        0, 1, UINT64_C(0x800000000000), UINT64_C(0x5a5a5a5a5a5a),
        UINT64_C(0xffffffffffff)};
    const int64_t n = (65536 / every + 1) * n_low_bits +
                      (int64_t)n_at * (2 * around + 1);
    double *f64 = malloc((size_t)n * sizeof(*f64));
    float *f32 = (float *)f64;
    int64_t r = 0;
    for (uint64_t high = 0; high < 65536; high += every)
        for (int k = 0; k < n_low_bits; k++, r++) {
            const uint64_t bits = high << 48 | low_bits[k];
            const uint32_t half = (uint32_t)(bits >> 32);
            if (dtype == IR_F64)
                memcpy(&f64[r], &bits, sizeof(bits));
            else
                memcpy(&f32[r], &half, sizeof(half));
        }
    for (int i = 0; i < n_at; i++) {
        double v = at[i];
        float w = (float)at[i];
        for (int k = 0; k < around; k++) {
            v = nextafter(v, -INFINITY);
            w = nextafterf(w, -INFINITY);
        }
        for (int k = 0; k <= 2 * around; k++, r++) {
            if (dtype == IR_F64)
                f64[r] = v;
            else
                f32[r] = w;
            v = nextafter(v, INFINITY);
            w = nextafterf(w, INFINITY);
        }
    }
    return (struct ir_rows){dtype, f64, r, 1, 1};
}

/* The thresholds of the module's forest, those of sets aside. */
static int found_thresholds(const struct ir_module *m, double *at)
{
    struct ir_forest f;
    int n = 0;
    for (int i = 0; i < m->n_ops; i++) {
        if (m->ops[i]->kind != IR_OP_trees)
            continue;
        ir_forest_view(m->ops[i], &f);
        for (int k = 0; k < f.n_nodes; k++)
            if (!(f.flags[k] & IR_NODE_CATEGORICAL))
                at[n++] = ir_real(f.threshold, f.in_dtype, (size_t)k);
    }
    return n;
}

/* Folds the module and compares all answers; whether the forest then reads
 * nothing but the row. */
static bool fold(struct ir_module *m, enum ir_dtype dtype, const char *what)
{
    const struct pass_options options = {0};
    struct ir_module *before = ir_module_clone(m);
    struct ir_diag diag;
    double at[4096];
    ir_diag_init(&diag);
    assert_true(pass_canonicalise(m, &options, &diag));
    assert_true(pass_fold(m, &options, &diag));
    const bool good = ir_verify(m, &diag);
    ir_diag_print(&diag, stderr);
    assert_true(good);
    const struct ir_rows rows = make_rows(dtype, found_thresholds(m, at), at);
    const size_t width =
        (size_t)ir_type_volume(&m->outputs[0].value->type);
    int32_t *want = malloc((size_t)rows.n_rows * width * sizeof(*want));
    int32_t *got = malloc((size_t)rows.n_rows * width * sizeof(*got));
    ir_eval(before, 0, &rows, want);
    ir_eval(m, 0, &rows, got);
    for (size_t i = 0; i < (size_t)rows.n_rows * width; i++)
        if (want[i] != got[i])
            fail_msg("%s: %a of %s: leaf %d of tree %zu is now %d", what,
                     ir_real(rows.data, dtype, i / width),
                     ir_dtype_name(dtype), want[i], i % width, got[i]);
    free(want);
    free(got);
    free((void *)rows.data);
    ir_module_free(before);
    ir_diag_release(&diag);
    return m->ops[0]->kind == IR_OP_input && m->ops[1]->kind == IR_OP_trees;
}

/* ------------------------------------------------------------------ maps -- */

static void maps_fold(void **state)
{
    (void)state;
    /* Whether thresholds of f32, and those of f64, fold. */
    static const struct {
        const char *program;
        bool folds[2];
    } cases[] = {
        {"x0 0.1 add", {true, true}},
        {"x0 1e300 sub", {true, true}},
        {"x0 3.7 sub 1.3 div", {true, true}},
        {"x0 -0.3 mul 2 sub", {true, true}},
        {"x0 1e-200 mul", {false, true}}, /* f32: infinity by 0 is a NaN */
        {"x0 isnan 2.5 x0 where 3.7 sub 1.3 div", {true, true}},
        {"x0 -1 eq 2.5 x0 where", {false, false}}, /* a hole at -1 */
        {"x0 0.25 max 0.5 min", {true, true}},
        {"0.5 0.25 x0 max min", {true, true}},
        {"x0 neg", {true, true}},
        {"x0 sign", {true, true}},
        {"x0 floor", {true, true}},
        {"x0 rint 2 div", {true, true}},
        {"x0 sign x0 mul x0 mul", {true, true}},
        {"x0 isnan", {true, true}},
        {"x0 0.5 gt x0 isnan add", {true, true}},
        {"x0 0 ge x0 log1p x0 neg log1p neg where", {true, true}},
        {"x0 exp", {true, false}},       /* too many have an exp of 1 */
        {"x0 expm1", {true, false}},     /* of -1 */
        {"x0 tanh 3 mul", {true, false}}, /* a tanh of 1 */
        {"x0 -3 max 3 min tanh", {true, true}},
        {"x0 0.5 max 9 min sigmoid", {true, true}},
        {"x0 -4 max 9 min softplus", {true, true}},
        {"x0 -2 max 2 min erf", {true, true}},
        {"x0 ceil", {true, true}},
        {"x0 sin", {false, false}},
        {"x0 log", {false, false}}, /* a NaN from a number is a third run */
        {"x0 0.001 max log", {true, true}},
        {"x0 fast_exp", {true, false}},
        {"x0 -3 max 3 min fast_expm1", {true, true}},
        {"x0 fast_log", {false, false}},
        {"x0 0.001 max fast_log", {true, true}},
        {"x0 0 max 0.3 fast_pow 2 mul", {true, true}},
        {"x0 0 max sqrt", {true, true}},
        {"x0 0 ge x0 1 add 0.3 pow 1 sub 0.3 div "
         "1 x0 sub 1.7 pow 1 sub -1.7 div where", {true, false}}, /* -inf */
        {"x0 -1e150 max 1e150 min 0 ge x0 1 add 0.3 pow 1 sub 0.3 div "
         "1 x0 -1e150 max sub 1.7 pow 1 sub -1.7 div where", {true, true}},
        {"x0 abs", {false, false}}, /* two runs go right */
        {"x0 x0 mul", {false, false}},
        {"1 x0 div", {false, false}}, /* of -0 and 0: opposite infinities */
        {"x0 0 mul", {false, false}},
        {"1 2 add", {false, false}}, /* nothing to read */
    };
    for (int k = 0; k < 4; k++)
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            const enum ir_dtype dtype = k % 2 ? IR_F64 : IR_F32;
            struct ir_module *m = ir_module_new("maps");
            struct ir_diag diag;
            ir_diag_init(&diag);
            struct ir_value *x = add_input(m, dtype, &diag);
            x = add_map(m, cases[i].program, dtype, x, &diag);
            add_forest(m, x, k >= 2, &diag);
            const bool folds = fold(m, dtype, cases[i].program);
            if (k < 2 && folds != cases[i].folds[k])
                fail_msg("%s of %s %s", cases[i].program,
                         ir_dtype_name(dtype), folds ? "folds" : "does not");
            ir_module_free(m);
            ir_diag_release(&diag);
        }
}

/* ---------------------------------------------------------------- tables -- */

/* The input, or a scaled one, through an op with these arrays. */
static bool fold_table(enum ir_op_kind kind, const char *program,
                       enum ir_dtype dtype, int n, const double *x,
                       const double *y, double last)
{
    struct ir_module *m = ir_module_new("table");
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct ir_value *v = add_map(m, program, dtype,
                                 add_input(m, dtype, &diag), &diag);
    struct ir_attr attrs[3];
    if (kind == IR_OP_lookup) {
        attrs[0] = array(m, "keys", dtype, n, x);
        attrs[1] = array(m, "values", dtype, n, y);
        attrs[2] = ir_float("default", last);
    } else if (kind == IR_OP_bucketize) {
        attrs[0] = array(m, "edges", dtype, n, x);
        attrs[1] = ir_int("right", (int64_t)last);
    } else {
        attrs[0] = array(m, "x", dtype, n, x);
        attrs[1] = array(m, "y", dtype, n, y);
    }
    v = add_op(m, kind, v, kind == IR_OP_lookup ? 3 : 2, attrs, &diag);
    add_forest(m, v, false, &diag);
    const bool folds = fold(m, dtype, ir_op_table[kind].name);
    ir_module_free(m);
    ir_diag_release(&diag);
    return folds;
}

static void tables_fold(void **state)
{
    (void)state;
    static const double codes[] = {0, 1, 2, 5, 31, 32, 70, NAN};
    static const double values[] = {0.3, -1.5, 2, 0.3, 7, 1e30, 0, 1};
    static const double odd[] = {-3, -0.5, 0, 0.25, 8};
    static const double ranks[] = {0, 1, 2, 3, 4};
    static const double knots[] = {-2, -1, -1, 0.5, 0.6, 10};
    static const double rising[] = {0, 0.125, 0.25, 0.9, 0.9, 1};
    static const double turning[] = {0, 0.125, 0.25, 0.9, 0.3, 1};
    for (int k = 0; k < 2; k++) {
        const enum ir_dtype d = k ? IR_F64 : IR_F32;
        assert_true(fold_table(IR_OP_lookup, "x0", d, 8, codes, values, -1));
        assert_true(fold_table(IR_OP_lookup, "x0", d, 7, codes, values, NAN));
        assert_true(fold_table(IR_OP_lookup, "x0 isnan 5 x0 where", d, 7,
                               codes, values, 0.4));
        assert_false(fold_table(IR_OP_lookup, "x0", d, 5, odd, ranks, -1));
        assert_true(fold_table(IR_OP_bucketize, "x0 0.1 sub", d, 5, odd,
                               NULL, 0));
        assert_true(fold_table(IR_OP_bucketize, "x0 neg", d, 6, knots, NULL,
                               1));
        assert_true(fold_table(IR_OP_interp, "x0 2 mul", d, 6, knots, rising,
                               0));
        assert_false(fold_table(IR_OP_interp, "x0", d, 6, knots, turning, 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_fold),
        cmocka_unit_test(tables_fold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
