/* module.c: a module's parts and how they are built and rewritten. Everything
 * a module holds lives in its arena; arrays that grow leave their old copies
 * there, which doubling keeps to as much again. */
#include "ir/ir_impl.h"

#include <stdlib.h>
#include <string.h>

struct ir_module *ir_module_new(const char *name)
{
    struct ir_module *module = ir_realloc_array(NULL, 1, sizeof(*module));
    memset(module, 0, sizeof(*module));
    ir_arena_init(&module->arena);
    module->name = ir_strdup(&module->arena, name);
    return module;
}

void ir_module_free(struct ir_module *module)
{
    if (!module)
        return;
    if (module->file.data)
        ir_file_close(&module->file);
    ir_arena_release(&module->arena);
    free(module);
}

/* Room for one more of n items of `size` bytes: grows at powers of two. */
static void *grow(struct ir_module *module, void *items, int n, size_t size)
{
    if (n & (n - 1))
        return items;
    void *more = ir_alloc_array(&module->arena, n ? 2 * (size_t)n : 1, size);
    if (n)
        memcpy(more, items, (size_t)n * size);
    return more;
}

static const char **copy_names(struct ir_module *module, int n,
                               const char *const *names)
{
    const char **copy =
        ir_alloc_array(&module->arena, (size_t)n, sizeof(*copy));
    for (int i = 0; i < n; i++)
        copy[i] = ir_strdup(&module->arena, names[i]);
    return copy;
}

/* ----------------------------------------------- columns, outputs, facts -- */

struct ir_column *ir_add_column(struct ir_module *module, const char *name,
                                enum ir_column_kind kind, int64_t n_elements)
{
    module->columns = grow(module, module->columns, module->n_columns,
                           sizeof(*module->columns));
    struct ir_column *column = &module->columns[module->n_columns++];
    *column = (struct ir_column){
        .name = ir_strdup(&module->arena, name),
        .kind = kind,
        .n_elements = n_elements,
    };
    return column;
}

void ir_set_categories(struct ir_module *module, struct ir_column *column,
                       int n, const char *const *names)
{
    column->n_categories = n;
    column->categories = copy_names(module, n, names);
}

struct ir_output *ir_add_output(struct ir_module *module, const char *name,
                                struct ir_value *value)
{
    module->outputs = grow(module, module->outputs, module->n_outputs,
                           sizeof(*module->outputs));
    struct ir_output *output = &module->outputs[module->n_outputs++];
    *output = (struct ir_output){
        .name = ir_strdup(&module->arena, name),
        .value = value,
    };
    return output;
}

void ir_set_labels(struct ir_module *module, struct ir_output *output, int n,
                   const char *const *labels)
{
    output->n_labels = n;
    output->labels = copy_names(module, n, labels);
}

void ir_add_fact(struct ir_module *module, const char *key, const char *value)
{
    module->facts = grow(module, module->facts, module->n_facts,
                         sizeof(*module->facts));
    module->facts[module->n_facts++] = (struct ir_fact){
        ir_strdup(&module->arena, key), ir_strdup(&module->arena, value)};
}

void ir_set_fact(struct ir_module *module, const char *key, const char *value)
{
    for (int i = 0; i < module->n_facts; i++)
        if (!strcmp(module->facts[i].key, key)) {
            module->facts[i].value = ir_strdup(&module->arena, value);
            return;
        }
    ir_add_fact(module, key, value);
}

const char *ir_get_fact(const struct ir_module *module, const char *key)
{
    for (int i = 0; i < module->n_facts; i++)
        if (!strcmp(module->facts[i].key, key))
            return module->facts[i].value;
    return NULL;
}

int64_t ir_column_offset(const struct ir_module *module, int column)
{
    int64_t at = 0;
    for (int i = 0; i < column; i++)
        at += module->columns[i].n_elements;
    return at;
}

int64_t ir_row_elements(const struct ir_module *module)
{
    return ir_column_offset(module, module->n_columns);
}

int ir_find_output(const struct ir_module *module, const char *name)
{
    for (int i = 0; i < module->n_outputs; i++)
        if (!strcmp(module->outputs[i].name, name))
            return i;
    return -1;
}

/* --------------------------------------------------------------- tensors -- */

const struct ir_tensor *ir_tensor_view(struct ir_module *module,
                                       enum ir_dtype dtype, int64_t n,
                                       const void *data)
{
    struct ir_tensor *tensor = ir_alloc(&module->arena, sizeof(*tensor));
    *tensor = (struct ir_tensor){ir_type_vector(dtype, n), data};
    return tensor;
}

