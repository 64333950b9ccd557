/* The hub's side: a poll over all members, and the judgement over a silent one. */
// NOLINTNEXTLINE(bugprone-reserved-identifier): interfaces and what TCP knows are no POSIX calls
#define _DEFAULT_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/pulse.h"
#include "core/pulse_wire.h"

#define MS INT64_C(1000000)

struct member {
    int fd;     /* -1 = free */
    bool known; /* said hello */
    bool left;
    bool ended; /* the connection */
    int64_t heard_ns;
    struct pulse_message last;
    size_t partial; /* bytes of a message that came in pieces */
    char buffer[sizeof(struct pulse_message)];
};

struct pulse_hub {
    int n, listener;
    uint64_t key;
    char address[PULSE_ADDRESS];
    struct member *members; /* by connection; as many as ranks, and a few for strangers */
    int n_members;
    struct pollfd *fds;
    int64_t open_ns, last_ns, beat_ns;
    bool closing; /* a rank has left: the end of another's connection is no news, its silence is */
    bool told;    /* somebody has said what went wrong: the rest follows from it */
    int joined;
};

enum {
    STRANGERS = 8
};

/* All addresses but those that no other machine can use; the loopback goes last, for ranks of this one. */
static void list_addresses(struct pulse_hub *hub, int port)
{
    struct ifaddrs *all = NULL;
    int used = snprintf(hub->address, sizeof hub->address, "%016" PRIx64 " %d", hub->key, port);
    if (getifaddrs(&all) == 0) {
        for (struct ifaddrs *at = all; at; at = at->ifa_next) {
            char text[INET_ADDRSTRLEN] = "";
            if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET || !(at->ifa_flags & IFF_UP)
                    || (at->ifa_flags & IFF_LOOPBACK))
                continue;
            const struct sockaddr_in *in = (const void *)at->ifa_addr;
            inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
            if (used + (int)sizeof text + 12 < (int)sizeof hub->address)
                used += snprintf(
                        hub->address + used, sizeof hub->address - (size_t)used, " %s", text);
        }
        freeifaddrs(all);
    }
    snprintf(hub->address + used, sizeof hub->address - (size_t)used, " 127.0.0.1");
}

static bool listen_here(struct pulse_hub *hub, struct err *err)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_ANY)}};
    socklen_t size = sizeof here;
    hub->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (hub->listener < 0 || bind(hub->listener, (struct sockaddr *)&here, sizeof here) != 0
            || listen(hub->listener, hub->n + STRANGERS) != 0
            || getsockname(hub->listener, (struct sockaddr *)&here, &size) != 0)
        return err_set(
                err, ERR_ENV, "cannot listen for signs of life of the ranks: %s", strerror(errno));
    list_addresses(hub, ntohs(here.sin_port));
    return true;
}

struct pulse_hub *pulse_hub_open(int n, struct err *err)
{
    struct pulse_hub *hub = calloc(1, sizeof *hub);
    if (hub) {
        hub->n = n;
        hub->listener = -1;
        hub->n_members = n + STRANGERS;
        hub->members = calloc((size_t)hub->n_members, sizeof *hub->members);
        hub->fds = calloc((size_t)hub->n_members + 2, sizeof *hub->fds);
    }
    if (!hub || !hub->members || !hub->fds) {
        pulse_hub_close(hub);
        err_set(err, ERR_ENV, "no memory to watch over %d ranks", n);
        return NULL;
    }
    for (int i = 0; i < hub->n_members; i++)
        hub->members[i].fd = -1;
    if (getrandom(&hub->key, sizeof hub->key, 0) != (ssize_t)sizeof hub->key)
        hub->key = (uint64_t)clock_now_ns();
    hub->open_ns = hub->last_ns = hub->beat_ns = clock_now_ns();
    if (!listen_here(hub, err)) {
        pulse_hub_close(hub);
        return NULL;
    }
    return hub;
}

const char *pulse_hub_address(const struct pulse_hub *hub)
{
    return hub->address;
}

void pulse_hub_close(struct pulse_hub *hub)
{
    if (!hub)
        return;
    for (int i = 0; hub->members && i < hub->n_members; i++)
        if (hub->members[i].fd >= 0)
            close(hub->members[i].fd);
    if (hub->listener >= 0)
        close(hub->listener);
    free(hub->members);
    free(hub->fds);
    free(hub);
}

static void answer(const struct member *member, enum pulse_answer what)
{
    char byte = (char)what;
    ssize_t ignored = send(member->fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)ignored; /* a connection that is gone shows when it is read */
}

static void accept_all(struct pulse_hub *hub)
{
    for (int i = 0; i < hub->n_members; i++) {
        if (hub->members[i].fd >= 0)
            continue;
        int fd = accept(hub->listener, NULL, NULL);
        if (fd < 0)
            return;
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        hub->members[i] = (struct member){.fd = fd, .heard_ns = clock_now_ns()};
    }
}

static void drop(struct member *member)
{
    close(member->fd);
    *member = (struct member){.fd = -1};
}

