/* verify.c: what later stages rely on, checked in time linear in the module.
 * Types are inferred again and compared, so that nobody has to trust whoever
 * wrote them down. */
#include "ir/ir_impl.h"

#include <stdlib.h>
#include <string.h>

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names differ, and none is too long or, but for `least` 0, empty. `where` is
 * put in front of the message. Sorts `names`. */
static bool check_names(const char *where, const char *one, const char *many,
                        size_t least, const char **names, int n,
                        struct ir_diag *diag)
{
    for (int i = 0; i < n; i++)
        if (strlen(names[i]) < least || strlen(names[i]) > IR_MAX_NAME)
            return ir_error(diag, ir_loc_file(NULL),
                            "%s%s %d: its name has %zu bytes (%zu to %d are "
                            "allowed)", where, one, i, strlen(names[i]), least,
                            IR_MAX_NAME);
    qsort(names, (size_t)n, sizeof(*names), compare_names);
    for (int i = 1; i < n; i++)
        if (!strcmp(names[i - 1], names[i]))
            return ir_error(diag, ir_loc_file(NULL),
                            "%stwo %s are named '%.100s'", where, many,
                            names[i]);
    return true;
}

/* The names of a column's categories or of an output's classes. */
static bool check_codes(const char *what, const char *owner, const char *one,
                        const char *many, int n, const char *const *codes,
                        struct ir_diag *diag)
{
    char where[160];
    const char **names =
        ir_realloc_array(NULL, (size_t)n, sizeof(*names));
    for (int i = 0; i < n; i++)
        names[i] = codes[i];
    snprintf(where, sizeof(where), "%s '%.100s': ", what, owner);
    const bool ok = check_names(where, one, many, 0, names, n, diag);
    free(names);
    return ok;
}

static bool check_facts(const struct ir_module *m, struct ir_diag *diag)
{
    const char **keys =
        ir_realloc_array(NULL, (size_t)m->n_facts, sizeof(*keys));
    for (int i = 0; i < m->n_facts; i++)
        keys[i] = m->facts[i].key;
    const bool ok = check_names("", "fact", "facts", 1, keys, m->n_facts,
                                diag);
    free(keys);
    return ok;
}

static bool check_columns(const struct ir_module *m, struct ir_diag *diag)
{
    const char **names =
        ir_realloc_array(NULL, (size_t)m->n_columns + 1, sizeof(*names));
    int64_t n = 0;
    bool ok = true;
    if (m->n_columns > IR_MAX_COLUMNS)
        ok = ir_error(diag, ir_loc_file(NULL), "%d columns (the limit is %d)",
                      m->n_columns, IR_MAX_COLUMNS);
    for (int i = 0; ok && i < m->n_columns; i++) {
        const struct ir_column *c = &m->columns[i];
        names[i] = c->name;
        const int64_t most =
            c->kind == IR_TENSOR_COLUMN ? IR_MAX_ELEMENTS : 1;
        if (c->n_elements < 1 || c->n_elements > most ||
            (n += c->n_elements) > IR_MAX_ELEMENTS)
            ok = ir_error(diag, ir_loc_file(NULL),
                          "column '%.100s' has %lld elements", c->name,
                          (long long)c->n_elements);
        else if (c->n_categories > 0 && c->kind != IR_CATEGORY)
            ok = ir_error(diag, ir_loc_file(NULL),
                          "column '%.100s' has categories but is none",
                          c->name);
        else
            ok = check_codes("column", c->name, "category", "categories",
                             c->n_categories, c->categories, diag);
    }
    ok = ok && check_names("", "column", "columns", 1, names, m->n_columns,
                           diag);
    free(names);
    return ok;
}

static bool check_outputs(const struct ir_module *m, struct ir_diag *diag)
{
    if (m->n_outputs == 0)
        return ir_error(diag, ir_loc_file(NULL), "the module has no output");
    const char **names =
        ir_realloc_array(NULL, (size_t)m->n_outputs, sizeof(*names));
    bool ok = true;
    for (int i = 0; ok && i < m->n_outputs; i++) {
        const struct ir_output *o = &m->outputs[i];
        const enum ir_dtype dtype = o->value->type.dtype;
        names[i] = o->name;
        if (dtype != IR_F32 && dtype != IR_F64 && dtype != IR_I32)
            ok = ir_error(diag, ir_loc_file(NULL),
                          "output '%.100s' is of %s, which is for values "
                          "within a model", o->name, ir_dtype_name(dtype));
        ok = ok && check_codes("output", o->name, "label", "labels",
                               o->n_labels, o->labels, diag);
    }
    ok = ok && check_names("", "output", "outputs", 1, names, m->n_outputs,
                           diag);
    free(names);
    return ok;
}

