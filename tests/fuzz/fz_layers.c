/* fz_layers.c: bytes -> a text of layers -> a net -> a step of training.
 *
 *   byte 0    the shape of rows, one of a few
 *   byte 1-   the text
 *
 * Nothing may crash, hang or take memory out of proportion. A refusal has one
 * message. A net that is small goes forward and back: its shapes follow from
 * one another, its parameters are apart, and no number is a NaN.
 */
#include "fuzz/fuzz.h"
#include "trainer/private.h"

#include <math.h>
#include <string.h>

enum { ROWS = 3, OUTPUTS = 2, SMALL = 1 << 14 };

static const struct {
    int rank;
    int64_t dim[3];
} shapes[] = {{1, {5}}, {2, {6, 3}}, {3, {1, 6, 6}}, {3, {4, 5, 3}},
              {2, {1, 8}}, {1, {1}}};

/* The work of a batch is in proportion to this. */
static int64_t size_of(const struct tr_net *net)
{
    int64_t size = net->n_params;
    for (int i = 0; i < net->n_layers; i++) {
        const struct tr_layer *layer = &net->layer[i];
        size += tr_shape_elements(&layer->out) + tr_conv_columns(layer);
        for (int k = 0; k < layer->n_work; k++)
            size += layer->work_elements[k];
    }
    return size;
}

static void check_shapes(const struct tr_net *net)
{
    int64_t first = 0;
    for (int i = 0; i < net->n_layers; i++) {
        const struct tr_layer *layer = &net->layer[i];
        int64_t n = 1;
        for (int k = 0; k < layer->out.rank; k++)
            n *= layer->out.dim[k];
        CHECK(n == tr_shape_elements(&layer->out));
        CHECK(i == 0 || !memcmp(&layer->in, &layer[-1].out,
                                sizeof(layer->in)));
        for (int k = 0; k < layer->n_blocks; k++) {
            CHECK(layer->block[k].first == first);
            first += layer->block[k].n;
        }
    }
    CHECK(first == net->n_params);
    CHECK(tr_shape_elements(&net->layer[net->n_layers - 1].out) == OUTPUTS);
}

static void check_step(struct tr_net *net, struct ir_diag *diag)
{
    const int64_t n_in = tr_shape_elements(&net->layer[0].in);
    tr_real dy[ROWS * OUTPUTS], *x = tr_reals(ROWS * n_in);
    CHECK(tr_blas_load(net, diag) && tr_net_reserve(net, ROWS, diag));
    tr_net_init(net, 1);
    tr_draw_reals(2, 1, ROWS * n_in, x);
    const tr_real *y = tr_net_forward(net, x, ROWS, true);
    for (int i = 0; i < ROWS * OUTPUTS; i++) {
        CHECK(isfinite(y[i]));
        dy[i] = (tr_real)(i % 3 - 1);
    }
    tr_net_backward(net, x, dy, NULL, ROWS);
    for (int64_t i = 0; i < net->n_params; i++)
        CHECK(isfinite(net->grad[i]));
    free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 4096)
        return 0;
    const int shape = data[0] % (int)(sizeof(shapes) / sizeof(shapes[0]));
    struct ir_diag diag;
    ir_diag_init(&diag);
    char *text = ir_strndup(&diag.arena, (const char *)data + 1, size - 1);
    struct tr_net *net = ir_realloc_array(NULL, 1, sizeof(*net));
    *net = (struct tr_net){.seed = 1};
    if (tr_net_parse(net, text, shapes[shape].rank, shapes[shape].dim,
                     OUTPUTS, &diag)) {
        CHECK(diag.n_messages == 0);
        check_shapes(net);
        if (size_of(net) <= SMALL)
            check_step(net, &diag);
    } else {
        CHECK(diag.n_messages == 1);
    }
    tr_net_release(net);
    free(net);
    ir_diag_release(&diag);
    return 0;
}
