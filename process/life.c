/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The refresher's own side, from its fork to _exit.
 *
 * The one idea: a forked process has much that is not its own (listeners,
 * signal handlers, cleanups of pools, what other modules registered with
 * atexit). So it gives up what it can at once, and it never returns into
 * httpd: it ends by _exit and nothing else.
 */

#include "process_int.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <sys/resource.h>
#include <sys/time.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include <ap_listen.h>
#include <ap_mpm.h>
#include <http_core.h>
#include <http_log.h>
#include <mpm_common.h>

#include "staple_clock.h"

APLOG_USE_MODULE(staple);

/* As ps -o comm shows it; 15 bytes at most. ps -ef shows httpd's arguments. */
#define PROCESS_NAME "staple-refresh"

/* How long it waits between steps that find nothing to do. */
#define IDLE_MSEC 100

static volatile sig_atomic_t is_told_to_end;

/* Whatever waits when SIGTERM comes, or began to wait a moment later, is
 * interrupted: by this alarm, again and again. There is a tenth of a second
 * until SIGKILL. */
static void note_end(int number)
{
    static const struct itimerval often = { { 0, 5000 }, { 0, 5000 } };

    (void)number;
    is_told_to_end = 1;
    setitimer(ITIMER_REAL, &often, NULL);
}

static void interrupt(int number)
{
    (void)number;
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action;

    memset(&action, 0, sizeof(action)); /* no SA_RESTART: a sleep ends */
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

/* prefork tells its whole process group to restart or to end, and a terminal
 * its own to end (httpd -X). Of these, SIGTERM alone means this process. */
static void set_signals(void)
{
    static const int ignored[] = {
        SIGPIPE, SIGXFSZ, SIGHUP, SIGUSR1, SIGUSR2, SIGINT
    };
    sigset_t none;
    apr_size_t i;
    int number;

    for (number = 1; number < NSIG; number++) {
        handle(number, SIG_DFL); /* fails for some, which are as they should */
    }
    for (i = 0; i < sizeof(ignored) / sizeof(*ignored); i++) {
        handle(ignored[i], SIG_IGN);
    }
    handle(SIGALRM, interrupt);
    handle(SIGTERM, note_end);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void set_name(void)
{
#ifdef PR_SET_NAME
    prctl(PR_SET_NAME, PROCESS_NAME, 0, 0, 0);
#endif
}

/* It shares its user with CGI programs, and holds the private keys as a child
 * does: none of them may look into it. */
static void hide_memory(void)
{
#ifdef PR_SET_DUMPABLE
    prctl(PR_SET_DUMPABLE, ap_coredumpdir_configured ? 1 : 0, 0, 0, 0);
#endif
}

/* With httpd -X nobody supervises it, and no child outlives the parent. */
static void tie_to_parent(void)
{
#ifdef PR_SET_PDEATHSIG
    if (ap_exists_config_define("ONE_PROCESS")) {
        prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    }
#endif
}

static void wait_a_moment(void)
{
    if (!is_told_to_end) {
        poll(NULL, 0, IDLE_MSEC);
    }
}

/* The parent destroys this pool as soon as post_config is over; what is in it
 * would stay here for ever, and is more than this process needs for everything
 * else: mod_ssl has written each certificate there as PEM. */
static void give_back_memory(staple_process_t *process)
{
    if (!process->ptemp) {
        return; /* one that was forked later */
    }
    apr_allocator_max_free_set(apr_pool_allocator_get(process->ptemp), 1);
    apr_pool_destroy(process->ptemp);
    process->ptemp = NULL;
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

/* ----- until when ----- */

static void log_orphan(staple_process_t *process)
{
    if (!process->is_orphan) {
        process->is_orphan = 1;
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, process->server, "STP0127: "
                     "the parent process is gone; OCSP responses are refreshed "
                     "until its last child has ended");
    }
}

int staple_process_is_ending(staple_process_t *process)
{
    if (is_told_to_end) {
        return 1;
    }
    if (getppid() == process->parent) {
        return 0;
    }
    if (!staple_process_has_children(process)) {
        return 1;
    }
    log_orphan(process);
    return 0;
}

/* ----- the work ----- */

/* After deaths without a heartbeat: not again at once. */
static void await_turn(staple_process_t *process)
{
    apr_time_t end = staple_clock_now() + process->pause;

    while (!staple_process_is_ending(process)
           && staple_clock_now() < end) {
        wait_a_moment();
    }
}

/* A pool without a parent. Where it and its children cannot grow, httpd's own
 * function is called, which ends the process and says why. */
static apr_status_t make_pool(apr_pool_t **p, const staple_process_t *process)
{
    apr_abortfunc_t end = apr_pool_abort_get(process->server->process->pool);

    return apr_pool_create_unmanaged_ex(p, end, NULL);
}

/* What may pass by itself, as a lack of memory does. */
static int give_up_for_now(staple_process_t *process, apr_status_t rv)
{
    ap_log_error(APLOG_MARK, APLOG_ERR, rv, process->server, "STP0124: "
                 "the process that refreshes OCSP responses cannot begin; "
                 "it is tried again");
    return EXIT_NO_BEGINNING;
}

static int begin_work(staple_process_t *process)
{
    apr_pool_t *p;
    apr_status_t rv = make_pool(&p, process);

    if (!rv) {
        apr_pool_tag(p, "staple_process");
        rv = process->work.begin(process->work.baton, p);
    }
    if (!rv) {
        rv = staple_process_take_board(process);
    }
    if (rv) {
        return give_up_for_now(process, rv);
    }
    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, process->server, "STP0125: this "
                 "process refreshes OCSP responses from now on");
    return 0;
}

/* ----- its limits ----- */

/* What a process of the same account may change (prlimit), and what it takes to
 * ask responders. Without descriptors, say, this one would live on and do
 * nothing; the parent's limits are root's, and so are those of a new one. */
static const int limited[] = {
    RLIMIT_NOFILE, RLIMIT_AS, RLIMIT_DATA, RLIMIT_FSIZE
};

#define LIMITS (sizeof(limited) / sizeof(*limited))

static void read_limits(struct rlimit limits[LIMITS])
{
    apr_size_t i;

    memset(limits, 0, LIMITS * sizeof(*limits));
    for (i = 0; i < LIMITS; i++) {
        getrlimit(limited[i], &limits[i]);
    }
}

static int is_limited(const struct rlimit born[LIMITS])
{
    struct rlimit now[LIMITS];
    apr_size_t i;

    read_limits(now);
    for (i = 0; i < LIMITS; i++) {
        if (now[i].rlim_cur < born[i].rlim_cur) {
            return 1;
        }
    }
    return 0;
}

static int leave_limited(staple_process_t *process)
{
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, process->server, "STP0311: "
                 "another process has lowered the limits of the process that "
                 "refreshes OCSP responses; it ends, and a new process "
                 "without these limits replaces it");
    return EXIT_LIMITED;
}