const struct ir_tensor *ir_tensor_copy(struct ir_module *module,
                                       enum ir_dtype dtype, int64_t n,
                                       const void *data)
{
    const size_t size = ir_dtype_bytes(dtype);
    void *copy = ir_alloc_array(&module->arena, (size_t)n, size);
    if (n)
        memcpy(copy, data, (size_t)n * size);
    return ir_tensor_view(module, dtype, n, copy);
}

/* ------------------------------------------------------------------- ops -- */

/* Attributes in the order of the schema, with strings and shapes copied. */
static void set_attrs(struct ir_module *module, struct ir_op *op, int n,
                      const struct ir_attr *attrs)
{
    const char *schema = ir_op_table[op->kind].schema;
    struct ir_schema_entry entry;
    op->attr = ir_alloc_array(&module->arena, (size_t)n, sizeof(*attrs));
    op->n_attrs = 0;
    bool *taken = ir_alloc_array(&module->arena, (size_t)n, sizeof(*taken));
    while (ir_schema_next(&schema, &entry))
        for (int i = 0; i < n; i++)
            if (!taken[i] && strlen(attrs[i].name) == entry.length &&
                !memcmp(attrs[i].name, entry.name, entry.length)) {
                taken[i] = true;
                op->attr[op->n_attrs++] = attrs[i];
            }
    /* Unknown ones come last; ir_check_schema() refuses them. */
    for (int i = 0; i < n; i++)
        if (!taken[i])
            op->attr[op->n_attrs++] = attrs[i];
    for (int i = 0; i < n; i++) {
        struct ir_attr *a = &op->attr[i];
        a->name = ir_strdup(&module->arena, a->name);
        if (a->kind == IR_STRING)
            a->s = ir_strdup(&module->arena, a->s);
    }
}

static struct ir_op *op_new(struct ir_module *module, enum ir_op_kind kind,
                            int n_operands, struct ir_value *const *operands,
                            int n_attrs, const struct ir_attr *attrs)
{
    const struct ir_op_info *info = &ir_op_table[kind];
    struct ir_op *op = ir_alloc(&module->arena, sizeof(*op));
    op->kind = kind;
    op->n_operands = n_operands;
    op->n_results = info->n_results;
    op->loc = ir_loc_file(NULL);
    op->operand = ir_alloc_array(&module->arena, (size_t)n_operands,
                                 sizeof(*op->operand));
    op->result = ir_alloc_array(&module->arena, (size_t)info->n_results,
                                sizeof(*op->result));
    for (int i = 0; i < n_operands; i++)
        op->operand[i] = operands[i];
    for (int i = 0; i < info->n_results; i++)
        op->result[i] = (struct ir_value){.op = op, .index = i};
    set_attrs(module, op, n_attrs, attrs);
    return op;
}

void ir_renumber(struct ir_module *module)
{
    int id = 0;
    for (int i = 0; i < module->n_ops; i++)
        for (int r = 0; r < module->ops[i]->n_results; r++)
            module->ops[i]->result[r].id = id++;
}

/* Appending continues the numbers; putting in between gives them anew. */
static void put_op(struct ir_module *module, int at, struct ir_op *op)
{
    module->ops =
        grow(module, module->ops, module->n_ops, sizeof(*module->ops));
    const bool last = at == module->n_ops;
    int id = ir_value_count(module);
    memmove(module->ops + at + 1, module->ops + at,
            (size_t)(module->n_ops - at) * sizeof(*module->ops));
    module->ops[at] = op;
    module->n_ops++;
    if (!last)
        ir_renumber(module);
    else
        for (int r = 0; r < op->n_results; r++)
            op->result[r].id = id++;
}

static void take_op(struct ir_module *module, int at)
{
    memmove(module->ops + at, module->ops + at + 1,
            (size_t)(module->n_ops - at - 1) * sizeof(*module->ops));
    module->n_ops--;
}

int ir_value_count(const struct ir_module *module)
{
    if (module->n_ops == 0)
        return 0;
    const struct ir_op *last = module->ops[module->n_ops - 1];
    return last->result[last->n_results - 1].id + 1;
}

static int op_index(const struct ir_module *module, const struct ir_op *op)
{
    for (int i = 0; i < module->n_ops; i++)
        if (module->ops[i] == op)
            return i;
    ir_bug("the op is not in the module");
}

static struct ir_op *add_at(struct ir_module *module, int at,
                            enum ir_op_kind kind, int n_operands,
                            struct ir_value *const *operands, int n_attrs,
                            const struct ir_attr *attrs, struct ir_loc loc,
                            struct ir_diag *diag)
{
    struct ir_op *op =
        op_new(module, kind, n_operands, operands, n_attrs, attrs);
    op->loc = loc;
    if (!ir_check_schema(op, diag) || !ir_infer_table[kind](module, op, diag))
        return NULL;
    put_op(module, at, op);
    return op;
}

