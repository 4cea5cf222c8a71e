/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The refresher process as the parent sees it: its fork, its supervision and
 * its end. What happens inside it is process/life.c.
 *
 * The one idea: httpd already watches other children (mod_cgid's daemon, piped
 * loggers): it reaps them about every second, and says why. All that is added
 * is a heartbeat, for one that lives and does nothing.
 *
 * What is registered anywhere goes before the generation's pool does: the
 * module may be another one afterwards, or none.
 */

#include "staple_process.h"
#include "process/process_int.h"

#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ap_mpm.h>
#include <http_core.h>
#include <http_log.h>
#include <mpm_common.h>

#include "staple_clock.h"

APLOG_USE_MODULE(staple);

/* The longest that a fork waits after deaths without a heartbeat. */
#define PAUSE_MAX apr_time_from_sec(60)

/* What it has to end by itself, and how long SIGKILL may take: a process that
 * waits for a disk gets that only later. */
#define TERM_PATIENCE apr_time_from_msec(100)
#define KILL_PATIENCE apr_time_from_msec(900)
#define END_PAUSE apr_time_from_msec(2)

/* ----- its birth ----- */

static void on_change(int reason, void *data, int status);

static apr_interval_time_t pause_after(unsigned failing)
{
    apr_interval_time_t pause = apr_time_from_sec(1);

    if (!failing) {
        return 0;
    }
    while (--failing && pause < PAUSE_MAX) {
        pause *= 2;
    }
    return pause < PAUSE_MAX ? pause : PAUSE_MAX;
}

/* Have httpd tell what becomes of it. The record of that dies with it, and
 * takes no memory of the generation's. */
static void register_proc(staple_process_t *process)
{
    apr_pool_create(&process->watch, process->pool);
    apr_pool_tag(process->watch, "staple_process");
    apr_proc_other_child_register(&process->proc, on_change, process, NULL,
                                  process->watch);
}

static void unregister_proc(staple_process_t *process)
{
    apr_pool_t *p = process->watch;

    if (p) {
        process->watch = NULL;
        apr_proc_other_child_unregister(process);
        apr_pool_destroy(p);
    }
}

static void fork_one(staple_process_t *process)
{
    apr_status_t rv;

    process->pause = pause_after(process->failing);
    process->is_killed = 0;
    process->forked = staple_clock_now();
    rv = apr_proc_fork(&process->proc, process->pool);
    if (rv == APR_INCHILD) {
        staple_process_live(process); /* does not return */
    }
    if (rv != APR_INPARENT) {
        process->proc.pid = 0;
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, process->server, "STP0122: "
                     "no process can be forked to refresh OCSP responses; it "
                     "is tried again");
        return;
    }
    staple_process_note_told(process);
    register_proc(process);
}

/* ----- its death ----- */

static int is_server_stopping(void)
{
    int state;

    return ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS
           && state == AP_MPMQ_STOPPING;
}

/* Whether it was stuck in what its fork left behind, or in what it does. One
 * that was replaced on purpose is no cause for a warning. */
static void note_death(staple_process_t *process, int status)
{
    int level = process->is_killed ? APLOG_INFO : APLOG_WARNING;

    process->failing = staple_process_has_beaten(process)
                       ? 0 : process->failing + 1;
    process->restarts++;
    if (!process->failing) { /* the marks are its own */
        staple_process_count_crash(process, status);
    }
    process->is_hopeless = status == EXIT_PRIVILEGED;
    if (!process->is_hopeless) {
        ap_log_error(APLOG_MARK, level, 0, process->server, "STP0120: "
                     "the process %" APR_PID_T_FMT " that refreshed OCSP "
                     "responses has ended; another one takes its place",
                     process->proc.pid);
    }
}

/* Its work has said why. Not by APEXIT_CHILDFATAL: prefork leaves its children
 * behind then, and event and worker wait for their connections and leave the
 * pid file behind. */
static void end_server(staple_process_t *process)
{
    process->proc.pid = 0;
    process->is_hopeless = 1;
    kill(getpid(), SIGTERM);
}

/* httpd calls it in the parent's loop; the server is at work, or has begun to
 * end. */
static void on_change(int reason, void *data, int status)
{
    staple_process_t *process = STAPLE_CAST(staple_process_t, PROCESS_MAGIC,
                                            data);

    if (reason == APR_OC_REASON_RESTART) { /* the pool's end ends it */
        unregister_proc(process);
        return;
    }
    if (reason != APR_OC_REASON_DEATH && reason != APR_OC_REASON_LOST) {
        return;
    }
    unregister_proc(process);
    if (is_server_stopping()) {
        process->proc.pid = 0;
        return;
    }
    if (reason == APR_OC_REASON_DEATH && status == STAPLE_PROCESS_END_SERVER) {
        end_server(process);
        return;
    }
    note_death(process, status);
    process->proc.pid = 0;
    if (!process->is_hopeless) {
        fork_one(process);
    }
}

/* ----- its supervision ----- */

