/* stream.c: a model of a whole sequence -> what it computes at one time step.
 *
 * Time comes in as a dim of an input. It is followed through the ops: a value
 * is still (the same at all steps), a series (one for each step), or the latest
 * (made of all steps so far). stream_ops.c says what an op on a series is at a
 * step: the same op on what is there of one step, mostly. A recurrent layer and
 * a convolution over time remember: the first its state, the other the steps
 * that its window reaches back to. What looks at a later step has no step.
 * Where windows go in strides, a step is as many frames, places along time, as
 * all of the strides together: so each op has something to do in every step.
 *
 * The step is computed by the same operations in the same order, so it has the
 * bits of the whole sequence. Which of the input's dims is time the model does
 * not say: the first along which there is a step and something to remember. */
#include "passes/stream.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ words */

/* Of several columns the first and the last. */
static void say_columns(struct ir_text *text, const struct ir_module *m,
                        const struct ir_op *input)
{
    const int64_t first = ir_attr_int(input, "first");
    const int64_t n = ir_attr_int(input, "count");
    ir_text_printf(text, "%.80s", m->columns[first].name);
    if (n > 1)
        ir_text_printf(text, " to %.80s", m->columns[first + n - 1].name);
}

/* As the model's user knows it: a node of a graph, an input, or a value of the
 * IR's text. */
static void say_op(struct streamer *s)
{
    const char *file = s->op->loc.file;
    const char *node = file ? strstr(file, ": node ") : NULL;
    if (s->op->kind == IR_OP_input) {
        ir_text_puts(s->why, "the input ");
        say_columns(s->why, s->model, s->op);
        ir_text_puts(s->why, " ");
    } else if (node && s->op->loc.line == 0) {
        ir_text_printf(s->why, "%s ", node + strlen(": "));
    } else {
        ir_text_printf(s->why, "the %s %%%d ", ir_op_table[s->op->kind].name,
                       s->op->result[0].id);
    }
}

bool pass_stream_refuse(struct streamer *s, const char *what, ...)
{
    va_list args;
    s->why->length = 0;
    if (s->op)
        say_op(s);
    char text[256];
    va_start(args, what);
    vsnprintf(text, sizeof(text), what, args);
    va_end(args);
    ir_text_puts(s->why, text);
    return false;
}

const struct stream_value *pass_stream_operand(const struct streamer *s, int i)
{
    return &s->value[s->op->operand[i]->id];
}

bool pass_stream_refuse_padding(struct streamer *s)
{
    return pass_stream_refuse(s,
                              "takes steps before the first, which pad made");
}

/* --------------------------------------------------------------- building */

struct ir_op *pass_stream_append(struct streamer *s, enum ir_op_kind kind,
                                 int n, struct ir_value *const *operands,
                                 int n_attrs, const struct ir_attr *attrs)
{
    struct ir_op *op =
        ir_add_op(s->step, kind, n, operands, n_attrs, attrs, &s->diag);
    if (!op)
        pass_stream_refuse(s, "has no step: %s",
                           s->diag.n_messages ? s->diag.message[0] : "");
    else if (s->op)
        op->loc = s->op->loc;
    return op;
}

struct ir_op *pass_stream_copy(struct streamer *s, int n,
                               struct ir_value *const *operands, int n_attrs,
                               const struct ir_attr *attrs)
{
    const struct ir_op *old = s->op;
    struct ir_attr *all = ir_alloc_array(
        &s->scratch, (size_t)(old->n_attrs + n_attrs) + 1, sizeof(*all));
    int count = 0;
    while (count < n_attrs) {
        all[count] = attrs[count];
        count++;
    }
    for (int i = 0; i < old->n_attrs; i++) {
        int same = 0;
        while (same < n_attrs && strcmp(attrs[same].name, old->attr[i].name))
            same++;
        if (same == n_attrs)
            all[count++] = old->attr[i];
    }
    return pass_stream_append(s, old->kind, n, operands, count, all);
}

struct ir_attr pass_stream_ints(struct streamer *s, const char *name, int n,
                                const int64_t *numbers)
{
    return ir_tensor_attr(name, ir_tensor_copy(s->step, IR_I64, n, numbers));
}

