/* net_optimizer.c: how parameters follow their gradients: SGD, with momentum,
 * Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019); learning
 * rates that change by a schedule; clipping.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is(const char *choice, const char *name)
{
    return !strcmp(choice, name);
}

void tr_optimizer_init(struct tr_optimizer *o, const struct tr_params *params,
                       int64_t n_params, int64_t steps_an_epoch)
{
    *o = (struct tr_optimizer){.params = params, .n_params = n_params,
                               .steps_an_epoch = steps_an_epoch,
                               .n_steps = steps_an_epoch * params->epochs};
    if (!is(params->optimizer, "sgd"))
        o->first = tr_reals(n_params);
    if (is(params->optimizer, "adam") || is(params->optimizer, "adamw"))
        o->second = tr_reals(n_params);
}

void tr_optimizer_release(struct tr_optimizer *o)
{
    free(o->first);
    free(o->second);
    o->first = o->second = NULL;
}

/* -------------------------------------------------------------- schedule -- */

/* The factor that a schedule has at a step past the warm-up. */
static double scheduled(const struct tr_optimizer *o, double step,
                        double from)
{
    const struct tr_params *p = o->params;
    const double left = (double)o->n_steps - from;
    const double share = left > 0 ? (step - from) / left : 0;
    const double epoch = floor(step / (double)o->steps_an_epoch);
    if (is(p->schedule, "linear"))
        return 1 - share;
    if (is(p->schedule, "cosine"))
        return 0.5 * (1 + cos(M_PI * share));
    if (is(p->schedule, "step"))
        return pow(p->decay, floor(epoch / p->decay_epochs));
    if (is(p->schedule, "exponential"))
        return pow(p->decay, epoch);
    return 1;
}

double tr_optimizer_rate(const struct tr_optimizer *o, uint64_t step)
{
    const double warm = o->params->warmup * (double)o->n_steps;
    const double at = (double)step;
    if (at < warm)
        return o->params->learning_rate * fmin(1, (at + 1) / warm);
    return o->params->learning_rate * scheduled(o, at, warm);
}

/* -------------------------------------------------------------- clipping -- */

static double norm_of(const struct tr_net *net)
{
    double sum = 0;
    for (int64_t first = 0; first < net->n_params; first += 1024) {
        const int64_t left = net->n_params - first;
        const tr_real *g = net->grad + first;
        double part[8] = {0};
        for (int64_t i = 0; i < (left < 1024 ? left : 1024); i++)
            part[i % 8] += (double)g[i] * (double)g[i];
        for (int k = 0; k < 8; k++)
            sum += part[k];
    }
    return sqrt(sum);
}

/* Statistics have no gradient: theirs stay 0. */
static double clip(const struct tr_params *p, struct tr_net *net)
{
    const double norm = norm_of(net);
    if (p->clip_norm > 0 && norm > p->clip_norm) {
        const tr_real factor = (tr_real)(p->clip_norm / norm);
        for (int64_t i = 0; i < net->n_params; i++)
            net->grad[i] *= factor;
    }
    return norm;
}

/* ----------------------------------------------------------------- steps -- */

/* What a step does to the parameters of one block. */
struct change {
    tr_real rate, decay; /* decay: of the gradient, or of AdamW */
    tr_real momentum, beta1, beta2, epsilon;
    tr_real rest1, rest2;   /* 1 - beta, rounded once */
    tr_real scale1, scale2; /* Adam's: 1 / (1 - beta^t), its root for 2 */
};

static void step_sgd(const struct change *c, int64_t n, const tr_real *g,
                     tr_real *theta)
{
    for (int64_t i = 0; i < n; i++)
        theta[i] -= c->rate * (g[i] + c->decay * theta[i]);
}

static void step_momentum(const struct change *c, int64_t n, const tr_real *g,
                          tr_real *theta, tr_real *v)
{
    for (int64_t i = 0; i < n; i++) {
        v[i] = c->momentum * v[i] + (g[i] + c->decay * theta[i]);
        theta[i] -= c->rate * v[i];
    }
}

static void step_adam(const struct change *c, bool decoupled, int64_t n,
                      const tr_real *g, tr_real *theta, tr_real *m,
                      tr_real *v)
{
    const tr_real keep = decoupled ? 1 - c->rate * c->decay : 1;
    const tr_real decay = decoupled ? 0 : c->decay;
    const tr_real rate = c->rate * c->scale1;
    const tr_real b1 = c->beta1, b2 = c->beta2;
#ifdef TR_NET_F64
#define ROOT sqrt
#else
#define ROOT sqrtf
#endif
    for (int64_t i = 0; i < n; i++) {
        const tr_real d = g[i] + decay * theta[i];
        m[i] = b1 * m[i] + c->rest1 * d;
        v[i] = b2 * v[i] + c->rest2 * d * d;
        theta[i] = keep * theta[i] -
                   rate * m[i] / (ROOT(v[i]) * c->scale2 + c->epsilon);
    }
}

static void step_block(const struct tr_optimizer *o, struct tr_net *net,
                       const struct tr_block *block, struct change c)
{
    const int64_t at = block->first;
    const char *name = o->params->optimizer;
    c.decay = block->decays ? (tr_real)o->params->weight_decay : 0;
    if (is(name, "sgd"))
        step_sgd(&c, block->n, net->grad + at, net->theta + at);
    else if (is(name, "momentum"))
        step_momentum(&c, block->n, net->grad + at, net->theta + at,
                      o->first + at);
    else
        step_adam(&c, is(name, "adamw"), block->n, net->grad + at,
                  net->theta + at, o->first + at, o->second + at);
}

double tr_optimizer_step(struct tr_optimizer *o, struct tr_net *net)
{
    const struct tr_params *p = o->params;
    const double norm = clip(p, net), t = (double)net->step + 1;
    const struct change c = {
        .rate = (tr_real)tr_optimizer_rate(o, net->step),
        .momentum = (tr_real)p->momentum, .beta1 = (tr_real)p->beta1,
        .beta2 = (tr_real)p->beta2, .epsilon = (tr_real)p->epsilon,
        .rest1 = (tr_real)(1 - p->beta1), .rest2 = (tr_real)(1 - p->beta2),
        .scale1 = (tr_real)(1 / (1 - pow(p->beta1, t))),
        .scale2 = (tr_real)(1 / sqrt(1 - pow(p->beta2, t)))};
    for (int i = 0; i < net->n_layers; i++)
        for (int b = 0; b < net->layer[i].n_blocks; b++)
            if (net->layer[i].block[b].trained)
                step_block(o, net, &net->layer[i].block[b], c);
    net->step++;
    return norm;
}
