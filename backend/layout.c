/* layout.c: gives each buffer of a tile its place in the workspace. What goes
 * where was decided by the plan_memory pass; this only adds up. */
#include "backend/llvm.h"

enum { max_stack = 65536, frames = 32768 };

static int64_t take(struct be_layout *layout, int64_t bytes)
{
    const int64_t at = layout->bytes;
    layout->bytes = (at + bytes + 63) / 64 * 64;
    return at;
}

static void place_forest(struct be_emitter *e, struct be_layout *layout, int i,
                         bool one_row)
{
    const struct be_forest *forest = e->forests[i];
    const struct ir_forest *f = &forest->f;
    const bool codes = forest->select && !one_row;
    if (codes)
        layout->codes[i] = take(layout, be_code_columns(forest) *
                                            layout->rows * forest->code_bytes);
    else
        layout->row_copy[i] =
            take(layout, f->n_features * (int64_t)ir_dtype_bytes(f->in_dtype));
}

static bool is_operand(const struct ir_module *module,
                       const struct ir_value *value)
{
    for (int i = 0; i < module->n_ops; i++)
        for (int o = 0; o < module->ops[i]->n_operands; o++)
            if (module->ops[i]->operand[o] == value)
                return true;
    return false;
}

struct be_layout *be_layout_new(struct be_emitter *e, bool one_row)
{
    const struct ir_module *module = e->module;
    struct be_layout *layout = ir_alloc(&e->arena, sizeof(*layout));
    const size_t n_values = (size_t)ir_value_count(module);
    layout->rows = 64;
    for (int i = 0; i < module->n_ops; i++)
        if (e->forests[i] && e->forests[i]->tile_rows > layout->rows)
            layout->rows = e->forests[i]->tile_rows;
    if (one_row)
        layout->rows = 1;
    layout->value = ir_alloc_array(&e->arena, n_values, sizeof(int64_t));
    layout->codes = ir_alloc_array(&e->arena, module->n_ops, sizeof(int64_t));
    layout->row_copy =
        ir_alloc_array(&e->arena, module->n_ops, sizeof(int64_t));
    for (int i = 0; i < module->n_ops; i++) {
        const struct ir_op *op = module->ops[i];
        layout->codes[i] = layout->row_copy[i] = -1;
        if (e->forests[i])
            place_forest(e, layout, i, one_row);
        for (int r = 0; r < op->n_results; r++) {
            const struct ir_value *v = &op->result[r];
            /* An output goes straight to the caller, but the margins of
             * `select` are added to in whole blocks. */
            const bool blocks =
                e->forests[i] && e->forests[i]->select && r == 0;
            const bool wanted =
                op->kind != IR_OP_input && (blocks || is_operand(module, v));
            layout->value[v->id] =
                wanted ? take(layout, ir_type_volume(&v->type) * layout->rows *
                                          (int64_t)ir_dtype_bytes(v->type.dtype))
                       : -1;
        }
    }
    layout->on_stack = layout->bytes <= max_stack;
    return layout;
}

int64_t be_scratch_bytes(const struct be_emitter *e)
{
    const int64_t batch = e->layout->on_stack ? 0 : e->layout->bytes;
    const int64_t one = e->layout_one->on_stack ? 0 : e->layout_one->bytes;
    return batch > one ? batch : one;
}

/* Beside the workspace, calls nest at most four deep (entry, run, chunk or
 * piece, helper); the largest frame is a chunk's: places and spills. */
int64_t be_stack_bytes(const struct be_emitter *e)
{
    const int64_t batch = e->layout->on_stack ? e->layout->bytes : 0;
    const int64_t one = e->layout_one->on_stack ? e->layout_one->bytes : 0;
    return (batch > one ? batch : one) + frames;
}
