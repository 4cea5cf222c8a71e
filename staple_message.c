/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Messages: the program of StapleMessageCmd, started when something changes.
 *
 * The one idea: a notice is one run of the program, and it is in one of two
 * lists, waiting or running. A step (staple_message_run) walks the running ones
 * and then starts waiting ones while there is room; nothing here ever waits for
 * a program.
 *
 * A notice has a pool of its own, which is destroyed with it.
 */

#include "staple_message.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>

#include <apr_errno.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>

#include "staple_clock.h"
#include "staple_id.h"

/* The path that programs get; it does not depend on the server's own. */
#define SEARCH_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:" \
                    "/sbin:/bin"

/* How long staple_message_destroy waits for programs that got SIGTERM. */
#define END_PATIENCE apr_time_from_msec(100)
#define END_PAUSE apr_time_from_msec(5)

/* Which signals to end it a running program has got. */
typedef enum {
    NOT_SIGNALLED,
    SIGTERM_SENT,
    SIGKILL_SENT
} kill_stage_e;

typedef struct notice_t {
    struct notice_t *next;
    apr_pool_t *pool;
    unsigned char id[STAPLE_ID_LEN];
    staple_message_e reason;
    const char *name, *serial, *hosts, *detail;
    const char *environment[STAPLE_MESSAGE_VARIABLES + 3]; /* ends in NULL */
    apr_proc_t process;   /* while it runs */
    apr_time_t deadline;  /* when the next signal is sent */
    kill_stage_e kill_stage;
} notice_t;

struct staple_message_t {
    staple_message_conf_t conf;
    apr_pool_t *pool;           /* parent of the notices' */
    int command_length;         /* words of conf.command */
    int running_count;
    int waiting_count;
    notice_t *running;
    notice_t *waiting;         /* in the order in which they came */
};

const char *staple_message_text(staple_message_e reason)
{
    switch (reason) {
    case STAPLE_MESSAGE_RENEWED:
        return "renewed";
    case STAPLE_MESSAGE_ERRORED:
        return "errored";
    case STAPLE_MESSAGE_RECOVERED:
        return "recovered";
    case STAPLE_MESSAGE_REVOKED:
        return "revoked";
    case STAPLE_MESSAGE_EXPIRING:
        return "expiring";
    }
    return "unknown";
}

apr_status_t staple_message_create(staple_message_t **message,
                                   const staple_message_conf_t *conf,
                                   apr_pool_t *p)
{
    staple_message_t *made = apr_pcalloc(p, sizeof(*made));
    /* apart from the server's, which other threads use meanwhile */
    apr_status_t rv = apr_pool_create_unmanaged_ex(&made->pool,
                                                   apr_pool_abort_get(p), NULL);

    if (rv) {
        return rv;
    }
    made->conf = *conf;
    while (conf->command[made->command_length]) {
        made->command_length++;
    }
    *message = made;
    return APR_SUCCESS;
}

/* The link to the notice about a certificate in a list; NULL: none. */
static notice_t **find(notice_t **list, const unsigned char *id)
{
    for (; *list; list = &(*list)->next) {
        if (!memcmp((*list)->id, id, STAPLE_ID_LEN)) {
            return list;
        }
    }
    return NULL;
}

static notice_t *unlink_at(notice_t **at)
{
    notice_t *notice = *at;

    *at = notice->next;
    notice->next = NULL;
    return notice;
}

static void append_notice(notice_t **list, notice_t *notice)
{
    while (*list) {
        list = &(*list)->next;
    }
    *list = notice;
}

static void copy_environment(notice_t *notice,
                             const staple_message_note_t *note)
{
    const char *const *from = note->variables;
    const char **to = notice->environment;
    int i;

    *to++ = SEARCH_PATH;
    *to++ = "STAPLE_VERSION=" STAPLE_VERSION;
    for (i = 0; from && from[i] && i < STAPLE_MESSAGE_VARIABLES; i++) {
        *to++ = apr_pstrdup(notice->pool, from[i]);
    }
}

