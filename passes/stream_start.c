/* stream_start.c: what a sequence has but once: inputs that have no steps.
 *
 * They may be what recurrent layers start from, how long the sequence is, or
 * what all its steps have in common. All ops on them alone go to a module of
 * their own, the start, whose outputs memories start as. What a step reads of
 * them besides is a memory that is never changed. */
#include "passes/stream.h"

#include <string.h>

void pass_stream_start_new(struct streamer *s)
{
    const struct ir_module *model = s->model;
    s->start = ir_module_new(model->name);
    for (int i = 0; i < model->n_columns; i++) {
        const struct ir_column *old = &model->columns[i];
        if (i >= s->first_column && i < s->first_column + s->n_columns)
            continue;
        struct ir_column *column =
            ir_add_column(s->start, old->name, old->kind, old->n_elements);
        ir_set_categories(s->start, column, old->n_categories,
                          old->categories);
    }
}

/* Appends an op to the start; NULL with `why`. */
static struct ir_op *append(struct streamer *s, enum ir_op_kind kind, int n,
                            struct ir_value *const *operands, int n_attrs,
                            const struct ir_attr *attrs)
{
    struct ir_op *op =
        ir_add_op(s->start, kind, n, operands, n_attrs, attrs, &s->diag);
    if (!op)
        pass_stream_refuse(s, "has no start: %s",
                           s->diag.n_messages ? s->diag.message[0] : "");
    return op;
}

/* ---------------------------------------------------------------- the ops */

/* An input; its columns are counted without those of the steps. */
static struct ir_op *add_input(struct streamer *s)
{
    const struct ir_op *old = s->op;
    const int64_t first = ir_attr_int(old, "first");
    const int64_t last = first + ir_attr_int(old, "count") - 1;
    struct ir_attr *attrs = ir_alloc_array(
        &s->scratch, (size_t)old->n_attrs + 1, sizeof(*attrs));
    if (first < s->first_column + s->n_columns && last >= s->first_column) {
        pass_stream_refuse(s, "reads the steps once more");
        return NULL;
    }
    for (int i = 0; i < old->n_attrs; i++)
        attrs[i] = strcmp(old->attr[i].name, "first")
                       ? old->attr[i]
                       : ir_int("first", first < s->first_column
                                             ? first
                                             : first - s->n_columns);
    return append(s, IR_OP_input, 0, NULL, old->n_attrs, attrs);
}

/* What operand i is in the start: what is still gets there as a constant. */
static struct ir_value *operand(struct streamer *s, int i)
{
    const struct ir_value *old = s->op->operand[i];
    struct stream_value *v = &s->value[old->id];
    if (v->at_start || v->kind != STREAM_STILL)
        return v->at_start;
    struct ir_tensor *tensor = ir_alloc(&s->step->arena, sizeof(*tensor));
    *tensor = (struct ir_tensor){old->type, pass_stream_evaluate(s, old)};
    const struct ir_attr attr = ir_tensor_attr("value", tensor);
    struct ir_op *op = append(s, IR_OP_constant, 0, NULL, 1, &attr);
    v->at_start = op ? &op->result[0] : NULL;
    return v->at_start;
}

bool pass_stream_start_op(struct streamer *s)
{
    const struct ir_op *old = s->op;
    struct ir_value **x = ir_alloc_array(
        &s->scratch, (size_t)old->n_operands + 1, sizeof(*x));
    for (int i = 0; i < old->n_operands; i++)
        if (!(x[i] = operand(s, i)))
            return false;
    struct ir_op *op = old->kind == IR_OP_input
                           ? add_input(s)
                           : append(s, old->kind, old->n_operands, x,
                                    old->n_attrs, old->attr);
    for (int r = 0; op && r < old->n_results; r++)
        s->value[old->result[r].id] = (struct stream_value){
            .kind = STREAM_OTHER, .at_start = &op->result[r]};
    return op != NULL;
}

/* ------------------------------------------------------------- memories */

bool pass_stream_start_as(struct streamer *s, int memory,
                          const struct ir_value *value)
{
    s->stream->memory[memory].start = s->start->n_outputs;
    ir_add_output(s->start, ir_sprintf(&s->scratch, "memory %d", memory),
                  s->value[value->id].at_start);
    return true;
}

/* A memory that stays what `start` is. */
static struct ir_value *stays(struct streamer *s, struct ir_value *start)
{
    const struct ir_type *type = &start->type;
    int memory;
    if (type->dtype != IR_F32 && type->dtype != IR_F64) {
        pass_stream_refuse(s, "takes whole numbers of an input that has no "
                              "steps");
        return NULL;
    }
    if (!pass_stream_has_room(s, ir_type_volume(type), 1))
        return NULL;
    struct ir_value *v = pass_stream_remember(s, type->dtype, type->rank,
                                              type->dim, NULL, &memory);
    if (!v)
        return NULL;
    s->kept[memory] = v;
    s->stream->memory[memory].start = s->start->n_outputs;
    ir_add_output(s->start, ir_sprintf(&s->scratch, "memory %d", memory),
                  start);
    return v;
}

