/* onnx_apply.c: ops that the standard, or ONNX Runtime, defines by others. A
 * builder applies these one after the other to values, and what is known of
 * batches, shapes and constants is in one place: their own builders. Each is a
 * node that is made here, in a scope of its own. */
#include "frontend/onnx.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Inputs of a node that is made here. */
enum { MAX_INPUTS = 5 };

/* The numbers of "0,2,1". */
static size_t count_numbers(const char *text)
{
    size_t n = *text != 0;
    for (; *text; text++)
        n += *text == ',';
    return n;
}

static void set_ints(struct fe_onnx *g, Onnx__AttributeProto *a,
                     const char *text)
{
    char *at = ir_strdup(&g->scratch, text);
    a->n_ints = count_numbers(text);
    a->ints = ir_alloc_array(&g->scratch, a->n_ints, sizeof *a->ints);
    for (size_t i = 0; i < a->n_ints; i++, at += *at == ',')
        a->ints[i] = strtoll(at, &at, 10);
    a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
}

/* The attribute `name`, which is of the kind that the table of ops says. */
static Onnx__AttributeProto *make_attribute(struct fe_onnx *g, char kind,
                                            char *name, char *text)
{
    Onnx__AttributeProto *a = ir_alloc(&g->scratch, sizeof *a);
    onnx__attribute_proto__init(a);
    a->name = name;
    a->has_type = true;
    if (kind == 'I') {
        set_ints(g, a, text);
    } else if (kind == 'i') {
        a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
        a->has_i = true;
        a->i = strtoll(text, NULL, 10);
    } else if (kind == 'f') {
        a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
        a->has_f = true;
        a->f = strtof(text, NULL);
    } else if (kind != 's') {
        ir_bug("an op is applied with an attribute that it does not have");
    } else {
        a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
        a->has_s = true;
        a->s = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
    }
    return a;
}

/* The letter behind "name:" in a line of the table, or 0. */
static char kind_of(const char *attributes, const char *name)
{
    const size_t n = strlen(name);
    const char *at = strstr(attributes, name);
    while (at && (at[n] != ':' || (at > attributes && at[-1] != ' ')))
        at = strstr(at + 1, name);
    return n && at ? at[n + 1] : 0;
}

/* "perm=0,2,1 axis=-1" as attributes of the node. */
static void add_attributes(struct fe_onnx *g, Onnx__NodeProto *node,
                           const char *text)
{
    const char *known = fe_onnx_find_op(node)->attributes;
    node->attribute = ir_alloc_array(&g->scratch, strlen(text) + 1,
                                     sizeof *node->attribute);
    for (char *at = ir_strdup(&g->scratch, text); *at;) {
        char *name = at, *value = strchr(at, '=');
        *value++ = 0;
        at = value + strcspn(value, " ");
        if (*at)
            *at++ = 0;
        node->attribute[node->n_attribute++] =
            make_attribute(g, kind_of(known, name), name, value);
    }
}

/* Builds the node, which gives "result", in `scope`, that is open. */
static struct fe_onnx_value *build(struct fe_onnx *g, Onnx__NodeProto *node,
                                   struct fe_onnx_scope *scope)
{
    static char *result[] = {"result"};
    const bool rows_batched = g->rows_batched;
    node->n_output = 1;
    node->output = result;
    struct fe_onnx_value *y = fe_onnx_build_node(g, node, 0)
                                  ? fe_onnx_find(g, result[0]) : NULL;
    g->scope = scope->outer;
    g->rows_batched = rows_batched;
    return y;
}

struct fe_onnx_value *fe_onnx_apply(struct fe_onnx *g, const char *op, int n,
                                    struct fe_onnx_value *const *x,
                                    const char *fmt, ...)
{
    static char *const names[MAX_INPUTS] = {"input 0", "input 1", "input 2",
                                            "input 3", "input 4"};
    char attributes[256];
    struct fe_onnx_scope scope;
    va_list args;
    for (int i = 0; i < n; i++)
        if (!x[i])
            return NULL;
    va_start(args, fmt);
    vsnprintf(attributes, sizeof attributes, fmt, args);
    va_end(args);
    Onnx__NodeProto *node = ir_alloc(&g->scratch, sizeof *node);
    onnx__node_proto__init(node);
    node->op_type = ir_strdup(&g->scratch, op);
    node->n_input = (size_t)n;
    node->input = ir_alloc_array(&g->scratch, MAX_INPUTS, sizeof(char *));
    add_attributes(g, node, attributes);
    fe_onnx_open_scope(g, &scope, MAX_INPUTS + 1, false);
    for (int i = 0; i < n; i++) {
        node->input[i] = names[i];
        fe_onnx_define(g, names[i], x[i]);
    }
    return build(g, node, &scope);
}

struct fe_onnx_value *fe_onnx_apply_as(struct fe_onnx *g, const char *op,
                                       size_t n)
{
    const Onnx__NodeProto *old = g->node;
    struct fe_onnx_scope scope;
    Onnx__NodeProto *node = ir_alloc(&g->scratch, sizeof *node);
    onnx__node_proto__init(node);
    node->op_type = ir_strdup(&g->scratch, op);
    node->n_input = n < old->n_input ? n : old->n_input;
    node->input = old->input;
    node->attribute = ir_alloc_array(&g->scratch, old->n_attribute + 1,
                                     sizeof *node->attribute);
    const char *known = fe_onnx_find_op(node)->attributes;
    for (size_t i = 0; i < old->n_attribute; i++)
        if (kind_of(known, old->attribute[i]->name))
            node->attribute[node->n_attribute++] = old->attribute[i];
    fe_onnx_open_scope(g, &scope, 1, false);
    return build(g, node, &scope);
}

struct fe_onnx_value *fe_onnx_apply_one(struct fe_onnx *g, const char *op,
                                        struct fe_onnx_value *x)
{
    return fe_onnx_apply(g, op, 1, &x, "%s", "");
}

struct fe_onnx_value *fe_onnx_apply_two(struct fe_onnx *g, const char *op,
                                        struct fe_onnx_value *a,
                                        struct fe_onnx_value *b)
{
    struct fe_onnx_value *const both[] = {a, b};
    return fe_onnx_apply(g, op, 2, both, "%s", "");
}

struct fe_onnx_value *fe_onnx_constant_value(struct fe_onnx *g,
                                             const struct fe_onnx_tensor *t)
{
    struct fe_onnx_value *value = ir_alloc(&g->scratch, sizeof *value);
    *value = (struct fe_onnx_value){.name = "", .type = t->type,
                                    .constant = t, .rank = t->rank,
                                    .n = t->n};
    memcpy(value->dim, t->dim, sizeof value->dim);
    return value;
}

struct fe_onnx_value *fe_onnx_number(struct fe_onnx *g, int type,
                                     double number)
{
    struct fe_onnx_tensor *t = fe_onnx_new_tensor(g, type, 0, NULL);
    t->real[0] = number;
    if (t->whole)
        t->whole[0] = (int64_t)number;
    return fe_onnx_constant_value(g, t);
}
