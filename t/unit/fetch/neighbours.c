/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Nobody waits for a neighbour: a responder that hangs, one certificate that
 * a responder stumbles over, and a responder that is down.
 */

#include "fetch_test.h"

#include "../tap.h"

#include <string.h>
#include <unistd.h>

#include <apr_strings.h>

/* One of ten hangs; the others do not notice. */
void test_neighbours(void)
{
    enum { SERVERS = 10, EACH = 60, JOBS = SERVERS * EACH };
    apr_interval_time_t took[2] = { 0, 0 };
    int with;

    for (with = 0; with < 2; with++) {
        static const server_t none;
        server_t servers[SERVERS];
        result_t *results = apr_pcalloc(pool, sizeof(*results) * JOBS);
        staple_fetch_t *fetch = engine(32, NULL);
        apr_time_t began, last;
        int i, good = 0;

        for (i = 0; i < SERVERS; i++) {
            servers[i] = none;
            servers[i].delay_ms = 20;
            start(&servers[i]);
        }
        servers[0].manner = SILENT;
        for (i = 0; i < JOBS; i++) {
            if (with || i % SERVERS) {
                submit(fetch, url_of(servers[i % SERVERS].port, "/"),
                       &results[i], i % SERVERS ? AMPLE : 9 * SECOND);
            }
        }
        last = began = apr_time_now();
        run(fetch);
        for (i = 0; i < JOBS; i++) {
            if (i % SERVERS && results[i].outcome == STAPLE_FETCH_OK) {
                good++;
                last = results[i].at > last ? results[i].at : last;
            }
        }
        took[with] = last - began;
        is_int(good, JOBS - EACH, with ? "the neighbours of a hung responder"
                                       : "nine responders alone");
        if (with) {
            /* Two; on a busy machine one may be late, or be tried again. */
            ok(servers[0].requests >= 1 && servers[0].requests <= 4,
               "a probe or two of the hung one, not sixty");
            is_int(results[JOBS - SERVERS].outcome, STAPLE_FETCH_TIMEOUT,
                   "... whose failure is that of all its jobs");
            is_int(results[JOBS - SERVERS].is_asked, 0,
                   "... which is told");
            ok(last < results[0].at, "nobody waited for it");
        }
        staple_fetch_destroy(fetch);
        for (i = 0; i < SERVERS; i++) {
            stop(&servers[i]);
        }
    }
    diag("alone %d ms, beside a hung one %d ms",
         (int)apr_time_as_msec(took[0]), (int)apr_time_as_msec(took[1]));
}

/* Two that worked and then hang have all the slots they can get. */
void test_newcomer(void)
{
    server_t hung[2] = { { .manner = ANSWER }, { .manner = ANSWER } };
    server_t fresh = { .manner = ANSWER };
    staple_fetch_t *fetch = engine(16, NULL);
    result_t *results = apr_pcalloc(pool, sizeof(*results) * 100);
    result_t newcomer = { 0 };
    int i;

    for (i = 0; i < 2; i++) {
        start(&hung[i]);
    }
    start(&fresh);
    for (i = 0; i < 40; i++) {
        submit(fetch, url_of(hung[i % 2].port, "/"), &results[i], AMPLE);
    }
    run(fetch);
    hung[0].manner = hung[1].manner = SILENT;
    for (i = 40; i < 100; i++) {
        submit(fetch, url_of(hung[i % 2].port, "/"), &results[i], 9 * AMPLE);
    }
    for (i = 0; i < 500 && hung[0].at_work + hung[1].at_work < 14; i++) {
        staple_fetch_run(fetch, MSEC(20));
    }
    ok(hung[0].at_work + hung[1].at_work >= 14, "two responders hang");
    submit(fetch, url_of(fresh.port, "/"), &newcomer, AMPLE);
    for (i = 0; i < 500 && !newcomer.calls; i++) {
        staple_fetch_run(fetch, MSEC(20));
    }
    is_int(newcomer.outcome, STAPLE_FETCH_OK,
           "a third one has a slot while they do");
    is_int(results[99].calls, 0, "... and none of theirs has ended");
    staple_fetch_destroy(fetch);
    for (i = 0; i < 2; i++) {
        stop(&hung[i]);
    }
    stop(&fresh);
}

/* Until the last one has ended; how many of the others have by then. */
static int run_until_last(staple_fetch_t *fetch, const result_t *results,
                          int count)
{
    int i, ended = 0;

    for (i = 0; i < 300 && !results[count].calls; i++) {
        staple_fetch_run(fetch, MSEC(100));
    }
    for (i = 0; i < count; i++) {
        ended += results[i].calls;
    }
    return ended;
}

/* Names that are not resolved have no place for long; they are looked up by as
 * many threads as hang. */
