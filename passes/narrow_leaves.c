/* narrow_leaves.c: leaf values in the narrowest form that is exact.
 *
 * Tables of leaf values are much of what a row reads where leaves have a value
 * for each class, and those of pure leaves are 0 and 1. What code widens again
 * when it loads it has the same bits: whole numbers up to 255 are stored as u8,
 * and f64 that are all numbers of f32 as those.
 *
 * Not where it does not pay: a leaf of one value is one load either way, to
 * which a conversion would be added, while the tables fit in a cache that is
 * near.
 */
#include "passes/rewrite.h"

/* Tables of up to so many bytes are near enough. */
#define NEAR_BYTES (512 << 10)

static bool pays(const struct ir_forest *f)
{
    const int64_t bytes = (int64_t)f->n_leaves * f->leaf_width *
                          (int64_t)ir_dtype_bytes(f->sum_dtype);
    return f->leaf_width > 1 || bytes > NEAR_BYTES;
}

bool pass_narrow_leaves(struct ir_module *module,
                        const struct pass_options *options,
                        struct ir_diag *diag)
{
    (void)options;
    (void)diag;
    for (int i = 0; i < module->n_ops; i++) {
        struct ir_op *op = module->ops[i];
        struct ir_forest f;
        if (op->kind != IR_OP_forest)
            continue;
        ir_forest_view(op, &f);
        if (ir_find_attr(op, "leaf_dtype") || f.coef_start || !pays(&f))
            continue;
        if (ir_leaves_fit(&f, IR_U8))
            ir_set_attr(module, op, ir_string("leaf_dtype", "u8"));
        else if (f.sum_dtype == IR_F64 && ir_leaves_fit(&f, IR_F32))
            ir_set_attr(module, op, ir_string("leaf_dtype", "f32"));
    }
    return true;
}
