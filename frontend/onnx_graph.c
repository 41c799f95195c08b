/* onnx_graph.c: the graph, node by node: names and what they stand for,
 * attributes. The table of ops is in onnx_ops.c.
 *
 * Before anything is built, each op that is not in the table is collected, so
 * that one message lists them all. Nodes come in order, each after what it
 * uses (onnx_order.c), and a name is given once (SSA). A node all of whose
 * inputs are constants gives constants.
 */
#include "frontend/onnx.h"

#include <stdlib.h>
#include <string.h>

/* Graphs in one another, as deep as onnx_wire.c lets messages be. */
enum { MAX_NESTED = 32 };

/* ------------------------------------------------------------- messages -- */

/* Appends "node 3 (Add 'sum'): " */
static void say_node(const struct fe_onnx *g, struct ir_text *text,
                     const Onnx__NodeProto *node, size_t index)
{
    const char *name = fe_onnx_text(node->name);
    ir_text_printf(text, "node %zu (%.60s%s%.100s%s): ",
                   fe_onnx_index_of(g, node, index),
                   fe_onnx_text(node->op_type), *name ? " '" : "", name,
                   *name ? "'" : "");
}

bool fe_onnx_is_good(const struct fe_onnx *g)
{
    return g->diag->n_messages == g->n_messages;
}

bool fe_onnx_error(struct fe_onnx *g, const char *fmt, ...)
{
    const struct fe_onnx_place *outer[MAX_NESTED];
    char said[1024];
    int n = 0;
    va_list args;
    if (!fe_onnx_is_good(g))
        return false; /* the first one says it */
    va_start(args, fmt);
    vsnprintf(said, sizeof said, fmt, args);
    va_end(args);
    for (const struct fe_onnx_place *p = g->within; p && n < MAX_NESTED;
         p = p->outer)
        outer[n++] = p;
    struct ir_text where;
    ir_text_init(&where);
    ir_text_puts(&where, "");
    while (n-- > 0)
        say_node(g, &where, outer[n]->node, outer[n]->index);
    if (g->node)
        say_node(g, &where, g->node, g->node_index);
    ir_error(g->diag, ir_loc_file(g->path), "%s%s", where.data, said);
    ir_text_release(&where);
    return false;
}

void fe_onnx_start_trial(struct fe_onnx *g, struct fe_onnx_trial *trial)
{
    *trial = (struct fe_onnx_trial){.diag = g->diag,
                                    .n_messages = g->n_messages};
    ir_diag_init(&trial->tried);
    g->diag = &trial->tried;
    g->n_messages = 0;
}

void fe_onnx_end_trial(struct fe_onnx *g, struct fe_onnx_trial *trial)
{
    ir_diag_release(&trial->tried);
    g->diag = trial->diag;
    g->n_messages = trial->n_messages;
}

/* ---------------------------------------------------------------- names -- */

size_t fe_onnx_hash(const char *name)
{
    return (size_t)ir_keyed_hash(name, strlen(name));
}

/* Where `name` is in the scope's table, or would be. */
static struct fe_onnx_value **slot_of(const struct fe_onnx_scope *scope,
                                      const char *name)
{
    size_t i = fe_onnx_hash(name) & (scope->size - 1);
    while (scope->table[i] && strcmp(scope->table[i]->name, name) != 0)
        i = (i + 1) & (scope->size - 1);
    return &scope->table[i];
}

struct fe_onnx_value *fe_onnx_find(const struct fe_onnx *g, const char *name)
{
    bool closed = false;
    for (const struct fe_onnx_scope *s = g->scope; s; s = s->outer) {
        struct fe_onnx_value *value = *slot_of(s, name);
        if (value)
            return closed && !value->constant ? NULL : value;
        closed = closed || s->is_closed;
    }
    return NULL;
}

bool fe_onnx_define(struct fe_onnx *g, const char *name,
                    const struct fe_onnx_value *value)
{
    struct fe_onnx_value **slot = slot_of(g->scope, name);
    if (*slot)
        return fe_onnx_error(g, "the name '%.200s' is given twice", name);
    *slot = ir_alloc(&g->scratch, sizeof **slot);
    **slot = *value;
    (*slot)->name = name;
    return true;
}

