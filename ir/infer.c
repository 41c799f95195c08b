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

bool ir_check_reals(const struct ir_op *op, struct ir_diag *diag)
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

bool ir_check_vector(const struct ir_op *op, const char *name,
                     enum ir_dtype dtype, int64_t n, struct ir_diag *diag)
{
    const struct ir_tensor *t = ir_attr_tensor(op, name);
    if (!t)
        return true;
    if (t->type.rank != 1 || t->type.dtype != dtype)
        return ir_op_error(op, diag, "%s is no vector of %s", name,
                           ir_dtype_name(dtype));
    const int64_t length = t->type.dim[0];
    if (length < 1 || length > IR_MAX_ELEMENTS)
        return ir_op_error(op, diag, "%s has %lld elements (1 to %d are "
                           "allowed)", name, (long long)length,
                           IR_MAX_ELEMENTS);
    if (n >= 0 && length != n)
        return ir_op_error(op, diag, "%s has %lld elements, not %lld", name,
                           (long long)length, (long long)n);
    return true;
}

bool ir_check_ints(const struct ir_op *op, const char *name, int64_t n,
                   int64_t least, int64_t most, struct ir_diag *diag)
{
    const struct ir_tensor *t = ir_attr_tensor(op, name);
    if (!ir_check_vector(op, name, IR_I64, n, diag))
        return false;
    for (int64_t i = 0; t && i < n; i++) {
        const int64_t v = ((const int64_t *)t->data)[i];
        if (v < least || v > most)
            return ir_op_error(op, diag, "%s[%lld] is %lld (%lld to %lld can "
                               "be had)", name, (long long)i, (long long)v,
                               (long long)least, (long long)most);
    }
    return true;
}

bool ir_check_size(const struct ir_op *op, const struct ir_type *type,
                   struct ir_diag *diag)
{
    for (int i = 0; i < type->rank; i++)
        if (type->dim[i] < 1)
            return ir_op_error(op, diag, "dim %d of the result is %lld", i,
                               (long long)type->dim[i]);
    return ir_type_volume(type) > 0 ||
           ir_op_error(op, diag, "the result has more than %d elements",
                       IR_MAX_ELEMENTS);
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
    if (!ir_check_reals(op, diag))
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
    if (!ir_check_reals(op, diag) || !check_sum_dtype(op, diag) ||
        !ir_check_slices(op, diag))
        return false;
    const char *exp = ir_softmax_exp(op);
    if (strcmp(exp, "exp") != 0 && strcmp(exp, "fast_exp") != 0)
        return ir_op_error(op, diag, "exp is '%s', not 'exp' or 'fast_exp'",
                           exp);
    op->result[0].type = op->operand[0]->type;
    return true;
}

/* One number for each slice. */
static struct ir_type slices_type(const struct ir_op *op, enum ir_dtype dtype)
{
    const struct ir_slices s = ir_slices_of(op);
    return ir_type_vector(dtype, s.outer * s.inner);
}

/* `last`, of the kinds that find an index. */
static bool check_last(const struct ir_op *op, bool finds,
                       struct ir_diag *diag)
{
    const int64_t last = ir_attr_int_or(op, "last", 0);
    if (last != 0 && last != 1)
        return ir_op_error(op, diag, "last is %lld, not 0 or 1",
                           (long long)last);
    return finds || !ir_find_attr(op, "last") ||
           ir_op_error(op, diag, "only argmax and argmin have last");
}

bool ir_infer_argmax(const struct ir_module *module, struct ir_op *op,
                     struct ir_diag *diag)
{
    (void)module;
    if (!ir_check_reals(op, diag) || !ir_check_slices(op, diag) ||
        !check_last(op, true, diag))
        return false;
    op->result[0].type = slices_type(op, IR_I32);
    return true;
}

/* Joins the dims of x into those of `type`, from the last on. */
static bool join_dims(struct ir_type *type, const struct ir_type *x)
{
    const int more = x->rank - type->rank;
    if (more > 0) {
        memmove(type->dim + more, type->dim,
                (size_t)type->rank * sizeof(type->dim[0]));
        for (int i = 0; i < more; i++)
            type->dim[i] = 1;
        type->rank = x->rank;
    }
    for (int i = 0; i < x->rank; i++) {
        int64_t *dim = &type->dim[type->rank - x->rank + i];
        if (*dim == 1)
            *dim = x->dim[i];
        else if (x->dim[i] != 1 && x->dim[i] != *dim)
            return false;
    }
    return true;
}

bool ir_broadcast(int n, struct ir_value *const *operands,
                  struct ir_type *type)
{
    bool any = false;
    *type = operands[0]->type;
    for (int i = 0; i < n; i++) {
        const struct ir_type *x = &operands[i]->type;
        if (ir_type_volume(x) == 1)
            continue;
        if (!any)
            *type = *x;
        any = true;
        if (!join_dims(type, x))
            return false;
    }
    return true;
}