void test_hanging_names(void)
{
    enum { NAMES = 64 };
    server_t server = { .manner = ANSWER };
    staple_fetch_t *fetch = engine(32, NULL);
    result_t results[NAMES + 1] = { { 0 } };
    int i;

    start(&server);
    names.is_free = 0;
    for (i = 0; i < NAMES; i++) {
        submit(fetch, apr_psprintf(pool, "http://%d.stuck.test/", i),
               &results[i], 2 * AMPLE);
    }
    submit(fetch, apr_psprintf(pool, "http://some.test:%d/", server.port),
           &results[NAMES], AMPLE);
    is_int(run_until_last(fetch, results, NAMES), 0,
           "64 names that hang are waited for by nobody");
    is_int(results[NAMES].outcome, STAPLE_FETCH_OK, "... behind them");
    diag("a neighbour took %d ms", (int)apr_time_as_msec(results[NAMES].took));
    staple_fetch_destroy(fetch);
    pthread_mutex_lock(&names.lock);
    names.is_free = 1;
    pthread_cond_broadcast(&names.freed);
    pthread_mutex_unlock(&names.lock);
    for (i = 0; i < 3000 && names.stuck; i++) {
        usleep(10000);
    }
    names.is_free = 0;
    stop(&server);
}

void test_drippers(void)
{
    enum { SERVERS = 64 };
    static server_t servers[SERVERS];
    server_t well = { .manner = ANSWER };
    staple_fetch_t *fetch = engine(32, NULL);
    result_t *results = apr_pcalloc(pool, sizeof(*results) * (SERVERS + 1));
    result_t others[SERVERS] = { { 0 } };
    int i;

    for (i = 0; i < SERVERS; i++) {
        servers[i].manner = DRIP;
        start(&servers[i]);
        submit(fetch, url_of(servers[i].port, "/"), &results[i], 2 * AMPLE);
        submit(fetch, url_of(servers[i].port, "/"), &others[i], 2 * AMPLE);
    }
    start(&well);
    submit(fetch, url_of(well.port, "/"), &results[SERVERS], AMPLE);
    is_int(run_until_last(fetch, results, SERVERS), 0,
           "64 responders that drip are waited for by nobody");
    is_int(results[SERVERS].outcome, STAPLE_FETCH_OK, "... behind them");
    staple_fetch_destroy(fetch);
    for (i = 0; i < SERVERS; i++) {
        stop(&servers[i]);
    }
    stop(&well);
}

/* A responder that hangs up on six is asked about the seventh at once. */
void test_hangups(void)
{
    server_t server = { .manner = HANGUP, .bad_path = "zzz" };
    staple_fetch_t *fetch = engine(32, NULL);
    result_t results[7] = { { 0 } };
    int i;

    start(&server);
    for (i = 0; i < 7; i++) {
        const char *url = url_of(server.port, "/");
        staple_fetch_job_t job = job_for(&url, 1, &results[i]);

        if (i < 6) { /* in base64: zzzz */
            job.request = (const unsigned char *)"\xcf\x3c\xf3";
            job.request_len = 3;
        }
        staple_fetch_submit(fetch, &job);
    }
    run(fetch);
    is_int(results[6].outcome, STAPLE_FETCH_OK,
           "six that a responder hangs up on do not keep it from the seventh");
    is_int(results[5].outcome, STAPLE_FETCH_RESET, "... nor are they answered");
    staple_fetch_destroy(fetch);
    stop(&server);
}

/* A probe is sent whatever rests, says nothing if it fails, and when it
 * succeeds, what hangs is asked anew. */
void test_probe(void)
{
    server_t server = { .manner = SILENT };
    staple_fetch_t *fetch = engine(8, NULL);
    result_t results[2] = { { 0 } }, probe = { 0 };
    const char *url;
    staple_fetch_job_t job;
    int i;

    start(&server);
    url = url_of(server.port, "/");
    job = job_for(&url, 1, &probe);
    job.is_probe = 1;
    job.timeout = MSEC(1000);
    for (i = 0; i < 2; i++) {
        submit(fetch, url, &results[i], 2 * AMPLE);
    }
    for (i = 0; i < 1000 && server.requests < 2; i++) {
        staple_fetch_run(fetch, MSEC(20));
    }
    staple_fetch_submit(fetch, &job);
    for (i = 0; i < 1000 && !(probe.calls && server.requests == 3); i++) {
        staple_fetch_run(fetch, MSEC(20));
    }
    ok(probe.calls == 1 && server.requests == 3,
       "a probe goes out where all turns are taken");
    /* What was asked within the last second is not asked anew: more probes. */
    server.manner = ANSWER;
    job.timeout = AMPLE;
    for (i = 0; i < 600 && !(results[0].calls && results[1].calls); i++) {
        probe.calls = 0;
        staple_fetch_submit(fetch, &job);
        while (!probe.calls && staple_fetch_run(fetch, MSEC(50))) {
        }
        staple_fetch_run(fetch, MSEC(50));
    }
    is_int(probe.outcome, STAPLE_FETCH_OK, "the next one succeeds");
    ok(results[0].outcome == STAPLE_FETCH_OK && results[0].calls == 1
       && results[1].outcome == STAPLE_FETCH_OK && results[1].calls == 1,
       "... and what hung is asked anew");
    staple_fetch_destroy(fetch);
    stop(&server);
}

