/* choose_winograd.c: which convs go by Winograd's way, by which tiles. Their
 * sums round otherwise, so that this is no pass of the table: it makes another
 * model, of which the passes then keep every bit. */
#include "passes/rewrite.h"

#include <string.h>

struct choice {
    int64_t tile[2]; /* along the window's dims 1 and 2 */
    double work;     /* against that of the conv as it is */
    int64_t bytes;   /* that the weights take */
};

/* What a number costs that becomes one of the points, or that a sum at a point
 * costs on its way back, in multiply-adds of a tile's product; measured on one
 * Zen 4 core with AVX-512. */
static const double spread_cost = 3, gather_cost = 4;
/* Below this part of the work it is taken. */
static const double least_gain = 0.8;

enum {
    least_channels = 4,   /* of x: else most is on the way there and back */
    least_results = 8,
    free_growth = 65536,  /* bytes that all weights may grow by in any case */
    growth_part = 20      /* or by this part of themselves */
};

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static void weigh(const struct ir_op *op, const struct ir_window *w,
                  struct choice *c)
{
    const int64_t results = ir_attr_tensor(op, "weights")->type.dim[0];
    const double lanes = (double)round_up(results, 8);
    const double channels = (double)w->channels;
    double tiles = 1, windows = 1, points = 1;
    for (int i = 0; i < 2; i++) {
        const struct ir_window_dim *d = &w->dim[i + 1];
        tiles *= (double)((d->out + c->tile[i] - 1) / c->tile[i]);
        points *= (double)(c->tile[i] + d->kernel - 1);
        windows *= (double)d->out;
    }
    const double direct = windows * (double)w->taps * channels * lanes;
    const double there = spread_cost * (double)round_up(w->channels, 8);
    c->work = tiles * points *
              (channels * lanes + there + gather_cost * lanes) / direct;
    c->bytes = (int64_t)points * w->channels * results * 4;
}

/* The tiles along a dim that go with so many taps: how many there are. */
static int tiles_of(int64_t taps, int64_t tile[2])
{
    int n = 0;
    if (taps == 1)
        tile[n++] = 1;
    else
        for (int together = 5; together <= 7; together += 2)
            if (together - taps >= 2)
                tile[n++] = together - taps;
    return n;
}

/* Why no tile would ever do for the conv, or NULL. */
static const char *obstacle(const struct ir_op *op)
{
    struct ir_window w;
    int64_t tile[2];
    const char *why = ir_winograd_obstacle(op);
    if (why)
        return why;
    ir_window_view(op, &w);
    return w.taps == 1 ? "it has one tap"
           : !tiles_of(w.dim[1].kernel, tile) ||
             !tiles_of(w.dim[2].kernel, tile) ? "it has more than 5 taps a way"
           : w.channels < least_channels ? "too few channels go in"
           : ir_attr_tensor(op, "weights")->type.dim[0] < least_results
           ? "too few channels come out" : NULL;
}

/* The cheapest that takes at most so many bytes; false when it is no gain. */
static bool choose(const struct ir_op *op, int64_t most_bytes,
                   struct choice *best)
{
    struct ir_window w;
    int64_t tile[2][2];
    ir_window_view(op, &w);
    const int n0 = tiles_of(w.dim[1].kernel, tile[0]);
    const int n1 = tiles_of(w.dim[2].kernel, tile[1]);
    best->work = least_gain;
    for (int i = 0; i < n0 * n1; i++) {
        struct choice c = {.tile = {tile[0][i / n1], tile[1][i % n1]}};
        weigh(op, &w, &c);
        if (c.work < best->work && c.bytes <= most_bytes)
            *best = c;
    }
    return best->work < least_gain;
}

static int64_t weight_bytes(const struct ir_module *module)
{
    int64_t bytes = 0;
    for (int i = 0; i < module->n_ops; i++)
        if (pass_has_weights(module->ops[i]) &&
            ir_find_attr(module->ops[i], "weights"))
            bytes += (int64_t)ir_tensor_bytes(
                ir_attr_tensor(module->ops[i], "weights"));
    return bytes;
}