struct ir_op *ir_add_op(struct ir_module *module, enum ir_op_kind kind,
                        int n_operands, struct ir_value *const *operands,
                        int n_attrs, const struct ir_attr *attrs,
                        struct ir_diag *diag)
{
    return add_at(module, module->n_ops, kind, n_operands, operands, n_attrs,
                  attrs, ir_loc_file(NULL), diag);
}

struct ir_op *ir_insert_op(struct ir_module *module, struct ir_op *before,
                           enum ir_op_kind kind, int n_operands,
                           struct ir_value *const *operands, int n_attrs,
                           const struct ir_attr *attrs, struct ir_diag *diag)
{
    return add_at(module, op_index(module, before), kind, n_operands, operands,
                  n_attrs, attrs, before->loc, diag);
}

struct ir_op *ir_replace_op(struct ir_module *module, struct ir_op *old,
                            enum ir_op_kind kind, int n_operands,
                            struct ir_value *const *operands, int n_attrs,
                            const struct ir_attr *attrs, struct ir_diag *diag)
{
    const int at = op_index(module, old);
    struct ir_op *op = add_at(module, at, kind, n_operands, operands, n_attrs,
                              attrs, old->loc, diag);
    if (!op)
        return NULL;
    for (int i = 0; i < old->n_results && i < op->n_results; i++)
        ir_replace_uses(module, &old->result[i], &op->result[i]);
    take_op(module, at + 1);
    ir_renumber(module);
    return op;
}

void ir_replace_uses(struct ir_module *module, struct ir_value *old,
                     struct ir_value *with)
{
    for (int i = 0; i < module->n_ops; i++)
        for (int o = 0; o < module->ops[i]->n_operands; o++)
            if (module->ops[i]->operand[o] == old)
                module->ops[i]->operand[o] = with;
    for (int i = 0; i < module->n_outputs; i++)
        if (module->outputs[i].value == old)
            module->outputs[i].value = with;
}

bool ir_value_used(const struct ir_module *module,
                   const struct ir_value *value)
{
    for (int i = 0; i < module->n_ops; i++)
        for (int o = 0; o < module->ops[i]->n_operands; o++)
            if (module->ops[i]->operand[o] == value)
                return true;
    for (int i = 0; i < module->n_outputs; i++)
        if (module->outputs[i].value == value)
            return true;
    return false;
}

int ir_remove_dead_ops(struct ir_module *module)
{
    ir_renumber(module);
    bool *used = ir_realloc_array(NULL, (size_t)ir_value_count(module),
                                  sizeof(*used));
    memset(used, 0, (size_t)ir_value_count(module) * sizeof(*used));
    for (int i = 0; i < module->n_outputs; i++)
        used[module->outputs[i].value->id] = true;
    /* From the end: a user goes before what it uses. */
    int first = module->n_ops;
    for (int i = module->n_ops - 1; i >= 0; i--) {
        struct ir_op *op = module->ops[i];
        bool needed = false;
        for (int r = 0; r < op->n_results; r++)
            needed = needed || used[op->result[r].id];
        for (int o = 0; needed && o < op->n_operands; o++)
            used[op->operand[o]->id] = true;
        if (needed)
            module->ops[--first] = op;
    }
    free(used);
    if (first > 0)
        memmove(module->ops, module->ops + first,
                (size_t)(module->n_ops - first) * sizeof(*module->ops));
    module->n_ops -= first;
    ir_renumber(module);
    return first;
}

static bool is_among(const char *name, int n, const char *const *names)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

bool ir_keep_outputs(struct ir_module *module, int n,
                     const char *const *names, struct ir_diag *diag)
{
    for (int i = 0; i < n; i++) {
        if (ir_find_output(module, names[i]) >= 0)
            continue;
        struct ir_text have;
        ir_text_init(&have);
        for (int o = 0; o < module->n_outputs; o++)
            ir_text_printf(&have, "%s%s", o ? ", " : "",
                           module->outputs[o].name);
        ir_error(diag, ir_loc_file(NULL),
                 "there is no output named \"%s\" (there are: %s)", names[i],
                 have.length ? have.data : "none");
        ir_text_release(&have);
        return false;
    }
    int kept = 0;
    for (int i = 0; i < module->n_outputs; i++)
        if (is_among(module->outputs[i].name, n, names))
            module->outputs[kept++] = module->outputs[i];
    module->n_outputs = kept;
    ir_remove_dead_ops(module);
    return true;
}

/* ------------------------------------------------------------ attributes -- */

