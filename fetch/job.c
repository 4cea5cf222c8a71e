/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What becomes of a job, see fetch/fetch_int.h for the contract. What lives
 * here: its copy, which of its URLs has its turn, what is told of it, and its
 * end. What does not: how a URL is asked (fetch/exchange.c), and where
 * a job waits (fetch/queue.c).
 *
 * The one idea: a failure is the job's only when no URL is left. Until then it
 * is written down, in case it turns out to be the last one worth telling, and
 * the job goes back to where the engine takes it up again.
 *
 * Memory: a job is one small block of malloc, since ten thousand of them may
 * wait; its failure is another one, which few have.
 */

#include "fetch_int.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

const char *staple_fetch_outcome_text(staple_fetch_outcome_e outcome)
{
    switch (outcome) {
    case STAPLE_FETCH_OK:
        return "answered";
    case STAPLE_FETCH_BAD_URL:
        return "not a URL that can be asked";
    case STAPLE_FETCH_DENIED:
        return "address denied by the configuration";
    case STAPLE_FETCH_NO_NAME:
        return "name not resolved";
    case STAPLE_FETCH_REFUSED:
        return "connection refused";
    case STAPLE_FETCH_UNREACHABLE:
        return "no route to the host";
    case STAPLE_FETCH_CONNECT_TIMEOUT:
        return "connection timed out";
    case STAPLE_FETCH_TIMEOUT:
        return "no whole answer in time";
    case STAPLE_FETCH_RESET:
        return "connection broke";
    case STAPLE_FETCH_NOT_HTTP:
        return "answer is not HTTP";
    case STAPLE_FETCH_HTTP_STATUS:
        return "HTTP error";
    case STAPLE_FETCH_TOO_LARGE:
        return "answer too large";
    case STAPLE_FETCH_TRUNCATED:
        return "answer cut short";
    case STAPLE_FETCH_BAD_REDIRECT:
        return "redirect not followed";
    case STAPLE_FETCH_REJECTED:
        return "answer not accepted";
    case STAPLE_FETCH_STOPPED:
        return "interrupted";
    case STAPLE_FETCH_SYSTEM:
        return "out of resources";
    case STAPLE_FETCH_NOT_MODIFIED:
        return "not modified";
    }
    return "unknown outcome";
}

/* ---- its copy ---- */