enum ir_dtype ir_compute_dtype(const struct ir_op *op)
{
    const enum ir_dtype dtype = op->operand[0]->type.dtype;
    return dtype == IR_U8 ? IR_F32 : dtype;
}

bool ir_is_plain_map(const struct ir_op *op)
{
    for (int i = 0; i < op->n_operands; i++) {
        const int64_t n = ir_type_volume(&op->operand[i]->type);
        if (n != 1 && n != ir_type_volume(&op->result[0].type))
            return false;
    }
    return true;
}

static bool refuse_shapes(const struct ir_op *op, struct ir_diag *diag)
{
    struct ir_text text;
    ir_text_init(&text);
    for (int i = 0; i < op->n_operands; i++) {
        ir_text_puts(&text, i ? ", " : "");
        ir_text_type(&text, &op->operand[i]->type);
    }
    ir_op_error(op, diag, "the operands do not fit: %s", text.data);
    ir_text_release(&text);
    return false;
}

bool ir_infer_map(const struct ir_module *module, struct ir_op *op,
                  struct ir_diag *diag)
{
    struct ir_type *type = &op->result[0].type;
    enum ir_dtype dtype;
    (void)module;
    if (!ir_dtype_parse(ir_attr_string(op, "dtype"), &dtype) ||
        (!ir_is_real(dtype) && dtype != IR_I32 && dtype != IR_U8))
        return ir_error(diag, op->loc, "map: dtype is '%s', not 'f32', "
                        "'f64', 'i32' or 'u8'", ir_attr_string(op, "dtype"));
    for (int i = 0; i < op->n_operands; i++) {
        const enum ir_dtype x = op->operand[i]->type.dtype;
        if (!ir_is_real(x) && x != IR_U8)
            return ir_error(diag, op->loc, "map: operand %d is of %s, not "
                            "f32, f64 or u8", i, ir_dtype_name(x));
        if ((x == IR_U8 ? IR_F32 : x) != ir_compute_dtype(op))
            return ir_error(diag, op->loc, "map: operand %d is of %s, not "
                            "%s as the first", i, ir_dtype_name(x),
                            ir_dtype_name(op->operand[0]->type.dtype));
    }
    if (!ir_broadcast(op->n_operands, op->operand, type))
        return refuse_shapes(op, diag);
    type->dtype = dtype;
    return ir_check_size(op, type, diag);
}

bool ir_infer_reduce(const struct ir_module *module, struct ir_op *op,
                     struct ir_diag *diag)
{
    static const char *const kinds[] = {"max", "min", "high", "low", "sum",
                                        "prod", "argmax", "argmin"};
    enum { n_kinds = sizeof(kinds) / sizeof(*kinds), first_index = 6 };
    const char *kind = ir_attr_string(op, "kind");
    int k = 0;
    (void)module;
    while (k < n_kinds && strcmp(kind, kinds[k]) != 0)
        k++;
    if (!ir_check_reals(op, diag))
        return false;
    if (k == n_kinds)
        return ir_error(diag, op->loc, "reduce: kind is '%s', not 'max', "
                        "'min', 'high', 'low', 'sum', 'prod', 'argmax' or "
                        "'argmin'", kind);
    if (!check_sum_dtype(op, diag) || !ir_check_slices(op, diag) ||
        !check_last(op, k >= first_index, diag))
        return false;
    op->result[0].type = slices_type(
        op, k >= first_index ? IR_I32 : op->operand[0]->type.dtype);
    return true;
}

/* ------------------------------------------------------------------- rules */

IR_NO_MORE_RULES(input)
IR_NO_MORE_RULES(softmax)
IR_NO_MORE_RULES(argmax)
IR_NO_MORE_RULES(reduce)

bool ir_check_program(const struct ir_op *op, const char *program,
                      int n_operands, struct ir_diag *diag)
{
    struct ir_step steps[IR_MAX_STEPS];
    const int n = ir_program_parse(program, op, steps, diag);
    for (int i = 0; i < n; i++)
        if (steps[i].kind == IR_STEP_OPERAND &&
            steps[i].index >= n_operands)
            return ir_error(diag, op->loc, "%s: x%d is out of range (there "
                            "are %d operands)", ir_op_table[op->kind].name,
                            steps[i].index, n_operands);
    return n > 0;
}

bool ir_verify_map_op(const struct ir_module *module, const struct ir_op *op,
                      struct ir_diag *diag)
{
    (void)module;
    return ir_check_program(op, ir_op_table[op->kind].program, 1, diag);
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
    if (!ir_check_program(op, program, op->n_operands, diag))
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
