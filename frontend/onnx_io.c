/* onnx_io.c: the graph's inputs as columns, its outputs as outputs.
 *
 * An input [N, F] of numbers is F columns, one of strings F category columns;
 * the names of a column's categories are those that the graph compares it
 * with. Whichever names the graph gives its outputs, a classifier's scores are
 * "value" and "probability" and its class is "class", as of any framework.
 */
#include "frontend/onnx.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* More numbers than these are one column of a tensor, as are those of more than
 * one dim. */
#define MAX_NAMED 4096

/* --------------------------------------------------------------- inputs -- */

static const char *name_of(const Onnx__ValueInfoProto *info)
{
    return fe_onnx_text(info->name);
}

static bool is_initializer(const struct fe_onnx *g, const char *name)
{
    const struct fe_onnx_value *value = fe_onnx_find(g, name);
    return value && value->constant;
}

static bool read_type(struct fe_onnx *g, const Onnx__ValueInfoProto *info,
                      struct fe_onnx_value *value)
{
    const Onnx__TypeProto *type = info->type;
    const char *name = name_of(info);
    if (!type || type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
        return fe_onnx_error(g, "input '%.200s' is no tensor", name);
    value->type = fe_onnx_widened(type->tensor_type->elem_type);
    if (value->type != FE_ONNX_FLOAT && value->type != FE_ONNX_DOUBLE &&
        value->type != FE_ONNX_STRING && !fe_onnx_is_whole(value->type))
        return fe_onnx_error(g, "input '%.200s' is of type %s, which is not "
                             "read", name,
                             fe_onnx_type_text(g, value->type));
    if (!type->tensor_type->shape)
        return fe_onnx_error(g, "input '%.200s' has no shape", name);
    return true;
}

static bool read_shape(struct fe_onnx *g, const Onnx__ValueInfoProto *info,
                       struct fe_onnx_value *value)
{
    const Onnx__TensorShapeProto *shape = info->type->tensor_type->shape;
    if (shape->n_dim > IR_MAX_RANK)
        return fe_onnx_error(g, "input '%.200s' has %zu dims (up to %d are "
                             "read, with the batch)", name_of(info),
                             shape->n_dim, IR_MAX_RANK);
    value->rank = (int)shape->n_dim;
    value->n = 1;
    int open, time;
    if (!fe_onnx_find_open(g, name_of(info), shape, &open, &time))
        return false;
    value->batched = g->batch == FE_ONNX_FIRST || open >= 0;
    if (open >= 0)
        value->batch = open;
    for (int i = 0; i < value->rank; i++) {
        const bool batch = value->batched && i == value->batch;
        const int64_t dim = batch ? 1 : i == time ? g->steps
                                                  : shape->dim[i]->dim_value;
        value->dim[i] = dim;
        if (dim < 1 || dim > IR_MAX_ELEMENTS / value->n)
            return fe_onnx_error(g, "input '%.200s': dim %d is %lld (a row "
                                 "has 1 to %d elements)", name_of(info), i,
                                 (long long)dim, IR_MAX_ELEMENTS);
        value->n *= dim;
    }
    return true;
}

enum fe_onnx_batch fe_onnx_find_batch(struct fe_onnx *g)
{
    const Onnx__GraphProto *graph = g->model->graph;
    int64_t first = 0; /* the inputs' first dim; -1 when they differ */
    for (size_t i = 0; i < graph->n_input; i++) {
        const Onnx__TypeProto *type = graph->input[i]->type;
        if (is_initializer(g, name_of(graph->input[i])) || !type ||
            type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ||
            !type->tensor_type->shape)
            continue;
        const Onnx__TensorShapeProto *shape = type->tensor_type->shape;
        for (size_t k = 0; k < shape->n_dim; k++)
            if (fe_onnx_is_open(shape->dim[k]))
                return FE_ONNX_OPEN;
        const int64_t own = shape->n_dim ? shape->dim[0]->dim_value : 1;
        first = first && first != own ? -1 : own;
    }
    g->batch_size = first;
    return first > 1 ? FE_ONNX_FIRST : FE_ONNX_WHOLE;
}

/* The dims of a row's part of an input, as the op input has them: without the
 * batch and the dims of 1 in front; a table's are left out. */
static int bare_dims(const struct fe_onnx_value *value, int64_t *dim)
{
    int rank = 0;
    for (int i = 0; i < value->rank; i++)
        if ((rank || value->dim[i] != 1) &&
            !(value->batched && i == value->batch))
            dim[rank++] = value->dim[i];
    return rank > 1 ? rank : 0;
}

/* A single input's columns are f0 and so on; one of several's have its name,
 * with a number when there are more. */
static void add_columns(struct fe_onnx *g, const char *name,
                        struct fe_onnx_value *value, bool is_only)
{
    const bool strings = value->type == FE_ONNX_STRING;
    int64_t dim[IR_MAX_RANK];
    if ((value->n > MAX_NAMED || bare_dims(value, dim)) && !strings) {
        ir_add_column(g->module, name, IR_TENSOR_COLUMN, value->n);
        return;
    }
    for (int64_t i = 0; i < value->n; i++) {
        char number[24] = "";
        if (value->n > 1)
            snprintf(number, sizeof number, "%s%lld", is_only ? "f" : "_",
                     (long long)i);
        const bool bare = is_only && value->n > 1;
        ir_add_column(g->module,
                      ir_sprintf(&g->scratch, "%s%s", bare ? "" : name,
                                 number),
                      strings ? IR_CATEGORY : IR_NUMBER, 1);
    }
}

static void add_words(struct fe_onnx *g, struct fe_onnx_value *value,
                      int first)
{
    value->words = ir_alloc_array(&g->scratch, (size_t)value->n,
                                  sizeof *value->words);
    for (int64_t i = 0; i < value->n; i++) {
        struct fe_onnx_words *words = fe_onnx_new_words(g);
        words->column = first + (int)i;
        words->next = g->words;
        g->words = words;
        value->words[i] = words;
    }
}

static bool build_input(struct fe_onnx *g, const Onnx__ValueInfoProto *info,
                        bool is_only)
{
    struct fe_onnx_value value = {0};
    const char *name = name_of(info);
    if (!read_type(g, info, &value) || !read_shape(g, info, &value))
        return false;
    if (!*name || strlen(name) > IR_MAX_NAME - 32)
        return fe_onnx_error(g, "an input's name has %zu bytes (1 to %d are "
                             "read)", strlen(name), IR_MAX_NAME - 32);
    if (value.type == FE_ONNX_STRING && (value.n > IR_MAX_COLUMNS ||
        !fe_onnx_take_elements(g, value.n * 4)))
        return fe_onnx_error(g, "input '%.200s' has too many strings", name);
    const int first = g->module->n_columns;
    add_columns(g, name, &value, is_only);
    if (value.type == FE_ONNX_STRING)
        add_words(g, &value, first);
    int64_t dim[IR_MAX_RANK];
    const int rank = bare_dims(&value, dim);
    const struct ir_attr attrs[] = {
        ir_int("first", first), ir_int("count", g->module->n_columns - first),
        ir_string("dtype", ir_dtype_name(fe_onnx_dtype(value.type))),
        fe_onnx_list(g, "shape", rank, dim)};
    value.rows = fe_onnx_op(g, IR_OP_input, 0, NULL, rank ? 4 : 3, attrs);
    return value.rows && fe_onnx_define(g, name, &value);
}

bool fe_onnx_build_inputs(struct fe_onnx *g)
{
    const Onnx__GraphProto *graph = g->model->graph;
    size_t n = 0;
    for (size_t i = 0; i < graph->n_input; i++)
        n += !is_initializer(g, name_of(graph->input[i]));
    if (n == 0)
        return fe_onnx_error(g, "the graph has no input");
    for (size_t i = 0; i < graph->n_input; i++)
        if (!is_initializer(g, name_of(graph->input[i])) &&
            !build_input(g, graph->input[i], n == 1))
            return false;
    return true;
}

static void set_words(struct fe_onnx *g)
{
    for (const struct fe_onnx_words *w = g->words; w; w = w->next)
        ir_set_categories(g->module, &g->module->columns[w->column], w->n,
                          w->word);
}

/* -------------------------------------------------------------- outputs -- */

/* An output's name as C and CSV files have it, that is not taken yet. */
static const char *free_name(struct fe_onnx *g, const char *name)
{
    char *clean = ir_strndup(&g->scratch, name, strnlen(name, 100));
    for (char *p = clean; *p; p++)
        if (!isalnum((unsigned char)*p))
            *p = '_';
    if (!*clean || isdigit((unsigned char)*clean))
        clean = ir_sprintf(&g->scratch, "output_%s", clean);
    const char *tried = clean;
    for (int i = 2; ir_find_output(g->module, tried) >= 0; i++)
        tried = ir_sprintf(&g->scratch, "%s_%d", clean, i);
    return tried;
}

static bool is_class(const struct fe_onnx_value *value)
{
    return value->labels || value->type == FE_ONNX_STRING;
}

/* The names of labels, numbers as their decimals. */
static const char **label_names(struct fe_onnx *g,
                                const struct fe_onnx_tensor *labels)
{
    const char **names =
        ir_alloc_array(&g->scratch, (size_t)labels->n, sizeof *names);
    for (int64_t i = 0; i < labels->n; i++)
        names[i] = labels->text ? labels->text[i]
                   : labels->whole
                       ? ir_sprintf(&g->scratch, "%lld",
                                    (long long)labels->whole[i])
                       : ir_sprintf(&g->scratch, "%.9g", labels->real[i]);
    return names;
}

/* A string's code as i32; code n stands for what is none of the words. */
static struct ir_value *word_index(struct fe_onnx *g,
                                   const struct fe_onnx_value *value)
{
    const struct fe_onnx_words *words = value->words[0];
    for (int64_t i = 1; i < value->n; i++)
        if (value->words[i] != words) {
            fe_onnx_error(g, "the output '%.200s' holds strings of several "
                          "columns, which have no codes in common",
                          value->name);
            return NULL;
        }
    double *code = ir_alloc_array(&g->scratch, (size_t)words->n, sizeof *code);
    for (int i = 0; i < words->n; i++)
        code[i] = i;
    return fe_onnx_lookup(g, value->rows, words->n, code, code, -1, IR_I32);
}

static bool add_class(struct fe_onnx *g, const char *name,
                      const struct fe_onnx_value *value)
{
    const bool labels = value->labels;
    struct ir_value *index =
        labels ? value->rows : word_index(g, value);
    if (!index)
        return false;
    const int n = labels ? (int)value->labels->n : value->words[0]->n;
    struct ir_output *output = ir_add_output(g->module, name, index);
    ir_set_labels(g->module, output, n,
                  labels ? label_names(g, value->labels)
                         : value->words[0]->word);
    return true;
}

static bool add_output(struct fe_onnx *g, const char *name,
                       const struct fe_onnx_value *value)
{
    if (is_class(value))
        return add_class(g, free_name(g, name), value);
    ir_add_output(g->module, free_name(g, name), value->rows);
    return true;
}

/* Numbers beside a class of as many labels are its probabilities, whatever
 * they went through. */
static void mark_probabilities(struct fe_onnx_value *const *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < n; c++)
            values[i]->is_probability |=
                values[c]->labels && !is_class(values[i]) &&
                values[i]->n == values[c]->labels->n;
}