apr_status_t staple_message_send(staple_message_t *message,
                                 const staple_message_note_t *note)
{
    notice_t **older = find(&message->waiting, note->id);
    notice_t *notice;
    apr_pool_t *p;
    apr_status_t rv = apr_pool_create(&p, message->pool);

    if (rv) {
        return rv;
    }
    notice = apr_pcalloc(p, sizeof(*notice));
    notice->pool = p;
    memcpy(notice->id, note->id, STAPLE_ID_LEN);
    notice->reason = note->reason;
    copy_environment(notice, note);
    notice->name = apr_pstrdup(p, note->name);
    notice->serial = apr_pstrdup(p, note->serial);
    notice->hosts = apr_pstrdup(p, note->hosts);
    notice->detail = apr_pstrdup(p, note->detail);
    if (older) {
        apr_pool_destroy(unlink_at(older)->pool);
        message->waiting_count--;
    }
    append_notice(&message->waiting, notice);
    message->waiting_count++;
    return APR_SUCCESS;
}

/* ----- one program ----- */

static const char *const *arguments_of(const staple_message_t *message,
                                       const notice_t *notice)
{
    int n = message->command_length;
    const char **words = apr_pcalloc(notice->pool,
                                     ((apr_size_t)n + 6) * sizeof(*words));

    memcpy(words, message->conf.command, (apr_size_t)n * sizeof(*words));
    words[n++] = staple_message_text(notice->reason);
    words[n++] = notice->name;
    words[n++] = notice->serial;
    words[n++] = notice->hosts;
    words[n] = notice->detail;
    return words;
}

/* What a process has that was forked from the refresher is not what a program
 * should start with: it ignores signals. And nobody would end the program in
 * time if the refresher were killed; so an alarm, which an exec leaves as it
 * is, ends it a little after the refresher would have. A group of its own lets
 * all that it starts be ended with it. Standard error stays the server's error
 * log. */
static void prepare(unsigned limit)
{
    struct sigaction action;
    sigset_t none;
    int number, in, out;

    setpgid(0, 0);
    memset(&action, 0, sizeof(action));
    action.sa_handler = SIG_DFL;
    for (number = 1; number < NSIG; number++) {
        sigaction(number, &action, NULL); /* some are as they have to be */
    }
    in = open("/dev/null", O_RDONLY);
    out = open("/dev/null", O_WRONLY);
    dup2(in, 0);
    dup2(out, 1);
    if (in > 2) {
        close(in);
    }
    if (out > 2) {
        close(out);
    }
    alarm(limit);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In a fork of a process with threads: nothing but system calls. */
static void become(const notice_t *notice, const char *const *words,
                   unsigned limit, int report)
{
    int error;

    prepare(limit);
    execve(words[0], (char *const *)words, (char *const *)notice->environment);
    error = errno;
    while (write(report, &error, sizeof(error)) < 0 && errno == EINTR) {
        continue;
    }
    _exit(127);
}

/* What kept the program from being started; 0: nothing did, and the exec has
 * closed the other end. */
static int read_error(int report)
{
    int error = 0;
    ssize_t n;

    do {
        n = read(report, &error, sizeof(error));
    } while (n < 0 && errno == EINTR);
    return n == sizeof(error) ? error : 0;
}

/* Not apr_proc_create: after a fork in a process with threads it walks all
 * pools, and the signals stay blocked. */
static apr_status_t spawn(notice_t *notice, const char *const *words,
                          unsigned limit)
{
    int report[2], error;
    pid_t pid;

    if (pipe(report)) {
        return errno;
    }
    fcntl(report[0], F_SETFD, FD_CLOEXEC);
    fcntl(report[1], F_SETFD, FD_CLOEXEC);
    pid = fork();
    if (pid == 0) {
        become(notice, words, limit, report[1]);
    }
    error = pid < 0 ? errno : 0;
    close(report[1]);
    if (pid > 0) {
        notice->process.pid = pid;
        error = read_error(report[0]);
    }
    close(report[0]);
    if (pid > 0 && error) {
        waitpid(pid, NULL, 0);
    }
    return APR_FROM_OS_ERROR(error);
}

static apr_status_t start(staple_message_t *message, notice_t *notice,
                          apr_time_t now)
{
    apr_interval_time_t limit = message->conf.timeout
                                + 2 * STAPLE_MESSAGE_GRACE;

    notice->deadline = now + message->conf.timeout;
    return spawn(notice, arguments_of(message, notice),
                 (unsigned)apr_time_sec(limit) + 1);
}

static void report_end(const staple_message_t *message, const notice_t *notice,
                     staple_message_end_e what, int exit_status,
                     apr_status_t rv)
{
    staple_message_end_t end;

    if (!message->conf.ended) {
        return;
    }
    memset(&end, 0, sizeof(end));
    end.end = what;
    end.reason = notice->reason;
    end.name = notice->name;
    end.exit_status = exit_status;
    end.rv = rv;
    message->conf.ended(message->conf.baton, &end);
}

/* Whether the program is collected, by this or by somebody else, so that no
 * zombie stays. Not apr_proc_wait, which tells of one that is stopped as of one
 * that is not there. */
static int collect(const notice_t *notice, int options, int *status)
{
    pid_t reaped;

    *status = 0;
    do {
        reaped = waitpid(notice->process.pid, status, options);
    } while (reaped < 0 && errno == EINTR);
    return reaped != 0;
}

/* Whether the program has ended. */
static int has_ended(notice_t *notice, staple_message_end_e *what,
                     int *exit_status)
{
    int status;

    if (!collect(notice, WNOHANG, &status)) {
        return 0;
    }
    *exit_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status)
                                       : WEXITSTATUS(status);
    *what = *exit_status ? STAPLE_MESSAGE_FAILED : STAPLE_MESSAGE_DONE;
    if (notice->kill_stage != NOT_SIGNALLED) {
        *what = STAPLE_MESSAGE_LATE;
    }
    return 1;
}

