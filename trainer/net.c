/* net.c: a net as a whole: its parameters and room, forward through its layers
 * and back again.
 */
#include "trainer/private.h"

#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------- making -- */

void tr_net_init(struct tr_net *net, uint64_t seed)
{
    free(net->theta);
    free(net->grad);
    net->theta = tr_reals(net->n_params);
    net->grad = tr_reals(net->n_params);
    for (int i = 0; i < net->n_layers; i++) {
        const struct tr_layer *layer = &net->layer[i];
        if (layer->kind->init)
            layer->kind->init(layer, net->theta,
                              ir_random(seed, (uint64_t)i));
    }
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void release_room(struct tr_net *net)
{
    for (int i = 0; i < net->n_layers; i++) {
        struct tr_layer *layer = &net->layer[i];
        free(layer->y);
        layer->y = NULL;
        for (int k = 0; k < layer->n_work; k++) {
            free(layer->work[k]);
            layer->work[k] = NULL;
        }
    }
    free(net->dy[0]);
    free(net->dy[1]);
    free(net->columns);
    net->dy[0] = net->dy[1] = net->columns = NULL;
}

/* The most elements of one value of a row. */
static int64_t most_elements(const struct tr_net *net)
{
    int64_t most = tr_shape_elements(&net->layer[0].in);
    for (int i = 0; i < net->n_layers; i++) {
        const struct tr_layer *layer = &net->layer[i];
        most = larger(most, tr_shape_elements(&layer->out));
        for (int k = 0; k < layer->n_work; k++)
            most = larger(most, layer->work_elements[k]);
    }
    return most;
}

bool tr_net_reserve(struct tr_net *net, int64_t max_rows,
                    struct ir_diag *diag)
{
    const int64_t most = most_elements(net);
    int64_t columns = 0;
    if (most > TR_MAX_BATCH_ELEMENTS / max_rows)
        return ir_error(diag, ir_loc_file(NULL),
                        "a layer needs %lld numbers a row, which for a "
                        "batch_size of %lld is more than the limit of %lld",
                        (long long)most, (long long)max_rows,
                        (long long)TR_MAX_BATCH_ELEMENTS);
    release_room(net);
    net->max_rows = max_rows;
    for (int i = 0; i < net->n_layers; i++) {
        struct tr_layer *layer = &net->layer[i];
        layer->y = tr_reals(max_rows * tr_shape_elements(&layer->out));
        for (int k = 0; k < layer->n_work; k++)
            layer->work[k] = tr_reals(max_rows * layer->work_elements[k]);
        columns = larger(columns, tr_conv_columns(layer));
    }
    for (int k = 0; k < 2; k++)
        net->dy[k] = tr_reals(max_rows * most);
    net->columns = tr_reals(columns);
    return true;
}

void tr_net_release(struct tr_net *net)
{
    release_room(net);
    free(net->theta);
    free(net->grad);
    free(net->blas);
    net->theta = net->grad = NULL;
    net->blas = NULL;
}

/* -------------------------------------------------------- there and back -- */

const tr_real *tr_net_forward(struct tr_net *net, const tr_real *x, int64_t n,
                              bool train)
{
    for (int i = 0; i < net->n_layers; i++) {
        struct tr_layer *layer = &net->layer[i];
        layer->kind->forward(net, layer, x, n, train);
        x = layer->y;
    }
    return x;
}

/* The first layer that has something to learn. */
static int first_trained(const struct tr_net *net)
{
    int i = 0;
    while (i < net->n_layers && net->layer[i].n_blocks == 0)
        i++;
    return i;
}

void tr_net_backward(struct tr_net *net, const tr_real *x, tr_real *dy,
                     tr_real *dx, int64_t n)
{
    const int first = dx ? 0 : first_trained(net);
    for (int i = net->n_layers - 1; i >= first; i--) {
        struct tr_layer *layer = &net->layer[i];
        tr_real *to = i > first ? net->dy[i % 2] : dx;
        layer->kind->backward(net, layer, i > 0 ? layer[-1].y : x, dy, to, n);
        dy = to;
    }
}
