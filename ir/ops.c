/* ops.c: the table that ops.def describes, and how a schema is read. */
#include "ir/ir_impl.h"

#include <string.h>

const struct ir_op_info ir_op_table[IR_N_OPS] = {
#define OP(name, level, min, max, results, schema, semantics)                 \
    {#name, IR_##level, min, max, results, schema, NULL, semantics},
#define MAP(name, schema, program, semantics)                                 \
    {#name, IR_MODEL, 1, 1, 1, schema, program, semantics},
#include "ir/ops.def"
#undef OP
#undef MAP
};

#define TABLE(what)                                                           \
    ir_##what##_fn *const ir_##what##_table[IR_N_OPS] =
#define OP(name, ...) [IR_OP_##name] = ir_infer_##name,
#define MAP(name, ...) [IR_OP_##name] = ir_infer_map_op,
TABLE(infer) {
#include "ir/ops.def"
};
#undef OP
#undef MAP
#define OP(name, ...) [IR_OP_##name] = ir_verify_##name,
#define MAP(name, ...) [IR_OP_##name] = ir_verify_map_op,
TABLE(verify) {
#include "ir/ops.def"
};
#undef OP
#undef MAP
#define OP(name, ...) [IR_OP_##name] = ir_eval_##name,
#define MAP(name, ...) [IR_OP_##name] = ir_eval_map_op,
TABLE(eval) {
#include "ir/ops.def"
};
#undef OP
#undef MAP

enum ir_op_kind ir_op_find(const char *name)
{
    int kind = 0;
    while (kind < IR_N_OPS && strcmp(name, ir_op_table[kind].name) != 0)
        kind++;
    return (enum ir_op_kind)kind;
}

bool ir_schema_next(const char **schema, struct ir_schema_entry *entry)
{
    static const char *const kinds[] = {
        [IR_INT] = "int", [IR_FLOAT] = "float", [IR_STRING] = "string",
        [IR_TENSOR] = "tensor"};
    const char *s = *schema + strspn(*schema, " ");
    if (!*s)
        return false;
    entry->name = s;
    entry->length = strcspn(s, ":");
    s += entry->length + 1;
    const size_t length = strcspn(s, "? ");
    entry->kind = IR_INT;
    for (int i = 0; i < 4; i++)
        if (strlen(kinds[i]) == length && !memcmp(kinds[i], s, length))
            entry->kind = (enum ir_attr_kind)i;
    s += length;
    entry->optional = *s == '?';
    *schema = s + entry->optional;
    return true;
}

bool ir_schema_find(enum ir_op_kind kind, const char *name,
                    struct ir_schema_entry *entry)
{
    const char *schema = ir_op_table[kind].schema;
    while (ir_schema_next(&schema, entry))
        if (strlen(name) == entry->length &&
            !memcmp(name, entry->name, entry->length))
            return true;
    return false;
}

static const char *kind_name(enum ir_attr_kind kind)
{
    switch (kind) {
    case IR_INT: return "an int";
    case IR_FLOAT: return "a float";
    case IR_STRING: return "a string";
    default: return "a tensor";
    }
}

/* Every attribute is known, of its kind and there once. */
static bool check_known(const struct ir_op *op, struct ir_diag *diag)
{
    const char *name = ir_op_table[op->kind].name;
    for (int i = 0; i < op->n_attrs; i++) {
        const struct ir_attr *a = &op->attr[i];
        struct ir_schema_entry entry;
        if (!ir_schema_find(op->kind, a->name, &entry))
            return ir_error(diag, op->loc, "%s: no attribute is named '%s'",
                            name, a->name);
        if (a->kind != entry.kind)
            return ir_error(diag, op->loc, "%s: attribute %s is %s, not %s",
                            name, a->name, kind_name(a->kind),
                            kind_name(entry.kind));
        for (int j = 0; j < i; j++)
            if (!strcmp(a->name, op->attr[j].name))
                return ir_error(diag, op->loc,
                                "%s: attribute %s is given twice", name,
                                a->name);
    }
    return true;
}

/* `slots`, which any KERNEL op may have. */
static bool check_slots(const struct ir_op *op, struct ir_diag *diag)
{
    const struct ir_attr *a = ir_find_attr(op, "slots");
    if (!a)
        return true;
    const struct ir_tensor *t = a->t;
    const char *name = ir_op_table[op->kind].name;
    if (t->type.dtype != IR_I32 || t->type.rank != 1 ||
        t->type.dim[0] != op->n_results + 1)
        return ir_error(diag, op->loc, "%s: slots is %s of %lld elements, not "
                        "i32[%d]", name, ir_dtype_name(t->type.dtype),
                        (long long)ir_type_volume(&t->type),
                        op->n_results + 1);
    const int32_t *slot = t->data;
    for (int r = 0; r <= op->n_results; r++)
        if (slot[r] < -1 || slot[r] >= IR_MAX_SLOTS)
            return ir_error(diag, op->loc,
                            "%s: slots[%d] is %d (-1 to %d can be had)", name,
                            r, slot[r], IR_MAX_SLOTS - 1);
    return true;
}

bool ir_check_schema(const struct ir_op *op, struct ir_diag *diag)
{
    const struct ir_op_info *info = &ir_op_table[op->kind];
    if (op->n_operands < info->min_operands ||
        op->n_operands > info->max_operands)
        return ir_error(diag, op->loc, "%s: %d operands (it takes %d to %d)",
                        info->name, op->n_operands, info->min_operands,
                        info->max_operands);
    if (!check_known(op, diag))
        return false;
    struct ir_schema_entry entry;
    const char *schema = info->schema;
    while (ir_schema_next(&schema, &entry)) {
        char name[64];
        snprintf(name, sizeof(name), "%.*s", (int)entry.length, entry.name);
        if (!entry.optional && !ir_find_attr(op, name))
            return ir_error(diag, op->loc, "%s: attribute %s is missing",
                            info->name, name);
    }
    return check_slots(op, diag);
}
