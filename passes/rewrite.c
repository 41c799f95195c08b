/* rewrite.c: small tools that several passes share.
 *
 * Attributes are edited in place, so that a pass over many ops stays linear;
 * arrays that an attribute no longer names stay in the module's arena until
 * the module goes.
 */
#include "passes/rewrite.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------- floats as ordered integers -- */

int64_t pass_order(double value, enum ir_dtype dtype)
{
    if (dtype == IR_F32) {
        const float narrow = (float)value;
        int32_t bits;
        memcpy(&bits, &narrow, sizeof(bits));
        return bits >= 0 ? bits : (int64_t)INT32_MIN - bits;
    }
    int64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits >= 0 ? bits : INT64_MIN - bits;
}

double pass_at_order(int64_t order, enum ir_dtype dtype)
{
    if (dtype == IR_F32) {
        const int32_t bits = (int32_t)(order >= 0 ? order : INT32_MIN - order);
        float value;
        memcpy(&value, &bits, sizeof(value));
        return value;
    }
    const int64_t bits = order >= 0 ? order : INT64_MIN - order;
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

int64_t pass_last_order(enum ir_dtype dtype)
{
    return pass_order(INFINITY, dtype);
}

int64_t pass_zero_order(const struct ir_forest *forest)
{
    const double bound = forest->zero_bound;
    if (forest->in_dtype == IR_F64)
        return pass_order(bound, IR_F64);
    const int64_t nearest = pass_order(bound, IR_F32);
    return pass_at_order(nearest, IR_F32) > bound ? nearest - 1 : nearest;
}

int64_t pass_test_order(const struct ir_forest *forest, int64_t node)
{
    const double threshold = ir_real(forest->threshold, forest->in_dtype,
                                     (size_t)node);
    if (isnan(threshold))
        return PASS_NEVER;
    const int64_t order = pass_order(threshold, forest->in_dtype) -
                          forest->strict;
    return order < -pass_last_order(forest->in_dtype) ? PASS_NEVER : order;
}

/* ------------------------------------------------------------ attributes -- */

void pass_set_tensor(struct ir_module *module, struct ir_op *op,
                     const char *name, enum ir_dtype dtype, int64_t n,
                     const void *data)
{
    const struct ir_tensor *tensor = ir_tensor_copy(module, dtype, n, data);
    ir_set_attr(module, op, ir_tensor_attr(name, tensor));
}

void pass_set_reals(struct ir_module *module, struct ir_op *op,
                    const char *name, enum ir_dtype dtype, int64_t n,
                    const double *data)
{
    if (dtype == IR_F64) {
        pass_set_tensor(module, op, name, IR_F64, n, data);
        return;
    }
    float *narrow = ir_alloc_array(&module->arena, (size_t)n, sizeof(*narrow));
    for (int64_t i = 0; i < n; i++)
        narrow[i] = (float)data[i];
    const struct ir_tensor *tensor = ir_tensor_view(module, IR_F32, n, narrow);
    ir_set_attr(module, op, ir_tensor_attr(name, tensor));
}

bool pass_same_dims(const struct ir_type *a, const struct ir_type *b)
{
    return a->rank == b->rank &&
           !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim);
}

void pass_drop_attr(struct ir_op *op, const char *name)
{
    int kept = 0;
    for (int i = 0; i < op->n_attrs; i++)
        if (strcmp(op->attr[i].name, name) != 0)
            op->attr[kept++] = op->attr[i];
    op->n_attrs = kept;
}

/* ------------------------------------------------------------------ uses -- */

int *pass_count_uses(struct ir_module *module, struct ir_arena *arena)
{
    ir_renumber(module);
    size_t n_values = 0;
    for (int i = 0; i < module->n_ops; i++)
        n_values += (size_t)module->ops[i]->n_results;
    int *uses = ir_alloc_array(arena, n_values + 1, sizeof(*uses));
    for (int i = 0; i < module->n_ops; i++)
        for (int k = 0; k < module->ops[i]->n_operands; k++)
            uses[module->ops[i]->operand[k]->id]++;
    for (int i = 0; i < module->n_outputs; i++)
        uses[module->outputs[i].value->id]++;
    return uses;
}

/* ---------------------------------------------------- programs of maps -- */

int pass_operand_number(const char *word, size_t length)
{
    if (length != 2 || word[0] != 'x' || word[1] < '0' || word[1] > '9')
        return -1;
    return word[1] - '0';
}

int pass_count_operand(const char *program, int wanted)
{
    int n = 0;
    for (const char *word = program; *word;) {
        const size_t length = strcspn(word, " ");
        n += pass_operand_number(word, length) == wanted;
        word += length + strspn(word + length, " ");
    }
    return n;
}

static bool is_cheap(const char *word, size_t length)
{
    static const char *const cheap[] = {"lt", "gt", "le", "ge", "where",
                                        "add", "sub", "mul", "neg", "abs",
                                        "max", "min"};
    if (pass_operand_number(word, length) >= 0 || (word[0] >= '0' &&
                                                   word[0] <= '9') ||
        (word[0] == '-' && length > 1))
        return true;
    for (size_t i = 0; i < sizeof(cheap) / sizeof(*cheap); i++)
        if (strlen(cheap[i]) == length && !memcmp(word, cheap[i], length))
            return true;
    return false;
}

bool pass_may_take_in(const char *program, int i, const char *inner)
{
    enum { most_words = 6, most_uses = 4 };
    const int uses = pass_count_operand(program, i);
    int n = 0;
    if (uses < 2 || uses > most_uses)
        return uses == 1;
    for (const char *word = inner; *word; n++) {
        const size_t length = strcspn(word, " ");
        if (!is_cheap(word, length))
            return false;
        word += length + strspn(word + length, " ");
    }
    return n <= most_words;
}

bool pass_is_short(const char *program)
{
    enum { most_functions = 8 };
    struct ir_step steps[IR_MAX_STEPS];
    struct ir_diag ignored;
    int functions = 0;
    ir_diag_init(&ignored);
    const int n = ir_program_parse(program, NULL, steps, &ignored);
    ir_diag_release(&ignored);
    for (int i = 0; i < n; i++)
        functions += ir_step_is_function(steps[i].kind);
    return n >= 0 && functions <= most_functions;
}
