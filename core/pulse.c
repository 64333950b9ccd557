/* The member's side: one thread, one socket. */
#include "core/pulse.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/pulse_wire.h"

enum {
    TRY_MS = 1000 /* for one of the hub's addresses; a wrong one may not answer at all */
};

struct pulse {
    struct pulse_member member;
    struct pulse_message message;
    int fd;
    int wake[2]; /* a pipe: leaving ends the thread's wait */
    pthread_t thread;
    pthread_mutex_t lock;
    bool leaving;
};

static bool send_message(struct pulse *pulse, enum pulse_kind kind)
{
    pthread_mutex_lock(&pulse->lock);
    pulse->message.kind = kind;
    struct pulse_message message = pulse->message;
    pthread_mutex_unlock(&pulse->lock);
    return send(pulse->fd, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT)
                   == (ssize_t)sizeof message
           || errno == EAGAIN;
}

/* What the hub sends is single bytes; only the last one counts. False: the connection has ended. */
static bool take_answers(struct pulse *pulse, bool *asked)
{
    char bytes[64];
    ssize_t n = recv(pulse->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    for (ssize_t i = 0; i < n; i++)
        *asked = *asked || bytes[i] == PULSE_END;
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void *beat(void *arg)
{
    struct pulse *pulse = arg;
    int64_t heard_ns = clock_now_ns(), last_ns = heard_ns;
    bool asked = false, open = true;

    while (open && !asked) {
        struct pollfd fds[2] = {{pulse->fd, POLLIN, 0}, {pulse->wake[0], POLLIN, 0}};
        open = send_message(pulse, PULSE_BEAT);
        poll(fds, 2, PULSE_BEAT_MS);
        if (fds[1].revents)
            return NULL;
        int64_t now_ns = clock_now_ns();
        if (now_ns - last_ns > PULSE_BEAT_MS * INT64_C(3000000))
            heard_ns = now_ns; /* this process did not run for a while: silence says nothing */
        last_ns = now_ns;
        if (fds[0].revents) {
            heard_ns = now_ns;
            open = open && take_answers(pulse, &asked);
        }
        if (pulse->member.hub_is_rank && now_ns - heard_ns > PULSE_LOST_MS * INT64_C(1000000))
            break;
        if (!fds[0].revents)
            continue;
        struct timespec rest = {0, PULSE_BEAT_MS * 500000L};
        nanosleep(&rest, NULL); /* answers come as often as beats: not one after the other */
    }
    pulse->member.lost(pulse->member.self, asked);
    return NULL;
}

/* A host that drops packets instead of refusing must not take long. */
static int connect_to(const char *address, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *found = NULL;
    if (getaddrinfo(address, port, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failed = ECONNREFUSED;
    socklen_t size = sizeof failed;
    if (fd >= 0 && (connect(fd, found->ai_addr, found->ai_addrlen) == 0 || errno == EINPROGRESS)) {
        struct pollfd ready = {fd, POLLOUT, 0};
        if (poll(&ready, 1, TRY_MS) == 1)
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size);
    }
    freeaddrinfo(found);
    if (fd >= 0 && failed != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* The hub proves itself with the first byte, or the port belongs to somebody else on that address. */
static bool greet(struct pulse *pulse, int fd)
{
    char byte = 0;
    struct pollfd ready = {fd, POLLIN, 0};
    pulse->fd = fd;
    return send_message(pulse, PULSE_HELLO) && poll(&ready, 1, 2 * TRY_MS) == 1
           && recv(fd, &byte, 1, MSG_DONTWAIT) == 1 && byte == PULSE_ALIVE;
}

static int find_hub(struct pulse *pulse, const char *address)
{
    char text[PULSE_ADDRESS], *rest = NULL;
    snprintf(text, sizeof text, "%s", address);
    const char *key = strtok_r(text, " ", &rest), *port = strtok_r(NULL, " ", &rest);
    pulse->message.key = key ? strtoull(key, NULL, 16) : 0;
    for (char *at = strtok_r(NULL, " ", &rest); at && port; at = strtok_r(NULL, " ", &rest)) {
        int fd = connect_to(at, port);
        if (fd >= 0 && greet(pulse, fd))
            return fd;
        if (fd >= 0)
            close(fd);
    }
    return -1;
}

struct pulse *pulse_join(const char *address, const struct pulse_member *member, struct err *err)
{
    struct pulse *pulse = calloc(1, sizeof *pulse);
    if (!pulse || pipe(pulse->wake) != 0) {
        free(pulse);
        err_set(err, ERR_ENV, "no memory or no pipe to watch over the ranks");
        return NULL;
    }
    pulse->member = *member;
    pulse->message.rank = member->rank;
    pulse->message.pid = (int32_t)getpid();
    snprintf(pulse->message.host, sizeof pulse->message.host, "%s", member->host);
    snprintf(pulse->message.phase, sizeof pulse->message.phase, "starting");
    pthread_mutex_init(&pulse->lock, NULL);
    int64_t begin_ns = clock_now_ns();
    pulse->fd = find_hub(pulse, address);
    while (pulse->fd < 0 && clock_now_ns() - begin_ns < 10 * INT64_C(1000000000)) {
        clock_sleep_ns(100 * INT64_C(1000000)); /* a full queue of connections, a slow hub */
        pulse->fd = find_hub(pulse, address);
    }
    bool ok = pulse->fd >= 0;
    unsigned patience_ms = PULSE_LOST_MS;
    if (ok)
        setsockopt(pulse->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof patience_ms);
    if (ok && pthread_create(&pulse->thread, NULL, beat, pulse) == 0)
        return pulse;
    err_set(err, ERR_ENV,
            "rank %d on %s cannot reach the command that started it (%s): a firewall must let the "
            "hosts of a job connect to each other",
            member->rank, member->host, strchr(address, ' ') ? strchr(address, ' ') + 1 : address);
    if (ok)
        close(pulse->fd);
    close(pulse->wake[0]);
    close(pulse->wake[1]);
    free(pulse);
    return NULL;
}

void pulse_phase(struct pulse *pulse, const char *phase)
{
    if (!pulse)
        return;
    pthread_mutex_lock(&pulse->lock);
    snprintf(pulse->message.phase, sizeof pulse->message.phase, "%s", phase);
    pthread_mutex_unlock(&pulse->lock);
}

void pulse_leave(struct pulse *pulse, bool give_up)
{
    if (!pulse)
        return;
    char byte = 0;
    ssize_t ignored = write(pulse->wake[1], &byte, 1);
    (void)ignored;
    pthread_join(pulse->thread, NULL);
    (void)!send_message(pulse, give_up ? PULSE_GIVE_UP : PULSE_BYE);
    close(pulse->fd);
    close(pulse->wake[0]);
    close(pulse->wake[1]);
    pthread_mutex_destroy(&pulse->lock);
    free(pulse);
}
