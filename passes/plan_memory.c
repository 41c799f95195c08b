/* plan_memory.c: whether a tile's buffers fit the stack.
 *
 * The layout that the backend follows, each part aligned to 64 bytes:
 *
 *   codes      n_code_columns x tile_rows x code_bits / 8, strategy "select"
 *   the row    n_features of in_dtype, for the other strategies
 *   margins    n_targets x tile_rows of sum_dtype
 *   leaves     n_trees x tile_rows of i32, when the leaf result is used
 *
 * Buffers of ops other than forests are the backend's own to place.
 */
#include "passes/rewrite.h"

#include <string.h>

static int64_t aligned(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static int64_t tile_bytes(const struct ir_op *op, bool leaf_is_used)
{
    struct ir_forest f;
    ir_forest_view(op, &f);
    const int64_t rows = ir_attr_int_or(op, "tile_rows", 64);
    const struct ir_attr *strategy = ir_find_attr(op, "strategy");
    const bool is_select = strategy && strcmp(strategy->s, "select") == 0;
    int64_t bytes =
        is_select ? aligned(f.n_code_columns * rows * (f.code_bits / 8))
                  : aligned(f.n_features *
                            (int64_t)ir_dtype_bytes(f.in_dtype));
    bytes += aligned(f.n_targets * rows *
                     (int64_t)ir_dtype_bytes(f.sum_dtype));
    if (leaf_is_used)
        bytes += aligned(f.n_trees * rows * 4);
    return bytes;
}

bool pass_plan_memory(struct ir_module *module,
                      const struct pass_options *options, struct ir_diag *diag)
{
    (void)options;
    (void)diag;
    struct ir_arena scratch;
    ir_arena_init(&scratch);
    const int *uses = pass_count_uses(module, &scratch);
    for (int i = 0; i < module->n_ops; i++) {
        struct ir_op *op = module->ops[i];
        if (op->kind != IR_OP_forest)
            continue;
        const int64_t bytes = tile_bytes(op, uses[op->result[1].id] > 0);
        const int64_t needed = bytes <= PASS_MAX_STACK ? 0 : bytes;
        ir_set_attr(module, op, ir_int("scratch", needed));
    }
    ir_arena_release(&scratch);
    return true;
}
