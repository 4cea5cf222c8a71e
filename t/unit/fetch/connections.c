/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Connections kept and used again, as many at a time as there are slots, in
 * runs that are no longer than they may be.
 */

#include "fetch_test.h"

#include "../tap.h"

#include <stdlib.h>
#include <unistd.h>

#include <apr_strings.h>

void test_keepalive(void)
{
    server_t server = { .manner = ANSWER };
    server_t stale = { .manner = STALE };
    server_t closing = { .manner = EARLY };
    staple_fetch_t *fetch = engine(2, NULL);
    result_t results[10] = { { 0 } };
    int i, good = 0;

    start(&server);
    for (i = 0; i < 10; i++) {
        submit(fetch, url_of(server.port, "/"), &results[i], AMPLE);
    }
    run(fetch);
    for (i = 0; i < 10; i++) {
        good += results[i].outcome == STAPLE_FETCH_OK;
    }
    ok(good == 10 && server.requests == 10 && server.connections == 1,
       "ten answers over one connection");
    staple_fetch_destroy(fetch);
    stop(&server);

    fetch = engine(2, NULL);
    start(&stale);
    for (good = i = 0; i < 3; i++) {
        result_t result = { 0 };

        submit(fetch, url_of(stale.port, "/"), &result, AMPLE);
        run(fetch);
        good += result.outcome == STAPLE_FETCH_OK && result.calls == 1;
    }
    is_int(good, 3, "a reused connection that breaks is made anew");
    is_int(stale.connections, 3, "... each time");
    staple_fetch_destroy(fetch);
    stop(&stale);

    fetch = engine(2, NULL);
    start(&closing);
    for (good = i = 0; i < 20; i++) {
        result_t result = { 0 };

        submit(fetch, url_of(closing.port, "/"), &result, AMPLE);
        run(fetch);
        good += result.outcome == STAPLE_FETCH_OK;
    }
    is_int(good, 20, "a server that closes without saying so harms nobody");
    staple_fetch_destroy(fetch);
    stop(&closing);
}

/* An answer may come before the request is sent: what follows half of it would
 * not be understood, so that connection is not kept. */
void test_hasty(void)
{
    const apr_size_t len = 16 * 1024 * 1024;
    unsigned char *much = calloc(1, len);
    server_t server = { .manner = HASTY };
    staple_fetch_t *fetch = engine(2, NULL);
    result_t result = { 0 };
    staple_fetch_job_t job;
    const char *url;
    int i;

    start(&server);
    url = url_of(server.port, "/");
    job = job_for(&url, 1, &result);
    job.request = much;
    job.request_len = len;
    staple_fetch_submit(fetch, &job);
    free(much);
    run(fetch);
    is_int(result.outcome, STAPLE_FETCH_OK,
           "an answer before the end of the request");
    server.manner = ANSWER;
    for (i = 0; i < 5000 && server.open; i++) {
        usleep(1000);
    }
    is_int(server.open, 0, "... and the connection is closed");
    staple_fetch_destroy(fetch);
    stop(&server);
}

void test_concurrency(void)
{
    server_t server = { .delay_ms = 20 };
    staple_fetch_t *fetch = engine(32, NULL);
    result_t *results = apr_pcalloc(pool, sizeof(*results) * 1000);
    apr_interval_time_t took;
    apr_time_t began;
    int i, good = 0;

    start(&server);
    for (i = 0; i < 1000; i++) {
        submit(fetch, url_of(server.port, apr_psprintf(pool, "/%d", i % 3)),
               &results[i], 60 * SECOND);
    }
    began = apr_time_now();
    run(fetch);
    took = apr_time_now() - began;
    for (i = 0; i < 1000; i++) {
        good += results[i].outcome == STAPLE_FETCH_OK;
    }
    is_int(good, 1000, "a thousand answers of 20 ms each");
    is_int(server.most_at_work, 16, "half of 32 at a time, no more");
    is_int(server.most_open, 16, "... and as many connections");
    is_int(server.connections, 16, "... all kept");
    diag("%d ms (the ideal is 1250 ms)", (int)apr_time_as_msec(took));
    staple_fetch_destroy(fetch);
    stop(&server);
}

/* Wait until the server has answered so many requests. */
static void await_requests(server_t *server, int count)
{
    int i;

    for (i = 0; i < 10000 && (server->requests < count || server->at_work);
         i++) {
        usleep(1000);
    }
}

/* The engine is run for a moment now and then, and is left alone between. */
void test_slices(void)
{
    server_t server = { .delay_ms = 20 };
    staple_fetch_t *fetch = engine(8, NULL);
    result_t results[100] = { { 0 } };
    int i, in_flight = 4, before;

    start(&server);
    for (i = 0; i < 100; i++) {
        submit(fetch, url_of(server.port, "/"), &results[i], 60 * SECOND);
    }
    for (i = 0; i < 100 && server.requests < 2 * in_flight; i++) {
        staple_fetch_run(fetch, MSEC(100));
    }
    await_requests(&server, 100 + in_flight - staple_fetch_busy(fetch));
    before = server.requests;
    is_int(staple_fetch_busy(fetch) + before, 100 + in_flight,
           "what is in flight is answered while nobody runs the engine");
    staple_fetch_run(fetch, 0);
    await_requests(&server, before + in_flight);
    is_int(server.requests - before, in_flight,
           "even the shortest run fills all its slots");
    run(fetch);
    staple_fetch_destroy(fetch);
    stop(&server);
}

/* A run that did not end with its span would end with the answer. */
void test_span(void)
{
    server_t server = { .manner = SILENT };
    staple_fetch_t *fetch = engine(8, NULL);
    result_t result = { 0 };

    start(&server);
    submit(fetch, url_of(server.port, "/"), &result, 60 * SECOND);
    staple_fetch_run(fetch, MSEC(50));
    ok(staple_fetch_busy(fetch) && !result.calls,
       "a run ends with its span, whatever is in flight");
    staple_fetch_destroy(fetch);
    stop(&server);
}