size_t fe_onnx_count_names(const Onnx__GraphProto *graph)
{
    size_t n = graph->n_input + graph->n_initializer;
    for (size_t i = 0; i < graph->n_node; i++)
        n += graph->node[i]->n_output;
    return n;
}

void fe_onnx_open_scope(struct fe_onnx *g, struct fe_onnx_scope *scope,
                        size_t n, bool is_closed)
{
    *scope = (struct fe_onnx_scope){.outer = g->scope, .size = 16,
                                    .is_closed = is_closed};
    while (scope->size < 2 * n + 2)
        scope->size *= 2;
    scope->table = ir_alloc_array(&g->scratch, scope->size,
                                  sizeof *scope->table);
    g->scope = scope;
}

/* How often the graph asks for a name, and how often to cast it to FLOAT. */
struct fe_onnx_use {
    const char *name;
    size_t n, n_casts;
};

static struct fe_onnx_use *use_of(const struct fe_onnx *g, const char *name)
{
    size_t i = fe_onnx_hash(name) & (g->use_size - 1);
    while (g->uses[i].name && strcmp(g->uses[i].name, name) != 0)
        i = (i + 1) & (g->use_size - 1);
    return &g->uses[i];
}

static void add_uses(struct fe_onnx *g, const char *name, size_t n,
                     bool is_cast)
{
    struct fe_onnx_use *use = use_of(g, name);
    use->name = name;
    use->n += n;
    use->n_casts += is_cast ? n : 0;
}

static bool is_cast_to_float(const Onnx__NodeProto *node)
{
    bool to_float = false;
    for (size_t k = 0; k < node->n_attribute; k++)
        if (!strcmp(fe_onnx_text(node->attribute[k]->name), "to"))
            to_float = node->attribute[k]->i == FE_ONNX_FLOAT;
    return to_float && !strcmp(fe_onnx_text(node->op_type), "Cast");
}

/* Names that the graph's nodes ask for, with those of subgraphs. */
static size_t count_inputs(const Onnx__GraphProto *graph)
{
    size_t n = graph->n_output;
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        n += node->n_input;
        for (size_t k = 0; k < node->n_attribute; k++)
            if (node->attribute[k]->g)
                n += count_inputs(node->attribute[k]->g);
    }
    return n;
}

/* A node of a subgraph may be built many times: its uses count twice. */
static void add_graph_uses(struct fe_onnx *g, const Onnx__GraphProto *graph,
                           size_t times)
{
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        for (size_t k = 0; k < node->n_input; k++)
            add_uses(g, node->input[k], times, is_cast_to_float(node));
        for (size_t k = 0; k < node->n_attribute; k++)
            if (node->attribute[k]->g)
                add_graph_uses(g, node->attribute[k]->g, 2);
    }
    for (size_t i = 0; i < graph->n_output; i++)
        add_uses(g, fe_onnx_text(graph->output[i]->name), times, false);
}

static void count_uses(struct fe_onnx *g)
{
    const size_t n = count_inputs(g->model->graph) + 1;
    for (g->use_size = 16; g->use_size < 2 * n; g->use_size *= 2)
        ;
    g->uses = ir_alloc_array(&g->scratch, g->use_size, sizeof *g->uses);
    add_graph_uses(g, g->model->graph, 1);
}

bool fe_onnx_is_only_use(const struct fe_onnx *g, size_t i)
{
    return use_of(g, g->node->input[i])->n == 1;
}

bool fe_onnx_is_only_cast(const struct fe_onnx *g)
{
    if (!g->node->n_output || !*g->node->output[0])
        return true;
    const struct fe_onnx_use *use = use_of(g, g->node->output[0]);
    return use->n == use->n_casts;
}

