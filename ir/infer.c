/* infer.c: result types and rules of every op but the forests (trees.c). */
#include "ir/ir_impl.h"

#include <string.h>

bool ir_op_error(const struct ir_op *op, struct ir_diag *diag, const char *fmt,
                 ...)
{
    char said[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(said, sizeof(said), fmt, args);
    va_end(args);
    return ir_error(diag, op->loc, "%s: %s", ir_op_table[op->kind].name, said);
}

/* The operands are of reals, the usual case. No op gives an empty one. */
static bool check_real(const struct ir_op *op, struct ir_diag *diag)
{
    for (int i = 0; i < op->n_operands; i++) {
        const struct ir_type *x = &op->operand[i]->type;
        if (!ir_is_real(x->dtype))
            return ir_error(diag, op->loc, "%s: operand %d is of %s, not f32 "
                            "or f64", ir_op_table[op->kind].name, i,
                            ir_dtype_name(x->dtype));
        if (ir_type_volume(x) < 1)
            ir_bug("an empty value of %s", ir_dtype_name(x->dtype));
    }
    return true;
}

/* ------------------------------------------------------------------- input */

static bool input_columns(const struct ir_module *module,
                          const struct ir_op *op, int64_t *n,
                          struct ir_diag *diag)
{
    const int64_t first = ir_attr_int(op, "first");
    const int64_t count = ir_attr_int(op, "count");
    if (first < 0 || count < 1 || first > module->n_columns ||
        count > module->n_columns - first)
        return ir_error(diag, op->loc,
                        "input: %lld columns from %lld on are out of range "
                        "(there are %d)", (long long)count, (long long)first,
                        module->n_columns);
    *n = 0;
    for (int64_t i = first; i < first + count; i++)
        *n += module->columns[i].n_elements;
    return true;
}

bool ir_infer_input(const struct ir_module *module, struct ir_op *op,
                    struct ir_diag *diag)
{
    const struct ir_tensor *shape = ir_attr_tensor(op, "shape");
    struct ir_type *type = &op->result[0].type;
    enum ir_dtype dtype;
    int64_t n = 0;
    if (!ir_dtype_parse(ir_attr_string(op, "dtype"), &dtype) ||
        !ir_is_real(dtype))
        return ir_error(diag, op->loc, "input: dtype is '%s', not 'f32' or "
                        "'f64'", ir_attr_string(op, "dtype"));
    if (!input_columns(module, op, &n, diag))
        return false;
    *type = ir_type_vector(dtype, n);
    if (!shape)
        return true;
    if (shape->type.rank != 1 || shape->type.dtype != IR_I64 ||
        shape->type.dim[0] < 1 || shape->type.dim[0] > IR_MAX_RANK)
        return ir_op_error(op, diag, "shape is no vector of 1 to 6 i64");
    type->rank = (int)shape->type.dim[0];
    for (int i = 0; i < type->rank; i++) {
        type->dim[i] = ((const int64_t *)shape->data)[i];
        if (type->dim[i] < 1)
            return ir_op_error(op, diag, "a dim of shape is not positive");
    }
    if (ir_type_volume(type) != n)
        return ir_error(diag, op->loc, "input: shape is not one of the %lld "
                        "elements that its columns have", (long long)n);
    return true;
}

/* ------------------------------------------------------------- MODEL level */

bool ir_infer_map_op(const struct ir_module *module, struct ir_op *op,
                     struct ir_diag *diag)
{
    (void)module;
    if (!check_real(op, diag))
        return false;
    op->result[0].type = op->operand[0]->type;
    if (op->kind == IR_OP_above)
        op->result[0].type.dtype = IR_I32;
    return true;
}

enum ir_dtype ir_sum_dtype(const struct ir_op *op, enum ir_dtype dtype)
{
    const struct ir_attr *attr = ir_find_attr(op, "sum_dtype");
    if (attr)
        ir_dtype_parse(attr->s, &dtype);
    return dtype;
}

static bool check_sum_dtype(const struct ir_op *op, struct ir_diag *diag)
{
    const struct ir_attr *attr = ir_find_attr(op, "sum_dtype");
    enum ir_dtype dtype;
    return !attr || (ir_dtype_parse(attr->s, &dtype) && ir_is_real(dtype)) ||
           ir_error(diag, op->loc, "%s: sum_dtype is '%s', not 'f32' or "
                    "'f64'", ir_op_table[op->kind].name, attr->s);
}

bool ir_infer_softmax(const struct ir_module *module, struct ir_op *op,
                      struct ir_diag *diag)
{
    (void)module;
    if (!check_real(op, diag) || !check_sum_dtype(op, diag))
        return false;
    op->result[0].type = op->operand[0]->type;
    return true;
}

bool ir_infer_argmax(const struct ir_module *module, struct ir_op *op,
                     struct ir_diag *diag)
{
    (void)module;
    if (!check_real(op, diag))
        return false;
    op->result[0].type = ir_type_vector(IR_I32, 1);
    return true;
}

bool ir_infer_map(const struct ir_module *module, struct ir_op *op,
                  struct ir_diag *diag)
{
    const struct ir_type *largest = &op->operand[0]->type;
    enum ir_dtype dtype;
    (void)module;
    if (!check_real(op, diag))
        return false;
    if (!ir_dtype_parse(ir_attr_string(op, "dtype"), &dtype) ||
        (!ir_is_real(dtype) && dtype != IR_I32))
        return ir_error(diag, op->loc, "map: dtype is '%s', not 'f32', 'f64' "
                        "or 'i32'", ir_attr_string(op, "dtype"));
    for (int i = 1; i < op->n_operands; i++)
        if (ir_type_volume(&op->operand[i]->type) > ir_type_volume(largest))
            largest = &op->operand[i]->type;
    for (int i = 0; i < op->n_operands; i++) {
        const struct ir_type *x = &op->operand[i]->type;
        const int64_t n = ir_type_volume(x);
        if (n != 1 && n != ir_type_volume(largest))
            return ir_error(diag, op->loc, "map: an operand has %lld elements "
                            "and another %lld", (long long)n,
                            (long long)ir_type_volume(largest));
        if (x->dtype != op->operand[0]->type.dtype)
            return ir_error(diag, op->loc, "map: operand %d is of %s, not "
                            "%s as the first", i, ir_dtype_name(x->dtype),
                            ir_dtype_name(op->operand[0]->type.dtype));
    }
    op->result[0].type = *largest;
    op->result[0].type.dtype = dtype;
    return true;
}

bool ir_infer_reduce(const struct ir_module *module, struct ir_op *op,
                     struct ir_diag *diag)
{
    const char *kind = ir_attr_string(op, "kind");
    (void)module;
    if (!check_real(op, diag))
        return false;
    if (strcmp(kind, "max") != 0 && strcmp(kind, "min") != 0 &&
        strcmp(kind, "sum") != 0 && strcmp(kind, "argmax") != 0)
        return ir_error(diag, op->loc, "reduce: kind is '%s', not 'max', "
                        "'min', 'sum' or 'argmax'", kind);
    if (!check_sum_dtype(op, diag))
        return false;
    const enum ir_dtype dtype = op->operand[0]->type.dtype;
    op->result[0].type =
        ir_type_vector(!strcmp(kind, "argmax") ? IR_I32 : dtype, 1);
    return true;
}

/* ------------------------------------------------------------------- rules */

/* What inference already checked, for ops that have no further rules. */
#define NO_MORE_RULES(name)                                                   \
    bool ir_verify_##name(const struct ir_module *module,                     \
                          const struct ir_op *op, struct ir_diag *diag)       \
    {                                                                         \
        (void)module;                                                         \
        (void)op;                                                             \
        (void)diag;                                                           \
        return true;                                                          \
    }