int pass_choose_winograd(struct ir_module *module, bool of_any_size)
{
    int n = 0;
    const int64_t part = weight_bytes(module) / growth_part;
    int64_t room = part > free_growth ? part : free_growth;
    for (int i = 0; i < module->n_ops; i++) {
        struct ir_op *op = module->ops[i];
        struct choice choice;
        if (op->kind != IR_OP_conv || ir_find_attr(op, "winograd") ||
            obstacle(op))
            continue;
        const int64_t bytes =
            (int64_t)ir_tensor_bytes(ir_attr_tensor(op, "weights"));
        if (!choose(op, of_any_size ? INT64_MAX : bytes + room, &choice))
            continue;
        const int dims = op->operand[0]->type.rank - 1;
        pass_set_tensor(module, op, "winograd", IR_I64, dims,
                        choice.tile + 2 - dims);
        room -= choice.bytes > bytes ? choice.bytes - bytes : 0;
        n++;
    }
    return n;
}

/* How the steps of a row lie, from the element `first` on; .steps is 0 when the
 * model has no step. */
struct time {
    struct ir_time row;
    int64_t first;
};

static struct time time_of(struct ir_module *module)
{
    struct time time = {{0, 0, 0}, 0};
    struct ir_text why;
    ir_text_init(&why);
    struct ir_stream *stream = pass_stream(module, &why);
    if (stream)
        time = (struct time){stream->row, stream->row_start};
    pass_stream_free(stream);
    ir_text_release(&why);
    return time;
}

static bool is_same_time(const struct time *a, const struct time *b)
{
    return a->first == b->first && a->row.outer == b->row.outer &&
           a->row.steps == b->row.steps && a->row.inner == b->row.inner;
}

int pass_choose_winograd_of_steps(struct ir_module *module, bool of_any_size)
{
    struct ir_module *chosen = ir_module_clone(module);
    int n = 0;
    const struct time time = time_of(module);
    if (pass_choose_winograd(chosen, of_any_size) > 0 && time.row.steps > 0)
        for (int i = 0; i < module->n_ops; i++) {
            struct ir_op *op = module->ops[i];
            if (!ir_find_attr(chosen->ops[i], "winograd") ||
                ir_find_attr(op, "winograd"))
                continue;
            const struct ir_tensor *tile =
                ir_attr_tensor(chosen->ops[i], "winograd");
            pass_set_tensor(module, op, "winograd", IR_I64, tile->type.dim[0],
                            tile->data);
            const struct time now = time_of(module);
            if (is_same_time(&now, &time))
                n++;
            else
                pass_drop_attr(op, "winograd");
        }
    ir_module_free(chosen);
    return n;
}

bool pass_has_winograd(const struct ir_module *module, bool of_steps,
                       struct ir_text *why)
{
    int n = 0;
    const struct ir_op *first = NULL;
    for (int i = 0; i < module->n_ops; i++) {
        const struct ir_op *op = module->ops[i];
        if (op->kind != IR_OP_conv)
            continue;
        if (ir_find_attr(op, "winograd"))
            return true;
        first = first ? first : op;
        n++;
    }
    if (!first) {
        ir_text_puts(why, "the model has no convolution");
        return false;
    }
    const char *reason = obstacle(first);
    if (n == 1)
        ir_text_puts(why, "the model's convolution cannot be computed so");
    else
        ir_text_printf(why, "none of the model's %d convolutions can be "
                       "computed so", n);
    ir_text_printf(why, " (%s%%%d: %s)", n > 1 ? "the first, " : "",
                   first->result[0].id,
                   reason ? reason
                   : of_steps ? "it goes over time, or would save too little"
                   : "it would save too little work");
    return false;
}