bool fe_onnx_define_initializers(struct fe_onnx *g,
                                 const Onnx__GraphProto *graph)
{
    if (graph->n_sparse_initializer)
        return fe_onnx_error(g, "the graph has sparse initializers (%zu), "
                             "which are not read",
                             graph->n_sparse_initializer);
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const char *name = fe_onnx_text(graph->initializer[i]->name);
        char what[256];
        snprintf(what, sizeof what, "initializer '%.200s'", name);
        const struct fe_onnx_tensor *t =
            fe_onnx_read_tensor(g, graph->initializer[i], what);
        if (!t)
            return false;
        struct fe_onnx_value value = {.type = t->type, .constant = t,
                                      .rank = t->rank, .n = t->n};
        memcpy(value.dim, t->dim, sizeof value.dim);
        if (!fe_onnx_define(g, name, &value))
            return false;
    }
    return true;
}

/* --------------------------------------------------- inputs and outputs -- */

bool fe_onnx_has_input(const struct fe_onnx *g, size_t i)
{
    return i < g->node->n_input && *g->node->input[i];
}

struct fe_onnx_value *fe_onnx_input(struct fe_onnx *g, size_t i)
{
    if (!fe_onnx_has_input(g, i)) {
        fe_onnx_error(g, "input %zu is missing", i);
        return NULL;
    }
    struct fe_onnx_value *value = fe_onnx_find(g, g->node->input[i]);
    if (!value)
        fe_onnx_error(g, "input %zu, '%.200s', is given by no input, "
                      "initializer or node", i, g->node->input[i]);
    return value;
}

const struct fe_onnx_tensor *fe_onnx_constant_input(struct fe_onnx *g,
                                                    size_t i)
{
    struct fe_onnx_value *value = fe_onnx_input(g, i);
    if (value && !value->constant)
        fe_onnx_error(g, "input %zu, '%.200s', is no constant", i,
                      value->name);
    return value ? value->constant : NULL;
}

struct fe_onnx_value *fe_onnx_number_input(struct fe_onnx *g, size_t i)
{
    struct fe_onnx_value *value = fe_onnx_input(g, i);
    if (!value)
        return NULL;
    struct fe_onnx_value *numbers = ir_alloc(&g->scratch, sizeof *numbers);
    *numbers = *value;
    numbers->rows = fe_onnx_numbers(g, value);
    numbers->constant = NULL;
    numbers->labels = NULL;
    return numbers->rows ? numbers : NULL;
}

struct fe_onnx_value *fe_onnx_row_input(struct fe_onnx *g, size_t i)
{
    struct fe_onnx_value *value = fe_onnx_input(g, i);
    if (!value)
        return NULL;
    struct fe_onnx_value *row = ir_alloc(&g->scratch, sizeof *row);
    *row = *value;
    row->is_row = true;
    if (value->batched ? value->batch != 0 || value->dim[0] != 1
                       : value->rank && value->dim[0] != 1) {
        fe_onnx_error(g, "input %zu, '%.200s', has no batch as its first dim",
                      i, value->name);
        return NULL;
    }
    if (value->constant) {
        row->rows = fe_onnx_numbers(g, value);
        row->constant = NULL;
        if (!row->rows)
            return NULL;
    }
    if (row->rank)
        memmove(row->dim, row->dim + 1,
                (size_t)--row->rank * sizeof *row->dim);
    g->rows_batched |= value->batched;
    return row;
}

/* With the batch put back in front. */
static bool restore_batch(struct fe_onnx *g, struct fe_onnx_value *value)
{
    if (value->rank == IR_MAX_RANK)
        return fe_onnx_error(g, "its result has %d dims (the limit is %d)",
                             value->rank + 1, IR_MAX_RANK);
    memmove(value->dim + 1, value->dim,
            (size_t)value->rank++ * sizeof *value->dim);
    value->dim[0] = 1;
    value->batched = g->rows_batched;
    value->batch = 0;
    value->is_row = false;
    return true;
}

bool fe_onnx_give(struct fe_onnx *g, size_t i,
                  const struct fe_onnx_value *value)
{
    struct fe_onnx_value given = *value;
    if (i >= g->node->n_output || !*g->node->output[i])
        return true;
    return (!given.is_row || restore_batch(g, &given)) &&
           fe_onnx_define(g, g->node->output[i], &given);
}

