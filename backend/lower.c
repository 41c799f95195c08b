/* lower.c: the table of lowerings. Each KERNEL op of ops.def names its
 * function here by its own name: forgetting one does not link. */
#include "backend/llvm.h"

/* Rows are read where they are (rows.c), but by the ops of nets. */
void be_lower_input(struct be_emitter *e, const struct ir_op *op)
{
    if (be_has_buffer(e, &op->result[0]))
        be_stage_input(e, &op->result[0]);
}

#define ENTRY_MODEL(name)
#define ENTRY_KERNEL(name) [IR_OP_##name] = be_lower_##name,
#define ENTRY_BOTH(name) [IR_OP_##name] = be_lower_##name,
be_lower_fn *const be_lower_table[IR_N_OPS] = {
#define OP(name, level, ...) ENTRY_##level(name)
#define MAP(name, ...)
#include "ir/ops.def"
#undef OP
#undef MAP
};

int be_op_number(const struct be_emitter *e, const struct ir_op *op)
{
    for (int i = 0; i < e->module->n_ops; i++)
        if (e->module->ops[i] == op)
            return e->first_op + i;
    ir_bug("the op is not in the module");
}