const struct ir_attr *ir_find_attr(const struct ir_op *op, const char *name)
{
    for (int i = 0; i < op->n_attrs; i++)
        if (!strcmp(op->attr[i].name, name))
            return &op->attr[i];
    return NULL;
}

static const struct ir_attr *need_attr(const struct ir_op *op,
                                       const char *name,
                                       enum ir_attr_kind kind)
{
    const struct ir_attr *a = ir_find_attr(op, name);
    if (!a || a->kind != kind)
        ir_bug("%s has no such attribute: %s", ir_op_table[op->kind].name,
               name);
    return a;
}

int64_t ir_attr_int(const struct ir_op *op, const char *name)
{
    return need_attr(op, name, IR_INT)->i;
}

double ir_attr_float(const struct ir_op *op, const char *name)
{
    return need_attr(op, name, IR_FLOAT)->f;
}

const char *ir_attr_string(const struct ir_op *op, const char *name)
{
    return need_attr(op, name, IR_STRING)->s;
}

const struct ir_tensor *ir_attr_tensor(const struct ir_op *op,
                                       const char *name)
{
    const struct ir_attr *a = ir_find_attr(op, name);
    return a && a->kind == IR_TENSOR ? a->t : NULL;
}

int64_t ir_attr_int_or(const struct ir_op *op, const char *name,
                       int64_t fallback)
{
    return ir_find_attr(op, name) ? ir_attr_int(op, name) : fallback;
}

void ir_set_attr(struct ir_module *module, struct ir_op *op,
                 struct ir_attr attr)
{
    struct ir_attr *all = ir_alloc_array(
        &module->arena, (size_t)op->n_attrs + 1, sizeof(*all));
    int n = 0;
    for (int i = 0; i < op->n_attrs; i++)
        if (strcmp(op->attr[i].name, attr.name) != 0)
            all[n++] = op->attr[i];
    all[n++] = attr;
    set_attrs(module, op, n, all);
}

/* ----------------------------------------------------------------- clone -- */

static const struct ir_tensor *clone_tensor(struct ir_module *to,
                                            const struct ir_tensor *tensor)
{
    struct ir_tensor *copy = ir_alloc(&to->arena, sizeof(*copy));
    const size_t bytes = ir_tensor_bytes(tensor);
    void *data = ir_alloc(&to->arena, bytes);
    if (bytes)
        memcpy(data, tensor->data, bytes);
    *copy = (struct ir_tensor){tensor->type, data};
    return copy;
}

static void clone_op(struct ir_module *to, const struct ir_op *op,
                     struct ir_value *const *value_of)
{
    struct ir_value **operands = ir_alloc_array(
        &to->arena, (size_t)op->n_operands, sizeof(*operands));
    for (int i = 0; i < op->n_operands; i++)
        operands[i] = value_of[op->operand[i]->id];
    struct ir_op *copy = op_new(to, op->kind, op->n_operands, operands,
                                op->n_attrs, op->attr);
    for (int i = 0; i < copy->n_attrs; i++)
        if (copy->attr[i].kind == IR_TENSOR)
            copy->attr[i].t = clone_tensor(to, copy->attr[i].t);
    for (int i = 0; i < op->n_results; i++)
        copy->result[i].type = op->result[i].type;
    if (op->loc.file)
        copy->loc = op->loc, copy->loc.file = ir_strdup(&to->arena,
                                                        op->loc.file);
    put_op(to, to->n_ops, copy);
}

struct ir_module *ir_module_clone(const struct ir_module *module)
{
    struct ir_module *to = ir_module_new(module->name);
    for (int i = 0; i < module->n_facts; i++)
        ir_add_fact(to, module->facts[i].key, module->facts[i].value);
    for (int i = 0; i < module->n_columns; i++) {
        const struct ir_column *from = &module->columns[i];
        struct ir_column *column =
            ir_add_column(to, from->name, from->kind, from->n_elements);
        ir_set_categories(to, column, from->n_categories, from->categories);
    }
    struct ir_value **value_of =
        ir_alloc_array(&to->arena, (size_t)ir_value_count(module),
                       sizeof(struct ir_value *));
    for (int i = 0; i < module->n_ops; i++) {
        clone_op(to, module->ops[i], value_of);
        for (int r = 0; r < module->ops[i]->n_results; r++)
            value_of[module->ops[i]->result[r].id] = &to->ops[i]->result[r];
    }
    for (int i = 0; i < module->n_outputs; i++) {
        const struct ir_output *from = &module->outputs[i];
        struct ir_output *output =
            ir_add_output(to, from->name, value_of[from->value->id]);
        ir_set_labels(to, output, from->n_labels, from->labels);
    }
    return to;
}
