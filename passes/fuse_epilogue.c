/* fuse_epilogue.c: a map of what a gemm or conv makes goes into that op, where
 * it is done in registers. The map must be the only one to read it, and be of
 * its type throughout, but for bytes where weights are such; what else it
 * reads must be of all the result's elements,
 * of one a column, or one. The op takes the map's place, after all that the map
 * reads. Every step is rounded as before. */
#include "passes/rewrite.h"

#include <string.h>

enum { most_operands = 4 };

struct fuser {
    struct ir_module *module;
    struct ir_arena scratch;
    int *uses; /* by value id; an op that takes a map's place takes its id */
    struct ir_value **to; /* by id: what stands for a map's result, or NULL */
};

/* Appends `program`, operand i of which is to[i], or for to[i] < 0 `inner`. */
static void put_program(struct ir_text *text, const char *program,
                        const int *to, const char *inner)
{
    for (const char *word = program; *word;) {
        const size_t length = strcspn(word, " ");
        const int i = pass_operand_number(word, length);
        if (length > 0 && text->length > 0)
            ir_text_puts(text, " ");
        if (i < 0)
            ir_text_append(text, word, length);
        else if (to[i] < 0)
            ir_text_puts(text, inner);
        else
            ir_text_printf(text, "x%d", to[i]);
        word += length + strspn(word + length, " ");
    }
}

/* Whether x can be read beside each element of y. */
static bool fits(const struct ir_type *x, const struct ir_type *y)
{
    const int64_t n = ir_type_volume(x);
    if (n == 1)
        return true;
    return pass_same_dims(x, y) ||
           (x->rank > 0 && n == y->dim[y->rank - 1] &&
            x->dim[x->rank - 1] == n);
}

/* Whether operand i of the map is made by an op that takes the map in. */
static bool is_taken(const struct fuser *f, const struct ir_op *map, int i)
{
    const struct ir_value *x = map->operand[i];
    const struct ir_op *op = x->op;
    const struct ir_type *y = &map->result[0].type;
    if (op->kind != IR_OP_gemm && op->kind != IR_OP_conv)
        return false;
    if (f->uses[x->id] != 1 || !pass_same_dims(&x->type, y) ||
        x->type.dtype != ir_compute_dtype(op) ||
        (y->dtype != x->type.dtype &&
         !(y->dtype == IR_U8 && ir_is_int8(op))) ||
        op->n_operands + map->n_operands - 1 > most_operands)
        return false;
    if (op->kind == IR_OP_conv && map->n_operands > 1 &&
        !ir_attr_int_or(op, "channels_last", 0))
        return false;
    for (int o = 0; o < map->n_operands; o++)
        if (!fits(&map->operand[o]->type, y) ||
            (o != i && map->operand[o] == x))
            return false;
    const struct ir_attr *before = ir_find_attr(op, "epilogue");
    return !before ||
           pass_may_take_in(ir_attr_string(map, "program"), i, before->s);
}

/* Puts the op in the map's place, which is that of number `at`. Users of the
 * map's result are told of it as the pass comes to them: so it is linear. */
static bool replace(struct fuser *f, int at, enum ir_op_kind kind, int n,
                    struct ir_value *const *x, int n_attrs,
                    const struct ir_attr *attrs, struct ir_diag *diag)
{
    struct ir_module *m = f->module;
    const struct ir_op *map = m->ops[at];
    struct ir_op *op = ir_add_op(m, kind, n, x, n_attrs, attrs, diag);
    if (!op)
        return false;
    op->loc = map->loc;
    op->result[0].id = map->result[0].id;
    f->to[op->result[0].id] = &op->result[0];
    m->ops[at] = op;
    m->n_ops--;
    return true;
}

static bool take(struct fuser *f, int at, int i, struct ir_diag *diag)
{
    const struct ir_op *map = f->module->ops[at], *op = map->operand[i]->op;
    const struct ir_attr *before = ir_find_attr(op, "epilogue");
    struct ir_value *x[most_operands];
    int to[10] = {0}, n = op->n_operands;
    memcpy(x, op->operand, (size_t)n * sizeof(struct ir_value *));
    for (int o = 0; o < map->n_operands; o++) {
        to[o] = o == i ? -1 : n;
        if (o != i)
            x[n++] = map->operand[o];
    }
    struct ir_text program;
    ir_text_init(&program);
    put_program(&program, ir_attr_string(map, "program"), to,
                before ? before->s : "x0");
    bool good = true;
    if (pass_is_short(program.data)) {
        struct ir_attr *attrs = ir_alloc_array(
            &f->scratch, (size_t)op->n_attrs + 2, sizeof(*attrs));
        int kept = 0;
        for (int a = 0; a < op->n_attrs; a++)
            if (strcmp(op->attr[a].name, "epilogue") != 0)
                attrs[kept++] = op->attr[a];
        attrs[kept++] = ir_string("epilogue", program.data);
        if (map->result[0].type.dtype == IR_U8)
            attrs[kept++] = ir_string("dtype", "u8");
        good = replace(f, at, op->kind, n, x, kept, attrs, diag);
    }
    ir_text_release(&program);
    return good;
}

static struct ir_value *now(const struct fuser *f, struct ir_value *value)
{
    return f->to[value->id] ? f->to[value->id] : value;
}

bool pass_fuse_epilogue(struct ir_module *module,
                        const struct pass_options *options,
                        struct ir_diag *diag)
{
    struct fuser f = {.module = module};
    bool good = true;
    (void)options;
    ir_arena_init(&f.scratch);
    f.uses = pass_count_uses(module, &f.scratch);
    f.to = ir_alloc_array(&f.scratch, (size_t)ir_value_count(module) + 1,
                          sizeof(*f.to));
    for (int i = 0; i < module->n_ops && good; i++) {
        struct ir_op *op = module->ops[i];
        for (int o = 0; o < op->n_operands; o++)
            op->operand[o] = now(&f, op->operand[o]);
        for (int o = 0; op->kind == IR_OP_map && o < op->n_operands; o++)
            if (is_taken(&f, op, o)) {
                good = take(&f, i, o, diag);
                break;
            }
    }
    for (int i = 0; i < module->n_outputs; i++)
        module->outputs[i].value = now(&f, module->outputs[i].value);
    if (good)
        ir_remove_dead_ops(module);
    ir_arena_release(&f.scratch);
    return good;
}
