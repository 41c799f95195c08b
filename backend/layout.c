/* layout.c: gives each buffer of a tile its place in the workspace. Which
 * buffers there are and which of them share a slot is the plan_memory pass's
 * decision; how large a slot is follows from the rows of a tile. */
#include "backend/llvm.h"

enum { max_stack = 65536, frames = 49152 };

int64_t be_tile_rows(const struct be_emitter *e)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < e->module->n_ops; i++) {
        const int64_t rows =
            ir_attr_int_or(e->module->ops[i], "tile_rows", INT64_MAX);
        least = rows < least ? rows : least;
    }
    return least == INT64_MAX ? 64 : least;
}

/* Of rows that are not done in tiles, as batches are or as one row is: the
 * codes of all; or one row itself, for the leaf result and for other
 * strategies. */
static int64_t row_work_bytes(const struct be_forest *forest, bool as_one,
                              int64_t rows)
{
    const struct ir_forest *f = &forest->f;
    const int64_t bytes =
        f->n_features * (int64_t)ir_dtype_bytes(f->in_dtype);
    if (!be_by_codes(forest, as_one))
        return bytes;
    const int64_t codes = rows * be_row_code_bytes(forest);
    return codes > bytes ? codes : bytes;
}

/* What an op needs beside its results. */
static int64_t work_bytes(const struct be_emitter *e, int i, int64_t rows)
{
    const struct be_forest *forest = e->in_step ? NULL : e->forests[i];
    const struct ir_op *op = e->module->ops[i];
    if (op->kind == IR_OP_conv)
        return be_conv_work(op);
    if (op->kind == IR_OP_gemm)
        return be_gemm_work(op, rows);
    if (op->kind == IR_OP_scan)
        return be_scan_work(op, rows);
    if (!forest)
        return 0;
    if (forest->paths)
        return be_contributions_work(e, forest, rows == 1);
    const bool by_tiles = be_by_tiles(forest) && rows > 1;
    const int64_t few =
        by_tiles && be_few_rows(forest) < rows ? be_few_rows(forest) : rows;
    const int64_t row = row_work_bytes(forest, rows == 1 || by_tiles, few);
    const int64_t tile = be_sums_at(forest) + be_planes_room(forest);
    return by_tiles && tile > row ? tile : row;
}

/* The slots of an op's results, then that of its work. */
static const int32_t *slots_of(const struct ir_op *op)
{
    static const int32_t none[2] = {-1, -1};
    const struct ir_tensor *slots = ir_attr_tensor(op, "slots");
    return op->kind == IR_OP_input && !slots ? none : slots->data;
}

static int64_t result_bytes(const struct ir_op *op, int r, int64_t rows)
{
    const struct ir_type *type = &op->result[r].type;
    return ir_type_volume(type) * rows * (int64_t)ir_dtype_bytes(type->dtype);
}

/* Sets end[s] to the bytes that slot s needs, then to where it ends. */
static int64_t size_slots(const struct be_emitter *e, int64_t rows,
                          int64_t *end, int n_slots)
{
    for (int i = 0; i < e->module->n_ops; i++) {
        const struct ir_op *op = e->module->ops[i];
        const int32_t *slot = slots_of(op);
        for (int r = 0; r <= op->n_results; r++) {
            const int64_t bytes = r < op->n_results ? result_bytes(op, r, rows)
                                                    : work_bytes(e, i, rows);
            if (slot[r] >= 0 && bytes > end[slot[r]])
                end[slot[r]] = bytes;
        }
    }
    int64_t total = 0;
    for (int s = 0; s < n_slots; s++)
        total = end[s] = (total + end[s] + 63) / 64 * 64;
    return total;
}

struct be_layout *be_layout_new(struct be_emitter *e, int64_t rows)
{
    const struct ir_module *module = e->module;
    struct be_layout *layout = ir_alloc(&e->arena, sizeof(*layout));
    int n_slots = 0;
    for (int i = 0; i < module->n_ops; i++) {
        const int32_t *slot = slots_of(module->ops[i]);
        for (int r = 0; r <= module->ops[i]->n_results; r++)
            n_slots = slot[r] >= n_slots ? slot[r] + 1 : n_slots;
    }
    int64_t *end = ir_alloc_array(&e->arena, (size_t)n_slots + 1, sizeof(*end));
    layout->rows = rows;
    layout->bytes = size_slots(e, rows, end, n_slots);
    layout->on_stack = layout->bytes <= max_stack;
    layout->value = ir_alloc_array(
        &e->arena, (size_t)ir_value_count(module), sizeof(*layout->value));
    layout->work = ir_alloc_array(&e->arena, (size_t)module->n_ops,
                                  sizeof(*layout->work));
    for (int i = 0; i < module->n_ops; i++) {
        const struct ir_op *op = module->ops[i];
        const int32_t *slot = slots_of(op);
        for (int r = 0; r <= op->n_results; r++) {
            int64_t *at = r < op->n_results ? &layout->value[op->result[r].id]
                                            : &layout->work[i];
            *at = slot[r] < 0 ? -1 : slot[r] == 0 ? 0 : end[slot[r] - 1];
        }
    }
    return layout;
}

int64_t be_work_at(const struct be_emitter *e, int op)
{
    return be_layout_of(e)->work[op - e->first_op];
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
    const struct be_layout *const others[] = {e->layout_step, e->layout_start};
    int64_t most = batch > one ? batch : one;
    for (int i = 0; i < 2; i++)
        if (others[i] && others[i]->on_stack && others[i]->bytes > most)
            most = others[i]->bytes;
    return most + frames;
}