/* The index of the output that the model's user means: the first scores of a
 * classifier, else the first that is no class, else the first. */
static size_t main_output(struct fe_onnx_value *const *values, size_t n)
{
    size_t number = n;
    for (size_t i = 0; i < n; i++) {
        if (values[i]->is_probability)
            return i;
        if (number == n && !is_class(values[i]))
            number = i;
    }
    return number < n ? number : 0;
}

/* What a single ensemble of trees can be asked besides. */
static void add_raw_and_leaf(struct fe_onnx *g)
{
    if (g->n_ensembles != 1)
        return;
    if (g->raw && ir_find_output(g->module, "raw") < 0)
        ir_add_output(g->module, "raw", g->raw);
    if (g->leaf && ir_find_output(g->module, "leaf") < 0)
        ir_add_output(g->module, "leaf", g->leaf);
}

/* Constants become an op. Rows of which the batch is not the first dim would be
 * torn apart for who gave the batch's size. */
static bool check_output(struct fe_onnx *g, struct fe_onnx_value *value)
{
    if (g->batch == FE_ONNX_FIRST &&
        !(value->batched && value->batch == 0 && value->ahead == 0))
        return fe_onnx_error(g, "the output '%.200s' has no batch as its first "
                             "dim", value->name);
    if (!value->constant)
        return true;
    if (value->n < 1)
        return fe_onnx_error(g, "the output '%.200s' has no element",
                             value->name);
    value->rows = fe_onnx_numbers(g, value);
    return value->rows != NULL;
}