enum { most_traced = 16 }; /* ops in a row */

/* Of each element, a number: those of the same are the same, whatever the
 * inputs are. What repeats elements is looked through, so many ops deep. */
static int32_t *trace(struct streamer *s, const struct ir_value *value,
                      int depth)
{
    const struct ir_op *op = value->op;
    const struct ir_type *type = &value->type;
    const int64_t n = ir_type_volume(type);
    int32_t *from = ir_alloc_array(&s->scratch, (size_t)n, sizeof(*from));
    for (int64_t i = 0; i < n; i++)
        from[i] = (int32_t)i;
    const bool moves = op->kind == IR_OP_view || op->kind == IR_OP_gather;
    const bool same = op->kind == IR_OP_map && op->n_operands == 1;
    if (depth == 0 || (!moves && !same))
        return from;
    const int32_t *operand = trace(s, op->operand[0], depth - 1);
    const int32_t *index = op->kind == IR_OP_gather
                               ? ir_attr_tensor(op, "index")->data : NULL;
    const int64_t *strides = op->kind == IR_OP_view
                                 ? ir_attr_tensor(op, "strides")->data : NULL;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = index ? index[i] : i;
        if (strides)
            at = ir_attr_int(op, "offset");
        for (int64_t d = type->rank, left = i; strides && d-- > 0;
             left /= type->dim[d])
            at += left % type->dim[d] * strides[d];
        from[i] = operand[at];
    }
    return from;
}

/* So many places along a dim that has the same in all. */
static struct ir_value *one_place(struct streamer *s,
                                  const struct ir_value *value, int axis,
                                  int64_t frames)
{
    const int rank = value->type.rank;
    const int64_t inner = pass_stream_inner(&value->type, axis);
    const int64_t span = inner * value->type.dim[axis];
    const int32_t *from = trace(s, value, most_traced);
    int64_t dims[IR_MAX_RANK], strides[IR_MAX_RANK];
    for (int64_t i = 0; i < ir_type_volume(&value->type); i++)
        if (from[i] != from[i / span * span + i % inner]) {
            pass_stream_refuse(s, "takes a second input that has steps: put "
                                  "what both have of a step into one");
            return NULL;
        }
    for (int i = 0; i < rank; i++) {
        dims[i] = i == axis ? frames : value->type.dim[i];
        strides[i] = i == axis && frames > 1
                         ? 0 : pass_stream_inner(&value->type, i);
    }
    const struct ir_attr attrs[] = {
        ir_tensor_attr("shape", ir_tensor_copy(s->start, IR_I64, rank, dims)),
        ir_tensor_attr("strides",
                       ir_tensor_copy(s->start, IR_I64, rank, strides)),
        ir_int("offset", 0)};
    struct ir_value *x = s->value[value->id].at_start;
    struct ir_op *view = append(s, IR_OP_view, 1, &x, 3, attrs);
    return view ? stays(s, &view->result[0]) : NULL;
}

struct ir_value *pass_stream_given(struct streamer *s, int i, int axis,
                                   int64_t frames)
{
    const struct ir_value *value = s->op->operand[i];
    struct stream_value *v = &s->value[value->id];
    if (v->kind == STREAM_OTHER && axis >= 0)
        return one_place(s, value, axis, frames);
    if (v->kind == STREAM_OTHER && !v->step)
        v->step = stays(s, v->at_start);
    return v->step;
}

/* ----------------------------------------------------------------- the end */

/* What memories are where nothing is given: what zeros make of them. */
static void evaluate_first(struct streamer *s)
{
    const double nothing = 0;
    const struct ir_rows row = {IR_F64, &nothing, 1, 0, 0};
    for (int i = 0; i < s->stream->n_memories; i++) {
        struct ir_memory *memory = &s->stream->memory[i];
        if (memory->first)
            continue;
        void *first =
            ir_alloc_array(&s->step->arena, (size_t)memory->elements,
                           ir_dtype_bytes(memory->dtype));
        ir_eval(s->start, memory->start, &row, first);
        memory->first = first;
    }
}

bool pass_stream_start_finish(struct streamer *s)
{
    if (s->start->n_outputs == 0) {
        ir_module_free(s->start);
        s->start = NULL;
        return true;
    }
    ir_remove_dead_ops(s->start);
    ir_renumber(s->start);
    s->op = NULL;
    s->diag.n_messages = 0;
    if (!ir_verify(s->start, &s->diag))
        return pass_stream_refuse(s, "its start is no model: %s",
                                  s->diag.message[0]);
    evaluate_first(s);
    s->stream->start = s->start;
    return true;
}