struct ir_value *pass_stream_view(struct streamer *s, struct ir_value *x,
                                  int rank, const int64_t *dims,
                                  const int64_t *strides, int64_t offset)
{
    const struct ir_attr attrs[] = {
        pass_stream_ints(s, "shape", rank, dims),
        pass_stream_ints(s, "strides", rank, strides),
        ir_int("offset", offset)};
    struct ir_op *op = pass_stream_append(s, IR_OP_view, 1, &x, 3, attrs);
    return op ? &op->result[0] : NULL;
}

struct ir_value *pass_stream_part(struct streamer *s, struct ir_value *x,
                                  int rank, const int64_t *dims,
                                  int64_t offset)
{
    int64_t strides[IR_MAX_RANK], stride = 1;
    for (int i = rank; i-- > 0; stride *= dims[i])
        strides[i] = stride;
    return pass_stream_view(s, x, rank, dims, strides, offset);
}

struct ir_value *pass_stream_reshape(struct streamer *s, struct ir_value *x,
                                     int rank, const int64_t *dims)
{
    return pass_stream_part(s, x, rank, dims, 0);
}

struct ir_value *pass_stream_join(struct streamer *s, struct ir_value *a,
                                  struct ir_value *b)
{
    const struct ir_attr attr = ir_int("axis", 0);
    struct ir_value *parts[] = {a, b};
    struct ir_op *op =
        pass_stream_append(s, IR_OP_concat, 2, parts, 1, &attr);
    return op ? &op->result[0] : NULL;
}

static struct ir_value *add_input(struct streamer *s, const char *name,
                                  enum ir_dtype dtype, int rank,
                                  const int64_t *dims)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= dims[i];
    ir_add_column(s->step, name, n == 1 ? IR_NUMBER : IR_TENSOR_COLUMN, n);
    const struct ir_attr attrs[] = {ir_int("first", s->step->n_columns - 1),
                                    ir_int("count", 1),
                                    ir_string("dtype", ir_dtype_name(dtype)),
                                    pass_stream_ints(s, "shape", rank, dims)};
    struct ir_op *op = pass_stream_append(s, IR_OP_input, 0, NULL, 4, attrs);
    return op ? &op->result[0] : NULL;
}

bool pass_stream_has_room(struct streamer *s, int64_t n, int64_t each)
{
    int64_t left = IR_MAX_ELEMENTS;
    for (int i = 0; i < s->stream->n_memories; i++)
        left -= s->stream->memory[i].elements;
    return n <= left / each ||
           pass_stream_refuse(
               s,
               "would remember %lld times %lld numbers (there may "
               "be %d in all)",
               (long long)n, (long long)each, IR_MAX_ELEMENTS);
}

struct ir_value *pass_stream_remember(struct streamer *s, enum ir_dtype dtype,
                                      int rank, const int64_t *dims,
                                      const void *first, int *memory)
{
    struct ir_stream *stream = s->stream;
    if (dtype == IR_U8) {
        pass_stream_refuse(s, "would remember bytes");
        return NULL;
    }
    const int i = stream->n_memories++;
    if (i == s->room) {
        const int room = 2 * i + 8;
        struct ir_memory *more =
            ir_alloc_array(&s->step->arena, (size_t)room, sizeof(*more));
        struct ir_value **kept =
            ir_alloc_array(&s->scratch, (size_t)room, sizeof(*kept));
        if (i) {
            memcpy(more, stream->memory, (size_t)i * sizeof(*more));
            memcpy(kept, s->kept, (size_t)i * sizeof(*kept));
        }
        stream->memory = more;
        s->kept = kept;
        s->room = room;
    }
    int64_t n = 1;
    for (int d = 0; d < rank; d++)
        n *= dims[d];
    stream->memory[i] = (struct ir_memory){dtype, n, 0, -1, first};
    *memory = i;
    return add_input(s, ir_sprintf(&s->scratch, "memory %d", i), dtype, rank,
                     dims);
}

/* ----------------------------------------------------------- still values */

static int by_id(const void *a, const void *b)
{
    const struct ir_op *x = *(struct ir_op *const *)a;
    const struct ir_op *y = *(struct ir_op *const *)b;
    return (x->result[0].id > y->result[0].id) -
           (x->result[0].id < y->result[0].id);
}

