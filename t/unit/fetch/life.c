/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The life of an engine: stopped, destroyed, called from its own callbacks,
 * without descriptors, and after many exchanges. Nothing is left behind.
 */

#include "fetch_test.h"

#include "../tap.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <apr_strings.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

static volatile sig_atomic_t is_told;

static void tell(int number)
{
    (void)number;
    is_told = 1;
}

static int is_told_to_end(void *baton)
{
    (void)baton;
    return is_told;
}

/* An engine that a signal ends a tenth of a second from now. */
static staple_fetch_t *engine_to_be_told(void)
{
    static const struct itimerval soon = { { 0, 0 }, { 0, 100000 } };
    staple_fetch_conf_t conf = { 0 };
    struct sigaction action;
    staple_fetch_t *fetch;

    memset(&action, 0, sizeof(action));
    action.sa_handler = tell;
    sigaction(SIGALRM, &action, NULL);
    conf.concurrency = 4;
    conf.max_body = 65536;
    conf.user_agent = "test/1";
    conf.is_ending = is_told_to_end;
    if (staple_fetch_create(&fetch, &conf, pool) != APR_SUCCESS) {
        printf("Bail out! no engine\n");
        exit(1);
    }
    setitimer(ITIMER_REAL, &soon, NULL);
    return fetch;
}

void test_stop(void)
{
    server_t server = { .manner = SILENT };
    staple_fetch_t *fetch;
    result_t results[20] = { { 0 } };
    int i, stopped = 0;

    start(&server);
    fetch = engine_to_be_told();
    for (i = 0; i < 20; i++) {
        submit(fetch, url_of(server.port, "/"), &results[i], 10 * SECOND);
    }
    /* If it were not told, each job would end by its own deadline. */
    staple_fetch_run(fetch, 60 * SECOND);
    results[0].fetch = fetch;
    staple_fetch_destroy(fetch);
    for (i = 0; i < 20; i++) {
        stopped += results[i].calls == 1
                   && results[i].outcome == STAPLE_FETCH_STOPPED;
    }
    is_int(stopped, 20, "a signal ends a run, and every job is told");
    stop(&server);
}

/* An engine may go with its pool; nobody is called back then. */
void test_pool(void)
{
    server_t server = { .manner = SILENT };
    apr_pool_t *outer = pool;
    result_t results[8] = { { 0 } };
    staple_fetch_t *fetch;
    int i, calls = 0;

    start(&server);
    apr_pool_create(&pool, NULL);
    fetch = engine(2, NULL);
    for (i = 0; i < 8; i++) {
        submit(fetch, url_of(server.port, "/"), &results[i], AMPLE);
    }
    staple_fetch_run(fetch, MSEC(20));
    submit(fetch, url_of(server.port, "/"), &results[0], AMPLE);
    apr_pool_destroy(pool);
    pool = outer;
    for (i = 0; i < 8; i++) {
        calls += results[i].calls;
    }
    is_int(calls, 0, "an engine goes with its pool");
    stop(&server);
}

void test_submit_from_done(void)
{
    server_t server = { .manner = ANSWER };
    staple_fetch_t *fetch = engine(2, NULL);
    result_t first = { 0 }, second = { 0 };
    const char *url;
    staple_fetch_job_t job, bad = { 0 };
    apr_time_t began;

    start(&server);
    url = url_of(server.port, "/");
    job = job_for(&url, 1, &second);
    first.fetch = fetch;
    first.next = &job;
    submit(fetch, "bad", &first, AMPLE);
    began = apr_time_now();
    is_int(staple_fetch_run(fetch, 60 * SECOND), 0,
           "a run ends when all is done");
    ok(apr_time_now() - began < 60 * SECOND, "... early");
    ok(first.calls == 1 && second.outcome == STAPLE_FETCH_OK,
       "a job was submitted from a callback");
    is_int(staple_fetch_submit(fetch, &bad), APR_EINVAL, "an empty job");
    staple_fetch_destroy(fetch);
    stop(&server);
}

/* With no descriptor left the engine waits, and goes on when there is one. */
void test_descriptors(void)
{
    server_t server = { .manner = ANSWER };
    staple_fetch_t *fetch = engine(4, NULL);
    result_t result = { 0 }, later = { 0 };
    struct rlimit limit, low;
    int fds[200];
    int i, count = 0;

    start(&server);
    getrlimit(RLIMIT_NOFILE, &limit);
    low = limit;
    low.rlim_cur = 150;
    setrlimit(RLIMIT_NOFILE, &low);
    while (count < 200 && (fds[count] = dup(0)) >= 0) {
        count++;
    }
    submit(fetch, url_of(server.port, "/"), &result, MSEC(200));
    run(fetch);
    is_int(result.outcome, STAPLE_FETCH_SYSTEM, "no descriptor is left");
    submit(fetch, url_of(server.port, "/"), &later, AMPLE);
    staple_fetch_run(fetch, MSEC(50));
    for (i = 0; i < count; i++) {
        close(fds[i]);
    }
    setrlimit(RLIMIT_NOFILE, &limit);
    run(fetch);
    is_int(later.outcome, STAPLE_FETCH_OK, "... until there is one again");
    staple_fetch_destroy(fetch);
    stop(&server);
}

static long resident(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0, all = 0;

    if (!file) {
        return -1;
    }
    if (fscanf(file, "%ld %ld", &all, &pages) != 2) {
        pages = -1;
    }
    fclose(file);
    return pages < 0 ? -1 : pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int count_fds(void)
{
    int fd, count = 0;

    for (fd = 0; fd < 1024; fd++) {
        struct pollfd pfd = { fd, 0, 0 };

        count += poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLNVAL);
    }
    return count;
}

static void run_many(staple_fetch_t *fetch, const server_t *server,
                     result_t *result, int count)
{
    int i;

    for (i = 0; i < count; i++) {
        submit(fetch, url_of(server->port, i % 2 ? "/a" : "/b"), result,
               AMPLE);
        if (i % 100 == 99) {
            run(fetch);
        }
    }
    run(fetch);
}

/* STAPLE_TEST_EXCHANGES: how many; 100000 is what the project promises. */
void test_memory(void)
{
    const char *wish = getenv("STAPLE_TEST_EXCHANGES");
    int count = wish ? atoi(wish) : 4000;
    server_t kept = { .manner = ANSWER };
    server_t closing = { .fields = "Connection: close\r\n" };
    staple_fetch_t *fetch = engine(16, NULL);
    apr_pool_t *outer = pool;
    result_t result = { 0 };
    long before, grown;
    int fds;

    start(&kept);
    start(&closing);
    apr_pool_create(&pool, NULL);
    run_many(fetch, &kept, &result, 1000);
    run_many(fetch, &closing, &result, 1000);
    apr_pool_clear(pool);
    before = resident();
    fds = count_fds();
    while (count > 0) {
        run_many(fetch, &kept, &result, 1000);
        run_many(fetch, &closing, &result, 1000);
        apr_pool_clear(pool);
        count -= 2000;
    }
    grown = resident() - before;
    if (before < 0 || IS_SANITIZED) {
        ok(1, "# SKIP no /proc here, or a sanitizer that keeps memory");
    }
    else {
        ok(grown < 1024, "memory stays flat");
        diag("%d exchanges, grown by %ld KiB", result.calls, grown);
    }
    staple_fetch_destroy(fetch);
    ok(count_fds() <= fds, "descriptors too");
    apr_pool_destroy(pool);
    pool = outer;
    stop(&kept);
    stop(&closing);
}
