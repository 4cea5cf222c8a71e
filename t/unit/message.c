/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Proves that messages start their program with the arguments promised and a
 * clean environment, never two at a time for one certificate, that one that
 * hangs is ended, that no zombie stays, and that no call waits.
 *
 * The programs are scripts of the shell that write into a scratch directory.
 */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>

#include "staple_id.h"
#include "staple_message.h"
#include "tap.h"

#define PATIENCE apr_time_from_sec(20)
#define PAUSE apr_time_from_msec(5)

static apr_pool_t *pool;
static const char *dir;

/* What the callback was told. */
typedef struct ends_t {
    int count;
    int of[STAPLE_MESSAGE_NO_START + 1];
    staple_message_end_t last;
    int steps;         /* calls of staple_message_run */
    int started_in;    /* the step after which the program was running */
} ends_t;

static void note_end(void *baton, const staple_message_end_t *end)
{
    ends_t *ends = baton;

    ends->count++;
    ends->of[end->end]++;
    ends->last = *end;
}

static const char *path(const char *name)
{
    return apr_pstrcat(pool, dir, "/", name, NULL);
}

static const char *content(const char *name)
{
    char buf[4096];
    apr_size_t len = sizeof(buf) - 1;
    apr_file_t *file;

    if (apr_file_open(&file, path(name), APR_READ, APR_OS_DEFAULT, pool)) {
        return "";
    }
    if (apr_file_read(file, buf, &len)) {
        len = 0;
    }
    apr_file_close(file);
    return apr_pstrmemdup(pool, buf, len);
}

/* The script finds the scratch directory as $0. */
static staple_message_t *make(const char *script, int concurrency,
                              apr_interval_time_t timeout, ends_t *ends)
{
    const char **command = apr_pcalloc(pool, 6 * sizeof(*command));
    staple_message_conf_t conf;
    staple_message_t *message;

    memset(ends, 0, sizeof(*ends));
    memset(&conf, 0, sizeof(conf));
    command[0] = "/bin/sh";
    command[1] = "-c";
    command[2] = script;
    command[3] = dir;
    command[4] = "first";
    conf.command = command;
    conf.timeout = timeout;
    conf.concurrency = concurrency;
    conf.ended = note_end;
    conf.baton = ends;
    return staple_message_create(&message, &conf, pool) ? NULL : message;
}

static void tell(staple_message_t *message, int number,
                 staple_message_e reason, const char *name)
{
    static const char *const variables[] = { "STAPLE_STATE=all is well",
                                             NULL };
    unsigned char id[STAPLE_ID_LEN] = { 0 };
    staple_message_note_t note;

    id[0] = (unsigned char)number;
    note.variables = variables;
    note.id = id;
    note.reason = reason;
    note.name = name;
    note.serial = "0A1B";
    note.hosts = "a.test:443,b.test:443";
    note.detail = "valid until then";
    staple_message_send(message, &note);
}

static int step(staple_message_t *message, ends_t *ends)
{
    int left = staple_message_run(message);

    ends->steps++;
    if (left && !ends->count && !ends->started_in) {
        ends->started_in = ends->steps;
    }
    return left;
}

/* Step until nothing is left or so many have ended; whether that was so. */
static int run_until(staple_message_t *message, ends_t *ends, int count)
{
    apr_time_t end = apr_time_now() + PATIENCE;

    while (apr_time_now() < end) {
        if ((!step(message, ends) && !count)
            || (count && ends->count >= count)) {
            return 1;
        }
        apr_sleep(PAUSE);
    }
    return 0;
}

static int wait_for_text(staple_message_t *message, ends_t *ends,
                         const char *name, const char *text)
{
    apr_time_t end = apr_time_now() + PATIENCE;

    while (!strstr(content(name), text) && apr_time_now() < end) {
        step(message, ends);
        apr_sleep(PAUSE);
    }
    return strstr(content(name), text) != NULL;
}

static int wait_for(staple_message_t *message, ends_t *ends, const char *name)
{
    return wait_for_text(message, ends, name, "\n");
}

static int has_children(void)
{
    return waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD;
}

static void test_arguments(void)
{
    ends_t ends;
    staple_message_t *message = make(
        "{ for a; do echo \"$a\"; done; "
        "echo \"[$SECRET][$STAPLE_VERSION][$STAPLE_STATE]\"; "
        "read x || echo no input; } >$0/args; echo noise",
        2, PATIENCE, &ends);

    setenv("SECRET", "told", 1);
    tell(message, 1, STAPLE_MESSAGE_RENEWED, "-n $(id) 'x\" *");
    ok(run_until(message, &ends, 0), "a program runs to its end");
    is_str(content("args"), "first\nrenewed\n-n $(id) 'x\" *\n0A1B\n"
           "a.test:443,b.test:443\nvalid until then\n[][" STAPLE_VERSION
           "][all is well]\nno input\n", "arguments as they are, a clean "
           "environment, no input");
    is_int(ends.of[STAPLE_MESSAGE_DONE], 1, "it is reported as done");
    is_str(ends.last.name, "-n $(id) 'x\" *", "under its name");
    staple_message_destroy(message);
    ok(!has_children(), "no zombie stays");
}

