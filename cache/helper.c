/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Who makes the ring's file: a process that lives for that alone.
 *
 * The one idea: a file system that hangs stops whoever calls it, even to close
 * a descriptor. httpd's parent must not be stopped, since it restarts, stops
 * and replaces all others. So it never has the file: it forks a helper, waits
 * for its answer no longer than it likes, and the descriptor goes past it, as
 * a message that waits in a pair of sockets (the channel) for the process that
 * copies. There it also keeps the file's lock from one refresher to the next
 * and over a restart.
 *
 * A helper does not end before the parent has heard it: the MPM, which waits
 * for any process, would wonder whose it was.
 */

#include "file.h"
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include <apr_strings.h>

#include "staple_clock.h"

/* As ps -o comm shows it. */
#define PROCESS_NAME "staple-file"

/* How long a helper that got SIGKILL is waited for: one that has answered waits
 * for no disk, but the machine may be busy; one that has not may never end. */
#define END_PATIENCE apr_time_from_sec(5)
#define DROP_PATIENCE apr_time_from_msec(100)
#define KILL_PAUSE apr_time_from_msec(1)

/* How often one that has answered looks whether the parent is there. */
#define LINGER_MSEC 1000

/* Linux gives a descriptor away with a message that is only looked at. Where
 * it has to be taken out, it is put back. */
#ifdef __linux__
#define LOOK MSG_PEEK
#else
#define LOOK 0
#endif

/* ----- the channel ----- */

void staple_cache_keep_nothing(staple_cache_kept_t *kept)
{
    memset(kept, 0, sizeof(*kept));
    kept->ring.fd = -1;
    kept->counters.fd = -1;
    kept->channel[0] = kept->channel[1] = -1;
    kept->answer = -1;
}

static int make_pair(int type, int fds[2])
{
    if (socketpair(AF_UNIX, type, 0, fds)) {
        return errno;
    }
    fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    fcntl(fds[1], F_SETFD, FD_CLOEXEC);
    return 0;
}

apr_status_t staple_cache_open_channel(staple_cache_kept_t *kept)
{
    return make_pair(SOCK_DGRAM, kept->channel);
}

/* A message: which file it is, and its descriptor. */
typedef struct message_t {
    struct msghdr head;
    struct iovec text;
    apr_int64_t edition;
    union {
        struct cmsghdr first; /* for its alignment */
        char bytes[CMSG_SPACE(sizeof(int))];
    } rights;
} message_t;

static void begin_message(message_t *message)
{
    memset(message, 0, sizeof(*message));
    message->text.iov_base = &message->edition;
    message->text.iov_len = sizeof(message->edition);
    message->head.msg_iov = &message->text;
    message->head.msg_iovlen = 1;
}

static int put(const staple_cache_kept_t *kept, int fd, apr_int64_t edition)
{
    message_t message;
    struct cmsghdr *rights;

    begin_message(&message);
    message.edition = edition;
    message.head.msg_control = message.rights.bytes;
    message.head.msg_controllen = sizeof(message.rights.bytes);
    rights = CMSG_FIRSTHDR(&message.head);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
    return sendmsg(kept->channel[0], &message.head, MSG_DONTWAIT) < 0
           ? errno : 0;
}