static apr_size_t size_of(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static char *put_text(const char **copy, const char *text, char *to)
{
    apr_size_t size = size_of(text);

    if (size) {
        *copy = memcpy(to, text, size);
    }
    return to + size;
}

job_t *staple_fetch_job_copy(const staple_fetch_job_t *ask)
{
    apr_size_t urls_size = (apr_size_t)ask->urls_count * sizeof(char *);
    apr_size_t size = sizeof(job_t) + urls_size + ask->request_len
                    + size_of(ask->proxy) + size_of(ask->proxy_credentials)
                    + size_of(ask->if_none_match)
                    + size_of(ask->if_modified_since);
    const char **urls;
    job_t *job;
    char *to;
    int i;

    for (i = 0; i < ask->urls_count; i++) {
        size += size_of(ask->urls[i]);
    }
    job = calloc(1, size);
    if (!job) {
        return NULL;
    }
    urls = (const char **)(job + 1);
    to = (char *)(job + 1) + urls_size;
    job->ask = *ask;
    job->ask.urls = urls;
    for (i = 0; i < ask->urls_count; i++) {
        to = put_text(&urls[i], ask->urls[i], to);
    }
    to = put_text(&job->ask.proxy, ask->proxy, to);
    to = put_text(&job->ask.proxy_credentials, ask->proxy_credentials, to);
    to = put_text(&job->ask.if_none_match, ask->if_none_match, to);
    to = put_text(&job->ask.if_modified_since, ask->if_modified_since, to);
    if (ask->request) {
        job->ask.request = memcpy(to, ask->request, ask->request_len);
    }
    if (ask->first_url < 0 || ask->first_url >= ask->urls_count) {
        job->ask.first_url = 0;
    }
    return job;
}

/* ---- its URLs ---- */

static int url_index(const job_t *job)
{
    return (job->ask.first_url + job->tried) % job->ask.urls_count;
}

const char *staple_fetch_job_url(const job_t *job)
{
    return job->ask.urls[url_index(job)];
}

int staple_fetch_job_proxy(const job_t *job, staple_url_t *proxy,
                           const staple_url_t **through, apr_pool_t *p)
{
    *through = job->ask.proxy ? proxy : NULL;
    return !job->ask.proxy
           || staple_url_parse(proxy, job->ask.proxy, p)
              == STAPLE_URL_OK;
}

/* ---- its end ---- */

void staple_fetch_job_free(job_t *job)
{
    free(job->failure);
    free(job);
}

static void init_answer(staple_fetch_answer_t *answer, const job_t *job,
                        int index)
{
    static const staple_fetch_answer_t none;

    *answer = none;
    answer->url_index = index;
    answer->url = job->ask.urls[index];
    answer->peer = answer->reason = "";
    answer->retry_after = answer->fresh_for = -1;
    answer->resolve_took = answer->connect_took = answer->wait_took = -1;
    answer->is_asked = job->started != 0;
    answer->took = job->started ? staple_clock_now() - job->started : 0;
}

void staple_fetch_job_init_answer(staple_fetch_answer_t *answer,
                                  const job_t *job)
{
    init_answer(answer, job, url_index(job));
}

void staple_fetch_job_init_failure(failure_t *failure, const job_t *job,
                                   staple_fetch_outcome_e outcome)
{
    static const failure_t none;

    *failure = none;
    failure->outcome = outcome;
    failure->url_index = url_index(job);
    failure->resolve_took = failure->connect_took = failure->wait_took = -1;
}

void staple_fetch_job_end(staple_fetch_t *fetch, job_t *job,
                          const staple_fetch_answer_t *answer)
{
    fetch->busy--;
    job->ask.done(job->ask.baton, answer);
    staple_fetch_job_free(job);
}

/* An answer that was rejected comes with its failure. */
static staple_fetch_answer_t answer_of(const job_t *job,
                                       const failure_t *failure,
                                       const staple_fetch_answer_t *rejected)
{
    staple_fetch_answer_t answer;

    init_answer(&answer, job, failure->url_index);
    if (rejected) {
        answer = *rejected;
    }
    answer.outcome = failure->outcome;
    answer.http_status = failure->http_status;
    answer.peer = failure->peer;
    answer.reason = failure->reason;
    answer.resolve_took = failure->resolve_took;
    answer.connect_took = failure->connect_took;
    answer.wait_took = failure->wait_took;
    if (failure->retry_at) {
        answer.retry_after = failure->retry_at - staple_clock_now();
        if (answer.retry_after < 0) {
            answer.retry_after = 0;
        }
    }
    return answer;
}

/* The job's round has failed; the last failure decides what is told. */
static void end_failed(staple_fetch_t *fetch, job_t *job,
                       const failure_t *failure,
                       const staple_fetch_answer_t *rejected)
{
    staple_fetch_answer_t answer = answer_of(job, failure, rejected);

    staple_fetch_job_end(fetch, job, &answer);
}

static void tell_passed(const job_t *job, const failure_t *failure,
                        const staple_fetch_answer_t *rejected)
{
    staple_fetch_answer_t answer = answer_of(job, failure, rejected);

    if (job->ask.passed) {
        job->ask.passed(job->ask.baton, &answer);
    }
}

static failure_t failure_of(const job_t *job, staple_fetch_outcome_e outcome,
                            const char *reason)
{
    failure_t failure;

    staple_fetch_job_init_failure(&failure, job, outcome);
    apr_cpystrn(failure.reason, reason, sizeof(failure.reason));
    return failure;
}

void staple_fetch_job_end_stopped(staple_fetch_t *fetch, job_t *job)
{
    failure_t failure = failure_of(job, STAPLE_FETCH_STOPPED,
                                   "the server stops or restarts");

    end_failed(fetch, job, &failure, NULL);
}

/* What to tell of a job that has failed once more. A URL that cannot be asked
 * does not hide what befell one that was. */
static failure_t worth_telling(const job_t *job, const failure_t *failure)
{
    failure_t last = *failure;

    if (job->failure && failure->outcome == STAPLE_FETCH_BAD_URL) {
        return *job->failure;
    }
    last.url_index = url_index(job);
    return last;
}

/* Write a failure down while the next URL is asked; false: no memory. */
static int keep_failure(job_t *job, const failure_t *failure)
{
    if (!job->failure) {
        job->failure = malloc(sizeof(*job->failure));
    }
    if (job->failure) {
        *job->failure = *failure;
    }
    return job->failure != NULL;
}

void staple_fetch_job_pass_on(staple_fetch_t *fetch, job_t *job,
                              const failure_t *failure,
                              const staple_fetch_answer_t *rejected)
{
    failure_t last = worth_telling(job, failure);

    job->tried++;
    if (job->tried < job->ask.urls_count && keep_failure(job, &last)) {
        tell_passed(job, &last, rejected);
        APR_RING_INSERT_TAIL(&fetch->fresh, &job->waiter,
                             waiter_t, link);
        return;
    }
    end_failed(fetch, job, &last, rejected);
}

void staple_fetch_job_pass_on_as(staple_fetch_t *fetch, job_t *job,
                                 staple_fetch_outcome_e outcome,
                                 const char *reason)
{
    failure_t failure = failure_of(job, outcome, reason);

    staple_fetch_job_pass_on(fetch, job, &failure, NULL);
}