static int work_until_end(staple_process_t *process,
                          const struct rlimit born[LIMITS])
{
    int status = 0;

    while (!status && !staple_process_is_ending(process)) {
        staple_process_beat(process);
        status = process->work.step(process->work.baton);
        if (!status && is_limited(born)) {
            status = leave_limited(process);
        }
        if (!status) {
            wait_a_moment();
        }
    }
    process->work.end(process->work.baton);
    return status;
}

static int become_user(staple_process_t *process)
{
    apr_pool_t *ptemp;
    const char *reason;
    apr_status_t rv = make_pool(&ptemp, process);

    if (rv) {
        return give_up_for_now(process, rv);
    }
    staple_process_note_lookup(process);
    reason = staple_process_drop_privileges(process->server, ptemp);
    if (reason) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, process->server, "STP0123: "
                     "the process that refreshes OCSP responses still has "
                     "privileges: %s; it does not run, and nothing new is "
                     "stapled", reason);
        return EXIT_PRIVILEGED;
    }
    return 0;
}

void staple_process_live(staple_process_t *process)
{
    struct rlimit born[LIMITS];
    int status;

    read_limits(born); /* while no other process of User may lower them */
    set_name();
    set_signals();
    ap_close_listeners();
    give_back_memory(process);
    status = become_user(process);
    hide_memory();
    tie_to_parent();
    if (!status) {
        await_turn(process);
        status = begin_work(process);
    }
    if (!status) {
        status = work_until_end(process, born);
    }
    _exit(status);
}