NO_MORE_RULES(input)
NO_MORE_RULES(softmax)
NO_MORE_RULES(argmax)
NO_MORE_RULES(reduce)

static bool check_program(const struct ir_op *op, const char *program,
                          struct ir_diag *diag)
{
    struct ir_step steps[IR_MAX_STEPS];
    const int n = ir_program_parse(program, op, steps, diag);
    for (int i = 0; i < n; i++)
        if (steps[i].kind == IR_STEP_OPERAND &&
            steps[i].index >= op->n_operands)
            return ir_error(diag, op->loc, "%s: x%d is out of range (there "
                            "are %d operands)", ir_op_table[op->kind].name,
                            steps[i].index, op->n_operands);
    return n > 0;
}

bool ir_verify_map_op(const struct ir_module *module, const struct ir_op *op,
                      struct ir_diag *diag)
{
    (void)module;
    return check_program(op, ir_op_table[op->kind].program, diag);
}

/* Whether the last word of `program` is `step`. */
static bool ends_in(const char *program, const char *step)
{
    const size_t n = strlen(step);
    size_t end = strlen(program);
    while (end > 0 && program[end - 1] == ' ')
        end--;
    return end > n && program[end - n - 1] == ' ' &&
           !memcmp(program + end - n, step, n);
}

bool ir_verify_map(const struct ir_module *module, const struct ir_op *op,
                   struct ir_diag *diag)
{
    const char *program = ir_attr_string(op, "program");
    (void)module;
    if (!check_program(op, program, diag))
        return false;
    /* Other steps may give what no i32 is, and then the conversion would be
     * undefined. */
    static const char *const whole[] = {"gt", "lt", "ge", "le", "eq", "sign",
                                        "isnan"};
    if (op->result[0].type.dtype != IR_I32)
        return true;
    for (int i = 0; i < 7; i++)
        if (ends_in(program, whole[i]))
            return true;
    return ir_op_error(op, diag, "a program of dtype i32 ends in a comparison, "
                    "isnan or sign");
}