static void test_ends(void)
{
    static const struct {
        const char *script;
        staple_message_end_e end;
        int status;
        const char *what;
    } cases[] = {
        { "exit 0", STAPLE_MESSAGE_DONE, 0, "exit 0" },
        { "exit 3", STAPLE_MESSAGE_FAILED, 3, "exit 3" },
        { "kill -9 $$", STAPLE_MESSAGE_FAILED, 137, "killed" },
        { "sleep 60", STAPLE_MESSAGE_LATE, 128 + SIGTERM, "too slow" },
        { "sleep 60 & sleep 60", STAPLE_MESSAGE_LATE, 128 + SIGTERM,
          "too slow, with children" },
        { "kill -STOP $$; sleep 60", STAPLE_MESSAGE_LATE, 128 + SIGKILL,
          "stopped" },
        { "trap '' TERM; while :; do sleep 0.1; done", STAPLE_MESSAGE_LATE,
          128 + SIGKILL, "too slow and deaf" },
    };
    apr_size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ends_t ends;
        staple_message_t *message = make(
            cases[i].script, 1, cases[i].end == STAPLE_MESSAGE_LATE
                                ? apr_time_from_sec(1) : PATIENCE, &ends);

        tell(message, 1, STAPLE_MESSAGE_ERRORED, "www.test");
        ok(run_until(message, &ends, 0), "%s: it ends", cases[i].what);
        is_int((int)ends.last.end, (int)cases[i].end, "... as that");
        is_int(ends.last.exit_status, cases[i].status, "... its status");
        is_int(ends.started_in, 1, "... and not within the call that started "
               "it");
        staple_message_destroy(message);
        ok(!has_children(), "... no zombie stays");
    }
}

/* Whether none of the signals 1 to 31 is in a set, as /proc has it; true also
 * where there is no /proc. */
static int is_clear(const char *status, const char *name)
{
    const char *at = strstr(status, name);

    return !at
           || !(strtoull(at + strlen(name), NULL, 16) & 0x7fffffffull);
}

/* As in a thread of httpd's. */
static void test_signals(void)
{
    ends_t ends;
    staple_message_t *message = make("grep Sig[BI] /proc/self/status >$0/sig",
                                     1, PATIENCE, &ends);
    sigset_t all, old;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    signal(SIGPIPE, SIG_IGN);
    tell(message, 1, STAPLE_MESSAGE_RENEWED, "www.test");
    ok(run_until(message, &ends, 0), "started with all signals blocked");
    sigprocmask(SIG_SETMASK, &old, NULL);
    ok(is_clear(content("sig"), "SigBlk:"), "a program has none blocked");
    ok(is_clear(content("sig"), "SigIgn:"), "and none ignored");
    staple_message_destroy(message);
}

static void test_no_start(void)
{
    static const char *const command[] = { "/nonexistent/program", NULL };
    staple_message_conf_t conf;
    staple_message_t *message;
    ends_t ends;

    memset(&conf, 0, sizeof(conf));
    memset(&ends, 0, sizeof(ends));
    conf.command = command;
    conf.timeout = PATIENCE;
    conf.concurrency = 1;
    conf.ended = note_end;
    conf.baton = &ends;
    staple_message_create(&message, &conf, pool);
    tell(message, 1, STAPLE_MESSAGE_REVOKED, "www.test");
    is_int(staple_message_run(message), 0, "a program that is not there");
    is_int(ends.of[STAPLE_MESSAGE_NO_START], 1, "... is reported");
    ok(APR_STATUS_IS_ENOENT(ends.last.rv), "... with the reason");
    staple_message_destroy(message);
}