static void take_message(struct pulse_hub *hub, struct member *member)
{
    struct pulse_message message;
    memcpy(&message, member->buffer, sizeof message);
    member->partial = 0;
    if (message.key != hub->key) {
        drop(member);
        return;
    }
    message.host[sizeof message.host - 1] = message.phase[PULSE_PHASE - 1] = '\0';
    member->last = message;
    member->heard_ns = clock_now_ns();
    if (message.kind == PULSE_HELLO)
        answer(member, PULSE_ALIVE);
    hub->joined += !member->known;
    member->known = true;
    member->left = member->left || message.kind != PULSE_BEAT;
    if (message.kind == PULSE_HELLO)
        member->left = false;
    hub->told = hub->told || message.kind == PULSE_GIVE_UP;
    hub->closing = hub->closing || message.kind == PULSE_BYE;
}

static bool tell(struct pulse_hub *hub, const struct member *member, const char *what,
        const char *how, struct err *err)
{
    hub->told = true;
    return err_set(err, ERR_ENV, "rank %d on %s %s while %s: %s; the run was ended",
            member->last.rank, member->last.host, what, member->last.phase, how);
}

static void read_member(struct pulse_hub *hub, struct member *member)
{
    while (member->fd >= 0) {
        ssize_t n = recv(member->fd, member->buffer + member->partial,
                sizeof member->buffer - member->partial, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        member->ended = n <= 0;
        if (member->ended)
            return;
        member->partial += (size_t)n;
        if (member->partial == sizeof member->buffer)
            take_message(hub, member);
    }
}

/* A rank that gives up says so, and then the launcher kills the others: all is read before it is judged whose connection
 * ended. False: a rank was lost. */
static bool read_all(struct pulse_hub *hub, struct err *err)
{
    for (int i = 0; i < hub->n_members; i++)
        read_member(hub, &hub->members[i]);
    for (int i = 0; i < hub->n_members; i++) {
        struct member gone = hub->members[i];
        if (!gone.ended)
            continue;
        drop(&hub->members[i]);
        if (gone.known && !gone.left && !hub->closing && !hub->told)
            return tell(hub, &gone, "was killed or crashed",
                    "its process is gone (out of memory? see dmesg)", err);
    }
    return true;
}

static bool judge_silent(struct pulse_hub *hub, struct member *member, struct err *err)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    /* Our own bytes are acknowledged by its host even when the process is stopped. */
    getsockopt(member->fd, IPPROTO_TCP, TCP_INFO, &info, &size);
    struct member silent = *member;
    bool cut = info.tcpi_unacked > 0;
    if (!cut)
        answer(member, PULSE_END); /* for when it goes on */
    drop(member);
    return cut ? tell(hub, &silent, "was cut off", "its host does not answer any more", err)
               : tell(hub, &silent, "was stopped or hangs", "its process gives no sign of life",
                       err);
}

static bool judge(struct pulse_hub *hub, int64_t now_ns, struct err *err)
{
    if (now_ns - hub->last_ns
            > INT64_C(3) * PULSE_BEAT_MS * MS) { /* it was the hub that did not run */
        for (int i = 0; i < hub->n_members; i++)
            hub->members[i].heard_ns = now_ns;
        hub->open_ns += now_ns - hub->last_ns;
    }
    hub->last_ns = now_ns;
    if (hub->joined < hub->n && now_ns - hub->open_ns > PULSE_JOIN_MS * MS) {
        hub->told = true;
        return err_set(err, ERR_ENV,
                "%d of %d ranks did not start within %d s: does the launcher reach every host "
                "without asking for a password, and does each have this program and the input "
                "files at the same paths?",
                hub->n - hub->joined, hub->n, PULSE_JOIN_MS / 1000);
    }
    bool beat = now_ns - hub->beat_ns >= PULSE_BEAT_MS * MS;
    if (beat)
        hub->beat_ns = now_ns;
    for (int i = 0; i < hub->n_members; i++) {
        struct member *member = &hub->members[i];
        if (member->fd < 0)
            continue;
        int64_t silent_ns = now_ns - member->heard_ns;
        if (member->known && !member->left && silent_ns > PULSE_LOST_MS * MS)
            return judge_silent(hub, member, err);
        if (!member->known && silent_ns > PULSE_JOIN_MS * MS)
            drop(member); /* a stranger */
        else if (beat && member->known && !member->left)
            answer(member, PULSE_ALIVE);
    }
    return true;
}

bool pulse_hub_step(struct pulse_hub *hub, int fd, int wait_ms, struct err *err)
{
    struct pollfd *fds = hub->fds;
    fds[0] = (struct pollfd){hub->listener, POLLIN, 0};
    fds[1] = (struct pollfd){fd, POLLIN, 0};
    for (int i = 0; i < hub->n_members; i++)
        fds[2 + i] = (struct pollfd){hub->members[i].fd, POLLIN, 0};
    int n = poll(
            fds, (nfds_t)hub->n_members + 2, wait_ms < PULSE_BEAT_MS ? wait_ms : PULSE_BEAT_MS);
    if (hub->told)
        return true;
    if (n > 0 && !read_all(hub, err))
        return false;
    if (n > 0 && fds[0].revents)
        accept_all(hub);
    return judge(hub, clock_now_ns(), err);
}

void pulse_hub_end_all(struct pulse_hub *hub)
{
    for (int i = 0; i < hub->n_members; i++)
        if (hub->members[i].fd >= 0 && hub->members[i].known)
            answer(&hub->members[i], PULSE_END);
}
