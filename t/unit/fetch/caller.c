/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The caller of the engine: jobs made, run to their end, and their results
 * noted.
 */

#include "fetch_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

apr_pool_t *pool;

static staple_fetch_judgement_e accept_good(void *baton,
                                            const staple_fetch_answer_t *answer)
{
    (void)baton;
    if ((answer->body_len == 4 && !memcmp(answer->body, "good", 4))
        || (answer->body_len == 5 && !memcmp(answer->body, DER_BODY, 5))) {
        return STAPLE_FETCH_ACCEPTED;
    }
    if (answer->body_len == 3 && !memcmp(answer->body, "old", 3)) {
        return STAPLE_FETCH_UNUSABLE;
    }
    if (answer->body_len == 5 && !memcmp(answer->body, "stale", 5)) {
        return STAPLE_FETCH_STALE;
    }
    if (answer->body_len == 5 && !memcmp(answer->body, "later", 5)) {
        return STAPLE_FETCH_FINAL;
    }
    return STAPLE_FETCH_UNREADABLE;
}

static void note(void *baton, const staple_fetch_answer_t *answer)
{
    result_t *result = baton;

    result->calls++;
    result->at = apr_time_now();
    result->outcome = answer->outcome;
    result->http_status = answer->http_status;
    result->url_index = answer->url_index;
    result->is_asked = answer->is_asked;
    result->is_typed = answer->is_typed;
    result->retry_after = answer->retry_after;
    result->fresh_for = answer->fresh_for;
    result->took = answer->took;
    result->resolve_took = answer->resolve_took;
    result->connect_took = answer->connect_took;
    result->wait_took = answer->wait_took;
    apr_cpystrn(result->peer, answer->peer, sizeof(result->peer));
    apr_cpystrn(result->reason, answer->reason, sizeof(result->reason));
    apr_cpystrn(result->etag, answer->etag ? answer->etag : "",
                sizeof(result->etag));
    if (answer->body) {
        apr_size_t len = answer->body_len < 15 ? answer->body_len : 15;

        memcpy(result->body, answer->body, len);
        result->body[len] = '\0';
    }
    if (result->next) {
        const staple_fetch_job_t *next = result->next;

        result->next = NULL;
        staple_fetch_submit(result->fetch, next);
    }
}

staple_fetch_t *engine(int concurrency, refusal_fn *refusal)
{
    staple_fetch_conf_t conf = { 0 };
    staple_fetch_t *fetch;

    conf.concurrency = concurrency;
    conf.max_body = 65536;
    conf.user_agent = "test/1";
    conf.refusal = refusal;
    if (staple_fetch_create(&fetch, &conf, pool) != APR_SUCCESS) {
        printf("Bail out! no engine\n");
        exit(1);
    }
    return fetch;
}

staple_fetch_job_t job_for(const char *const *urls, int count,
                           result_t *result)
{
    static const unsigned char der[] = { 0x30, 0x03, 0x0a, 0xff, 0xfe };
    staple_fetch_job_t job = { 0 };

    job.urls = urls;
    job.urls_count = count;
    job.request = der;
    job.request_len = sizeof(der);
    job.timeout = AMPLE;
    job.judge = accept_good;
    job.done = note;
    job.baton = result;
    return job;
}

const char *url_of(int port, const char *path)
{
    return apr_psprintf(pool, "http://127.0.0.1:%d%s", port, path);
}

void submit(staple_fetch_t *fetch, const char *url, result_t *result,
            apr_interval_time_t timeout)
{
    staple_fetch_job_t job = job_for(&url, 1, result);

    job.timeout = timeout;
    staple_fetch_submit(fetch, &job);
}

/* As long as it is needed; every test ends, whatever is broken. */
void run(staple_fetch_t *fetch)
{
    int i;

    for (i = 0; i < 600 && staple_fetch_run(fetch, MSEC(200)); i++) {
    }
}

/* A job alone, on an engine of its own. */
result_t fetch_once(const staple_fetch_job_t *job)
{
    staple_fetch_t *fetch = engine(4, NULL);
    staple_fetch_job_t mine = *job;
    static result_t result;
    static const result_t none;

    result = none;
    mine.baton = &result;
    staple_fetch_submit(fetch, &mine);
    run(fetch);
    staple_fetch_destroy(fetch);
    return result;
}

result_t fetch_url(const char *url, apr_interval_time_t timeout)
{
    staple_fetch_job_t job = job_for(&url, 1, NULL);

    job.timeout = timeout;
    return fetch_once(&job);
}
