/*
 * A group of one. Messages to oneself are buffered copies, so that send before recv works.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/coll_impl.h"

struct message {
    struct message *next;
    int tag;
    int64_t bytes;
    char data[];
};

struct self {
    struct coll coll;
    struct message *first, **last;
};

static void self_close(struct coll *coll)
{
    struct self *self = (struct self *)coll;
    while (self->first) {
        struct message *message = self->first;
        self->first = message->next;
        free(message);
    }
    free(self);
}

static void self_barrier(struct coll *coll)
{
    (void)coll;
}

// NOLINTNEXTLINE(readability-non-const-parameter): the type is that of the table
static void self_all_reduce(struct coll *coll, float *data, int64_t count)
{
    (void)coll;
    (void)data;
    (void)count;
}

static void move(const void *in, void *out, int64_t bytes)
{
    if (in != out && bytes > 0)
        memmove(out, in, (size_t)bytes);
}

static void self_all_gather(struct coll *coll, const void *in, void *out, int64_t bytes)
{
    (void)coll;
    move(in, out, bytes);
}

static void self_reduce_scatter(struct coll *coll, const float *in, float *out, int64_t count)
{
    (void)coll;
    move(in, out, count * 4);
}

static void self_broadcast(struct coll *coll, void *data, int64_t bytes, int root)
{
    (void)coll;
    (void)data;
    (void)bytes;
    (void)root;
}

static void self_all_to_all(struct coll *coll, const void *in, const int64_t *send_bytes, void *out,
        const int64_t *recv_bytes)
{
    (void)coll;
    (void)recv_bytes;
    assert(send_bytes[0] == recv_bytes[0]);
    move(in, out, send_bytes[0]);
}

static void self_send(struct coll *coll, const void *data, int64_t bytes, int to, int tag)
{
    struct self *self = (struct self *)coll;
    (void)to;
    struct message *message = malloc(sizeof(*message) + (size_t)bytes);
    if (!message)
        abort();
    *message = (struct message){.tag = tag, .bytes = bytes};
    memcpy(message->data, data, (size_t)bytes);
    *self->last = message;
    self->last = &message->next;
}

static struct message **self_find(struct self *self, int tag)
{
    struct message **at = &self->first;
    while (*at && (*at)->tag != tag)
        at = &(*at)->next;
    return at;
}

static void self_recv(struct coll *coll, void *data, int64_t bytes, int from, int tag)
{
    struct self *self = (struct self *)coll;
    (void)from;
    struct message **at = self_find(self, tag), *message = *at;
    assert(message && message->bytes == bytes && "nothing was sent to oneself");
    memcpy(data, message->data, (size_t)bytes);
    *at = message->next;
    if (self->last == &message->next)
        self->last = at;
    free(message);
}

static void self_isend(struct coll *coll, const void *data, int64_t bytes, int to, int tag,
        struct coll_request *request)
{
    self_send(coll, data, bytes, to, tag);
    request->handle = NULL;
}

static bool self_test(struct coll *coll, struct coll_request *request)
{
    (void)coll;
    return !request->handle;
}

static void self_wait(struct coll *coll, struct coll_request *request)
{
    (void)coll;
    request->handle = NULL;
}

static bool self_probe(struct coll *coll, int from, int tag)
{
    (void)from;
    return *self_find((struct self *)coll, tag) != NULL;
}

static const struct coll_ops self_ops = {
        .close = self_close,
        .barrier = self_barrier,
        .all_reduce = self_all_reduce,
        .all_gather = self_all_gather,
        .reduce_scatter = self_reduce_scatter,
        .broadcast = self_broadcast,
        .all_to_all = self_all_to_all,
        .send = self_send,
        .recv = self_recv,
        .isend = self_isend,
        .test = self_test,
        .wait = self_wait,
        .probe = self_probe,
};

struct coll *coll_self_open(struct err *err)
{
    struct self *self = calloc(1, sizeof(*self));
    if (!self) {
        err_set(err, ERR_ENV, "no memory for a group of one rank");
        return NULL;
    }
    self->coll = (struct coll){.ops = &self_ops, .size = 1};
    self->last = &self->first;
    return &self->coll;
}
