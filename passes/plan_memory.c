/* plan_memory.c: which buffers a tile needs, and which of them share memory.
 *
 * A result that an op reads has a buffer, unless it is a constant; one that is
 * only an output goes straight to the caller's memory, but for the margins of
 * strategies on codes, which are added to in whole blocks of rows. A forest
 * needs room for its work besides: codes, or a row in its own dtype;
 * contributions, conv, scan and a gemm of whole numbers need some too. An input
 * has a buffer where an op of nets reads it, and a view that is but a reshape
 * has none: who reads it reads its operand. Buffers are given slots by
 * lifetime, in the order of the ops: a slot is free again after the last op
 * that reads it. How large slots are and where they lie follows from the rows
 * of a tile, and is the backend's to add up. */
#include "passes/rewrite.h"

struct planner {
    struct ir_arena scratch;
    int *last_use;  /* by value id: the last op that reads it, or -1 */
    int32_t *slot;  /* by value id */
    int64_t *bytes; /* by slot: the most a row needs of it so far */
    bool *taken;    /* by slot */
    int n_slots;
    bool *staged; /* by value id: an op of nets reads it */
};

static void find_last_uses(struct planner *p, const struct ir_module *module)
{
    const int n = ir_value_count(module);
    p->last_use = ir_alloc_array(&p->scratch, n, sizeof(*p->last_use));
    for (int i = 0; i < n; i++)
        p->last_use[i] = -1;
    for (int i = 0; i < module->n_ops; i++)
        for (int o = 0; o < module->ops[i]->n_operands; o++)
            for (const struct ir_value *v = module->ops[i]->operand[o]; v;
                 v = ir_is_alias(v->op) ? v->op->operand[0] : NULL)
                p->last_use[v->id] = i;
}

/* Whose buffer a value is in. */
static const struct ir_value *owner(const struct ir_value *v)
{
    while (ir_is_alias(v->op))
        v = v->op->operand[0];
    return v;
}

static void find_staged(struct planner *p, const struct ir_module *module)
{
    const int n = ir_value_count(module);
    p->staged = ir_alloc_array(&p->scratch, n, sizeof(*p->staged));
    for (int i = 0; i < module->n_ops; i++)
        for (int o = 0; o < module->ops[i]->n_operands; o++)
            if (ir_reads_dense(module->ops[i]))
                p->staged[owner(module->ops[i]->operand[o])->id] = true;
}

/* The free slot that fits best: the smallest that is large enough, else the
 * largest, which grows, else a new one. */
static int32_t take_slot(struct planner *p, int64_t bytes)
{
    int best = -1;
    for (int s = 0; s < p->n_slots; s++) {
        if (p->taken[s])
            continue;
        const bool fits = p->bytes[s] >= bytes;
        if (best < 0 ||
            (fits ? p->bytes[best] < bytes || p->bytes[s] < p->bytes[best]
                  : p->bytes[s] > p->bytes[best] && p->bytes[best] < bytes))
            best = s;
    }
    if (best < 0)
        best = p->n_slots++;
    if (p->bytes[best] < bytes)
        p->bytes[best] = bytes;
    p->taken[best] = true;
    return best;
}

static bool has_codes(const struct ir_op *op)
{
    const struct ir_attr *strategy = ir_find_attr(op, "strategy");
    return strategy && pass_has_code_tiles(strategy->s);
}

/* What an op works in, for a row. */
static int64_t work_bytes(const struct ir_op *op)
{
    struct ir_forest f;
    if (op->kind == IR_OP_conv || op->kind == IR_OP_scan ||
        op->kind == IR_OP_gemm)
        return ir_type_volume(&op->operand[0]->type) *
               (int64_t)ir_dtype_bytes(op->operand[0]->type.dtype);
    ir_forest_view(op, &f);
    return has_codes(op) ? (int64_t)f.n_code_columns * (f.code_bits / 8)
                         : f.n_features * (int64_t)ir_dtype_bytes(f.in_dtype);
}

static void plan_op(struct planner *p, struct ir_module *module, int number)
{
    struct ir_op *op = module->ops[number];
    const int n = op->n_results;
    int32_t *slots = ir_alloc_array(&p->scratch, (size_t)n + 1, sizeof(*slots));
    const bool works =
        op->kind == IR_OP_forest || op->kind == IR_OP_contributions ||
        op->kind == IR_OP_conv || op->kind == IR_OP_scan ||
        (op->kind == IR_OP_gemm && ir_is_int8(op));
    slots[n] = works ? take_slot(p, work_bytes(op)) : -1;
    for (int r = 0; r < n; r++) {
        const struct ir_value *v = &op->result[r];
        const bool in_blocks = r == 0 && has_codes(op);
        slots[r] = -1;
        if (in_blocks ||
            (p->last_use[v->id] >= 0 && op->kind != IR_OP_constant &&
             !ir_is_alias(op)))
            slots[r] = take_slot(
                p, ir_type_volume(&v->type) *
                       (int64_t)ir_dtype_bytes(v->type.dtype));
        p->slot[v->id] = slots[r];
    }
    if (slots[n] >= 0)
        p->taken[slots[n]] = false;
    /* What is read here for the last time, or never. */
    for (int o = 0; o < op->n_operands; o++) {
        const int id = owner(op->operand[o])->id;
        if (p->slot[id] >= 0 && p->last_use[id] == number)
            p->taken[p->slot[id]] = false;
    }
    for (int r = 0; r < n; r++)
        if (slots[r] >= 0 && p->last_use[op->result[r].id] < 0)
            p->taken[slots[r]] = false;
    pass_set_tensor(module, op, "slots", IR_I32, n + 1, slots);
}

bool pass_plan_memory(struct ir_module *module,
                      const struct pass_options *options, struct ir_diag *diag)
{
    (void)options;
    (void)diag;
    struct planner p = {0};
    ir_arena_init(&p.scratch);
    find_last_uses(&p, module);
    find_staged(&p, module);
    const size_t n_values = (size_t)ir_value_count(module);
    /* A slot a value, and one a forest, is the most there can be. */
    const size_t most = n_values + (size_t)module->n_ops + 1;
    p.slot = ir_alloc_array(&p.scratch, n_values, sizeof(*p.slot));
    p.bytes = ir_alloc_array(&p.scratch, most, sizeof(*p.bytes));
    p.taken = ir_alloc_array(&p.scratch, most, sizeof(*p.taken));
    for (size_t i = 0; i < n_values; i++)
        p.slot[i] = -1;
    for (int i = 0; i < module->n_ops; i++) {
        const struct ir_op *op = module->ops[i];
        if (op->kind == IR_OP_input ? p.staged[op->result[0].id]
                                    : ir_op_table[op->kind].level & IR_KERNEL)
            plan_op(&p, module, i);
    }
    ir_arena_release(&p.scratch);
    return true;
}
