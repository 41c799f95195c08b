/* deep_stack.c: LLVM's code generation recurses from loop to loop of a
 * function. A model of thousands of small ops, which a stranger may send, would
 * be the end of an ordinary stack: so it is compiled by a thread with a large
 * one, of which only what is used takes memory. */
#include "backend/llvm.h"

#include <pthread.h>

/* Some 7 KB a loop; 1 GB is enough for 150,000. */
static const size_t stack_bytes = (size_t)1 << 30;

struct call {
    void (*run)(void *of);
    void *of;
};

static void *start(void *of)
{
    const struct call *call = of;
    call->run(call->of);
    return NULL;
}

void be_on_deep_stack(void (*run)(void *of), void *of)
{
    struct call call = {run, of};
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    const bool deep =
        pthread_attr_setstacksize(&attr, stack_bytes) == 0 &&
        pthread_create(&thread, &attr, start, &call) == 0;
    pthread_attr_destroy(&attr);
    if (deep)
        pthread_join(thread, NULL);
    else
        run(of); /* where there is no room for one, it may still do */
}