/* One bad certificate does not condemn the responder of a hundred others. */
void test_one_bad(void)
{
    static const manner_e manners[] = {
        SILENT, RESET, HANGUP, GARBAGE, SHORT, DRIP, HUGE
    };
    apr_size_t m;

    for (m = 0; m < sizeof(manners) / sizeof(manners[0]); m++) {
        server_t server = { .manner = manners[m], .bad_path = "zzz" };
        staple_fetch_t *fetch = engine(8, NULL);
        result_t results[101] = { { 0 } };
        int i, good = 0;

        start(&server);
        for (i = 0; i < 101; i++) {
            staple_fetch_job_t job;
            const char *url = url_of(server.port, "/");

            job = job_for(&url, 1, &results[i]);
            job.timeout = 3 * SECOND;
            if (!i) { /* in base64: zzzz */
                job.request = (const unsigned char *)"\xcf\x3c\xf3";
                job.request_len = 3;
            }
            staple_fetch_submit(fetch, &job);
        }
        run(fetch);
        for (i = 1; i < 101; i++) {
            good += results[i].outcome == STAPLE_FETCH_OK;
        }
        ok(good == 100 && results[0].outcome != STAPLE_FETCH_OK,
           "a hundred beside one with fault %d", manners[m]);
        staple_fetch_destroy(fetch);
        stop(&server);
    }
}

/* What is down is left in peace, and found again soon. */
void test_breaker(void)
{
    server_t server = { .status = 503 };
    server_t other = { .manner = ANSWER };
    staple_fetch_t *fetch = engine(8, NULL);
    result_t results[50] = { { 0 } };
    const char *urls[2];
    int i, failed = 0, good = 0;

    start(&server);
    start(&other);
    for (i = 0; i < 50; i++) {
        submit(fetch, url_of(server.port, "/"), &results[i], AMPLE);
    }
    run(fetch);
    for (i = 0; i < 50; i++) {
        failed += results[i].http_status == 503;
    }
    is_int(failed, 50, "all fail with the same reason");
    is_int(server.requests, 2, "... but only two were sent");

    urls[0] = url_of(server.port, "/");
    urls[1] = url_of(other.port, "/");
    for (i = 0; i < 50; i++) {
        staple_fetch_job_t job = job_for(urls, 2, &results[i]);

        staple_fetch_submit(fetch, &job);
    }
    run(fetch);
    for (i = 0; i < 50; i++) {
        good += results[i].outcome == STAPLE_FETCH_OK
                && results[i].url_index == 1;
    }
    is_int(good, 50, "with another URL, they go there");
    is_int(server.requests, 2, "... at once");

    server.status = 200;
    for (good = i = 0; i < 1000 && !good; i++) {
        result_t result = { 0 };

        submit(fetch, urls[0], &result, AMPLE);
        run(fetch);
        good = result.outcome == STAPLE_FETCH_OK;
        usleep(10000);
    }
    ok(good, "it is back");
    staple_fetch_destroy(fetch);
    stop(&server);
    stop(&other);
}

/* The same for a site that cannot be reached; what was not asked has the
 * reason of what was, but no times. */
void test_breaker_site(void)
{
    staple_fetch_t *fetch = engine(8, NULL);
    result_t results[20] = { { 0 } };
    server_t server = { .manner = ANSWER };
    int i, refused = 0, asked = 0, timed = 0;

    start(&server);
    stop(&server); /* nobody listens there any more */
    for (i = 0; i < 20; i++) {
        submit(fetch, url_of(server.port, i % 2 ? "/a" : "/b"), &results[i],
               AMPLE);
    }
    run(fetch);
    for (i = 0; i < 20; i++) {
        refused += results[i].outcome == STAPLE_FETCH_REFUSED
                   && strstr(results[i].reason, "does anything listen");
        asked += results[i].is_asked;
        timed += results[i].resolve_took >= 0;
    }
    is_int(refused, 20, "a site that is down: all are told the same reason");
    is_int(asked, 2, "... two were asked");
    is_int(timed, 2, "... and no other took any time");
    staple_fetch_destroy(fetch);
}