bool fe_onnx_build_outputs(struct fe_onnx *g)
{
    const Onnx__GraphProto *graph = g->model->graph;
    const size_t n = graph->n_output;
    struct fe_onnx_value **values =
        ir_alloc_array(&g->scratch, n, sizeof *values);
    if (n == 0)
        return fe_onnx_error(g, "the graph has no output");
    if (n > 1024)
        return fe_onnx_error(g, "the graph has %zu outputs (the limit is "
                             "1024)", n);
    for (size_t i = 0; i < n; i++) {
        const char *name = name_of(graph->output[i]);
        values[i] = fe_onnx_find(g, name);
        if (!values[i])
            return fe_onnx_error(g, "the output '%.200s' is given by no node",
                                 name);
        if (!check_output(g, values[i]))
            return false;
    }
    mark_probabilities(values, n);
    const size_t first = main_output(values, n);
    if (!add_output(g, "value", values[first]) ||
        (values[first]->is_probability &&
         !add_output(g, "probability", values[first])))
        return false;
    bool has_class = false;
    for (size_t i = 0; i < n; i++) {
        const bool class = is_class(values[i]) && !has_class;
        if ((class || i != first) &&
            !add_output(g, class ? "class" : name_of(graph->output[i]),
                        values[i]))
            return false;
        has_class |= class;
    }
    add_raw_and_leaf(g);
    set_words(g);
    return true;
}