/* Where each op stands, found by its address. */
struct place {
    const struct ir_op *op;
    int at;
};

static int compare_places(const void *a, const void *b)
{
    const uintptr_t x = (uintptr_t)((const struct place *)a)->op;
    const uintptr_t y = (uintptr_t)((const struct place *)b)->op;
    return (x > y) - (x < y);
}

static bool check_order(const struct ir_module *m, struct ir_diag *diag)
{
    const size_t n = (size_t)m->n_ops;
    struct place *places = ir_realloc_array(NULL, n, sizeof(*places));
    bool ok = true;
    for (int i = 0; i < m->n_ops; i++)
        places[i] = (struct place){m->ops[i], i};
    qsort(places, n, sizeof(*places), compare_places);
    for (int i = 0; ok && i < m->n_ops; i++)
        for (int o = 0; ok && o < m->ops[i]->n_operands; o++) {
            const struct place key = {m->ops[i]->operand[o]->op, 0};
            const struct place *found = bsearch(&key, places, n,
                                                sizeof(*places),
                                                compare_places);
            if (!found || found->at >= i)
                ok = ir_error(diag, m->ops[i]->loc,
                              "%s: operand %d is not defined before it",
                              ir_op_table[m->ops[i]->kind].name, o);
        }
    free(places);
    return ok;
}

/* What a row's values take in all is in bounds, too. */
static bool check_room(const struct ir_op *op, int64_t *room,
                       struct ir_diag *diag)
{
    for (int i = 0; i < op->n_results; i++) {
        const int64_t n = ir_type_volume(&op->result[i].type);
        if (n < 0)
            ir_bug("a value without a size");
        if ((*room -= n) < 0)
            return ir_error(diag, op->loc, "%s: up to here a row has more "
                            "than %d values", ir_op_table[op->kind].name,
                            IR_MAX_VALUES);
    }
    return true;
}

/* And how long the interpreter may take for it. */
static bool check_work(const struct ir_op *op, int64_t *work,
                       struct ir_diag *diag)
{
    const int64_t steps = ir_op_work(op);
    if (steps > *work)
        return ir_error(diag, op->loc, "%s: up to here a row takes more than "
                        "%lld steps", ir_op_table[op->kind].name,
                        (long long)IR_MAX_WORK);
    *work -= steps;
    return true;
}

static bool check_op(const struct ir_module *m, int at, int *level,
                     struct ir_diag *diag)
{
    struct ir_op *op = m->ops[at];
    const struct ir_op_info *info = &ir_op_table[op->kind];
    if (info->level != IR_BOTH)
        *level |= (int)info->level;
    if (*level == IR_BOTH)
        return ir_error(diag, op->loc, "%s: MODEL and KERNEL ops are mixed",
                        info->name);
    if (!ir_check_schema(op, diag))
        return false;
    /* Infer into a copy, and compare. */
    struct ir_value results[8];
    struct ir_op copy = *op;
    copy.result = results;
    memcpy(results, op->result, (size_t)op->n_results * sizeof(*results));
    if (!ir_infer_table[op->kind](m, &copy, diag))
        return false;
    for (int i = 0; i < op->n_results; i++)
        if (!ir_type_equal(&results[i].type, &op->result[i].type))
            return ir_type_error(diag, op->loc, "result", i,
                                 &op->result[i].type, &results[i].type);
    return ir_verify_table[op->kind](m, op, diag);
}

bool ir_verify(const struct ir_module *module, struct ir_diag *diag)
{
    int level = 0;
    int64_t room = IR_MAX_VALUES, work = IR_MAX_WORK;
    if (!*module->name || strlen(module->name) > IR_MAX_NAME)
        return ir_error(diag, ir_loc_file(NULL),
                        "the module's name has %zu bytes (1 to %d are "
                        "allowed)", strlen(module->name), IR_MAX_NAME);
    if (!check_facts(module, diag) || !check_columns(module, diag) ||
        !check_order(module, diag))
        return false;
    for (int i = 0; i < module->n_ops; i++)
        if (!check_op(module, i, &level, diag) ||
            !check_room(module->ops[i], &room, diag) ||
            !check_work(module->ops[i], &work, diag))
            return false;
    return check_outputs(module, diag);
}