/* The ops that the value is made of, in order; in the scratch arena. */
static struct ir_op **ops_of(struct streamer *s, const struct ir_value *value,
                             int *n_ops)
{
    const size_t n = (size_t)ir_value_count(s->model);
    bool *seen = ir_alloc_array(&s->scratch, n, sizeof(*seen));
    struct ir_op **ops = ir_alloc_array(&s->scratch, n + 1, sizeof(*ops));
    int count = 0;
    ops[count++] = value->op;
    seen[value->op->result[0].id] = true;
    for (int at = 0; at < count; at++)
        for (int i = 0; i < ops[at]->n_operands; i++) {
            struct ir_op *op = ops[at]->operand[i]->op;
            if (!seen[op->result[0].id])
                ops[count++] = op;
            seen[op->result[0].id] = true;
        }
    qsort(ops, (size_t)count, sizeof(*ops), by_id);
    *n_ops = count;
    return ops;
}

const void *pass_stream_evaluate(struct streamer *s,
                                 const struct ir_value *value)
{
    const double nothing = 0;
    const struct ir_rows row = {IR_F64, &nothing, 1, 0, 0};
    const size_t bytes = (size_t)ir_type_volume(&value->type) *
                         ir_dtype_bytes(value->type.dtype);
    void *numbers = ir_alloc(&s->step->arena, bytes);
    if (value->op->kind == IR_OP_constant) {
        memcpy(numbers, ir_attr_tensor(value->op, "value")->data, bytes);
        return numbers;
    }
    int n;
    struct ir_op **ops = ops_of(s, value, &n);
    struct ir_module *still = ir_module_new("still");
    struct ir_value **made = ir_alloc_array(
        &s->scratch, (size_t)ir_value_count(s->model), sizeof(*made));
    for (int k = 0; k < n; k++) {
        const struct ir_op *old = ops[k];
        struct ir_value **x = ir_alloc_array(
            &s->scratch, (size_t)old->n_operands + 1, sizeof(*x));
        for (int i = 0; i < old->n_operands; i++)
            x[i] = made[old->operand[i]->id];
        struct ir_op *op = ir_add_op(still, old->kind, old->n_operands, x,
                                     old->n_attrs, old->attr, &s->diag);
        if (!op)
            ir_bug("an op cannot be built again");
        for (int r = 0; r < op->n_results; r++)
            made[old->result[r].id] = &op->result[r];
    }
    ir_add_output(still, "value", made[value->id]);
    ir_eval(still, 0, &row, numbers);
    ir_module_free(still);
    return numbers;
}

/* ------------------------------------------------------------------- time */

int64_t pass_stream_inner(const struct ir_type *type, int axis)
{
    int64_t inner = 1;
    for (int i = axis + 1; i < type->rank; i++)
        inner *= type->dim[i];
    return inner;
}

int pass_stream_axis(const struct ir_value *value, const struct ir_time *time)
{
    int64_t inner = 1;
    for (int i = value->type.rank; i-- > 0; inner *= value->type.dim[i])
        if (inner == time->inner && value->type.dim[i] == time->steps)
            return i;
    return -1;
}

/* What the type of a series is at a step: the dim that time is in, or is a part
 * of, has fewer numbers. False when it is in several dims. */
static bool step_type(const struct ir_type *type, const struct ir_time *time,
                      int64_t frames, struct ir_type *step)
{
    const int64_t span = time->inner * time->steps;
    int64_t inner = 1;
    *step = *type;
    for (int i = type->rank; i-- > 0; inner *= type->dim[i])
        if (time->inner % inner == 0 && inner * type->dim[i] % span == 0) {
            step->dim[i] = step->dim[i] / time->steps * frames;
            return true;
        }
    return false;
}

/* A map of fewer numbers may have lost dims of 1, say. */
static bool fit(struct streamer *s, const struct ir_value *old)
{
    struct stream_value *v = &s->value[old->id];
    struct ir_type want = old->type;
    if (v->kind == STREAM_SERIES && 
        !step_type(&old->type, &v->time, v->frames, &want))
        return pass_stream_refuse(s, "has its steps in several dims");
    if (ir_type_equal(&v->step->type, &want))
        return true;
    if (ir_type_volume(&v->step->type) != ir_type_volume(&want))
        return pass_stream_refuse(s, "has no step of its own");
    if (want.rank == 0)
        want = ir_type_vector(want.dtype, 1);
    v->step = pass_stream_reshape(s, v->step, want.rank, want.dim);
    return v->step != NULL;
}

