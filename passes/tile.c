/* tile.c: how many rows of a batch go through a net together. More rows share
 * the weights that are read; but what they work in is to stay in the second
 * level of the cache, a part of it, or all where the weights do not fit there
 * anyway. Modules with forests are left to those, whose tiles come
 * in blocks of rows. */
#include "passes/rewrite.h"

enum { part = 1 << 18, all = 1 << 20 }; /* bytes */

static bool is_net(const struct ir_op *op)
{
    return op->kind == IR_OP_gemm || op->kind == IR_OP_conv ||
           op->kind == IR_OP_pool || op->kind == IR_OP_scan;
}

static int64_t bytes_of(const struct ir_value *v)
{
    return ir_type_volume(&v->type) * (int64_t)ir_dtype_bytes(v->type.dtype);
}

/* The most that an op reads and writes of one row. */
static int64_t row_bytes(const struct ir_module *module)
{
    int64_t most = 1;
    for (int i = 0; i < module->n_ops; i++) {
        const struct ir_op *op = module->ops[i];
        int64_t bytes = 0;
        for (int o = 0; o < op->n_operands; o++)
            if (op->operand[o]->op->kind != IR_OP_constant)
                bytes += bytes_of(op->operand[o]);
        for (int r = 0; r < op->n_results; r++)
            bytes += bytes_of(&op->result[r]);
        most = bytes > most ? bytes : most;
    }
    return most;
}

static int64_t weight_bytes(const struct ir_module *module)
{
    int64_t bytes = 0;
    for (int i = 0; i < module->n_ops; i++)
        if (module->ops[i]->kind == IR_OP_gemm)
            bytes += (int64_t)ir_tensor_bytes(
                ir_attr_tensor(module->ops[i], "weights"));
    return bytes;
}

/* Each step of a recurrent layer reads all of its weights: rows that take it
 * together are worth more than what they work in being near, which is read but
 * once. */
static int64_t least_rows(const struct ir_module *module)
{
    for (int i = 0; i < module->n_ops; i++)
        if (module->ops[i]->kind == IR_OP_scan)
            return 6;
    return 1;
}

/* Tiles of sums are of 6 and of 14 rows, or parts. */
static int64_t choose_rows(int64_t most, int64_t least)
{
    int64_t rows = 96;
    while (rows > most && rows > 6)
        rows /= 2;
    while (rows > most && rows > least)
        rows--;
    return rows;
}

bool pass_tile(struct ir_module *module, const struct pass_options *options,
               struct ir_diag *diag)
{
    (void)options;
    (void)diag;
    for (int i = 0; i < module->n_ops; i++)
        if (module->ops[i]->kind == IR_OP_forest)
            return true;
    const int64_t room = weight_bytes(module) > part ? all : part;
    const int64_t rows =
        choose_rows(room / row_bytes(module), least_rows(module));
    for (int i = 0; i < module->n_ops; i++)
        if (is_net(module->ops[i]))
            ir_set_attr(module, module->ops[i], ir_int("tile_rows", rows));
    return true;
}
