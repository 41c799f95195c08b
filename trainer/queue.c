/* queue.c: leaves by what splitting them gains: a binary heap. */
#include "trainer/private.h"

#include <stdlib.h>

static bool is_better(struct tr_queued a, struct tr_queued b)
{
    return a.gain != b.gain ? a.gain > b.gain : a.leaf < b.leaf;
}

void tr_queue_push(struct tr_queue *q, int leaf, double gain)
{
    const struct tr_queued item = {gain, leaf};
    if (q->n == q->capacity) {
        q->capacity = 2 * q->capacity + 64;
        q->heap = ir_realloc_array(q->heap, (size_t)q->capacity,
                                   sizeof(*q->heap));
    }
    int i = q->n++;
    for (; i > 0 && is_better(item, q->heap[(i - 1) / 2]); i = (i - 1) / 2)
        q->heap[i] = q->heap[(i - 1) / 2];
    q->heap[i] = item;
}

int tr_queue_pop(struct tr_queue *q)
{
    const int top = q->heap[0].leaf;
    const struct tr_queued last = q->heap[--q->n];
    int i = 0;
    for (int c = 1; c < q->n; c = 2 * i + 1) {
        if (c + 1 < q->n && is_better(q->heap[c + 1], q->heap[c]))
            c++;
        if (!is_better(q->heap[c], last))
            break;
        q->heap[i] = q->heap[c];
        i = c;
    }
    q->heap[i] = last;
    return top;
}

void tr_queue_release(struct tr_queue *q)
{
    free(q->heap);
}