/* A series of one step is the last step's or nobody's. */
static bool settle(struct streamer *s, struct stream_value *v)
{
    if (v->kind != STREAM_SERIES || v->time.steps != 1)
        return true;
    if (v->start + 1 != s->n_steps * v->frames)
        return pass_stream_refuse(
            s, "takes step %lld alone, which is not the last",
            (long long)v->start);
    v->kind = STREAM_LATEST;
    /* A view takes the last of what is there at each step. */
    if (s->op->kind == IR_OP_view)
        v->start = pass_stream_operand(s, 0)->start > 0
                       ? pass_stream_operand(s, 0)->start
                       : 0;
    v->start /= v->frames;
    return true;
}

/* -------------------------------------------------------------------- ops */

/* Of operands none of which is a series. */
static bool copy_op(struct streamer *s, enum stream_kind kind)
{
    const struct ir_op *old = s->op;
    int64_t start = 0;
    struct ir_value **x = ir_alloc_array(
        &s->scratch, (size_t)old->n_operands + 1, sizeof(*x));
    for (int i = 0; i < old->n_operands; i++) {
        x[i] = pass_stream_given(s, i, -1, 1);
        if (!x[i])
            return false;
        start = pass_stream_operand(s, i)->start > start
                    ? pass_stream_operand(s, i)->start
                    : start;
    }
    struct ir_op *op = pass_stream_copy(s, old->n_operands, x, 0, NULL);
    for (int r = 0; op && r < old->n_results; r++)
        s->value[old->result[r].id] = (struct stream_value){
            .kind = kind, .frames = 1, .start = start,
            .step = &op->result[r]};
    return op != NULL;
}

static bool add_op(struct streamer *s)
{
    const struct ir_op *op = s->op;
    bool series = false, latest = false, other = op->kind == IR_OP_input;
    for (int i = 0; i < op->n_operands; i++) {
        const enum stream_kind kind = pass_stream_operand(s, i)->kind;
        series = series || kind == STREAM_SERIES;
        latest = latest || kind == STREAM_LATEST;
        other = other || kind == STREAM_OTHER;
    }
    if (op->kind == IR_OP_trees || op->kind == IR_OP_contributions)
        return pass_stream_refuse(s, "is no op of nets");
    if (other && !series && !latest)
        return pass_stream_start_op(s);
    if (s->single && latest && !pass_stream_single(s))
        return false;
    if (s->single && latest && op->kind == IR_OP_scan)
        return pass_stream_op(s, op);
    if (pass_stream_is_mean(s))
        return pass_stream_mean(s, pass_stream_operand(s, 0));
    if (!series)
        return copy_op(s, latest ? STREAM_LATEST : STREAM_STILL);
    if (latest)
        return pass_stream_refuse(s,
                                  "takes what only the last step gives to all "
                                  "steps");
    struct stream_value *v = &s->value[op->result[0].id];
    v->kind = STREAM_SERIES;
    if (!pass_stream_op(s, op) || !settle(s, v))
        return false;
    for (int r = 0; r < op->n_results; r++)
        if (!fit(s, &op->result[r]))
            return false;
    return true;
}

/* ---------------------------------------------------------------- outputs */

static bool add_output(struct streamer *s, int o)
{
    const struct ir_output *old = &s->model->outputs[o];
    const struct stream_value *v = &s->value[old->value->id];
    struct ir_time *time = &s->stream->output[o];
    s->op = NULL;
    if (v->kind == STREAM_OTHER)
        return pass_stream_refuse(
            s, "the output %.100s is made of another input", old->name);
    *time = (struct ir_time){ir_type_volume(&old->value->type), 0, 1};
    if (v->kind == STREAM_SERIES) {
        const int64_t last = s->n_steps * v->frames;
        if (v->start < 0)
            return pass_stream_refuse(s,
                                      "the output %.100s begins %lld steps "
                                      "before the sequence",
                                      old->name, (long long)-v->start);
        if (v->start + v->time.steps != last)
            return pass_stream_refuse(
                s,
                v->start + v->time.steps > last
                    ? "the output %.100s looks %lld steps ahead: windows "
                      "over time are to be padded in front alone"
                    : "the output %.100s ends %lld steps early",
                old->name,
                (long long)llabs(v->start + v->time.steps - last));
        if (v->start % v->frames)
            return pass_stream_refuse(s,
                                      "the output %.100s begins within a step",
                                      old->name);
        *time = (struct ir_time){v->time.outer, v->time.steps / v->frames,
                                 v->time.inner * v->frames};
    }
    s->stream->first_step[o] =
        v->kind == STREAM_SERIES ? v->start / v->frames : v->start;
    struct ir_output *out = ir_add_output(s->step, old->name, v->step);
    ir_set_labels(s->step, out, old->n_labels, old->labels);
    return true;
}