bool fe_onnx_give_rows(struct fe_onnx *g, size_t i, int type,
                       struct ir_value *rows, int rank, const int64_t *dim)
{
    if (!rows)
        return false;
    struct fe_onnx_value value = {.type = type, .rows = rows, .rank = rank,
                                  .n = 1, .is_row = true};
    for (int d = 0; d < rank; d++) {
        value.dim[d] = dim[d];
        value.n *= dim[d];
    }
    return fe_onnx_give(g, i, &value);
}

bool fe_onnx_give_like(struct fe_onnx *g, size_t i, int type,
                       struct ir_value *rows,
                       const struct fe_onnx_value *like)
{
    struct fe_onnx_value value = {
        .type = type, .rows = rows, .rank = like->rank, .n = like->n,
        .batched = like->batched, .batch = like->batch, .ahead = like->ahead,
        .is_row = like->is_row};
    memcpy(value.dim, like->dim, sizeof value.dim);
    return rows && fe_onnx_give(g, i, &value);
}

/* ----------------------------------------------------------- attributes -- */

const Onnx__AttributeProto *fe_onnx_attribute(const struct fe_onnx *g,
                                              const char *name)
{
    for (size_t i = 0; i < g->node->n_attribute; i++)
        if (!strcmp(fe_onnx_text(g->node->attribute[i]->name), name))
            return g->node->attribute[i];
    return NULL;
}

int64_t fe_onnx_int(const struct fe_onnx *g, const char *name,
                    int64_t fallback)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    return a ? a->i : fallback;
}

double fe_onnx_float(const struct fe_onnx *g, const char *name,
                     double fallback)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    return a ? (double)a->f : fallback;
}

bool fe_onnx_says(const struct fe_onnx *g, const char *name, const char *text,
                  bool fallback)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    return a ? a->s.len == strlen(text) && !memcmp(a->s.data, text, a->s.len)
             : fallback;
}

struct fe_onnx_tensor *fe_onnx_strings(struct fe_onnx *g, const char *name,
                                       bool *ok)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    if (!a)
        return NULL;
    const int64_t n = (int64_t)a->n_strings;
    struct fe_onnx_tensor *t = fe_onnx_new_tensor(g, FE_ONNX_STRING, 1, &n);
    for (int64_t i = 0; i < n; i++)
        if (!(t->text[i] = fe_onnx_string(g, &a->strings[i], name))) {
            *ok = false;
            return NULL;
        }
    return t;
}

/* The letter of an attribute's kind, 0 when it holds none that is read. Old
 * files have no type; then what is there says it. */
static char kind_of(const Onnx__AttributeProto *a)
{
    static const char letters[] = {0, 'f', 'i', 's', 't', 'g', 'F', 'I', 'S'};
    if (a->has_type)
        return a->type >= 0 && a->type < (int)sizeof letters
                   ? letters[a->type] : 0;
    return a->has_f ? 'f' : a->has_i ? 'i' : a->has_s ? 's' : a->t ? 't'
           : a->g ? 'g' : a->n_floats ? 'F' : a->n_ints ? 'I'
           : a->n_strings ? 'S' : 0;
}

/* How many kinds of values it holds: builders look at the one that its kind
 * says, or at whichever is there. */
static int count_kinds(const Onnx__AttributeProto *a)
{
    return !!a->has_f + !!a->has_i + !!a->has_s + !!a->t + !!a->g +
           !!a->n_floats + !!a->n_ints + !!a->n_strings;
}

static bool has_what_it_says(const Onnx__AttributeProto *a, char kind)
{
    switch (kind) {
    case 'f': return a->has_f;
    case 'i': return a->has_i;
    case 's': return a->has_s;
    case 't': return a->t != NULL;
    case 'g': return a->g != NULL;
    default: return true;
    }
}

static const char *kind_name(char kind)
{
    switch (kind) {
    case 'f': return "a float";
    case 'i': return "an int";
    case 's': return "a string";
    case 't': return "a tensor";
    case 'g': return "a graph";
    case 'F': return "a list of floats";
    case 'I': return "a list of ints";
    case 'S': return "a list of strings";
    default: return "of a kind that is not read";
    }
}