/* A program waits for the file "go"; meanwhile more is to be told. */
static void test_one_at_a_time(void)
{
    ends_t ends;
    staple_message_t *message = make(
        "echo $2 $3 >>$0/started; while ! test -e $0/go; do sleep 0.02; done; "
        "echo $2 $3 >>$0/ended", 8, PATIENCE, &ends);
    apr_file_t *go;

    tell(message, 1, STAPLE_MESSAGE_ERRORED, "one");
    ok(wait_for(message, &ends, "started"), "the first starts");
    tell(message, 1, STAPLE_MESSAGE_EXPIRING, "one");
    tell(message, 1, STAPLE_MESSAGE_RECOVERED, "one");
    is_int(step(message, &ends), 2, "one runs, one waits, one was replaced");
    tell(message, 2, STAPLE_MESSAGE_RENEWED, "two");
    is_int(step(message, &ends), 3, "two run, one waits");
    ok(wait_for_text(message, &ends, "started", "renewed two"),
       "the other certificate's has started");
    is_int(step(message, &ends), 3, "it goes on waiting");
    ok(!strstr(content("started"), "recovered"), "and has not started");
    is_int(ends.count, 0, "nothing has ended");
    apr_file_open(&go, path("go"), APR_WRITE | APR_CREATE, APR_OS_DEFAULT,
                  pool);
    apr_file_close(go);
    ok(run_until(message, &ends, 0), "all end");
    ok(strstr(content("ended"), "errored one\n") != NULL
       && strstr(content("ended"), "recovered one\n") != NULL
       && strstr(content("ended"), "renewed two\n") != NULL,
       "three were told");
    ok(!strstr(content("started"), "expiring"), "what was replaced was not");
    staple_message_destroy(message);
    ok(!has_children(), "no zombie stays");
}

static void test_concurrency(void)
{
    ends_t ends;
    staple_message_t *message = make("echo . >>$0/many", 3, PATIENCE, &ends);
    int i;

    for (i = 0; i < 50; i++) {
        tell(message, i, STAPLE_MESSAGE_RENEWED, "many");
    }
    is_int(staple_message_run(message), 50, "no more than fit are started");
    ok(run_until(message, &ends, 0), "all end");
    is_int((long long)strlen(content("many")), 100, "each was told once");
    is_int(ends.of[STAPLE_MESSAGE_DONE], 50, "each was reported");
    staple_message_destroy(message);
}

#if defined(__linux__)

/* Start a program that goes on for a minute, and be killed. */
static void start_and_die(void)
{
    ends_t ends;
    staple_message_t *message = make("echo $$ >$0/left; exec sleep 60", 1,
                                     apr_time_from_sec(3), &ends);

    tell(message, 1, STAPLE_MESSAGE_RENEWED, "left");
    wait_for(message, &ends, "left");
    kill(getpid(), SIGKILL);
}

/* Who starts programs may be killed: the limit holds all the same. What is left
 * behind becomes our child. */
static void test_left_behind(void)
{
    apr_time_t end;
    int status = 0;
    pid_t pid, left;

    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    pid = fork();
    if (pid == 0) {
        start_and_die();
    }
    waitpid(pid, NULL, 0);
    left = (pid_t)atoi(content("left"));
    ok(left > 0, "a program is left behind by who started it");
    end = apr_time_now() + PATIENCE;
    while (left > 0 && waitpid(left, &status, WNOHANG) == 0
           && apr_time_now() < end) {
        apr_sleep(PAUSE);
    }
    ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM,
       "and ended by the limit");
    if (left > 0 && !status) {
        kill(left, SIGKILL);
    }
    prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

#else

static void test_left_behind(void)
{
}

#endif

static void test_destroy(void)
{
    ends_t ends;
    staple_message_t *message = make(
        "trap '' TERM; echo x >$0/deaf$3; while :; do sleep 0.1; done", 3,
        PATIENCE, &ends);

    tell(message, 1, STAPLE_MESSAGE_RENEWED, "1");
    tell(message, 2, STAPLE_MESSAGE_RENEWED, "2");
    ok(wait_for(message, &ends, "deaf1") && wait_for(message, &ends, "deaf2"),
       "two run and are deaf");
    tell(message, 1, STAPLE_MESSAGE_ERRORED, "1");
    staple_message_destroy(message);
    ok(!has_children(), "the end leaves nothing behind");
    is_int(ends.count, 0, "and nobody is called back");
}

static void clean(void)
{
    static const char *const names[] = { "args", "started", "go", "ended",
                                         "many", "deaf1", "deaf2", "sig" };
    apr_size_t i;

    for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
        apr_file_remove(path(names[i]), pool);
    }
    apr_dir_remove(dir, pool);
}

int main(void)
{
    char template[] = "/tmp/staple-message-XXXXXX";

    apr_initialize();
    apr_pool_create(&pool, NULL);
    dir = mkdtemp(template);
    if (!dir) {
        return 1;
    }
    test_arguments();
    test_ends();
    test_signals();
    test_no_start();
    test_one_at_a_time();
    test_concurrency();
    test_left_behind();
    test_destroy();
    clean();
    apr_pool_destroy(pool);
    apr_terminate();
    return tap_done();
}