static bool add_outputs(struct streamer *s)
{
    const int n = s->model->n_outputs;
    struct ir_stream *stream = s->stream;
    stream->output = ir_alloc_array(&s->step->arena, (size_t)n,
                                    sizeof(*stream->output));
    stream->first_step = ir_alloc_array(&s->step->arena, (size_t)n,
                                        sizeof(*stream->first_step));
    stream->n_outputs = n;
    for (int o = 0; o < n; o++)
        if (!add_output(s, o))
            return false;
    bool changes = false;
    for (int i = 0; i < stream->n_memories; i++)
        changes = changes || s->kept[i]->op->kind != IR_OP_input;
    if (!changes)
        return pass_stream_refuse(
            s, "no op remembers anything from one step to the "
               "next");
    for (int i = 0; i < stream->n_memories; i++) {
        char *name = ir_sprintf(&s->scratch, "memory %d", i);
        while (ir_find_output(s->step, name) >= 0)
            name = ir_sprintf(&s->scratch, "%s'", name);
        ir_add_output(s->step, name, s->kept[i]);
    }
    return true;
}

/* --------------------------------------------------------------- one axis */

static bool add_time(struct streamer *s, const struct ir_op *input, int axis)
{
    const struct ir_type *type = &input->result[0].type;
    const struct ir_column *column =
        &s->model->columns[ir_attr_int(input, "first")];
    struct stream_value *v = &s->value[input->result[0].id];
    s->first_column = (int)ir_attr_int(input, "first");
    s->n_columns = (int)ir_attr_int(input, "count");
    s->single = axis < 0;
    const int64_t inner =
        s->single ? ir_type_volume(type) : pass_stream_inner(type, axis);
    int64_t dims[IR_MAX_RANK];
    const int64_t steps = s->single ? 1 : type->dim[axis];
    s->n_steps = steps / s->frames;
    s->op = input;
    if (steps % s->frames)
        return pass_stream_refuse(
            s,
            "has %lld places along time, and a step takes %lld of them: give "
            "it a multiple of that (--time, of a dim that is open)",
            (long long)steps, (long long)s->frames);
    memcpy(dims, type->dim, sizeof(dims));
    if (!s->single)
        dims[axis] = s->frames;
    *v = (struct stream_value){
        .kind = s->single ? STREAM_LATEST : STREAM_SERIES,
        .time = {ir_type_volume(type) / (inner * steps), steps, inner},
        .frames = s->frames};
    s->stream->frames = s->frames;
    s->stream->row = (struct ir_time){v->time.outer, s->n_steps,
                                      inner * s->frames};
    s->stream->row_start = ir_column_offset(s->model, s->first_column);
    v->step = add_input(s, s->n_columns == 1 ? column->name : "step",
                        type->dtype, type->rank, dims);
    pass_stream_start_new(s);
    return v->step != NULL;
}

/* The step along one dim of an input, or (-1) of a sequence that has but one;
 * NULL with s->why and how many ops it got
 * through. */
static struct ir_stream *attempt(struct streamer *s, const bool *needed,
                                 const struct ir_op *input, int axis, int *done)
{
    s->step = ir_module_new(s->model->name);
    s->stream = ir_alloc(&s->step->arena, sizeof(*s->stream));
    s->stream->step = s->step;
    s->value = ir_alloc_array(&s->scratch, (size_t)ir_value_count(s->model),
                              sizeof(*s->value));
    s->kept = NULL;
    s->room = 0;
    s->start = NULL;
    bool good = add_time(s, input, axis);
    for (*done = 0; good && *done < s->model->n_ops; ++*done) {
        s->op = s->model->ops[*done];
        if (needed[s->op->result[0].id] && s->op != input)
            good = add_op(s);
    }
    if (good && add_outputs(s) && pass_stream_start_finish(s)) {
        ir_remove_dead_ops(s->step);
        ir_renumber(s->step);
        s->diag.n_messages = 0;
        if (ir_verify(s->step, &s->diag))
            return s->stream;
        pass_stream_refuse(s, "its step is no model: %s", s->diag.message[0]);
    }
    if (s->start)
        ir_module_free(s->start);
    ir_module_free(s->step);
    return NULL;
}