static bool check_attribute(struct fe_onnx *g,
                            const struct fe_onnx_op_info *op,
                            const Onnx__AttributeProto *a)
{
    const char *name = fe_onnx_text(a->name);
    const size_t n = strlen(name);
    const char *entry = op->attributes;
    while (*entry && !(n && !strncmp(entry, name, n) && entry[n] == ':')) {
        entry += strcspn(entry, " ");
        entry += *entry == ' ';
    }
    if (!*entry)
        return fe_onnx_error(g, "the attribute '%.100s' is none of those "
                             "known of %s", name, op->name);
    if (a->ref_attr_name && *a->ref_attr_name)
        return fe_onnx_error(g, "the attribute '%s' refers to one of a "
                             "function, and there is none", name);
    const char kind = entry[n + 1], given = kind_of(a);
    if (given != kind || !has_what_it_says(a, kind))
        return fe_onnx_error(g, "the attribute '%s' is %s, not %s", name,
                             given == kind ? "without its value"
                                           : kind_name(given),
                             kind_name(kind));
    return count_kinds(a) <= 1 ||
           fe_onnx_error(g, "the attribute '%s' holds values of %d kinds",
                         name, count_kinds(a));
}

static bool check_attributes(struct fe_onnx *g,
                             const struct fe_onnx_op_info *op)
{
    if (g->node->n_attribute > 64)
        return fe_onnx_error(g, "it has %zu attributes (%s has no more than "
                             "64)", g->node->n_attribute, op->name);
    for (size_t i = 0; i < g->node->n_attribute; i++) {
        const Onnx__AttributeProto *a = g->node->attribute[i];
        if (fe_onnx_attribute(g, fe_onnx_text(a->name)) != a)
            return fe_onnx_error(g, "the attribute '%.100s' comes twice",
                                 fe_onnx_text(a->name));
        if (!check_attribute(g, op, a))
            return false;
    }
    return true;
}

/* ---------------------------------------------------------------- graph -- */

/* "ai.onnx.ml.SVMRegressor" */
static const char *full_name(struct fe_onnx *g, const Onnx__NodeProto *node)
{
    const char *domain = fe_onnx_text(node->domain);
    return ir_sprintf(&g->scratch, "%.60s%s%.80s", domain, *domain ? "." : "",
                      fe_onnx_text(node->op_type));
}

/* The names of the ops that are not read, each once, and how often. */
struct unread {
    int n;
    const char *name[100];
    size_t count[100];
};

static void collect(struct fe_onnx *g, const Onnx__NodeProto *node,
                    struct unread *u)
{
    const char *name = full_name(g, node);
    int i = 0;
    while (i < u->n && strcmp(u->name[i], name) != 0)
        i++;
    if (i == 100)
        return;
    u->n = i == u->n ? i + 1 : u->n;
    u->name[i] = name;
    u->count[i]++;
}

/* Those of the graph and its subgraphs. */
static void collect_all(struct fe_onnx *g, const Onnx__GraphProto *graph,
                        struct unread *u)
{
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        if (!fe_onnx_find_op(node))
            collect(g, node, u);
        for (size_t k = 0; k < node->n_attribute; k++)
            if (node->attribute[k]->g)
                collect_all(g, node->attribute[k]->g, u);
    }
}

bool fe_onnx_check_ops(struct fe_onnx *g)
{
    struct unread u = {0};
    collect_all(g, g->model->graph, &u);
    if (u.n == 0)
        return true;
    struct ir_text text;
    ir_text_init(&text);
    for (int i = 0; i < u.n; i++)
        ir_text_printf(&text, "%s %s (%zu)", i ? "," : "", u.name[i],
                       u.count[i]);
    fe_onnx_error(g, "%s not read:%s", u.n == 1 ? "this op is"
                  : u.n == 100 ? "these ops and more are" : "these ops are",
                  text.data);
    ir_text_release(&text);
    return false;
}

