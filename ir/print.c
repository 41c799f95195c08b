/* print.c: the text form of a module. parse.c reads it back; what is printed,
 * parsed and printed again is the same text. */
#include "ir/ir_impl.h"

#include <stdlib.h>
#include <string.h>

struct printer {
    struct ir_text *text;
    /* Of a manifest: tensors by number. */
    bool by_number;
    const struct ir_tensor **tensors;
    int n_tensors, capacity;
};

static void print_element(struct ir_text *text, enum ir_dtype dtype,
                          const void *data, size_t i)
{
    switch (dtype) {
    case IR_F32: ir_text_float(text, ((const float *)data)[i]); break;
    case IR_F64: ir_text_double(text, ((const double *)data)[i]); break;
    case IR_U8: ir_text_printf(text, "%u", ((const uint8_t *)data)[i]); break;
    case IR_U16:
        ir_text_printf(text, "%u", ((const uint16_t *)data)[i]);
        break;
    case IR_U32:
        ir_text_printf(text, "%u", ((const uint32_t *)data)[i]);
        break;
    case IR_I32:
        ir_text_printf(text, "%d", ((const int32_t *)data)[i]);
        break;
    case IR_BF16:
        ir_text_float(text, ir_from_bf16(((const uint16_t *)data)[i]));
        break;
    case IR_I8: ir_text_printf(text, "%d", ((const int8_t *)data)[i]); break;
    default:
        ir_text_printf(text, "%lld",
                       (long long)((const int64_t *)data)[i]);
    }
}

static void print_tensor(struct printer *p, const struct ir_tensor *tensor)
{
    if (p->by_number) {
        if (p->n_tensors == p->capacity) {
            p->capacity = p->capacity * 2 + 16;
            p->tensors = ir_realloc_array(p->tensors, (size_t)p->capacity,
                                          sizeof(*p->tensors));
        }
        ir_text_printf(p->text, "@%d:", p->n_tensors);
        ir_text_type(p->text, &tensor->type);
        p->tensors[p->n_tensors++] = tensor;
        return;
    }
    ir_text_type(p->text, &tensor->type);
    ir_text_puts(p->text, "(");
    const size_t n =
        ir_tensor_bytes(tensor) / ir_dtype_bytes(tensor->type.dtype);
    for (size_t i = 0; i < n; i++) {
        if (i)
            ir_text_append(p->text, " ", 1);
        print_element(p->text, tensor->type.dtype, tensor->data, i);
    }
    ir_text_puts(p->text, ")");
}

static void print_attr(struct printer *p, const struct ir_attr *a)
{
    ir_text_printf(p->text, "%s = ", a->name);
    switch (a->kind) {
    case IR_INT: ir_text_printf(p->text, "%lld", (long long)a->i); break;
    case IR_FLOAT: ir_text_double(p->text, a->f); break;
    case IR_STRING: ir_text_quoted(p->text, a->s); break;
    case IR_TENSOR: print_tensor(p, a->t); break;
    }
}

static void print_op(struct printer *p, const struct ir_op *op)
{
    ir_text_puts(p->text, "  ");
    for (int i = 0; i < op->n_results; i++)
        ir_text_printf(p->text, "%s%%%d", i ? ", " : "", op->result[i].id);
    ir_text_printf(p->text, " = %s", ir_op_table[op->kind].name);
    for (int i = 0; i < op->n_operands; i++)
        ir_text_printf(p->text, "%s%%%d", i ? ", " : "(",
                       op->operand[i]->id);
    if (op->n_operands)
        ir_text_puts(p->text, ")");
    for (int i = 0; i < op->n_attrs; i++) {
        ir_text_puts(p->text, i ? ", " : " {");
        print_attr(p, &op->attr[i]);
    }
    if (op->n_attrs)
        ir_text_puts(p->text, "}");
    for (int i = 0; i < op->n_results; i++) {
        ir_text_puts(p->text, i ? ", " : " : ");
        ir_text_type(p->text, &op->result[i].type);
    }
    ir_text_puts(p->text, "\n");
}

static void print_column(struct ir_text *text, const struct ir_column *c)
{
    ir_text_puts(text, "  column ");
    ir_text_quoted(text, c->name);
    if (c->kind == IR_NUMBER)
        ir_text_puts(text, " number");
    else if (c->kind == IR_TENSOR_COLUMN)
        ir_text_printf(text, " tensor %lld", (long long)c->n_elements);
    else
        ir_text_puts(text, " category");
    for (int i = 0; i < c->n_categories; i++) {
        ir_text_puts(text, " ");
        ir_text_quoted(text, c->categories[i]);
    }
    ir_text_puts(text, "\n");
}

static void print_output(struct ir_text *text, const struct ir_output *o)
{
    ir_text_puts(text, "  output ");
    ir_text_quoted(text, o->name);
    ir_text_printf(text, " %%%d", o->value->id);
    for (int i = 0; i < o->n_labels; i++) {
        ir_text_puts(text, i ? " " : " labels ");
        ir_text_quoted(text, o->labels[i]);
    }
    ir_text_puts(text, "\n");
}

static void print_module(struct printer *p, const struct ir_module *m)
{
    ir_text_puts(p->text, "treenail-ir 1\nmodule ");
    ir_text_quoted(p->text, m->name);
    ir_text_puts(p->text, " {\n");
    for (int i = 0; i < m->n_facts; i++) {
        ir_text_puts(p->text, "  fact ");
        ir_text_quoted(p->text, m->facts[i].key);
        ir_text_puts(p->text, " ");
        ir_text_quoted(p->text, m->facts[i].value);
        ir_text_puts(p->text, "\n");
    }
    for (int i = 0; i < m->n_columns; i++)
        print_column(p->text, &m->columns[i]);
    for (int i = 0; i < m->n_ops; i++)
        print_op(p, m->ops[i]);
    for (int i = 0; i < m->n_outputs; i++)
        print_output(p->text, &m->outputs[i]);
    ir_text_puts(p->text, "}\n");
}

void ir_print(const struct ir_module *module, struct ir_text *text)
{
    struct printer p = {.text = text};
    print_module(&p, module);
}

void ir_print_manifest(const struct ir_module *module, struct ir_text *text,
                       const struct ir_tensor ***tensors, int *n_tensors)
{
    struct printer p = {.text = text, .by_number = true};
    print_module(&p, module);
    *tensors = p.tensors;
    *n_tensors = p.n_tensors;
}