static apr_interval_time_t silence_of(const staple_process_t *process)
{
    staple_process_state_t state;

    if (!staple_process_has_beaten(process)) {
        return staple_clock_now() - process->forked - process->pause;
    }
    staple_process_state(process, &state);
    return state.silence;
}

/* Its death is told within a second, and then another one is forked. */
static void replace(staple_process_t *process)
{
    if (process->proc.pid) {
        process->is_killed = 1;
        kill(process->proc.pid, SIGKILL);
    }
}

/* A child of httpd's waits for the name service, too, and as long as it likes.
 */
static apr_interval_time_t patience_with(const staple_process_t *process)
{
    return !staple_process_has_beaten(process)
           && staple_process_is_looking_up(process)
           ? STAPLE_PROCESS_LOOKUP_SILENCE : STAPLE_PROCESS_SILENCE;
}

static void check_heartbeat(staple_process_t *process)
{
    apr_interval_time_t silence = silence_of(process);

    if (silence > patience_with(process)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, process->server, "STP0121: "
                     "the process %" APR_PID_T_FMT " that refreshes OCSP "
                     "responses has given no sign of life for %d seconds; it "
                     "is killed, and another one takes its place",
                     process->proc.pid, (int)apr_time_sec(silence));
        replace(process);
    }
}

/* Whether it has been reaped, by this or by httpd. */
static int is_gone(pid_t pid)
{
    pid_t reaped = waitpid(pid, NULL, WNOHANG);

    return reaped == pid || (reaped < 0 && errno == ECHILD);
}

static void forget_ended(staple_process_t *process)
{
    int i = 0;

    while (i < process->left_count) {
        if (is_gone(process->left[i])) {
            process->left[i] = process->left[--process->left_count];
        }
        else {
            i++;
        }
    }
}

/* It waits for a disk, say; it does nothing more when it wakes up. There is
 * room for it: it would not have been forked otherwise. */
static void leave_behind(staple_process_t *process)
{
    unregister_proc(process);
    process->left[process->left_count++] = process->proc.pid;
    process->proc.pid = 0;
    process->restarts++;
}

/* One after another would hang as well, until the system allows no more
 * processes, and so no children. */
static int may_fork(staple_process_t *process)
{
    forget_ended(process);
    if (process->left_count < STAPLE_PROCESS_LEFT_MAX) {
        process->is_full = 0;
        return 1;
    }
    if (!process->is_full) {
        process->is_full = 1;
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, process->server, "STP0170: "
                     "%d processes that refreshed OCSP responses were killed "
                     "and cannot end, because they wait for a file system; no "
                     "response is refreshed until one of them has ended",
                     process->left_count);
    }
    return 0;
}

void staple_process_supervise(staple_process_t *process)
{
    if (process->is_hopeless || is_server_stopping()) {
        return;
    }
    if (process->is_killed && process->proc.pid) {
        leave_behind(process);
    }
    if (process->proc.pid) {
        check_heartbeat(process);
    }
    else if (may_fork(process)) {
        fork_one(process);
    }
}

/* ----- its end ----- */

static int has_ended(pid_t pid, apr_interval_time_t patience)
{
    apr_time_t end = staple_clock_now() + patience;

    for (;;) {
        if (is_gone(pid)) {
            return 1;
        }
        if (staple_clock_now() >= end) {
            return 0;
        }
        apr_sleep(END_PAUSE);
    }
}

/* Not apr_pool_note_subprocess: its last wait is without a bound. */
static void end_process(staple_process_t *process)
{
    pid_t pid = process->proc.pid;

    process->proc.pid = 0;
    kill(pid, SIGTERM);
    if (has_ended(pid, TERM_PATIENCE)) {
        return;
    }
    kill(pid, SIGKILL);
    if (!has_ended(pid, KILL_PATIENCE)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, process->server, "STP0126: "
                     "the process %" APR_PID_T_FMT " that refreshed OCSP "
                     "responses did not end when it was killed; it is left "
                     "behind", pid);
    }
}

static apr_status_t on_pool_end(void *data)
{
    staple_process_t *process = STAPLE_CAST(staple_process_t, PROCESS_MAGIC,
                                            data);

    if (process->parent != getpid()) { /* somebody else's fork */
        return APR_SUCCESS;
    }
    unregister_proc(process);
    if (process->proc.pid) {
        end_process(process);
    }
    staple_process_free_board(process);
    return APR_SUCCESS;
}

apr_status_t staple_process_start(staple_process_t **processp,
                                  const staple_process_work_t *given,
                                  server_rec *s, apr_pool_t *p,
                                  apr_pool_t *ptemp)
{
    staple_process_t *process = apr_pcalloc(p, sizeof(*process));
    apr_status_t rv = staple_process_make_board(process);

    if (rv) {
        return rv;
    }
    process->magic = PROCESS_MAGIC;
    process->work = *given;
    process->server = s;
    process->parent = getpid();
    process->pool = p;
    process->ptemp = ptemp;
    *processp = process; /* the work may ask for it in the fork */
    apr_pool_pre_cleanup_register(p, process, on_pool_end);
    fork_one(process);
    process->ptemp = NULL; /* of this fork alone */
    return APR_SUCCESS;
}