/* The descriptor in the channel; -1: there is none. */
static int get(const staple_cache_kept_t *kept, int flags,
               apr_int64_t *edition)
{
    message_t message;
    struct cmsghdr *rights;
    int fd = -1;

    begin_message(&message);
    message.head.msg_control = message.rights.bytes;
    message.head.msg_controllen = sizeof(message.rights.bytes);
    if (recvmsg(kept->channel[1], &message.head, flags | MSG_DONTWAIT) < 0) {
        return -1;
    }
    rights = CMSG_FIRSTHDR(&message.head);
    if (rights && rights->cmsg_type == SCM_RIGHTS
        && rights->cmsg_len == CMSG_LEN(sizeof(fd))) {
        memcpy(&fd, CMSG_DATA(rights), sizeof(fd));
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    *edition = message.edition;
    return fd;
}

/* Without taking the descriptor. */
static apr_int64_t edition_of(const staple_cache_kept_t *kept)
{
    message_t message;

    begin_message(&message);
    return recvmsg(kept->channel[1], &message.head, MSG_PEEK | MSG_DONTWAIT) < 0
           ? 0 : message.edition;
}

int staple_cache_look_for_file(const staple_cache_kept_t *kept,
                               apr_int64_t *edition)
{
    apr_int64_t there = kept->channel[1] < 0 ? 0 : edition_of(kept);
    int fd;

    if (!there || there == *edition) {
        return -1;
    }
    fd = get(kept, LOOK, edition);
    if (!LOOK && fd >= 0) {
        put(kept, fd, *edition);
    }
    return fd;
}

/* ----- the work ----- */

/* What was in the channel, for whoever makes another file: its lock is ours.
 * -1: nothing was. */
static int take_file(const staple_cache_kept_t *kept)
{
    apr_int64_t edition;

    return kept && kept->channel[1] >= 0 ? get(kept, 0, &edition) : -1;
}

static void write_down(char *to, const char *text)
{
    apr_cpystrn(to, text, STAPLE_CACHE_ANSWER_LEN);
}

/* NULL, or why a new file cannot be made in the place of what is there. */
static const char *clear_place(const staple_cache_order_t *order, int held,
                               staple_cache_answer_t *answer, apr_pool_t *p)
{
    staple_cache_search_t search = { order->path, 0, held, 0 };
    staple_cache_found_t there = staple_cache_file_find(&search, p);
    const char *aside, *why, *broken = order->broken;

    if (there.what == STAPLE_CACHE_FOUND_FOREIGN) {
        write_down(answer->found, there.why);
        return apr_pstrcat(p, "what is there ", there.why, NULL);
    }
    if (there.what == STAPLE_CACHE_FOUND_BROKEN && !broken) {
        broken = there.why;
    }
    if (there.what == STAPLE_CACHE_FOUND_NOTHING || !broken) {
        return NULL;
    }
    write_down(answer->found, broken);
    why = staple_cache_file_set_aside(order->path, &aside, p);
    if (!why) {
        answer->is_aside = 1;
        write_down(answer->found, apr_psprintf(p, "%s; it was renamed to %s",
                                               broken, aside));
    }
    return why;
}

static void make_file(const staple_cache_kept_t *kept,
                      const staple_cache_order_t *order, int held,
                      staple_cache_answer_t *answer, apr_pool_t *p)
{
    const char *why = clear_place(order, held, answer, p);
    int fd = -1, error;

    if (!why) {
        why = staple_cache_file_make(order->path, order->bytes, order->size,
                                     &fd, p);
    }
    if (why) {
        write_down(answer->failure, why);
        return;
    }
    error = put(kept, fd, (apr_int64_t)staple_clock_now());
    if (error) {
        write_down(answer->failure, strerror(error));
    }
    close(fd);
}

void staple_cache_help(staple_cache_kept_t *kept,
                       const staple_cache_order_t *order,
                       staple_cache_answer_t *answer)
{
    int held = take_file(order->before);
    int own = take_file(kept); /* a generation has one of them */
    apr_pool_t *p;

    memset(answer, 0, sizeof(*answer));
    kept->helped = staple_clock_now();
    if (apr_pool_create_unmanaged_ex(&p, NULL, NULL)) {
        write_down(answer->failure, "there is no memory");
        return;
    }
    if (order->is_start) {
        staple_cache_file_remove_stale(order->path, p);
    }
    make_file(kept, order, held >= 0 ? held : own, answer, p);
    apr_pool_destroy(p);
    if (held >= 0) {
        close(held);
    }
    if (own >= 0) {
        close(own);
    }
}

/* ----- the helper ----- */

/* prefork tells its whole process group to restart; SIGTERM means all. */
static void set_signals(void)
{
    sigset_t none;

    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void live(staple_cache_kept_t *kept, const staple_cache_order_t *order,
                 pid_t parent, int to)
{
    staple_cache_answer_t answer;

#ifdef PR_SET_NAME
    prctl(PR_SET_NAME, PROCESS_NAME, 0, 0, 0);
#endif
    set_signals();
    if (order->on_fork) {
        order->on_fork();
    }
    staple_cache_help(kept, order, &answer);
    if (send(to, &answer, sizeof(answer), MSG_DONTWAIT) == sizeof(answer)) {
        while (getppid() == parent) {
            poll(NULL, 0, LINGER_MSEC);
        }
    }
    _exit(0);
}

apr_status_t staple_cache_start_helper(staple_cache_kept_t *kept,
                                       const staple_cache_order_t *order)
{
    pid_t parent = getpid(), pid;
    int pair[2], error = make_pair(SOCK_STREAM, pair);

    kept->helped = staple_clock_now();
    if (error) {
        return error;
    }
    pid = fork();
    if (pid == 0) {
        close(pair[0]);
        live(kept, order, parent, pair[1]);
    }
    error = errno;
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return error;
    }
    kept->helper = pid;
    kept->answer = pair[0];
    return APR_SUCCESS;
}

static int is_reaped(pid_t pid)
{
    int status;
    pid_t reaped = waitpid(pid, &status, WNOHANG);

    return reaped == pid || (reaped < 0 && errno != EINTR);
}

/* One that the MPM has reaped gets no signal: its number may be another's now.
 * Whoever is not reaped in time, the MPM meets some day and calls a long lost
 * child (AH00488). */
static void end_helper(staple_cache_kept_t *kept, apr_interval_time_t patience)
{
    apr_time_t end = staple_clock_now() + patience;
    pid_t pid = kept->helper;

    kept->helper = 0;
    if (is_reaped(pid)) {
        return;
    }
    kill(pid, SIGKILL);
    while (!is_reaped(pid) && staple_clock_now() < end) {
        apr_sleep(KILL_PAUSE);
    }
}

void staple_cache_drop_helper(staple_cache_kept_t *kept)
{
    if (kept->helper) {
        end_helper(kept, DROP_PATIENCE);
    }
    if (kept->answer >= 0) {
        close(kept->answer);
        kept->answer = -1;
    }
}

/* A signal ends no wait, but its rest. */
static int has_answer(int fd, apr_interval_time_t patience)
{
    apr_time_t end = staple_clock_now() + patience;
    struct pollfd polled = { fd, POLLIN, 0 };
    apr_interval_time_t left;

    do {
        left = end - staple_clock_now();
        left = left > 0 ? left : 0;
        if (poll(&polled, 1, (int)apr_time_as_msec(left)) > 0) {
            return 1;
        }
    } while (left);
    return 0;
}

int staple_cache_hear_helper(staple_cache_kept_t *kept,
                             apr_interval_time_t patience,
                             staple_cache_answer_t *answer)
{
    if (!has_answer(kept->answer, patience)) {
        return 0;
    }
    if (recv(kept->answer, answer, sizeof(*answer), MSG_DONTWAIT)
        != sizeof(*answer)) {
        memset(answer, 0, sizeof(*answer));
        write_down(answer->failure, "the process that makes it has died");
    }
    end_helper(kept, END_PATIENCE);
    staple_cache_drop_helper(kept);
    return 1;
}