/* By the id of each op's first result, whether an output needs it. */
static bool *find_needed(const struct ir_module *model,
                         struct ir_arena *arena)
{
    bool *needed = ir_alloc_array(arena, (size_t)ir_value_count(model),
                                  sizeof(*needed));
    for (int o = 0; o < model->n_outputs; o++)
        needed[model->outputs[o].value->op->result[0].id] = true;
    for (int i = model->n_ops; i-- > 0;)
        for (int k = 0; k < model->ops[i]->n_operands; k++)
            if (needed[model->ops[i]->result[0].id])
                needed[model->ops[i]->operand[k]->op->result[0].id] = true;
    return needed;
}

/* Inputs that are tried; models of columns have many. */
enum { most_tried = 8 };

/* Which dim of which input is taken for time. */
static void say_time(struct ir_text *text, const struct ir_module *m,
                     const struct ir_op *input, int axis)
{
    const struct ir_type *type = &input->result[0].type;
    ir_text_puts(text, "with ");
    if (axis >= 0)
        ir_text_printf(text, "dim %d of ", axis);
    say_columns(text, m, input);
    for (int i = 0; i < type->rank; i++)
        ir_text_printf(text, "%s%lld", i ? "," : " [",
                       (long long)type->dim[i]);
    ir_text_puts(text, axis < 0 ? "] as the only step, " : "] as time, ");
}

/* attempt() with what it works in; keeps the message of whoever got furthest.
 */
static struct ir_stream *try_axis(const struct ir_module *model,
                                  const bool *needed,
                                  const struct ir_op *input, int axis,
                                  int *furthest, struct ir_text *why)
{
    struct ir_text said;
    struct streamer s = {.model = model, .why = &said};
    int done;
    ir_text_init(&said);
    ir_diag_init(&s.diag);
    ir_arena_init(&s.scratch);
    s.frames = 1;
    struct ir_stream *stream = attempt(&s, needed, input, axis, &done);
    while (!stream && s.want_frames) {
        int more;
        s.frames = s.want_frames;
        s.want_frames = 0;
        stream = attempt(&s, needed, input, axis, &more);
        done = more > done ? more : done;
    }
    done = s.wrong_input ? 0 : 2 * done + !s.wrong_dim;
    if (!stream && done > *furthest) {
        *furthest = done;
        why->length = 0;
        say_time(why, model, input, axis);
        ir_text_puts(why, said.data);
    }
    ir_arena_release(&s.scratch);
    ir_diag_release(&s.diag);
    ir_text_release(&said);
    return stream;
}

/* Whether a recurrent layer takes one step: then that is what there is. */
static bool has_one_step(const struct ir_module *model)
{
    for (int i = 0; i < model->n_ops; i++)
        if (model->ops[i]->kind == IR_OP_scan &&
            model->ops[i]->operand[0]->type.dim[0] == 1)
            return true;
    return false;
}

struct ir_stream *pass_stream(struct ir_module *model, struct ir_text *why)
{
    struct ir_stream *stream = NULL;
    struct ir_arena arena;
    int tried = 0, furthest = -1;
    ir_renumber(model);
    ir_arena_init(&arena);
    const bool *needed = find_needed(model, &arena);
    const bool one_step = has_one_step(model);
    why->length = 0;
    ir_text_puts(why, "no input has several steps");
    for (int i = 0; i < model->n_ops && tried < most_tried; i++) {
        const struct ir_op *input = model->ops[i];
        const struct ir_type *type = &input->result[0].type;
        if (input->kind != IR_OP_input || !needed[input->result[0].id])
            continue;
        for (int axis = one_step ? -1 : 0; !stream && axis < type->rank; axis++)
            if (axis < 0 || type->dim[axis] > 1) {
                tried++;
                stream = try_axis(model, needed, input, axis, &furthest, why);
            }
    }
    ir_arena_release(&arena);
    return stream;
}

bool pass_stream_run(struct ir_stream *stream,
                     const struct pass_options *options, struct ir_diag *diag)
{
    return pass_run_all(stream->step, options, diag) &&
           (!stream->start || pass_run_all(stream->start, options, diag));
}

void pass_stream_free(struct ir_stream *stream)
{
    if (!stream)
        return;
    if (stream->start)
        ir_module_free(stream->start);
    ir_module_free(stream->step);
}