static bool are_inputs_constant(const struct fe_onnx *g)
{
    bool any = false;
    for (size_t i = 0; i < g->node->n_input; i++) {
        if (!fe_onnx_has_input(g, i))
            continue;
        const struct fe_onnx_value *x = fe_onnx_find(g, g->node->input[i]);
        if (!x || !x->constant)
            return false;
        any = true;
    }
    return any;
}

/* So that ops may rely on it: what is named is there, and so are the first
 * min_inputs, but of loops and of com.microsoft, which leave some out. */
static bool check_inputs(struct fe_onnx *g, const struct fe_onnx_op_info *op)
{
    const char *domain = g->node->domain ? g->node->domain : "";
    const size_t n = g->node->n_input, least = (size_t)op->min_inputs;
    const bool any = strstr(op->attributes, ":g") ||
                     !strcmp(domain, "com.microsoft");
    if (n < least || n > (size_t)op->max_inputs)
        return fe_onnx_error(g, "%zu inputs (%d to %d are expected)", n,
                             op->min_inputs, op->max_inputs);
    for (size_t i = 0; i < n; i++)
        if ((fe_onnx_has_input(g, i) || (i < least && !any)) &&
            !fe_onnx_input(g, i))
            return false;
    return true;
}

/* The node's op, whose subgraphs see more values than its inputs. */
static bool build_op(struct fe_onnx *g)
{
    const struct fe_onnx_op_info *op = fe_onnx_find_op(g->node);
    if (!check_inputs(g, op))
        return false;
    for (size_t i = (size_t)op->max_outputs; i < g->node->n_output; i++)
        if (*g->node->output[i])
            return fe_onnx_error(g, "its output %zu, '%.200s', is not built",
                                 i, g->node->output[i]);
    if (g->node->n_output == 0)
        return fe_onnx_error(g, "it gives no output");
    g->rows_batched = false;
    if (!check_attributes(g, op) || !fe_onnx_check_version(g))
        return false;
    return !strstr(op->attributes, ":g") && are_inputs_constant(g)
               ? fe_onnx_fold(g, op->build) : op->build(g);
}

/* Ops that are made of the node say so in messages: "FILE: node N (..)". */
static void name_ops(struct fe_onnx *g, int first)
{
    struct ir_text name;
    ir_text_init(&name);
    ir_text_printf(&name, "%s: ", g->module_path);
    say_node(g, &name, g->node, g->node_index);
    name.data[name.length - strlen(": ")] = '\0';
    const struct ir_loc loc =
        ir_loc_file(ir_strdup(&g->module->arena, name.data));
    for (int i = first; i < g->module->n_ops; i++)
        if (g->module->ops[i]->loc.file == g->module_path)
            g->module->ops[i]->loc = loc;
    ir_text_release(&name);
}

bool fe_onnx_build_node(struct fe_onnx *g, const Onnx__NodeProto *node,
                        size_t index)
{
    const int first = g->module->n_ops;
    const struct fe_onnx_place place = {g->within, g->node, g->node_index};
    if (g->node)
        g->within = &place;
    g->node = node;
    g->node_index = index;
    const bool good = build_op(g);
    if (g->module->n_ops > first)
        name_ops(g, first);
    g->within = place.outer;
    g->node = place.node;
    g->node_index = place.index;
    return good;
}

static bool build_graph(struct fe_onnx *g, const Onnx__GraphProto *graph)
{
    if (!fe_onnx_define_initializers(g, graph))
        return false;
    if (g->batch == FE_ONNX_UNKNOWN)
        g->batch = fe_onnx_find_batch(g);
    if (!fe_onnx_build_inputs(g))
        return false;
    for (size_t i = 0; i < graph->n_node; i++)
        if (!fe_onnx_build_node(g, graph->node[i], i))
            return false;
    return fe_onnx_build_outputs(g);
}

bool fe_onnx_build(struct fe_onnx *g)
{
    const Onnx__GraphProto *graph = g->model->graph;
    struct fe_onnx_scope scope;
    g->scope = NULL;
    fe_onnx_open_scope(g, &scope, fe_onnx_count_names(graph), false);
    count_uses(g);
    const bool good = build_graph(g, graph);
    g->scope = NULL;
    if (good)
        ir_remove_dead_ops(g->module);
    return good;
}