/* Send a program that takes too long its next signal, if it is time. */
static void signal_if_due(notice_t *notice, apr_time_t now)
{
    int is_first = notice->kill_stage == NOT_SIGNALLED;

    if (now < notice->deadline || notice->kill_stage == SIGKILL_SENT) {
        return;
    }
    notice->kill_stage = is_first ? SIGTERM_SENT : SIGKILL_SENT;
    kill(-notice->process.pid, is_first ? SIGTERM : SIGKILL);
    notice->deadline = now + STAPLE_MESSAGE_GRACE;
}

/* ----- all of them ----- */

static void watch_running(staple_message_t *message, apr_time_t now)
{
    notice_t **at = &message->running;
    staple_message_end_e what;
    int exit_status;

    while (*at) {
        if (!has_ended(*at, &what, &exit_status)) {
            signal_if_due(*at, now);
            at = &(*at)->next;
            continue;
        }
        report_end(message, *at, what, exit_status, APR_SUCCESS);
        apr_pool_destroy(unlink_at(at)->pool);
        message->running_count--;
    }
}

static void start_one(staple_message_t *message, notice_t *notice,
                      apr_time_t now)
{
    apr_status_t rv = start(message, notice, now);

    message->waiting_count--;
    if (rv) {
        report_end(message, notice, STAPLE_MESSAGE_NO_START, 0, rv);
        apr_pool_destroy(notice->pool);
        return;
    }
    append_notice(&message->running, notice);
    message->running_count++;
}

static void start_waiting(staple_message_t *message, apr_time_t now)
{
    notice_t **at = &message->waiting;

    while (*at && message->running_count < message->conf.concurrency) {
        if (find(&message->running, (*at)->id)) {
            at = &(*at)->next;
        }
        else {
            start_one(message, unlink_at(at), now);
        }
    }
}

int staple_message_run(staple_message_t *message)
{
    apr_time_t now = staple_clock_now();

    watch_running(message, now);
    start_waiting(message, now);
    return message->running_count + message->waiting_count;
}

/* SIGTERM to each program, or SIGKILL to one that has had it. */
static void signal_all(staple_message_t *message)
{
    notice_t *notice;

    for (notice = message->running; notice; notice = notice->next) {
        signal_if_due(notice, notice->deadline);
    }
}

static void collect_all(staple_message_t *message, int options)
{
    notice_t **at = &message->running;
    int ignored;

    while (*at) {
        if (collect(*at, options, &ignored)) {
            unlink_at(at);
        }
        else {
            at = &(*at)->next;
        }
    }
}

void staple_message_destroy(staple_message_t *message)
{
    apr_time_t end = staple_clock_now() + END_PATIENCE;

    signal_all(message);
    collect_all(message, WNOHANG);
    while (message->running && staple_clock_now() < end) {
        apr_sleep(END_PAUSE);
        collect_all(message, WNOHANG);
    }
    signal_all(message);
    collect_all(message, 0);
    apr_pool_destroy(message->pool);
}
